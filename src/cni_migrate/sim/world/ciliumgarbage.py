"""What the Cilium operator collects: endpoints without a pod, and identities that no endpoint has had for long.

Rules: `operator/endpointgc` and `operator/identitygc` of Cilium 1.15. An endpoint's pod is the one among its owners, or
else the one of its own name; a pod that has ended counts as none.
"""

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.kinds import CILIUM_ENDPOINT, CILIUM_IDENTITY, POD


class CiliumGarbage:
    """The operator's collections, each as it is done once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._unused: dict[str, float] = {}
        """Since when nobody has been seen to use an identity."""

    async def endpoints(self) -> None:
        """Delete the endpoints whose pods are not there, or have ended."""
        for found in list(self._ctx.cluster[CILIUM_ENDPOINT].items.values()):
            pod = self._ctx.cluster[POD].get(_pod_name(found), meta.namespace(found))
            if pod is None or meta.finished(pod):
                await self._ctx.cluster.delete(CILIUM_ENDPOINT, found)

    async def identities(self, patience: float) -> None:
        """Delete the identities that have been without an endpoint for so many seconds."""
        cluster, now = self._ctx.cluster, self._ctx.now()
        endpoints = cluster[CILIUM_ENDPOINT].items.values()
        used = {str(((one.get("status") or {}).get("identity") or {}).get("id")) for one in endpoints}
        present = {meta.name(one): one for one in cluster[CILIUM_IDENTITY].items.values()}
        self._unused = {name: self._unused.get(name, now) for name in present if name not in used}
        for name, since in list(self._unused.items()):
            if now - since >= patience:
                await cluster.delete(CILIUM_IDENTITY, present[name])


def _pod_name(endpoint: Object) -> str:
    owners = endpoint["metadata"].get("ownerReferences") or ()
    return next((str(owner["name"]) for owner in owners if owner["kind"] == "Pod"), meta.name(endpoint))
