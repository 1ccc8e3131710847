"""A status as people read it: nodes, history, summary; and its machine-readable forms."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from cni_migrate.cli.ui import colours, output
from cni_migrate.cli.ui.typeable import typeable_text
from cni_migrate.core.model.leftovers import Leftover, commands
from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.model.record import Entry
from cni_migrate.core.model.words import many
from cni_migrate.core.reports.status import Left, Network, NodeStatus, StatusView


def show(to: Console, view: StatusView, form: str, now: datetime) -> None:
    """Print a status in a form: table, wide, json or yaml."""
    if form == "json":
        output.as_json(view.model_dump(mode="json", by_alias=True))
    elif form == "yaml":
        output.as_yaml(view.model_dump(mode="json", by_alias=True))
    else:
        parts = parts_of(view, now, wide=form == "wide")
        for part in parts:
            if isinstance(part, Text):
                output.say(to, part)
            else:
                output.show_table(to, part)


def show_history(to: Console, lines: Iterable[Entry]) -> None:
    """Print lines of history, each with its day and time in this machine's zone."""
    for line in lines:
        output.say(to, Text(f"{line.at.astimezone():%Y-%m-%d %H:%M:%S}  {line.what}"))


def rendered(view: StatusView, now: datetime, *, wide: bool = False) -> RenderableType:
    """A status as one thing to draw."""
    parts = parts_of(view, now, wide=wide)
    return Group(*(typeable_text(part) if isinstance(part, Text) else part for part in parts))


def parts_of(view: StatusView, now: datetime, *, wide: bool = False) -> list[Any]:
    """A status as texts and a table: nodes, history, summary; what matters most is nearest the prompt."""
    if view.closed_record is not None:
        return [Text(_rolled_back(view, now)), *_next(view)]
    if not view.begun:
        return [Text("There is no record of a migration in this cluster."), *_next(view)]
    parts: list[Any] = [_table(view, now, wide=wide), Text("")]
    if lines := [line for line in view.history if not _said(line.what, view)]:
        parts += [Text(f"{output.clock(line.at, now)}  {line.what}", style=colours.QUIET) for line in lines[-5:]]
        parts.append(Text(""))
    parts += _summary(view, now)
    parts += _next(view)
    return parts


def _said(line: str, view: StatusView) -> bool:
    """Whether a line of history only tells what still holds a node: that is told by the node."""
    return any(node.held and line.endswith(f"held: {node.held}") for node in view.nodes)


def _rolled_back(view: StatusView, now: datetime) -> str:
    when = f" at {output.clock(view.rolled_back, now)}" if view.rolled_back is not None else ""
    return (
        f"The migration with {view.strategy} was rolled back{when}: the cluster is as it was found.\n"
        f"Its record is kept as ConfigMap {view.closed_record}; the next run begins anew."
    )


def _table(view: StatusView, now: datetime, *, wide: bool) -> Any:
    headers = ["NODE", "STATE", "STEP", "SINCE", "RETRIES", "PODS", "NOTE"]
    if wide:
        headers[6:6] = ["SENT", "LOST", "STALL"]
    made = output.table(*headers)
    for node in view.nodes:
        cells: list[Any] = [
            node.name,
            output.state(node.state, held=node.held is not None),
            f"{node.event}/{node.step}" if node.event else "-",
            output.age(node.since, now) or "-",
            str(node.retries) if node.retries else "-",
            pods(node.network),
        ]
        if wide:
            gate = node.gate
            cells += [str(gate.sent), str(gate.lost), f"{gate.stall_ms:.0f}ms"] if gate else ["-", "-", "-"]
        made.add_row(*cells, Text(_note(node), style=colours.BAD if node.held else ""))
    return made


def pods(network: Network) -> str:
    """A node's pods by network, in one cell."""
    counts = (("canal", network.canal), ("dual", network.dual), ("cilium", network.cilium), ("none", network.none))
    return ", ".join(f"{number} {name}" for name, number in counts if number) or "-"


def _note(node: NodeStatus) -> str:
    if node.gone:
        return "gone"
    parts = [
        f"HELD: {node.held}" if node.held else "",
        "skipped" if node.skipped else "",
        "" if node.ready else "NotReady",
        "cordoned" if node.cordoned and not node.event else "",
        "rolled back" if node.rolled_back and node.state in (NodeState.CANAL, NodeState.DUAL) else "",
    ]
    return output.joined(parts) or node.about


