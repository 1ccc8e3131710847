"""Agents whose reports cannot be dated: which clock is wrong, in words. Pure."""

from collections.abc import Sequence

from cni_migrate.config import Config
from cni_migrate.core.connectivity.diagnosis import Expected, node_of
from cni_migrate.core.model.rounds import GateReading

SKEW = 2.0
"""Seconds by which the clocks of the nodes and of this program may differ before an agent counts as silent."""


def wrong_clock(
    silent: Sequence[tuple[str, str]], reading: GateReading, expected: Expected, config: Config
) -> tuple[str, frozenset[str]]:
    """What clock is wrong, in words or '', and the silent agents that this explains.

    When the newest reports of the agents of all nodes are equally old, these have not all stopped in one moment: this
    machine's own clock is wrong.
    """
    ages = {
        agent: (reading.at - reading.rounds[agent][-1].at).total_seconds()
        for agent, _ in silent
        if reading.rounds.get(agent)
    }
    if not ages:
        return "", frozenset()
    usual = 3 * config.knet.interval + config.knet.timeout + SKEW
    if len(ages) == len(expected) and _nodes(ages) > 1 and max(ages.values()) - min(ages.values()) <= usual:
        off = min(ages.values(), key=abs)
        where = "ahead of" if off > 0 else "behind"
        text = f"this machine's clock is about {abs(off):.0f} s {where} those of all nodes: set it by NTP"
        return text, frozenset(ages)
    ahead = {agent: -age for agent, age in ages.items() if age < -SKEW}
    if not ahead:
        return "", frozenset()
    names = sorted({node_of(agent) for agent in ahead})
    most = max(ahead.values())
    if len(names) == 1:
        return f"the clock of node {names[0]} is {most:.1f} s ahead of this machine's: set it by NTP", frozenset(ahead)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    which = f"the clocks of nodes {', '.join(names[:4])}{more}"
    return f"{which} are up to {most:.1f} s ahead of this machine's: set them by NTP", frozenset(ahead)


def _nodes(agents: dict[str, float]) -> int:
    return len({node_of(agent) for agent in agents})
