"""Pages of pods' programs, as the API server's proxy fetches them: the agents' `/report`, and nothing else."""

from collections.abc import Mapping
from typing import Final

from cni_migrate.sim.apiserver import podproxy
from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.world import World

PORT: Final = 8080
KEPT: Final = 24
"""So many rounds an agent keeps for `/report`."""

SHOWN: Final = 12
"""So many it shows unless it is told how many."""


def page(world: World, pod: Object, port: int, path: str, query: Mapping[str, str]) -> tuple[str, str] | None:
    """The page and its content type; None when no program of the pod has it.

    The lines are those of the agent's log. The API server is taken to reach a pod that its own node reaches.

    Raises:
        ApiError: the pod does not answer.
    """
    agent = world.agents.agents.get(meta.uid(pod))
    if agent is None or port != PORT or path != "/report":
        return None
    now = world.ctx.now()
    if agent.sandbox is None or agent.ended <= now:
        raise podproxy.unreachable(pod, port, "connect: connection refused")
    if world.network.to_host(agent.sandbox, world.host(agent.node), now):
        raise podproxy.unreachable(pod, port, "i/o timeout")
    asked = query.get("lines", "")
    lines = min(KEPT, max(1, int(asked))) if asked.isdecimal() else SHOWN
    numbers = world.knet.rounds(agent)[-lines:]
    return "".join(f"{world.knet.line(agent, number)}\n" for number in numbers), "application/x-ndjson"