def _summary(view: StatusView, now: datetime) -> list[Text]:
    total = sum(view.summary.values())
    counts = ", ".join(f"{number} {state}" for state, number in view.summary.items())
    back = " (rolling back)" if view.direction == "back" else ""
    style = colours.GOOD if view.phase is Phase.DONE else colours.HEAD
    head = (f"phase {view.phase}{back}", style)
    lines = [Text.assemble(head, f" with {view.strategy}, {many(total, 'node')}: {counts}")]
    if view.step:
        lines.append(Text(f"step {view.step} since {output.age(view.since, now)}: {view.about}"))
    if view.held is not None:
        lines.append(Text(f"HELD: {view.held.why}", style=colours.BAD))
    if view.paused:
        lines.append(Text(f"paused since {view.paused}: no further node begins", style=colours.CAUTION))
    if view.driver is not None:
        alive = "" if view.driver.alive else ", but it is not alive any more"
        lines.append(Text(f"driven by {view.driver.holder} since {_since(view.driver.since, now)}{alive}"))
    if (out := out_of_service(view)) and (view.driver is None or not view.driver.alive):
        lines.append(Text(f"{out}; nobody is at work on {'them' if ', ' in out else 'it'}", style=colours.CAUTION))
    lines += _way_back(view)
    lines += _eta(view, now)
    lines += audit_lines(view)
    return lines


def out_of_service(view: StatusView) -> str:
    """The nodes that are out of service by the migration's hand, in words, or ''."""
    names = [node.name for node in view.nodes if node.out_of_service]
    return f"{output.listed(names)} {'is' if len(names) == 1 else 'are'} still cordoned" if names else ""


def _way_back(view: StatusView) -> list[Text]:
    """Until when there is a way back, once it matters: when the last node is on its way, and in clean-up."""
    left = set(view.summary) - {NodeState.MIGRATED}
    if view.phase is Phase.CLEANING or (view.phase is Phase.MIGRATING and not left):
        if not view.way_back:
            return [Text(f"behind the point of no return ({view.point_of_no_return}): there is no way back")]
        if view.direction == "forward":
            return [Text(f"`migrate rollback` is possible until clean-up's step {view.point_of_no_return}")]
    return []


def _since(text: str, now: datetime) -> str:
    """A Lease's instant in this machine's zone."""
    try:
        return output.clock(datetime.fromisoformat(text), now)
    except ValueError:
        return text


def _eta(view: StatusView, now: datetime) -> list[Text]:
    """When it will be done, or how much work is left while nobody does it."""
    if not view.eta_seconds or view.phase not in (Phase.ATTACHING, Phase.MIGRATING):
        return []
    alive = view.driver is not None and view.driver.alive
    if alive and not view.paused:
        return [Text(f"all nodes migrated in {output.ending(view.eta_seconds, now)}")]
    left = output.duration(view.eta_seconds)
    nobody = "" if view.driver is not None else "nobody drives it now; "
    return [Text(f"{nobody}about {left} of work left until all nodes are migrated")]


def audit_lines(view: StatusView) -> list[Text]:
    """The audit's outcome, after the end."""
    if view.audit is None:
        return []
    if view.audit:
        return [Text(f"audit: {problem}", style=colours.BAD) for problem in view.audit]
    if view.left_unread:
        return [
            Text("audit: hosts clean; what Canal has left in the API could not be looked at", style=colours.CAUTION),
            Text(f"  {view.left_unread}"),
        ]
    if not view.left:
        return [
            Text("audit: clean: no cordon, taint or label is left, no pod is on the old network", style=colours.GOOD)
        ]
    return list(_left_lines(view.left))


def left_in_words(left: Sequence[Left]) -> str:
    """How many objects, and of which kinds."""
    kinds = Counter(one.object.split("/")[-3] for one in left)
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return f"{many(len(left), 'object')} of Canal {'is' if len(left) == 1 else 'are'} left in the API: {listed}"


def _left_lines(left: Sequence[Left]) -> Iterator[Text]:
    yield Text(f"audit: hosts clean; {left_in_words(left)}", style=colours.CAUTION)
    free = [Leftover(ObjectRef.parse(one.object)) for one in left if not one.owner and not one.kept]
    yield from (Text(f"  {command}") for command in commands(free))
    for one in left:
        if one.owner:
            yield Text(f"  {one.command}  # {one.owner} keeps it and may make it again: take it from there first")
        elif one.kept:
            yield Text(f"  {one.command}  # {one.kept}")
    if free:
        yield Text(f"  or: migrate cleanup --remove-leftovers  ({many(len(free), 'object')} that nobody else uses)")


def _next(view: StatusView) -> list[Text]:
    return [Text.assemble(("next: ", colours.NEXT), view.next)] if view.next else []
