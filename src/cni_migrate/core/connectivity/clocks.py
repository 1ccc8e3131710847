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
    if not (ahead := {agent: -age for agent, age in ages.items() if age < -SKEW}):
        return _behind(ages, reading, usual)
    names = sorted({node_of(agent) for agent in ahead})
    most = max(ahead.values())
    if len(names) == 1:
        return f"the clock of node {names[0]} is {most:.1f} s ahead of this machine's: set it by NTP", frozenset(ahead)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    which = f"the clocks of nodes {', '.join(names[:4])}{more}"
    return f"{which} are up to {most:.1f} s ahead of this machine's: set them by NTP", frozenset(ahead)


def _behind(ages: dict[str, float], reading: GateReading, usual: float) -> tuple[str, frozenset[str]]:
    """The nodes whose agents answer all others, but date their reports as if they had both stopped long ago."""
    unheard = {node_of(bad.peer) for rounds in reading.rounds.values() if rounds for bad in rounds[-1].bad}
    late: dict[str, list[str]] = {}
    for agent, age in ages.items():
        if age > usual and node_of(agent) not in unheard:
            late.setdefault(node_of(agent), []).append(agent)
    late = {node: agents for node, agents in late.items() if _together([ages[one] for one in agents], usual)}
    if not late or not any(rounds for agent, rounds in reading.rounds.items() if agent not in ages):
        return "", frozenset()
    names = sorted(late)
    most = max(ages[agent] for agents in late.values() for agent in agents)
    which = f"the clock of node {names[0]} is" if len(names) == 1 else f"the clocks of nodes {', '.join(names[:4])} are"
    more = f" and those of {len(names) - 4} more nodes" if len(names) > 4 else ""
    text = f"{which} about {most:.0f} s behind this machine's{more}: set by NTP"
    text += " (others are answered from there, but the reports are dated so)"
    return text, frozenset(agent for agents in late.values() for agent in agents)


def _together(ages: Sequence[float], usual: float) -> bool:
    """Whether both agents of a node are late by the same: they would not have stopped in one moment."""
    return len(ages) > 1 and max(ages) - min(ages) <= usual


def _nodes(agents: dict[str, float]) -> int:
    return len({node_of(agent) for agent in agents})
