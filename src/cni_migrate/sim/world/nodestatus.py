"""Writing the status of nodes: conditions, each in as few patches as possible."""

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.kinds import NODE

AGENT_TAINT = "node.cilium.io/agent-not-ready"
"""Cilium's, of nodes on which no agent is Ready."""


def with_condition(node: Object, kind: str, status: str, reason: str, message: str, now: str) -> list[Object] | None:
    """The node's conditions with one of them changed; None when it was like that already."""
    conditions = list((node.get("status") or {}).get("conditions") or ())
    for place, old in enumerate(conditions):
        if old["type"] != kind:
            continue
        if old["status"] == status and old.get("reason") == reason and old.get("message") == message:
            return None
        changed = now if old["status"] != status else old.get("lastTransitionTime", now)
        conditions[place] = _condition(kind, status, reason, message, now, changed)
        return conditions
    return [_condition(kind, status, reason, message, now, now), *conditions]


def _condition(kind: str, status: str, reason: str, message: str, now: str, changed: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": changed,
    }


async def set_condition(ctx: Context, node_name: str, kind: str, status: str, reason: str, message: str) -> None:
    """Set one condition of a node, without a write when nothing changes."""
    while True:
        node = ctx.cluster[NODE].get(node_name)
        if node is None:
            return
        conditions = with_condition(node, kind, status, reason, message, ctx.stamp())
        if conditions is None:
            return
        body = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        if await ctx.cluster.patch(NODE, node, body, subresource="status") is not None:
            return
        if not await _again(ctx, node_name):
            return


async def _again(ctx: Context, node_name: str) -> bool:
    """After a conflict: read the node; False when it is gone."""
    fresh = await ctx.cluster.find(NODE, node_name)
    if fresh is None:
        return False
    ctx.cluster[NODE].put(fresh)
    return True


async def network_available(ctx: Context, node_name: str, reason: str, message: str) -> None:
    """NetworkUnavailable=False: both networks write it, the last one to start is named as the reason."""
    await set_condition(ctx, node_name, "NetworkUnavailable", "False", reason, message)


async def change_taints(ctx: Context, node_name: str, add: list[Object], drop: set[tuple[str, str]]) -> None:
    """Add and remove taints by key and effect, keeping all others, whoever writes at the same time."""
    while True:
        node = ctx.cluster[NODE].get(node_name)
        if node is None:
            return
        old = meta.taints(node)
        present = {(t["key"], t.get("effect", "")) for t in old}
        kept = [t for t in old if (t["key"], t.get("effect", "")) not in drop]
        new = [*kept, *(t for t in add if (t["key"], t.get("effect", "")) not in present)]
        if new == old:
            return
        body = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": new or None}}
        if await ctx.cluster.patch(NODE, node, body) is not None:
            return
        if not await _again(ctx, node_name):
            return
