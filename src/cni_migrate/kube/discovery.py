"""Where a kind is served, when the table in `paths` does not say."""

from cni_migrate.core.objects import ObjectRef
from cni_migrate.errors import ClusterError
from cni_migrate.kube import paths
from cni_migrate.kube.request import Client


class Places:
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
        if not answer.ok:
            raise ClusterError(f"discovery of {api_version} failed: {answer.message}")
        for one in answer.object.get("resources") or ():
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
