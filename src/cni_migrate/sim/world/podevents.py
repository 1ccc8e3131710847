"""The Events that kubelets and the scheduler write on pods that do not come up: what `kubectl describe pod` shows.

One per pod and reason, as the real ones count up; the words are theirs (kubernetes: pkg/kubelet/events/event.go,
pkg/kubelet/prober, pkg/kubelet/kuberuntime).
"""

import zlib

from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context

EVENT = Kind("", "v1", "events", "Event")


async def tell(ctx: Context, pod: Object, reason: str, message: str, component: str = "kubelet") -> None:
    """Write a warning on a pod, once."""
    namespace, name = meta.key(pod)
    event = f"{name}.{zlib.crc32(f'{meta.uid(pod)}/{reason}'.encode()):016x}"
    now = ctx.stamp()
    body: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event, "namespace": namespace},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": name, "uid": meta.uid(pod)},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": component, **({"host": meta.node_of(pod)} if meta.node_of(pod) else {})},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    await ctx.cluster.create(EVENT, body)
