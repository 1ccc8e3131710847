"""What the agents report, as people read it: a table of agents, or the picture of who reaches whom."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from cni_migrate.cli.mesh import Seen
from cni_migrate.cli.ui import colours, drawing, output
from cni_migrate.core.connectivity import mesh
from cni_migrate.core.connectivity.gate import Failing, Passed, Pending

MOST_LINES = 20
"""So many broken directions are named; `-o json` has all."""


def show_agents(to: Console, seen: Seen) -> None:
    """Print each agent, then the verdict."""
    table = output.table("NODE", "MESH", "POD", "AGE", "PEERS", "SENT", "LOST", "WORST")
    for agent in mesh.agents(seen.asked, seen.read, seen.verdict):
        table.add_row(
            agent.node,
            agent.mesh,
            agent.pod or "-",
            "-" if agent.age is None else f"{max(0.0, agent.age):.1f}s",
            f"{agent.peers}/{agent.wanted}",
            str(agent.sent),
            str(agent.lost),
            Text(f"silent: {agent.trouble}" if agent.trouble else agent.worst or "-",
                 style=colours.BAD if agent.trouble or (agent.worst and ": " in agent.worst) else ""),
        )  # fmt: skip
    output.show_table(to, table)
    to.print()
    for line in (*_left_out(seen), *_explained(seen)):
        output.say(to, line)


def picture(to: Console, seen: Seen) -> list[Any]:
    """Texts and tables: who reaches whom, and the verdict."""
    parts = drawing.drawn(seen.matrix, to.width)
    return [*parts, Text(""), *_left_out(seen), _headline(seen)]


def show_picture(to: Console, seen: Seen) -> None:
    """Print the picture."""
    for part in picture(to, seen):
        if isinstance(part, Text):
            output.say(to, part)
        else:
            output.show_table(to, part)


def _left_out(seen: Seen) -> Iterator[Text]:
    """A line about the nodes that a migration is working on."""
    if names := seen.asked.left_out:
        yield Text(f"left out, as a migration is working on them: {output.listed(names, 10)}", style=colours.CAUTION)


def _headline(seen: Seen) -> Text:
    style = {Passed: colours.GOOD, Pending: colours.CAUTION, Failing: colours.BAD}[type(seen.verdict)]
    doubtful = isinstance(seen.verdict, Passed) and not seen.proven
    return Text(seen.said, style=colours.CAUTION if doubtful else style)


def _explained(seen: Seen) -> Iterator[Text]:
    """The verdict, and below it what is broken."""
    yield _headline(seen)
    lines = mesh.details(seen.verdict)
    for line in lines[:MOST_LINES]:
        yield Text(f"  {line}")
    if len(lines) > MOST_LINES:
        yield Text(f"  and {len(lines) - MOST_LINES} more: -o json has all")
