"""What runs inside pods: a program is recognised by the name of a container and does its work on the pod's host."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import Host

if TYPE_CHECKING:
    from cni_migrate.sim.world.sandbox import Sandbox


@dataclass(slots=True, eq=False)
class Run:
    """One pod as its kubelet knows it."""

    uid: str
    pod: Object
    host: Host
    program: "Program | None" = None
    sandbox: "Sandbox | None" = None
    started: bool = False
    stopping: bool = False
    ended: bool = False
    ready: bool = False
    attempt: int = 0
    restarts: int = 0
    waiting: str = ""
    memory: dict[str, Any] = field(default_factory=dict)
    """What the program keeps while this pod runs."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a program tells its kubelet: ready or not, or crashed with a message, or ended with an exit code."""

    ready: bool = False
    crashed: str = ""
    exit_code: int | None = None
    message: str = ""


class Program:
    """The base of all programs, and what an ordinary workload does: run, be ready, end when told."""

    container = ""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    def runs(self, pod: Object) -> bool:
        """Whether this program is what runs in a pod: by the name of a container, if nothing else is said."""
        return self.container in meta.containers(pod)

    async def begin(self, run: Run) -> Health | None:
        """The containers start (again). None: readiness comes later, from a step."""
        if run.pod["spec"].get("restartPolicy", "Always") != "Always":
            self.after(run, "finish", self.ctx.about(self.ctx.timings.job, "job", run.uid))
        return Health(ready=True)

    async def step(self, run: Run, name: str) -> Health | None:
        """A step that `after` has asked for; not called when the pod is stopping or its node is off."""
        return Health(exit_code=0) if name == "finish" else None

    async def end(self, run: Run, *, graceful: bool) -> None:
        """The containers stop: by SIGTERM, or (not graceful) because the machine lost power."""

    def adopt(self, run: Run) -> None:
        """The pod runs since before the world began: take over, without writing anything."""

    def after(self, run: Run, name: str, seconds: float, *, background: bool = False) -> None:
        """Call `step(run, name)` in a while."""
        self.ctx.work.add_after(seconds, "program", run.uid, run.attempt, name, background=background)
