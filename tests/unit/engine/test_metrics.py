"""What a monitoring system is told, and that rules and dashboard ask for what there is."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML

from cni_migrate.config import Config
from cni_migrate.core.decision.advance import Waiting
from cni_migrate.core.decision.begin import new_record
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.record import GateResult, Held, NodeRecord
from cni_migrate.engine.metrics import Metrics, names
from cni_migrate.errors import UsageError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOCS = Path(__file__).parents[3] / "docs/monitoring"


def decision(**changes: object) -> Decision:
    """A decision with one node."""
    entry = NodeRecord(state=NodeState.DUAL, uid="u", since=NOW).model_copy(update=changes)
    record = new_record(Config(), 1, "test").with_node("w1", entry)
    return Decision(record, (), (), (Waiting("", "", "a test", ""),), NOW, 0.0, durable=False, final=None)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """One value; 0 when it is not there."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_node_is_counted_where_it_stands() -> None:
    """States, holds, the duration of steps and events, and probes."""
    metrics = Metrics()
    metrics.take(decision(event=NodeEvent.DRAIN, step="cordon"), {}, NOW)
    assert value(metrics, "cni_migrate_nodes", state="dual") == 1
    held = Held(why="x", next="", since=NOW)
    later = NOW + timedelta(seconds=3)
    gate = GateResult(sent=10, lost=1)
    metrics.take(decision(event=NodeEvent.DRAIN, step="evict_pods", since=later, held=held, gate=gate), {}, later)
    assert value(metrics, "cni_migrate_nodes_held", step="evict_pods") == 1
    assert value(metrics, "cni_migrate_step_duration_seconds_sum", step="cordon") == 3
    assert (value(metrics, "cni_migrate_probes_sent_total"), value(metrics, "cni_migrate_probes_lost_total")) == (10, 1)
    metrics.take(decision(state=NodeState.DRAINING, took={"drain": 4.0}, gate=GateResult(sent=4)), {}, later)
    assert value(metrics, "cni_migrate_nodes_held", step="evict_pods") == 0
    assert value(metrics, "cni_migrate_nodes", state="draining") == 1
    assert value(metrics, "cni_migrate_event_duration_seconds_sum", event="drain") == 4
    assert value(metrics, "cni_migrate_probes_sent_total") == 14, "a new gate counts from its beginning"


def test_who_resumes_counts_from_nothing() -> None:
    """What gates had seen before is no news: an alert on lost probes would go off each time."""
    metrics = Metrics()
    metrics.begin(decision(gate=GateResult(sent=100, lost=7)).record)
    metrics.take(decision(gate=GateResult(sent=100, lost=7)), {}, NOW)
    assert (value(metrics, "cni_migrate_probes_sent_total"), value(metrics, "cni_migrate_probes_lost_total")) == (0, 0)
    metrics.take(decision(gate=GateResult(sent=130, lost=8)), {}, NOW)
    assert (value(metrics, "cni_migrate_probes_sent_total"), value(metrics, "cni_migrate_probes_lost_total")) == (30, 1)


def test_an_event_that_was_given_up_has_taken_nothing() -> None:
    """What it took when the node was migrated before its rollback is not told again."""
    metrics = Metrics()
    took = {"drain": 40.0}
    metrics.take(decision(event=NodeEvent.DRAIN, step="evict_pods", took=took), {}, NOW)
    metrics.take(decision(event=NodeEvent.RESTORE, step="cordon", took=took), {}, NOW)
    assert value(metrics, "cni_migrate_event_duration_seconds_count", event="drain") == 0
    metrics.take(decision(took={**took, "restore": 9.0}), {}, NOW)
    assert value(metrics, "cni_migrate_event_duration_seconds_sum", event="restore") == 9


def test_a_held_node_that_is_skipped_holds_nobody() -> None:
    """As in the record's conditions: the alert ends with `migrate skip-node`."""
    metrics = Metrics()
    held = {"event": NodeEvent.DRAIN, "step": "evict_pods", "held": Held(why="x", next="", since=NOW)}
    metrics.take(decision(**held), {}, NOW)
    assert value(metrics, "cni_migrate_nodes_held", step="evict_pods") == 1
    metrics.take(decision(**held, skipped=True), {}, NOW)
    assert value(metrics, "cni_migrate_nodes_held", step="evict_pods") == 0


def test_each_try_of_an_eviction_is_counted_once() -> None:
    """The same outcome, seen again, is no other try."""
    metrics = Metrics()
    blocked = {"evict:1": Attempt("blocked", "", NOW), "put:x": Attempt("applied", "", NOW)}
    metrics.take(decision(), blocked, NOW)
    metrics.take(decision(), blocked, NOW)
    metrics.take(decision(), {"evict:1": Attempt("applied", "", NOW + timedelta(seconds=1))}, NOW)
    assert value(metrics, "cni_migrate_evictions_total", result="blocked") == 1
    assert value(metrics, "cni_migrate_evictions_total", result="applied") == 1


def test_it_is_served_where_it_was_asked_for() -> None:
    """In Prometheus' text format; a port that is taken is refused by name."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}"):
            Metrics().serve(port)
    metrics = Metrics()
    metrics.request("GET", "/", 200, 1)
    metrics.serve(port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    assert 'cni_migrate_api_requests_total{code="200",verb="GET"} 1.0' in text


def rules() -> Iterator[str]:
    """Every expression of the alert rules and of the dashboard."""
    for group in YAML(typ="safe").load(DOCS / "alerts.yaml")["groups"]:
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            yield rule["expr"]
    for panel in json.loads((DOCS / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def selected(node: Any) -> set[str]:
    """The metrics that an expression asks for."""
    found = {str(node.name)} if isinstance(node, promql_parser.VectorSelector) else set()
    if isinstance(node, promql_parser.MatrixSelector):
        found |= selected(node.vector_selector)
    for part in ("expr", "lhs", "rhs", "param"):
        if (inner := getattr(node, part, None)) is not None and not isinstance(inner, str):
            found |= selected(inner)
    for inner in getattr(node, "args", ()) or ():
        found |= selected(inner)
    return found


@pytest.mark.parametrize("expression", list(rules()))
def test_rules_and_dashboard_ask_for_what_there_is(expression: str) -> None:
    """Each expression is PromQL, and each metric in it is one of ours."""
    asked = selected(promql_parser.parse(expression))
    assert asked, expression
    assert asked <= names(), expression


def test_the_page_names_every_metric() -> None:
    """What is served is documented."""
    page = (DOCS.parent / "how-to/monitor.md").read_text()
    for name in names():
        assert name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") in page, name
