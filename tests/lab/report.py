"""What a migration cost and lost, from its own log, the API server's audit log and the independent probes."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.lab import requests
from tests.lab.driving import steps
from tests.lab.probing import Probing, Tally
from tests.lab.settings import Lab

Spans = dict[str, list[tuple[float, float]]]

_EVENT = re.compile(r"node (\S+): (\w+) done, \w+, ([\d.]+) s")


def spans(lines: list[dict[str, Any]]) -> Spans:
    """When each kind of event was under way, on any node, and each phase that is not made of such events."""
    found: Spans = {}
    phases: list[tuple[float, str]] = []
    for line in lines:
        if line.get("event") != "history":
            continue
        now = datetime.fromisoformat(line["at"]).timestamp()
        event = _EVENT.match(line["what"])
        if event:
            found.setdefault(event[2], []).append((now - float(event[3]), now))
        elif line["what"].startswith("phase "):
            phases.append((now, line["what"].removeprefix("phase ")))
    for (began, name), (ended, _) in zip(phases, [*phases[1:], (float("inf"), "")], strict=True):
        if name not in ("migrating", "done"):
            found.setdefault(name, []).append((began, ended))
    return found


@dataclass
class Cost:
    """What migrating a node cost, preparation and clean-up left out."""

    seconds: float
    requests: float
    drains: float | None
    """None where nobody counted them."""
    all_requests: int
    """Of the whole run."""


def cost(lab: Lab, lines: list[dict[str, Any]], start: int) -> Cost:
    """Of the time in which at least one node was being worked on, and of all requests from the first to the last of it.

    The sweep between two phases is not among the time, as it comes once per cluster. Nor is an attach that takes no node
    out of service (`overlay`): all nodes at once wait for Cilium's agents, which by hand is not counted either.
    """
    asked = requests.of_tool(lab, start)
    events = {"drain", "switch", "release"} | {line["of"] for line in steps(lines, step="cordon")}
    ends = {name: parts for name, parts in spans(lines).items() if name in events}
    nodes = max(1, len(ends.get("release", [])))
    within = [part for parts in ends.values() for part in parts]
    began, ended = min(a for a, _ in within), max(b for _, b in within)
    seconds, until = 0.0, began
    for start_of, end_of in sorted(within):
        seconds += max(0.0, end_of - max(start_of, until))
        until = max(until, end_of)
    working = [one for one in asked if began <= one.at < ended]
    # A drain begins with a cordon; what is not cordoned is not drained.
    cordons = len(steps(lines, step="cordon"))
    return Cost(seconds / nodes, len(working) / nodes, cordons / nodes, len(asked))


def table(probing: Probing, lines: list[dict[str, Any]]) -> str:
    """Per event and kind of probe what was sent and lost between pods that stood, and the longest stall."""
    rows = ["event       probe     sent   lost  longest stall"]
    for (event, kind), tally in sorted(probing.tally(spans(lines)).items()):
        rows.append(f"{event:11} {kind:8} {tally.sent:5} {tally.lost:6}  {tally.stall:5.1f} s")
    agents = of_agents(lines)
    rows.append(f"in gates    agents   {agents.sent:5} {agents.lost:6}  {agents.stall:5.1f} s")
    return "\n".join(rows)


def of_agents(lines: list[dict[str, Any]]) -> Tally:
    """What the tool's own agents sent and lost in all gates of all nodes, as it recorded it."""
    gates = {(line["node"], json.dumps(line["gate"])) for line in lines if line.get("gate") and "node" in line}
    results = [json.loads(gate) for _, gate in gates]
    return Tally(
        sent=sum(gate["sent"] for gate in results),
        lost=sum(gate["lost"] for gate in results),
        stall=max((gate["stall_ms"] for gate in results), default=0.0) / 1000,
    )


def losses(found: dict[tuple[str, str], Tally], *kinds: str) -> list[str]:
    """Every lost probe of these kinds, with the event it fell into."""
    return [f"{event}: {one}" for (event, kind), tally in found.items() if kind in kinds for one in tally.examples]


def save(path: Path, **figures: Any) -> None:
    """Keep figures for the documents' tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, default=vars) + "\n")
