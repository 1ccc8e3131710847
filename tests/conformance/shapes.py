"""The shapes of the requests that whole migrations make, recorded on the simulator, with one example of each.

A shape is a request without what differs from one to the next: the method, the resource and subresource, whether it is
one object or a collection, the names of the query's parameters, the body's media type and the names of its fields.

    python -m tests.conformance.shapes            tell which shapes are not in the table
    python -m tests.conformance.shapes --write    write the table, shapes.yaml
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ruamel.yaml import YAML

from cni_migrate.config import Config
from cni_migrate.core.model.canal import FoundCanal
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.gathering import gathered
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.sim.apiserver import requests
from cni_migrate.sim.apiserver.hooks import Answer, Call
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from cni_migrate.wiring import plan_for
from tests.simulation.harness import SMALL, Process, SimulatedClock, config_for, simulated

TABLE = Path(__file__).with_name("shapes.yaml")
STRATEGIES = ("multus", "overlay")
LONGEST = 400
"""Longer texts in ConfigMaps (programs, for example) are cut in the table."""


class Example(NamedTuple):
    """A request as it was sent."""

    method: str
    path: str
    query: str
    content_type: str
    body: Any


def shape_of(example: Example) -> str:
    """The shape, as one line."""
    query = dict(parse_qsl(example.query, keep_blank_values=True))
    request = requests.parse(example.method, example.path, query)
    where = example.path
    if request.resource:
        group = f"{request.group}/{request.version}" if request.group else request.version
        where = f"{group} {request.resource}{'/{name}' if request.name else ''}"
        where += f"/{request.subresource}" if request.subresource else ""
        where += " in a namespace" if request.namespace and request.resource != "namespaces" else ""
    parts = [example.method, where]
    if query:
        parts.append("?" + "&".join(sorted(query)))
    if example.body is not None:
        parts += [example.content_type, "{" + " ".join(_fields(example.body)) + "}"]
    return " ".join(parts)


def _fields(body: Any) -> Iterator[str]:
    """The names of a body's fields; of metadata and spec those within, since they decide what is done."""
    for key in sorted(body):
        within = body[key]
        if key in ("metadata", "spec", "deleteOptions") and isinstance(within, dict):
            yield from (f"{key}.{name}" for name in sorted(within))
        else:
            yield key


class Recorder:
    """Keeps the first request of each shape that `migrate` sends to a simulation."""

    def __init__(self) -> None:
        self.examples: dict[str, Example] = {}

    def attach(self, sim: Simulation) -> None:
        """Listen."""
        sim.app.hooks.observers.append(self._requested)

    def _requested(self, call: Call, answer: Answer | None) -> None:
        if answer is None and call.user_agent.startswith("migrate/"):
            body = json.loads(call.body) if call.body else None
            example = Example(call.method, call.path, call.query, call.content_type if call.body else "", body)
            self.examples.setdefault(shape_of(example), example)


async def _play(strategy: str, goals: list[Goal], recorder: Recorder) -> None:
    """Preflight, then one process for each goal."""
    config = config_for(strategy)
    async with simulated(SMALL, config) as (sim, _):
        recorder.attach(sim)
        await _preflight(sim, config)
        for goal in goals:
            final = await Process(sim, config, goal=goal).run()
            assert final is not None
            assert final.outcome == "done", final


async def _preflight(sim: Simulation, config: Config) -> None:
    api = await in_process_api(sim.app, timeout=config.deadlines.request)
    try:
        async with KubeCluster(api, config, SimulatedClock(sim)) as cluster:
            await gathered(cluster.client, plan_for(config, cluster.snapshot()), cluster, FoundCanal())
    finally:
        await close_api(api)


def recorded() -> dict[str, Example]:
    """What whole migrations send: with one node rolled back and forth, and with the whole cluster rolled back."""
    recorder = Recorder()
    one = Goal(wanted=lambda node: node.name == "w1", partial=True)
    for strategy in STRATEGIES:
        run_virtual(_play(strategy, [one, Goal(kind="rollback_node", node="w1"), Goal()], recorder))
        to_canal = [Goal(until=Phase.ATTACHING), Goal(kind="rollback_node", node="w1", to="canal")]
        run_virtual(_play(strategy, [*to_canal, one, Goal(kind="rollback")], recorder))
    return recorder.examples


def _shortened(example: Example) -> Example:
    body = example.body
    if isinstance(body, dict) and body.get("kind") == "ConfigMap":
        body = {**body, "data": {key: text[:LONGEST] for key, text in body["data"].items()}}
    return example._replace(body=body)


def table() -> dict[str, Example]:
    """The table as it is in the repository."""
    content = YAML(typ="safe").load(TABLE.read_text(encoding="utf-8"))
    empty = {"query": "", "content_type": "", "body": None}
    return {one.pop("shape"): Example(**{**empty, **one}) for one in content}


def write(examples: dict[str, Example]) -> None:
    """Write the table."""
    yaml = YAML()
    yaml.width = 4096
    content = [
        {"shape": shape, **{key: value for key, value in _shortened(one)._asdict().items() if value not in ("", None)}}
        for shape, one in sorted(examples.items())
    ]
    with TABLE.open("w", encoding="utf-8") as file:
        file.write("# Written by `python -m tests.conformance.shapes --write`, from migrations on the simulator.\n")
        yaml.dump(content, file)


def main() -> int:
    """The command."""
    examples = recorded()
    if sys.argv[1:] == ["--write"]:
        write(examples)
        return 0
    missing = [shape for shape in examples if shape not in table()]
    sys.stdout.write("".join(f"{shape}\n" for shape in missing))
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
