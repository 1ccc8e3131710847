"""A plan as people read it: the nodes in order, the pods that matter, the steps, the way back."""

from typing import Any

from rich.console import Console
from rich.text import Text

from cni_migrate.cli.ui import output
from cni_migrate.core.reports.plan import MOVING, PlannedNode, PlanView
from cni_migrate.strategies import traits


def show(to: Console, view: PlanView, *, steps: bool) -> None:
    """Print a plan: the nodes in order, the pods that matter, and the steps, which most nodes have in common."""
    to.print(Text(headline(view), style="bold"), soft_wrap=True)
    to.print()
    output.show_table(to, node_table(view))
    _show_pods(to, view)
    to.print()
    if steps:
        _show_every_step(to, view)
    to.print(Text(way_back(view)), soft_wrap=True)


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
    chosen = [node for node in view.nodes if node.events]
    return (
        f"strategy {view.strategy}, from phase {view.phase}: {output.plural(len(chosen), 'node')} to go, "
        f"{view.at_once} out of service at once; {amounts(view)}"
    )


def amounts(view: PlanView) -> str:
    """How much it is: nodes, pods that move, and about how long it takes."""
    chosen = [node for node in view.nodes if node.events]
    pods = sum(1 for node in chosen for pod in node.pods if pod.moves)
    minutes = max(1, round(len(chosen) * traits(view.strategy).seconds_per_node / view.at_once / 60))
    nodes = output.plural(len(chosen), "node")
    return f"{nodes}, {output.plural(pods, 'pod')} will move, about {minutes} min with pods that leave at once"


def way_back(view: PlanView) -> str:
    """Up to where there is a way back, in one line."""
    if not view.way_back:
        return f"behind the point of no return ({view.point_of_no_return}): there is no way back"
    here = "" if view.after else "; this run ends before it"
    return f"`migrate rollback` is possible until clean-up's step {view.point_of_no_return}{here}"


def node_table(view: PlanView) -> Any:
    """The nodes in order."""
    made = output.table("#", "NODE", "ZONE", "STATE", "EVENTS", "MOVE", "STAY", "NOTE")
    for number, node in enumerate(view.nodes, 1):
        moving = sum(1 for pod in node.pods if pod.moves)
        staying = sum(1 for pod in node.pods if pod.verdict == "stays")
        made.add_row(
            str(number),
            node.name,
            node.zone or "-",
            output.state(node.state),
            " > ".join(event.name for event in node.events) or "-",
            output.plural(moving, "pod"),
            output.plural(staying, "pod"),
            _note(node),
        )
    return made


def _note(node: PlannedNode) -> Text:
    refused = sum(1 for pod in node.pods if pod.verdict == "refused")
    closed = sorted({budget for pod in node.pods for budget in pod.budgets})
    parts = [
        "control plane" if node.control_plane else "",
        "" if node.chosen else "not chosen",
        f"not touched: {node.trouble}" if node.trouble else "",
        f"drain refused by {output.plural(refused, 'pod')}" if refused else "",
        f"budgets closed: {', '.join(closed)}" if closed else "",
    ]
    return Text(output.joined(parts), style="red" if refused or closed or node.trouble else "")


def _show_pods(to: Console, view: PlanView) -> None:
    """The pods that would stop a drain, and those that move."""
    for title, wanted, style in (("Pods that stop a drain", ("refused",), "red"), ("Pods that move", MOVING, "")):
        rows = [(node, pod) for node in view.nodes for pod in node.pods if pod.verdict in wanted]
        if not rows:
            continue
        to.print(Text(f"\n{title}", style="bold"))
        made = output.table("NODE", "POD", "WHY")
        for node, pod in rows[:40]:
            closed = f"; budget {', '.join(pod.budgets)} allows none now" if pod.budgets else ""
            made.add_row(node.name, pod.pod, Text(f"{pod.reason}{closed}", style=style or ("red" if closed else "")))
        output.show_table(to, made)
        if len(rows) > 40:
            to.print(f"and {len(rows) - 40} more: -o json has all")


def _show_steps(to: Console, title: str, event: Any) -> None:
    to.print(Text(title, style="bold"))
    made = output.table("", "", "")
    made.show_header = False
    first = next((step for step in event.steps if step.irreversible), None)
    for step in event.steps:
        note = " (point of no return)" if step is first else ""
        made.add_row("", step.name, Text(f"{step.about}{note}", style="bold" if note else ""))
    output.show_table(to, made)


def show_first_turn(to: Console, view: PlanView) -> None:
    """Print what the first turn would do."""
    to.print(Text("\nThe first turn would", style="bold"))
    for effect in view.next_effects[:30] or ("change nothing",):
        to.print(Text(f"  {effect}"), soft_wrap=True)
    if len(view.next_effects) > 30:
        to.print(f"  and {len(view.next_effects) - 30} more")
    for wait in view.next_waits[:10]:
        to.print(Text(f"  and wait for {wait}"), soft_wrap=True)
