"""A plan as people read it: the sum, what is in the way, the nodes in order, the pods that matter, the steps."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from cni_migrate.cli.ui import colours, output
from cni_migrate.cli.ui.fitting import Rows
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.reports.plan import PlannedNode, PlanView

MOST: Final = 40
"""So many lines of a kind are read; more are put together."""


def show(to: Console, view: PlanView, *, steps: bool) -> None:
    """Print a plan; what is too much to read is put together, and the steps come only when asked for."""
    output.say(to, Text(headline(view), style=colours.HEAD))
    output.say(to, Text(way_back(view)))
    _show_blockers(to, view)
    to.print()
    output.show_table(to, node_table(view))
    _show_pods(to, view)
    if steps:
        to.print()
        _show_every_step(to, view)


def _show_blockers(to: Console, view: PlanView) -> None:
    if not view.blockers:
        return
    count = output.plural(len(view.blockers), "thing")
    to.print()
    output.say(to, Text(f"{count} would hold this run", style=colours.BAD))
    for blocker in view.blockers[:MOST]:
        output.say(to, blocker, "- ", by=2)
    if len(view.blockers) > MOST:
        output.say(to, f"and {len(view.blockers) - MOST} more: -o json has all")


def _show_every_step(to: Console, view: PlanView) -> None:
    for event in view.before:
        _show_steps(to, f"once, {event.name}", event)
    shown: set[str] = set()
    for node in view.nodes:
        for event in node.events:
            if event.name not in shown:
                shown.add(event.name)
                _show_steps(to, f"each node, {event.name}{', stays in service' if event.in_service else ''}", event)
    for event in view.after:
        _show_steps(to, f"once, {event.name}", event)


def headline(view: PlanView) -> str:
    """The plan in one line."""
    return f"strategy {view.strategy}, from phase {view.phase}, {view.at_once} out of service at once; {amounts(view)}"


def amounts(view: PlanView) -> str:
    """How much it is: nodes, pods that move, and about how long it takes, by what."""
    to_go = sum(1 for node in view.nodes if node.goes)
    if not to_go and view.before:
        return "preparation only, no node to go"
    if not to_go:
        return "no node to go, clean-up is left" if view.after else "no node to go"
    moving = f"{output.plural(to_go, 'node')} to go, {output.plural(view.moving, 'pod')} will move"
    if view.seconds == 0:
        return moving
    if view.seconds is None:
        return f"{moving}, how long is not known while something is held"
    return f"{moving}, about {output.duration(max(60, view.seconds))} by {view.seconds_by}"


def following(view: PlanView, scope: str = "", *, refused: bool = False) -> str:
    """What to type after the plan; `scope`: the options that it was made for. `refused`: the checks would refuse it."""
    if refused:
        return (
            f"fix what is named above, then `migrate run{scope}`; what you judge to be no trouble: --waive ID[:OBJECT]"
        )
    if view.blockers and view.phase is Phase.PREFLIGHT:
        return "migrate preflight, which says what to do about it"
    if view.blockers:
        return f"fix what is named above, then `migrate run{scope}`"
    return (
        f"migrate run{scope}"
        if view.before or view.after or any(node.goes for node in view.nodes)
        else "migrate status"
    )


def way_back(view: PlanView) -> str:
    """Up to where there is a way back, in one line."""
    if not view.way_back:
        return f"behind the point of no return ({view.point_of_no_return}): there is no way back"
    here = "" if view.after else "; this run ends before it"
    return f"point of no return: `migrate rollback` is possible until clean-up's step {view.point_of_no_return}{here}"


def node_table(view: PlanView) -> Rows:
    """The nodes in order; many that are alike and follow one another are one line."""
    made = output.table("#", "NODE", "ZONE", "STATE", "EVENTS", "MOVE", "STAY", "NOTE")
    number = 1
    for nodes in _together(view.nodes):
        node = nodes[0]
        name = node.name if len(nodes) == 1 else f"{node.name} to {nodes[-1].name} ({len(nodes)})"
        made.add_row(
            str(number),
            name,
            node.zone or "-",
            output.state(node.state),
            " > ".join(event.name for event in node.events) or "-",
            output.plural(sum(1 for one in nodes for pod in one.pods if pod.moves), "pod"),
            output.plural(sum(1 for one in nodes for pod in one.pods if pod.verdict == "stays"), "pod"),
            _note(nodes),
        )
        number += len(nodes)
    return made


def _together(nodes: Sequence[PlannedNode]) -> Iterator[list[PlannedNode]]:
    if len(nodes) <= MOST:
        yield from ([node] for node in nodes)
        return
    for _, found in groupby(nodes, key=_alike):
        yield list(found)


def _alike(node: PlannedNode) -> tuple[object, ...]:
    refused = any(pod.verdict == "refused" for pod in node.pods)
    events = tuple(event.name for event in node.events)
    return node.zone, node.state, node.control_plane, node.chosen, node.trouble, events, refused


def _note(nodes: Sequence[PlannedNode]) -> Text:
    node = nodes[0]
    refused = sum(1 for one in nodes for pod in one.pods if pod.verdict == "refused")
    closed = sorted({budget for one in nodes for pod in one.pods for budget in pod.budgets})
    parts = [
        "control plane" if node.control_plane else "",
        "" if node.chosen else "not chosen",
        f"not touched: {node.trouble}" if node.trouble else "",
        f"drain refused by {output.plural(refused, 'pod')}" if refused else "",
        f"budgets closed: {output.listed(closed)}" if closed else "",
    ]
    return Text(output.joined(parts), style=colours.BAD if refused or closed or node.trouble else "")


def _show_pods(to: Console, view: PlanView) -> None:
    """The pods that move; where they are many, how many of each namespace."""
    rows = [(node, pod) for node in view.nodes for pod in node.pods if pod.moves]
    if not rows:
        return
    to.print(Text("\nPods that move", style=colours.HEAD))
    if len(rows) > MOST:
        made = output.table("NAMESPACE", "PODS", "NODES", "HOW")
        for namespace in sorted({pod.pod.partition("/")[0] for _, pod in rows}):
            here = [(node, pod) for node, pod in rows if pod.pod.startswith(f"{namespace}/")]
            how = sorted({pod.reason for _, pod in here})
            made.add_row(namespace, str(len(here)), str(len({node.name for node, _ in here})), "; ".join(how))
        output.show_table(to, made)
        return
    made = output.table("NODE", "POD", "HOW")
    for node, pod in rows:
        closed = f"; budget {', '.join(pod.budgets)} allows none now" if pod.budgets else ""
        made.add_row(node.name, pod.pod, Text(f"{pod.reason}{closed}", style=colours.BAD if closed else ""))
    output.show_table(to, made)


def _show_steps(to: Console, title: str, event: Any) -> None:
    output.say(to, Text(title, style=colours.HEAD))
    made = output.table("", "", "")
    first = next((step for step in event.steps if step.irreversible), None)
    for step in event.steps:
        note = " (point of no return)" if step is first else ""
        made.add_row("", step.name, Text(f"{step.about}{note}", style=colours.HEAD if note else ""))
    output.show_table(to, made)


def show_first_turn(to: Console, view: PlanView) -> None:
    """Print what the first decision would do."""
    to.print()
    output.say(to, Text("The first decision would", style=colours.HEAD))
    for effect in view.next_effects[:30] or ("change nothing",):
        output.say(to, effect, "  ", by=4)
    if len(view.next_effects) > 30:
        output.say(to, f"  and {len(view.next_effects) - 30} more")
    for wait in view.next_waits[:10]:
        output.say(to, f"and wait for {wait}", "  ", by=4)
