"""Reads what the agents report: one JSON line per round, from wherever they come (docs/reference/knet-report.md)."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from cni_migrate.config import Config
from cni_migrate.core.model.rounds import BadProbe, GateAsk, GateReading, Round
from cni_migrate.errors import MigrateError
from cni_migrate.ports import Clock

SCHEMA = 1
"""The version of the reports that is understood. A higher one is told, never guessed at."""

Tail = Callable[[str, str, int], Awaitable[str]]
"""`tail(namespace, pod, lines)`: the end of what an agent has reported."""


def lines_needed(config: Config) -> int:
    """How many lines of an agent's log a gate can need: its rounds, and some to spare for a late look."""
    gate = config.gate
    return max(gate.rounds, math.ceil(gate.seconds / config.knet.interval) + 1) + 4


class LogProber:
    """The agents' reports, line by line as they log them.

    By `pods/log`, which works when the API server reaches no pod, or by another way that gives the same lines. Reads
    at most `parallel` pods at once, each once per call however many asks name it.
    """

    def __init__(self, tail: Tail, clock: Clock, *, lines: int = 24, parallel: int = 32) -> None:
        self._tail = tail
        self._clock = clock
        self._lines = lines
        self._parallel = parallel

    async def read(self, asks: Iterable[GateAsk]) -> Mapping[str, GateReading]:
        """Read what each ask names; what could not be read is in the reading's errors, never an exception."""
        wanted = list(asks)
        gate = asyncio.Semaphore(self._parallel)

        async def one(namespace: str, pod: str, agent: str) -> tuple[list[Round], str]:
            async with gate:
                try:
                    text = await self._tail(namespace, pod, self._lines)
                except (MigrateError, OSError, TimeoutError) as problem:
                    return [], f"its reports cannot be read: {problem}"
            return rounds_of(text, agent)

        pods = list(dict.fromkeys(pod for ask in wanted for pod in ask.pods))
        results = dict(zip(pods, await asyncio.gather(*(one(*pod) for pod in pods)), strict=True))
        at = self._clock.now()
        readings = {}
        for ask in wanted:
            found = {pod[2]: results[pod] for pod in ask.pods}
            readings[ask.key] = GateReading(
                at,
                {agent: rounds for agent, (rounds, _) in found.items()},
                {agent: error for agent, (_, error) in found.items() if error},
            )
        return readings


def rounds_of(text: str, agent: str) -> tuple[list[Round], str]:
    """The rounds in the end of an agent's log, oldest first, and in words why there is none, or ''.

    A first line that is cut and a last one that is not finished are no failures, nor is what is no report (the
    agent's own messages). Reports of another agent than `agent` ("node/mesh") are not taken.
    """
    rounds: list[Round] = []
    error = ""
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if not isinstance(content, dict) or "v" not in content:
            continue
        if content["v"] != SCHEMA:
            error = f"it reports in version {content['v']}, this program reads version {SCHEMA}"
            continue
        try:
            found = parse(content)
        except (KeyError, TypeError, ValueError) as problem:
            error = f"a report cannot be understood: {problem!r}"
            continue
        if f"{found.node}/{found.mesh}" != agent:
            error = f"it reports as {found.node}/{found.mesh}"
            continue
        rounds.append(found)
    if rounds:
        return rounds, ""
    return [], error or "no report in its log yet"


def parse(content: Mapping[str, Any]) -> Round:
    """One report.

    Raises:
        KeyError, TypeError, ValueError: it is not what the schema says.
    """
    at = datetime.fromisoformat(content["at"])
    if at.tzinfo is None:
        raise ValueError(f"the time {content['at']} has no zone")
    return Round(
        round=int(content["round"]),
        at=at,
        node=str(content["node"]),
        mesh=str(content["mesh"]),
        uid=str(content["uid"]),
        interval=float(content["interval_s"]),
        peers=frozenset(map(str, content["peers"])),
        sent=int(content["sent"]),
        lost=int(content["lost"]),
        bad=tuple(BadProbe(str(b["peer"]), str(b["net"]), str(b["kind"]), str(b["error"])) for b in content["bad"]),
        stall_ms=max((float(stall["ms"]) for stall in content.get("stalls", ())), default=0.0),
        shared=frozenset(map(str, content["shared"])) if "shared" in content else None,
    )
