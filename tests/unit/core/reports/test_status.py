"""The status: what `-o json` promises, who drives, what to type next, and the ETA."""

from datetime import timedelta
from typing import Any

import pytest

from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Requests
from cni_migrate.core.model.record import Entry, GateResult, Held, NodeRecord, Record
from cni_migrate.core.reports.eta import eta_seconds
from cni_migrate.core.reports.status import LeaseInfo, StatusView, status_view
from tests.unit.core.builders import (
    NOW,
    Seen,
    a_control_plane,
    a_node,
    a_plan,
    a_pod,
    a_record,
    after,
    an_endpoint,
    an_entry,
    seen,
    under_way,
)  # fmt: skip

PLAN = a_plan()
HELD = Held(why="node w1: a budget", next="mend it, then `migrate run`", since=after(-60))
TOOK = {"attach": 10.0, "drain": 20.0, "switch": 30.0, "release": 10.0}


def _three() -> Seen:
    dual = a_pod("dual", node="w1", ip="10.244.1.6")
    return seen(
        a_node("w1"), a_node("w2"), a_control_plane(),
        a_pod("single", node="w1"), dual, an_endpoint(dual), a_pod("new", node="w1", ip=""),
        a_pod("moved", node="w2", ip="10.245.2.7"), a_pod("host", node="w2", host_network=True),
        a_pod("done", node="w2", phase="Succeeded"),
    )  # fmt: skip


def _view(record: Record | None, found: Seen | None = None, lease: LeaseInfo | None = None) -> StatusView:
    return status_view(PLAN, record, found or _three(), lease, NOW)


def test_without_a_record() -> None:
    """It says that nothing was begun, and what to begin with."""
    view = _view(None)
    assert (view.begun, view.phase, view.next) == (False, Phase.PREFLIGHT, "migrate preflight")


@pytest.mark.parametrize(
    ("cluster", "counts"),
    [
        ({"phase": Phase.MIGRATING}, True),
        ({"phase": Phase.CLEANING, "direction": "back"}, True),
        ({"phase": Phase.CLEANING}, False),
        ({"phase": Phase.DONE}, False),
    ],
)
def test_a_pause_is_told_where_it_stops_something(cluster: dict[str, Any], counts: bool) -> None:
    """One that is left from before clean-up stops nobody, and after the end `migrate resume` is refused."""
    entries = {name: an_entry(name, NodeState.MIGRATED) for name in ("w1", "w2", "cp1")}
    found = _three()
    found.requests = Requests(paused_since="noon")
    view = _view(a_record(PLAN, entries, **cluster), found)
    assert (view.paused, view.next == "migrate resume") == (("noon", True) if counts else (None, False))


def test_the_json_form() -> None:
    """The names and types that are promised; a change here needs a new schema number."""
    entry = under_way(
        "w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods", held=HELD, gate=GateResult(sent=1200, lost=0, stall_ms=12)
    )
    history = (Entry(at=NOW, what="node w1 is held"),)
    record = a_record(PLAN, {"w1": entry, "w2": an_entry("w2"), "cp1": an_entry("cp1")}, history=history)
    lease = LeaseInfo("ann@laptop/7/1/x", "2030-01-01T11:00:00.000000Z", after(-5), 30)
    found = _three()
    found.nodes["w1"] = a_node("w1", unschedulable=True)
    data = _view(record, found, lease).model_dump(mode="json", by_alias=True)
    assert data["schema"] == 1
    assert (data["phase"], data["strategy"], data["direction"]) == ("migrating", "multus", "forward")
    assert data["driver"] == {"holder": "ann@laptop, process 7", "since": "2030-01-01T11:00:00.000000Z", "alive": True}
    assert (data["eta_seconds"], data["paused"], data["held"]) == (None, None, None)
    assert data["next"] == HELD.next
    assert data["summary"] == {"canal": 2, "dual": 1}
    assert data["history"] == [{"at": "2030-01-01T12:00:00Z", "what": "node w1 is held"}]
    assert data["audit"] is None
    assert [node["name"] for node in data["nodes"]] == ["w1", "w2", "cp1"]
    assert data["nodes"][0] == {
        "name": "w1",
        "state": "dual",
        "event": "drain",
        "step": "evict_pods",
        "about": "Evict the node's pods within their budgets, in parallel, until every eviction is accepted.",
        "held": HELD.why,
        "next": HELD.next,
        "since": "2030-01-01T11:59:00Z",
        "attempt": 1,
        "retries": 0,
        "ready": True,
        "cordoned": True,
        "out_of_service": True,
        "skipped": False,
        "gone": False,
        "rolled_back": None,
        "network": {"canal": 1, "dual": 1, "cilium": 0, "none": 1},
        "gate": {"sent": 1200, "lost": 0, "stall_ms": 12.0},
    }
    assert data["nodes"][1]["network"] == {"canal": 0, "dual": 0, "cilium": 1, "none": 0}


