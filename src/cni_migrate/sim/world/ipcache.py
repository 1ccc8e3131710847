"""What Cilium's agents know of addresses: whose identity each has, and on which node it is.

Every agent learns it from the CiliumEndpoints in the API, whoever made them; what an identity's labels are, from the
CiliumIdentities. Seen on real agents: an endpoint that somebody else makes for a Canal pod is entered like any other,
and its node becomes the end of the tunnel to it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.history import History
from cni_migrate.sim.world.kinds import CILIUM_ENDPOINT, CILIUM_IDENTITY

_SOURCE = "k8s:"
NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a caller is for a policy: labels, namespace, and the namespace's labels."""

    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is entered for an address: the number of its identity, and the address of its node."""

    identity: int
    node: str


def identity_of(security_labels: Mapping[str, str]) -> Identity:
    """Read a CiliumIdentity's `security-labels`."""
    plain = {key.removeprefix(_SOURCE): value for key, value in security_labels.items() if key.startswith(_SOURCE)}
    return Identity(
        plain.get(NAMESPACE_LABEL, ""),
        {key: value for key, value in plain.items() if not key.startswith("io.cilium.")},
        {key.removeprefix(NAMESPACE_LABELS): value for key, value in plain.items() if key.startswith(NAMESPACE_LABELS)},
    )


class IpCache:
    """All addresses of CiliumEndpoints and all CiliumIdentities, now and at earlier instants."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._entries: dict[str, History[tuple[tuple[str, Entry], ...]]] = {}
        self._identities: dict[int, History[Identity | None]] = {}
        ctx.cluster[CILIUM_IDENTITY].index("labels", _labels_key)
        ctx.cluster[CILIUM_ENDPOINT].index("owner", owning_pod)
        ctx.cluster[CILIUM_ENDPOINT].on_change(self._endpoint_changed)
        ctx.cluster[CILIUM_IDENTITY].on_change(self._identity_changed)

    def entry(self, address: str, when: float) -> Entry | None:
        """What an agent that has seen everything up to `when` has for an address: the latest endpoint counts."""
        history = self._entries.get(address)
        found = history.at(when) if history is not None else ()
        return found[-1][1] if found else None

    def identity(self, address: str, when: float) -> Identity | None:
        """Who has an address; None for a stranger, and for one whose identity nobody has described."""
        entry = self.entry(address, when)
        history = self._identities.get(entry.identity) if entry is not None else None
        return history.at(when) if history is not None else None

    def _endpoint_changed(self, old: Object | None, new: Object | None) -> None:
        now = self._ctx.now()
        before, after = _entries(old), _entries(new)
        if before == after:
            return
        uid = meta.uid(new or old or {"metadata": {}})
        for address in before.keys() | after.keys():
            history = self._entries.setdefault(address, History(()))
            kept = tuple(one for one in history.now if one[0] != uid)
            history.put(now, (*kept, (uid, after[address])) if address in after else kept)
        self._ctx.net.everywhere.note(now)

    def _identity_changed(self, old: Object | None, new: Object | None) -> None:
        name = meta.name(new or old or {"metadata": {"name": ""}})
        if not name.isdigit():
            return
        now = self._ctx.now()
        labels = new.get("security-labels") or {} if new is not None else None
        known = identity_of(labels) if labels is not None else None
        self._identities.setdefault(int(name), History(None)).put(now, known)
        self._ctx.net.everywhere.note(now)


def owning_pod(endpoint: Object) -> str:
    """The uid of the pod that an endpoint belongs to, empty when it names none."""
    owners = endpoint["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner["kind"] == "Pod"), "")


def _labels_key(identity: Object) -> str:
    return json.dumps(identity.get("security-labels") or {}, sort_keys=True)


def _entries(endpoint: Object | None) -> dict[str, Entry]:
    """The addresses of a CiliumEndpoint's status."""
    status = (endpoint or {}).get("status") or {}
    networking = status.get("networking") or {}
    entry = Entry(int((status.get("identity") or {}).get("id") or 0), str(networking.get("node", "")))
    pairs = networking.get("addressing") or ()
    return {str(pair["ipv4"]): entry for pair in pairs if pair.get("ipv4")}
