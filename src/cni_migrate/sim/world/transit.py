"""Which nodes are in transit, as the knet-stress agents hear of it: by the ConfigMap `knet-stress-pace`."""

from bisect import insort
from datetime import UTC, datetime

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.history import History
from cni_migrate.sim.world.kinds import CONFIG_MAP

NAME = "knet-stress-pace"

_NONE: tuple[frozenset[str], float] = (frozenset(), 0.0)


class Transit:
    """What stood in each namespace's ConfigMap when: names, and the time until which they count."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._said: dict[str, History[tuple[frozenset[str], float]]] = {}
        self._times: dict[str, list[float]] = {}
        ctx.cluster[CONFIG_MAP].on_change(self._changed)

    def at(self, namespace: str, when: float) -> frozenset[str]:
        """The nodes that agents of this namespace look at for being in transit."""
        found, until = self._said[namespace].at(when) if namespace in self._said else _NONE
        return found if when < until else frozenset()

    def times(self, namespace: str) -> list[float]:
        """The instants at which that may have changed, or will by itself, in order."""
        return self._times.get(namespace, [])

    def _changed(self, old: Object | None, new: Object | None) -> None:
        namespace, name = meta.key(new or old or {"metadata": {}})
        if name != NAME:
            return
        data = (new or {}).get("data") or {}
        now = self._ctx.now()
        nodes = frozenset(str(data.get("transit", "")).split())
        until = now + self._seconds(str(data.get("until", "")))
        said = self._said.setdefault(namespace, History(_NONE))
        if nodes or said.now[0]:
            times = self._times.setdefault(namespace, [])
            insort(times, now)
            insort(times, until)
        said.put(now, (nodes, until))

    def _seconds(self, text: str) -> float:
        """How long it is until this instant; one that cannot be understood has passed."""
        try:
            until = datetime.fromisoformat(text)
        except ValueError:
            return 0.0
        return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - self._ctx.clock.now()).total_seconds())
