"""The Job controller, as far as a run-once Job needs it."""

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.template import pod_from
from cni_migrate.sim.world.kinds import JOB, POD


class Jobs:
    """All Jobs: `completions` pods, `parallelism` at a time; a pod that is lost is replaced."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._jobs: dict[str, meta.Key] = {}
        ctx.work.handle("job", self._sync)
        ctx.cluster[JOB].on_change(self._job_changed)
        ctx.cluster[POD].on_change(self._pod_changed)

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._jobs[meta.uid(new)] = meta.key(new)
            self._ctx.work.add("job", meta.uid(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        owner = meta.controlled_by(pod) if pod is not None else ""
        if owner in self._jobs:
            self._ctx.work.add("job", owner)

    async def _sync(self, uid: str) -> None:
        cluster = self._ctx.cluster
        namespace, name = self._jobs[uid]
        job = cluster[JOB].get(name, namespace)
        if job is None or meta.uid(job) != uid or meta.terminating(job) or meta.condition(job, "Complete"):
            return
        pods = list(cluster[POD].by("owner", uid))
        done = sum((pod.get("status") or {}).get("phase") == "Succeeded" for pod in pods)
        failed = sum((pod.get("status") or {}).get("phase") == "Failed" for pod in pods)
        active = sum(not meta.finished(pod) and not cluster.leaving(pod) for pod in pods)
        wanted = int(job["spec"].get("completions", 1))
        together = int(job["spec"].get("parallelism", 1))
        labels = {"job-name": name, "batch.kubernetes.io/job-name": name}
        for _ in range(min(together, wanted - done) - active):
            if await cluster.create(POD, pod_from(job["spec"]["template"], job, labels=labels)) is None:
                self._ctx.work.add_after(self._ctx.timings.create_retry, "job", uid, background=True)
                break
            active += 1
        await self._status(job, done, failed, active, complete=done >= wanted)

    async def _status(self, job: Object, done: int, failed: int, active: int, *, complete: bool) -> None:
        now = self._ctx.stamp()
        known = job.get("status") or {}
        status: Object = {"active": active or None, "succeeded": done or None, "failed": failed or None}
        if all(known.get(name) == value for name, value in status.items()) and "startTime" in known:
            return
        status["startTime"] = known.get("startTime", now)
        if complete:
            status["completionTime"] = now
            status["conditions"] = [
                {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
                for kind in ("SuccessCriteriaMet", "Complete")
            ]
        await self._ctx.cluster.patch_status(JOB, job, status)
