"""What the API server serves: a group's kinds, and where a kind is when the table in `paths` does not say."""

from typing import Any

from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.kube import paths
from cni_migrate.kube.request import Client
from cni_migrate.kube.transport import Answer


async def served_by(client: Client, group: str, *, deadline: float | None = None) -> frozenset[str]:
    """`group/version/plural` of all that an API group serves; empty when there is no such group.

    Raises:
        ClusterError: the API server would not say.
    """
    answer = await client.request("GET", f"/apis/{group}", deadline=deadline)
    if answer.status == 404:
        return frozenset()
    found: set[str] = set()
    for one in _told(answer, group).get("versions") or ():
        version = str(one["groupVersion"])
        answer = await client.request("GET", paths.root(version), deadline=deadline)
        if answer.status != 404:
            names = (str(each["name"]) for each in _told(answer, version).get("resources") or ())
            found |= {f"{version}/{name}" for name in names if "/" not in name}
    return frozenset(found)


def _told(answer: Answer, what: str) -> dict[str, Any]:
    if not answer.ok:
        raise answer.refusal(f"asking what {what} serves")
    return answer.object


class RESTMapper:
    """The places of kinds: from the table, else from the API server, remembered once found."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[tuple[str, str], paths.Place] = {}

    async def place(self, api_version: str, kind: str) -> paths.Place | None:
        """Where the kind is served, or None when the API server does not serve it.

        Raises:
            ClusterError: the API server would not say.
        """
        place = paths.known(api_version, kind) or self._found.get((api_version, kind))
        if place is not None:
            return place
        answer = await self._client.request("GET", paths.root(api_version))
        if answer.status == 404:
            return None
        for one in _told(answer, api_version).get("resources") or ():
            if one.get("kind") == kind and "/" not in one["name"]:
                found = paths.Place(one["name"], bool(one.get("namespaced", True)))
                return self._found.setdefault((api_version, kind), found)
        return None

    async def collection(self, ref: ObjectRef) -> str | None:
        """The path of the collection that an object belongs to, or None when its kind is not served."""
        place = await self.place(ref.api_version, ref.kind)
        if place is None:
            return None
        return paths.path(ref.api_version, place.plural, namespace=ref.namespace if place.namespaced else "")