def test_a_node_whose_drain_is_held_before_its_cordon_is_in_service() -> None:
    """It has its place in the order, and pods still come to it: nobody is told to bring it back."""
    entry = under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "baseline_gate", held=HELD)
    view = _view(a_record(PLAN, {"w1": entry, "w2": an_entry("w2")}))
    assert not any(node.out_of_service for node in view.nodes)


def test_the_json_schema_accepts_what_is_printed() -> None:
    """Every field is described by the schema, and the names are the printed ones."""
    schema = StatusView.model_json_schema(by_alias=True)
    printed = _view(a_record(PLAN, ["w1", "w2", "cp1"])).model_dump(mode="json", by_alias=True)
    assert set(printed) == set(schema["properties"])
    assert set(printed["nodes"][0]) == set(schema["$defs"]["NodeStatus"]["properties"])


@pytest.mark.parametrize(
    ("lease", "alive"),
    [
        pytest.param(LeaseInfo("a@b/1/1/x", "", after(-29), 30), True, id="renewed in time"),
        pytest.param(LeaseInfo("a@b/1/1/x", "", after(-31), 30), False, id="not renewed"),
        pytest.param(LeaseInfo("a@b/1/1/x", "", None, 30), False, id="never renewed"),
        pytest.param(LeaseInfo("a@b/1/1/x", "", after(-1), 30, dead=True), False, id="known to be dead"),
    ],
)
def test_whether_the_driver_is_alive(lease: LeaseInfo, alive: bool) -> None:
    """By the time since it was renewed, or because its process is known to be gone."""
    assert lease.driver(NOW).alive is alive


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (None, None),
        ({"holderIdentity": ""}, None),
        ({"holderIdentity": "a@b/1/1/x", "leaseDurationSeconds": 30, "renewTime": "2030-01-01T12:00:00.000000Z",
          "acquireTime": "then"}, LeaseInfo("a@b/1/1/x", "then", NOW, 30)),
        ({"holderIdentity": "a", "renewTime": "nonsense"}, LeaseInfo("a", "", None, 0)),
    ],
)  # fmt: skip
def test_reading_a_lease(spec: Any, found: LeaseInfo | None) -> None:
    """Nobody holds it, or somebody does, whatever else is in it."""
    assert LeaseInfo.of(None if spec is None else {"spec": spec}) == found


DRIVEN = LeaseInfo("a@b/1/1/x", "", NOW, 30)


@pytest.mark.parametrize(
    ("cluster", "entry", "requests", "lease", "command"),
    [
        pytest.param({}, an_entry(), Requests(), None, "migrate run", id="nobody drives"),
        pytest.param({}, an_entry(), Requests(), DRIVEN, "migrate status --watch", id="somebody drives"),
        pytest.param({}, an_entry(), Requests(paused_since="noon"), DRIVEN, "migrate resume", id="paused"),
        pytest.param({"direction": "back"}, an_entry(), Requests(), None, "migrate rollback", id="going back"),
        pytest.param({"phase": Phase.DONE}, an_entry(state=NodeState.MIGRATED), Requests(), None, None, id="done"),
        pytest.param({"held": HELD}, an_entry(), Requests(), None, HELD.next, id="held"),
        pytest.param({}, an_entry(held=HELD), Requests(), None, HELD.next, id="a node is held"),
        pytest.param({}, an_entry(failure=HELD), Requests(), None, HELD.next, id="a node was rolled back by itself"),
        pytest.param({}, an_entry(held=HELD, skipped=True), Requests(skip={"w1": "noon"}), None,
                     "migrate skip-node --undo w1, then migrate run", id="held and skipped"),
        pytest.param({}, an_entry(held=HELD, gone=True), Requests(), None, "migrate run", id="held and gone"),
    ],
)  # fmt: skip
def test_what_to_type_next(
    cluster: dict[str, Any], entry: NodeRecord, requests: Requests, lease: LeaseInfo | None, command: str | None
) -> None:
    """What is held comes before all else."""
    found = seen(*([] if entry.gone else [a_node("w1")]), requests=requests)
    assert _view(a_record(PLAN, {"w1": entry}, **cluster), found, lease).next == command


