"""The picture of the mesh: it shows a failure exactly where the gate names one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.connectivity import gate
from cni_migrate.core.connectivity.gate import Failing, Pair, Passed, Pending, Verdict
from cni_migrate.core.connectivity.matrix import UNKNOWN, Cell, Matrix, in_order, matrix
from cni_migrate.core.model.rounds import BadProbe, GateReading, Round

T0 = datetime(2030, 1, 1, tzinfo=UTC)
CONFIG = Config()
NODES = ("w1", "w2", "w3")
EXPECTED = gate.expected(NODES, CONFIG)
OK = Cell("ok")


def reading(without: tuple[str, ...] = (), bad: Mapping[str, tuple[BadProbe, ...]] | None = None) -> GateReading:
    """Six rounds of every agent, the newest half a second old."""
    found = {}
    for agent in EXPECTED:
        node, mesh = agent.split("/")
        first = Round(
            round=1, at=T0, node=node, mesh=mesh, uid=agent, interval=0.5, peers=frozenset(EXPECTED) - {agent},
            sent=30, lost=0, bad=(bad or {}).get(agent, ()), stall_ms=0.0,
        )  # fmt: skip
        rounds = [replace(first, round=n + 1, at=T0 + timedelta(seconds=n / 2)) for n in range(6)]
        found[agent] = [] if agent in without else rounds
    return GateReading(T0 + timedelta(seconds=3), found, {})


def drawn(read: GateReading, known: frozenset[str] = frozenset()) -> Matrix:
    verdict = gate.judge(read, EXPECTED, known, T0, CONFIG)
    return matrix(NODES, EXPECTED, read, verdict)


def bad(peer: str, kind: str = "http", net: str = "primary") -> BadProbe:
    return BadProbe(peer, net, kind, "timeout")


DRAWN: dict[str, tuple[dict[str, tuple[BadProbe, ...]], dict[tuple[str, str], tuple[str, ...]]]] = {
    "nothing fails": ({}, {}),
    "one probe": ({"w1/a": (bad("w2/b"),)}, {("w1", "w2"): ("http",)}),
    "the kinds of both agents, the simplest first": (
        {"w1/a": (bad("w2/b", "tcp"), bad("w2/a")), "w1/b": (bad("w2/a", "udp"),)},
        {("w1", "w2"): ("http", "udp", "tcp")},
    ),
    "over another network": (
        {"w1/a": (bad("node:w2", "tcp", "host"), bad("w2/b", "tcp"))},
        {("w1", "w2"): ("tcp", "host tcp")},
    ),
    "its own node": ({"w3/b": (bad("node:w3", "tcp", "host"),)}, {("w3", "w3"): ("host tcp",)}),
    "both directions": (
        {"w1/a": (bad("w2/a"),), "w2/a": (bad("w1/a"),)},
        {("w1", "w2"): ("http",), ("w2", "w1"): ("http",)},
    ),
}


@pytest.mark.parametrize(("failures", "failing"), DRAWN.values(), ids=DRAWN)
def test_failures_are_where_they_are(
    failures: dict[str, tuple[BadProbe, ...]], failing: dict[tuple[str, str], tuple[str, ...]]
) -> None:
    """Only the named directions are failing, by these kinds, and all others are ok."""
    found = drawn(reading(bad=failures))
    assert {place: cell.kinds for place, cell in found.cells.items() if cell.state == "failing"} == failing
    others = [found.cell(a, b) for a in NODES for b in NODES if (a, b) not in failing]
    assert set(others) == {OK}
    assert found.services == {}


def test_what_does_not_count_is_ok() -> None:
    """A failure of the baseline is none in the picture."""
    known = frozenset({Pair("w1/a", "w2/a", "primary", "http", "").known})
    assert drawn(reading(bad={"w1/a": (bad("w2/a"),)}), known).cell("w1", "w2") == OK


def test_services_are_no_nodes() -> None:
    """What fails towards a service is told beside the row, in order."""
    found = drawn(reading(bad={"w2/a": (bad("dns", "dns"), bad("service", "service"))}))
    assert found.services == {"w2": ("service", "dns")}
    assert set(found.cells.values()) == {OK}
    assert [row.clean for row in found.rows()] == [True, False, True]


def test_a_silent_agent_makes_its_row_silent() -> None:
    """Even when the other agent of the node reports well; a failure that this one tells of outranks it."""
    found = drawn(reading(without=("w1/a",), bad={"w1/b": (bad("w2/a"),)}))
    assert found.cell("w1", "w2") == Cell("failing", ("http",))
    assert [found.cell("w1", node).state for node in ("w1", "w3")] == ["silent", "silent"]
    assert found.cell("w2", "w1") == OK


def test_a_peer_that_is_not_listed_fails() -> None:
    """Its kind is `peer`."""
    read = reading()
    blind = [replace(one, peers=one.peers - {"w3/b"}) for one in read.rounds["w1/a"]]
    found = drawn(replace(read, rounds={**read.rounds, "w1/a": blind}))
    assert found.cell("w1", "w3") == Cell("failing", ("peer",))


NOT_KNOWN: dict[str, tuple[GateReading, Verdict]] = {
    "nothing was read": (GateReading(T0, {}, {}), Pending("waiting")),
    "nobody has reported": (reading(without=tuple(EXPECTED)), Pending("waiting")),
}


@pytest.mark.parametrize(("read", "verdict"), NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_without_reports_nothing_is_known(read: GateReading, verdict: Verdict) -> None:
    """Never ok."""
    found = matrix(NODES, EXPECTED, read, verdict)
    assert found.count() == {"ok": 0, "failing": 0, "silent": 0, "unknown": 9}


def test_what_nobody_probes_is_unknown() -> None:
    """With a degree of 4, each of 100 nodes probes four others and itself."""
    nodes = [f"n{number:03}" for number in range(100)]
    wanted = gate.expected(nodes, CONFIG)
    rounds = {agent: reading().rounds["w1/a"] for agent in wanted}
    found = matrix(nodes, wanted, GateReading(T0, rounds, {}), Passed(1, 0, 0.0))
    assert found.count() == {"ok": 500, "failing": 0, "silent": 0, "unknown": 9500}
    assert {row.count["unknown"] for row in found.rows()} == {95}
    assert found.cell("n000", "elsewhere") == UNKNOWN


def test_a_row_counts_and_names() -> None:
    """Where it fails, and how."""
    verdict = Failing((Pair("w1/a", "w2/a", "primary", "udp", "x"),), "only UDP", (("w3/a", "no pod"),))
    row, _, silent = matrix(NODES, EXPECTED, reading(), verdict).rows()
    assert (row.node, dict(row.count), row.failing) == (
        "w1", {"ok": 2, "failing": 1, "silent": 0, "unknown": 0}, (("w2", ("udp",)),),
    )  # fmt: skip
    assert (silent.count["silent"], silent.clean, row.clean) == (3, False, False)


def test_order_of_kinds() -> None:
    """As the documentation lists them; other networks and unknown kinds behind, by name."""
    kinds: Any = ["zzz", "extra udp", "dns", "http_large", "http", "peer"]
    assert in_order(kinds) == ("peer", "http", "http_large", "dns", "extra udp", "zzz")
