"""Whoever keeps Canal's DaemonSets as they were installed: a Helm controller, an addon manager, GitOps."""

from collections.abc import Iterable

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.kinds import DAEMON_SET


class Owner:
    """Puts the spec of its DaemonSets back, as it was at the start, a while after somebody has changed it.

    One that was deleted is made again. Nobody is told; only the object's next version shows it.
    """

    def __init__(self, ctx: Context, places: Iterable[meta.Key], seconds: float) -> None:
        self._ctx = ctx
        self._seconds = seconds
        self._wanted: dict[meta.Key, Object | None] = dict.fromkeys(places)
        ctx.work.handle("owner.restore", self._restore)
        ctx.cluster[DAEMON_SET].on_change(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        place = meta.key(new or old or {"metadata": {"name": ""}})
        if place not in self._wanted:
            return
        wanted = self._wanted[place]
        if wanted is None:
            self._wanted[place] = new
        elif new is None or new["spec"] != wanted["spec"]:
            self._ctx.work.add_after(self._seconds, "owner.restore", place, background=True)

    async def _restore(self, place: meta.Key) -> None:
        wanted, cluster = self._wanted[place], self._ctx.cluster
        found = cluster[DAEMON_SET].get(place[1], place[0])
        if wanted is None or (found is not None and meta.terminating(found)):
            return
        if found is None:
            metadata = {key: wanted["metadata"][key] for key in ("name", "namespace", "labels")}
            await cluster.create(DAEMON_SET, {"metadata": metadata, "spec": wanted["spec"]})
        elif found["spec"] != wanted["spec"]:
            body: list[Object] = [{"op": "replace", "path": "/spec", "value": wanted["spec"]}]
            await cluster.patch(DAEMON_SET, found, body, patch_type="json")