def test_what_to_type_next_has_the_drain_options_of_the_last_run() -> None:
    """Another terminal, and another operator, are told the whole command; a rollback of the cluster drains without."""
    options = {"drain": " --force --timeout 15m"}
    idle = _view(a_record(PLAN, {"w1": an_entry()}, **options), seen(a_node("w1")), None)
    assert idle.next == "migrate run --force --timeout 15m"
    stuck = an_entry(held=HELD.model_copy(update={"next": "fix the cause, then `migrate run` resumes"}))
    held = _view(a_record(PLAN, {"w1": stuck}, **options), seen(a_node("w1")), None)
    assert held.next == held.nodes[0].next == "fix the cause, then `migrate run --force --timeout 15m` resumes"
    back = _view(a_record(PLAN, {"w1": an_entry()}, direction="back", **options), seen(a_node("w1")), None)
    assert back.next == "migrate rollback"


def test_the_audit_is_shown_after_the_end() -> None:
    """Problems are named; a clean cluster has none."""
    record = a_record(PLAN, {"w1": an_entry(state=NodeState.MIGRATED)}, phase=Phase.DONE)
    assert _view(record, seen(a_node("w1"))).audit == []
    dirty = _view(record, seen(a_node("w1", labels={"node-role.kubernetes/migrated": "migrated"}))).audit
    assert dirty == ["node w1 has the label node-role.kubernetes/migrated"]


def test_a_node_that_is_gone_comes_last_and_does_not_count() -> None:
    """It is not in the summary."""
    record = a_record(PLAN, {"a0": an_entry("a0", gone=True), "w1": an_entry()})
    view = _view(record, seen(a_node("w1")))
    assert [node.name for node in view.nodes] == ["w1", "a0"]
    assert view.summary == {NodeState.CANAL: 1}


def test_what_no_driver_has_seen_yet_is_shown() -> None:
    """Who joined, is gone, or was skipped meanwhile: the status is the cluster's, not that of the last run's end."""
    record = a_record(PLAN, {"w1": an_entry(state=NodeState.DUAL), "w2": an_entry("w2", NodeState.DUAL)})
    found = seen(a_node("w1"), a_node("w9"), requests=Requests(skip={"w1": NOW.isoformat()}))
    view = _view(record, found)
    assert [(node.name, node.skipped, node.gone) for node in view.nodes] == [
        ("w1", True, False), ("w9", False, False), ("w2", False, True),
    ]  # fmt: skip
    assert view.summary == {NodeState.DUAL: 1, NodeState.CANAL: 1}
    assert view.history == []


def test_who_joined_after_the_end_is_shown_with_what_to_type() -> None:
    """Until Cilium is Ready there it is not on Cilium, and the cluster not done."""
    record = a_record(PLAN, {"w1": an_entry(state=NodeState.MIGRATED)}, phase=Phase.DONE)
    view = _view(record, seen(a_node("w1"), a_node("w9")))
    assert (view.summary, view.next) == ({NodeState.MIGRATED: 1, NodeState.CANAL: 1}, "migrate run")


