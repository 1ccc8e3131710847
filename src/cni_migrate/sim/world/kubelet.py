"""All kubelets: they start the pods bound to their nodes, report them, and end those that are to be deleted.

A kubelet that is down does nothing and reports nothing; it takes up what it missed when it is back. A pod that
cannot start waits for its node to change: nothing is polled, so that a waiting world costs nothing.
"""

import contextlib
from collections.abc import Iterable

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta, podevents, podstatus, probes, sandbox
from cni_migrate.sim.world.ciliumobjects import make_endpoint
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import Host, Plane
from cni_migrate.sim.world.kinds import NODE, POD
from cni_migrate.sim.world.programs import Health, Program, Run

_LONGEST_BACKOFF = 300.0
LEAST_GRACE = 2.0
"""Seconds that containers get to end however short the grace period is, also when the object was taken away at once
(kubelet: `minimumGracePeriodInSeconds`; seen in containerd's log: "StopContainer … with timeout 2 (s)")."""


class Kubelets:
    """The kubelets of all nodes, one `Run` per pod."""

    def __init__(self, ctx: Context, programs: Iterable[Program]) -> None:
        self._ctx = ctx
        self._programs = tuple(programs)
        self._ordinary = Program(ctx)
        self._pulled: set[tuple[str, str]] = set()
        self._blocked: dict[str, set[str]] = {}
        self.runs: dict[str, Run] = {}
        """Every pod on a node, by uid, until its containers are gone."""
        self.by_node: dict[str, dict[str, Run]] = {}
        self.adopting = False
        """While True, Running pods are taken over as they are instead of being started."""
        for name, handler in (
            ("kubelet.start", self._start),
            ("kubelet.stop", self._stop),
            ("kubelet.resync", self._resync),
            ("kubelet.unheard", self._unheard),
            ("program", self._step),
        ):
            ctx.work.handle(name, handler)
        ctx.cluster[POD].on_change(self._changed)
        ctx.net.on_host(lambda host: host.on_change(self._host_changed))

    def on_node(self, node: str) -> list[Run]:
        """The runs of a node, oldest first."""
        return list(self.by_node.get(node, {}).values())

    # -- what the API says

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            run = self.runs.get(meta.uid(old or {"metadata": {}}))
            if run is not None:
                run.stopping = True
                self._later_stop(run, gone=True)
            return
        node = meta.node_of(new)
        run = self.runs.get(meta.uid(new))
        if run is None:
            host = self._ctx.host(node) if node else None
            if host is None or meta.finished(new):
                return
            run = self._admit(new, host)
        run.pod = new
        if meta.terminating(new) and not run.stopping:
            run.stopping = True
            self._later_stop(run)

    def _admit(self, pod: Object, host: Host) -> Run:
        run = Run(meta.uid(pod), pod, host, self._program(pod))
        self.runs[run.uid] = run
        self.by_node.setdefault(host.name, {})[run.uid] = run
        if self.adopting and (pod.get("status") or {}).get("phase") == "Running":
            self._adopt(run)
        elif host.plane.kubelet:
            self._later_start(run)
        return run

    def _program(self, pod: Object) -> Program:
        return next((program for program in self._programs if program.runs(pod)), self._ordinary)

    def _adopt(self, run: Run) -> None:
        """A pod that runs already: its images are on the node, its network is as its address says."""
        run.started, run.ready = True, meta.ready(run.pod)
        for image in self._images(run.pod):
            self._pulled.add((run.host.name, image))
        address = (run.pod.get("status") or {}).get("podIP", "")
        run.sandbox = sandbox.adopted(run.pod, run.host, address)
        self._ctx.net.add(run.sandbox)
        if run.program is not None:
            run.program.adopt(run)

    # -- starting

    @staticmethod
    def _images(pod: Object) -> list[str]:
        return [c.get("image", "") for c in pod["spec"].get("containers") or ()]

    def _later_start(self, run: Run) -> None:
        ctx, node = self._ctx, run.host.name
        seconds = ctx.timings.pod_start
        missing = {(node, image) for image in self._images(run.pod)} - self._pulled
        if missing:
            seconds += ctx.timings.image_pull
            self._pulled |= missing
        seconds = ctx.about(seconds, "start", *meta.key(run.pod), run.attempt) * ctx.faults.slowness(node)
        ctx.work.add_after(seconds, "kubelet.start", run.uid, run.attempt)

    def _alive(self, uid: str, attempt: int) -> Run | None:
        """The run, if its kubelet may work on it."""
        run = self.runs.get(uid)
        if run is None or run.stopping or run.ended or run.attempt != attempt or not run.host.plane.kubelet:
            return None
        return run

    async def _start(self, uid: str, attempt: int) -> None:
        """Make the sandbox, start the containers."""
        run = self._alive(uid, attempt)
        if run is None:
            return
        if run.sandbox is None and not await self._make_sandbox(run):
            return
        run.started = True
        crash = self._ctx.faults.crash(run)
        if crash:
            await self._apply(run, Health(crashed=crash))
        elif run.program is not None:
            await self._apply(run, await run.program.begin(run))

    async def _make_sandbox(self, run: Run) -> bool:
        ctx, host = self._ctx, run.host
        try:
            if meta.host_network(run.pod):
                made = sandbox.host_sandbox(run.pod, host, ctx.now())
            else:
                node = ctx.cluster[NODE].get(host.name) or {"spec": {}}
                made = sandbox.add(run.pod, host, ctx.now(), node["spec"].get("podCIDR", ""))
        except sandbox.CniError as error:
            self._blocked.setdefault(host.name, set()).add(run.uid)
            if not run.waiting:
                run.waiting = str(error)
                status = podstatus.creating(run.pod, host_ip=host.address, message=str(error), now=ctx.stamp())
                await ctx.cluster.patch_status(POD, run.pod, status)
                await podevents.tell(ctx, run.pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            return False
        run.waiting = ""
        run.sandbox = made
        ctx.net.add(made)
        if made.cilium:
            await make_endpoint(ctx, made)
        return True

    def _host_changed(self, host: Host, before: Plane, after: Plane) -> None:
        """Whatever waits for the node tries again soon: sandboxes to be made or removed."""
        waiting = self._blocked.get(host.name)
        if waiting and after.kubelet:
            self._ctx.work.add_after(self._ctx.timings.sandbox_retry, "kubelet.resync", host.name)

    async def _resync(self, node: str) -> None:
        """Try again what waits on a node."""
        waiting = self._blocked.pop(node, set())
        for uid in [uid for uid in self.by_node.get(node, ()) if uid in waiting]:
            run = self.runs.get(uid)
            if run is not None and run.stopping:
                await self._stop(uid)
            elif run is not None:
                await self._start(uid, run.attempt)

    # -- health

    async def _step(self, uid: str, attempt: int, name: str) -> None:
        run = self.runs.get(uid)
        if run is None or run.stopping or run.attempt != attempt or not run.host.plane.powered or run.program is None:
            return
        if name == "restart":
            await self._start(uid, attempt)
        else:
            await self._apply(run, await run.program.step(run, name))

    async def recheck(self, run: Run) -> None:
        """Report again after a fault has begun or ended."""
        if not run.started or run.stopping or run.ended:
            return
        crash = self._ctx.faults.crash(run)
        if crash:
            if run.program is not None:
                await run.program.end(run, graceful=False)
            await self._apply(run, Health(crashed=crash))
        elif run.waiting:
            self._restart(run, 1.0)
        elif run.memory.get("healthy"):
            await self._apply(run, Health(ready=True))

    async def _apply(self, run: Run, health: Health | None) -> None:
        """Report what a program said, with one patch and only when it is news."""
        if health is None or run.ended:
            return
        if health.exit_code is not None:
            await self._finish(run, health)
        elif health.crashed:
            await self._crashed(run, health.crashed)
        else:
            run.memory["healthy"] = health.ready
            run.waiting = ""
            heard = not probes.unheard(run, "readinessProbe", "startupProbe")
            ready = health.ready and heard and not self._ctx.faults.never_ready(run)
            await self.report(run, ready=ready)
            if health.ready and not ready and run.host.plane.kubelet:
                await podevents.tell(self._ctx, run.pod, "Unhealthy", "Readiness probe failed: no answer in time")
            if probes.unheard(run, "livenessProbe"):
                self._ctx.work.add_after(probes.patience(run), "kubelet.unheard", run.uid, run.attempt, background=True)

    async def report(self, run: Run, *, ready: bool) -> None:
        """Write Running and Ready, unless the API says so already."""
        status = run.pod.get("status") or {}
        address = run.sandbox.ip if run.sandbox is not None else ""
        states = status.get("containerStatuses") or ()
        same = status.get("podIP") == address and all("running" in entry["state"] for entry in states) and bool(states)
        run.ready = ready
        if not run.host.plane.kubelet or (same and meta.ready(run.pod) == ready and status["phase"] == "Running"):
            return
        body = podstatus.running(
            run.pod,
            host_ip=run.host.address,
            pod_ip=address,
            ready=ready,
            restarts=run.restarts,
            now=self._ctx.stamp(),
        )
        await self._ctx.cluster.patch_status(POD, run.pod, body)

    async def _unheard(self, uid: str, attempt: int) -> None:
        """The liveness probe has had no answer for too long: the container is killed and starts again."""
        run = self._alive(uid, attempt)
        if run is None or not probes.unheard(run, "livenessProbe"):
            return
        run.restarts += 1
        if run.program is not None:
            await run.program.end(run, graceful=True)
        body = podstatus.running(
            run.pod,
            host_ip=run.host.address,
            pod_ip=run.sandbox.ip if run.sandbox is not None else "",
            ready=False,
            restarts=run.restarts,
            now=self._ctx.stamp(),
        )
        await self._ctx.cluster.patch_status(POD, run.pod, body)
        await self._start(uid, attempt)

    async def _crashed(self, run: Run, message: str) -> None:
        backoff = min(self._ctx.timings.crash_backoff * 2 ** min(run.restarts, 5), _LONGEST_BACKOFF)
        run.ready = False
        if run.waiting != message and run.host.plane.kubelet:
            run.waiting = message
            body = podstatus.crashing(
                run.pod,
                host_ip=run.host.address,
                pod_ip=run.sandbox.ip if run.sandbox is not None else "",
                restarts=run.restarts,
                message=message,
                now=self._ctx.stamp(),
            )
            await self._ctx.cluster.patch_status(POD, run.pod, body)
            await podevents.tell(self._ctx, run.pod, "BackOff", f"Back-off restarting failed container: {message}")
        self._restart(run, backoff)

    def _restart(self, run: Run, seconds: float) -> None:
        """The container starts again in the same sandbox."""
        run.restarts += 1
        self._ctx.work.add_after(seconds, "program", run.uid, run.attempt, "restart", background=True)

    async def _finish(self, run: Run, health: Health) -> None:
        """The containers ended for good; their sandbox goes, the pod object stays."""
        run.ended = True
        body = podstatus.ended(
            run.pod,
            host_ip=run.host.address,
            pod_ip=run.sandbox.ip if run.sandbox is not None else "",
            exit_code=health.exit_code or 0,
            message=health.message,
            now=self._ctx.stamp(),
        )
        await self._ctx.cluster.patch_status(POD, run.pod, body)
        if run.sandbox is not None:
            with contextlib.suppress(sandbox.CniError):
                sandbox.remove(run.sandbox, run.host)
            self._ctx.net.end(run.sandbox, self._ctx.now())

    # -- stopping

    def _later_stop(self, run: Run, *, gone: bool = False) -> None:
        if not run.host.plane.kubelet:
            return
        timings = self._ctx.timings
        grace = max(LEAST_GRACE, float(run.pod["metadata"].get("deletionGracePeriodSeconds", 0 if gone else 30)))
        wanted = max(
            self._ctx.about(timings.pod_stop, "stop", *meta.key(run.pod)), timings.pod_stop_fraction * grace
        ) * self._ctx.faults.slowness(run.host.name)
        seconds = min(grace, wanted) if run.started and not run.ended else 0.1
        self._ctx.work.add_after(seconds, "kubelet.stop", run.uid)

    async def _stop(self, uid: str) -> None:
        """The containers have ended: remove the sandbox and confirm the deletion."""
        run = self.runs.get(uid)
        if run is None or not run.stopping or not run.host.plane.kubelet:
            return
        if run.started and not run.memory.get("stopped"):
            run.memory["stopped"] = True
            if run.program is not None and not run.ended:
                await run.program.end(run, graceful=True)
        if run.sandbox is not None:
            try:
                sandbox.remove(run.sandbox, run.host)
            except sandbox.CniError:
                self._blocked.setdefault(run.host.name, set()).add(uid)
                return
            self._ctx.net.end(run.sandbox, self._ctx.now())
            run.sandbox = None
        run.ended = True
        await self._ctx.cluster.delete(POD, run.pod, grace=0)
        self.runs.pop(uid, None)
        self.by_node[run.host.name].pop(uid, None)
        if self._blocked.get(run.host.name):
            self._ctx.work.add_after(self._ctx.timings.sandbox_retry, "kubelet.resync", run.host.name)

    # -- the node

    async def lose_power(self, node: str) -> None:
        """Everything on the node stops at once; the API is not told."""
        for run in self.on_node(node):
            if run.started and run.program is not None and not run.ended:
                await run.program.end(run, graceful=False)
            if run.sandbox is not None:
                self._ctx.net.end(run.sandbox, self._ctx.now())
            run.attempt += 1

    async def resume(self, node: str, *, rebooted: bool) -> None:
        """The kubelet is back: what it missed is done, and after a reboot every pod starts anew."""
        for run in self.on_node(node):
            if run.stopping:
                self._later_stop(run)
            elif run.ended:
                continue
            elif rebooted and run.started:
                await self._restart_after_boot(run)
            elif not run.started:
                self._later_start(run)
            elif run.waiting:
                self._restart(run, 1.0)  # a restart that came due meanwhile was lost with the kubelet
            else:
                await self.report(run, ready=run.ready)

    async def _restart_after_boot(self, run: Run) -> None:
        """The old sandbox is cleaned up with the configuration of this moment; the pod gets a new one."""
        if run.sandbox is not None:
            with contextlib.suppress(sandbox.CniError):
                sandbox.remove(run.sandbox, run.host)
        run.restarts += 1
        run.sandbox, run.started, run.ready, run.waiting = None, False, False, ""
        if meta.ready(run.pod):
            body = {"conditions": podstatus.not_ready(run.pod, self._ctx.stamp())}
            await self._ctx.cluster.patch_status(POD, run.pod, body)
        self._later_start(run)