# --- ETA ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "direction", "order"),
    [
        (NodeState.DUAL, "forward", "migrate skip-node --undo w1, then migrate run"),
        (NodeState.MIGRATED, "forward", "migrate skip-node --undo w1, then migrate run"),
        (NodeState.DUAL, "back", "migrate skip-node --undo w1, then migrate rollback"),
        (NodeState.CANAL, "back", "migrate rollback"),
    ],
)
@pytest.mark.parametrize("others", ["done", "to go"])
def test_what_is_next_when_the_end_waits_for_a_skipped_node_alone(
    state: NodeState, direction: str, order: str, others: str
) -> None:
    """A bare `run` would be halted at once; while others are to go it is the command."""
    there = NodeState.CANAL if direction == "back" else NodeState.MIGRATED
    entries = {"w1": an_entry(state=state, skipped=True),
               "w2": an_entry("w2", there if others == "done" else NodeState.DUAL)}  # fmt: skip
    record = a_record(PLAN, entries, phase=Phase.MIGRATING, direction=direction)
    asked = Requests(skip={"w1": after(1).isoformat()})
    view = status_view(PLAN, record, seen(a_node("w1"), a_node("w2"), requests=asked), None, NOW)
    assert view.next == (order if others == "done" else order.rpartition("then ")[2])


def _eta(entries: dict[str, NodeRecord], at_once: int = 1, in_service: Any = (), **cluster: Any) -> int | None:
    return eta_seconds(PLAN.node_lifecycle, a_record(PLAN, entries, **cluster), at_once, in_service, NOW)


DONE = an_entry("w0", NodeState.MIGRATED, took=TOOK)


@pytest.mark.parametrize(
    ("entries", "at_once", "in_service", "seconds"),
    [
        pytest.param({"w1": an_entry()}, 1, (), None, id="nothing was learned yet"),
        pytest.param({"w0": DONE}, 1, (), 0, id="all are there"),
        pytest.param({"w0": DONE, "w1": an_entry("w1", NodeState.DUAL)}, 1, (), 60, id="one to go"),
        pytest.param({"w0": DONE, "w1": an_entry("w1", NodeState.DUAL), "w2": DONE.model_copy(
                         update={"took": dict.fromkeys(TOOK, 36000.0)})}, 1, (), 60, id="interrupted for a night"),
        pytest.param({"w0": DONE, "w1": an_entry("w1")}, 1, (), 70, id="one to attach and migrate"),
        pytest.param({"w0": DONE, "w1": an_entry("w1"), "w2": an_entry("w2")}, 2, (), 70, id="two side by side"),
        pytest.param({"w0": DONE, "w1": an_entry("w1"), "w2": an_entry("w2")}, 1, (NodeEvent.ATTACH,), 130,
                     id="what leaves nodes in service counts once"),
        pytest.param({"w0": DONE, "w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "cordon",
                                                  started=NOW - timedelta(seconds=5))}, 1, (), 55, id="under way"),
        pytest.param({"w0": DONE, "w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "cordon",
                                                  started=NOW - timedelta(hours=5))}, 1, (), 40, id="long under way"),
        pytest.param({"w0": DONE, "w1": an_entry("w1", held=HELD)}, 1, (), None, id="held"),
        pytest.param({"w0": DONE, "w1": an_entry("w1", skipped=True)}, 1, (), 0, id="skipped ones do not count"),
        pytest.param({"w0": DONE, "w1": under_way("w1", NodeState.DUAL, NodeEvent.RESTORE, "cordon")}, 1, (), None,
                     id="one goes back"),
    ],
)  # fmt: skip
def test_eta(entries: dict[str, NodeRecord], at_once: int, in_service: Any, seconds: int | None) -> None:
    """Learned from what the nodes took; never guessed."""
    assert _eta(entries, at_once, in_service) == seconds


@pytest.mark.parametrize(
    ("cluster", "seconds"),
    [
        ({"direction": "back"}, None),
        ({"phase": Phase.PREPARING}, None),
        ({"phase": Phase.DONE}, 0),
        ({"held": HELD}, None),
    ],
)
def test_eta_of_a_cluster(cluster: dict[str, Any], seconds: int | None) -> None:
    """Only a cluster that goes forward has one."""
    assert _eta({"w0": DONE}, **cluster) == seconds
