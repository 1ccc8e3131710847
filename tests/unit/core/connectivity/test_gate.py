"""The gate: each way in which connectivity is not proven."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.connectivity import diagnosis, gate
from cni_migrate.core.connectivity.gate import Failing, Pair, Passed, Pending, Verdict
from cni_migrate.core.connectivity.peers import Graph, graph
from cni_migrate.core.model.objects import Node, Pod, Snapshot
from cni_migrate.core.model.rounds import BadProbe, GateReading, Round

T0 = datetime(2030, 1, 1, tzinfo=UTC)
CONFIG = Config()
NODES = ("w1", "w2")
AGENTS = ("w1/a", "w1/b", "w2/a", "w2/b")
EXPECTED = gate.expected(NODES, CONFIG)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def rounds(agent: str, first: float = 0.5, count: int = 6, **values: Any) -> list[Round]:
    node, mesh = agent.split("/")
    one = Round(
        round=1, at=T0, node=node, mesh=mesh, uid=f"uid-{agent}", interval=0.5,
        peers=frozenset(AGENTS) - {agent}, sent=14, lost=0, bad=(), stall_ms=0.0, shared=gate.shared(CONFIG),
    )  # fmt: skip
    return [replace(one, round=n + 1, at=at(first + n * 0.5), **values) for n in range(count)]


def reading(
    changes: Mapping[str, list[Round] | None] | None = None, seconds: float = 3.5, **errors: str
) -> GateReading:
    found = {agent: rounds(agent) for agent in AGENTS}
    for agent, changed in (changes or {}).items():
        found.pop(agent) if changed is None else found.update({agent: changed})
    return GateReading(at(seconds), found, {agent.replace("_", "/"): text for agent, text in errors.items()})


def judge(look: GateReading | None, known: frozenset[str] = frozenset(), **values: Any) -> Verdict:
    return gate.judge(look, EXPECTED, known, T0, values.pop("config", CONFIG), shared=gate.shared(CONFIG), **values)


def bad(peer: str = "w2/a", kind: str = "http", net: str = "primary", error: str = "timeout") -> tuple[BadProbe, ...]:
    return (BadProbe(peer, net, kind, error),)


def failing(verdict: Verdict) -> Failing:
    assert isinstance(verdict, Failing), verdict
    return verdict


def test_clean_rounds_of_all_agents_pass() -> None:
    look = reading({"w1/a": rounds("w1/a", stall_ms=12.5)})
    assert judge(look) == Passed(sent=4 * 6 * 14, lost=0, stall_ms=12.5)


NOT_CLEAN: dict[str, tuple[dict[str, list[Round] | None], str]] = {
    "a probe fails": ({"w1/a": rounds("w1/a", bad=bad())}, "w1/a -> w2/a http: timeout"),
    "a probe of a peer's node fails": (
        {"w1/a": rounds("w1/a", bad=bad("node:w2", "tcp", "host"))},
        "w1/a -> node:w2 tcp over the host network: timeout",
    ),
    "the Service fails": (
        {"w2/b": rounds("w2/b", bad=bad("service", "service"))},
        "w2/b -> service service: timeout",
    ),
    "its node fails": (
        {"w2/b": rounds("w2/b", bad=bad("node:w2", "tcp", "host"))},
        "w2/b -> node:w2 tcp over the host network: timeout",
    ),
    "a peer is not listed": (
        {"w1/a": rounds("w1/a", peers=frozenset({"w1/b", "w2/b"}))},
        "w1/a -> w2/a peer: the agent does not list this peer",
    ),
    "nothing is sent": (
        {"w1/a": rounds("w1/a", sent=0)},
        "w1/a -> everyone peer: only 0 probes sent in a round",
    ),
    "only the newest round fails": (
        {"w1/a": [*rounds("w1/a", count=5), rounds("w1/a", bad=bad())[5]]},
        "w1/a -> w2/a http: timeout",
    ),
}


@pytest.mark.parametrize(("changes", "said"), NOT_CLEAN.values(), ids=NOT_CLEAN)
def test_what_is_not_clean_fails_and_names_the_pair(changes: dict[str, list[Round] | None], said: str) -> None:
    verdict = failing(judge(reading(changes)))
    assert [str(pair) for pair in verdict.pairs] == [said]
    assert verdict.silent == ()
    assert verdict.diagnosis


SILENT: dict[str, tuple[GateReading, str]] = {
    "not read": (reading({"w2/a": None}), "no report"),
    "not readable": (reading({"w2/a": []}, w2_a="its reports cannot be read: 403"), "its reports cannot be read: 403"),
    "stopped": (reading({"w2/a": rounds("w2/a", first=-9.0)}), "last report 10.0 s ago"),
    "dated in the future": (
        reading({"w2/a": rounds("w2/a", first=5.0)}),
        "its clock is 4.0 s ahead of this program's: its reports cannot be dated",
    ),
}


@pytest.mark.parametrize(("look", "why"), SILENT.values(), ids=SILENT)
def test_a_silent_agent_fails(look: GateReading, why: str) -> None:
    verdict = failing(judge(look))
    assert verdict.silent == (("w2/a", why),)
    if "clock" in why:
        assert verdict.diagnosis == "the clock of node w2 is 4.0 s ahead of this machine's: set it by NTP"
    else:
        assert "no report from w2/a" in verdict.diagnosis


@pytest.mark.parametrize(
    ("first", "said"),
    [(-300.0, "about 301 s ahead of"), (300.0, "about 299 s behind")],
    ids=["fast", "slow"],
)
def test_agents_that_are_all_equally_late_do_not_stop_at_once(first: float, said: str) -> None:
    """This machine's clock is named, not the agents."""
    every = {agent: rounds(agent, first=first) for agent in ("w1/a", "w1/b", "w2/a", "w2/b")}
    verdict = failing(judge(reading(every)))
    assert verdict.diagnosis == f"this machine's clock is {said} those of all nodes: set it by NTP"
    assert len(verdict.silent) == 4


def test_a_node_whose_clock_is_slow_is_named() -> None:
    """Its agents answer all others, and are both late by the same: they have not stopped."""
    late = {agent: rounds(agent, first=-300.0) for agent in ("w2/a", "w2/b")}
    verdict = failing(judge(reading(late)))
    assert verdict.diagnosis.startswith("the clock of node w2 is about 301 s behind this machine's: set by NTP")


@pytest.mark.parametrize(
    "changes",
    [
        {"w2/a": rounds("w2/a", first=-300.0)},
        {"w2/a": rounds("w2/a", first=-300.0), "w2/b": rounds("w2/b", first=-100.0)},
        {
            "w2/a": rounds("w2/a", first=-300.0),
            "w2/b": rounds("w2/b", first=-300.0),
            "w1/a": rounds("w1/a", bad=bad("w2/a")),
        },
    ],
    ids=["one agent alone", "at different times", "and others do not hear from there"],
)
def test_agents_that_have_stopped_are_no_clock(changes: dict[str, list[Round] | None]) -> None:
    """What else is seen of them says so."""
    assert "clock" not in failing(judge(reading(changes))).diagnosis


def test_a_wrong_clock_hides_no_other_failure() -> None:
    """Both are told."""
    look = reading({"w2/a": rounds("w2/a", first=5.0), "w1/a": rounds("w1/a", bad=bad("w2/b"))})
    diagnosis = failing(judge(look)).diagnosis
    assert diagnosis.startswith("the clock of node w2 is 4.0 s ahead of this machine's: set it by NTP; ")
    assert "no report" not in diagnosis


def test_the_newest_round_may_have_to_be_newer_than_the_others() -> None:
    look = reading({})
    assert isinstance(judge(look, newest=at(2.9)), Passed)
    verdict = judge(look, newest=at(3.1))
    assert isinstance(verdict, Pending)
    assert "no round since 00:00:03" in verdict.observed


def test_what_failed_just_before_is_named_while_there_is_too_little_since() -> None:
    """A probe that fails now and then never fails the newest round for sure: the wait says which."""
    look = reading({"w1/a": [*rounds("w1/a", count=4, bad=bad()), *rounds("w1/a", count=6)[4:]]})
    verdict = judge(look)
    assert isinstance(verdict, Pending)
    assert "w1/a clean probe rounds 2 of 3, over 0.5 of 2 s since w1/a -> w2/a http: timeout" in verdict.observed


NOT_YET: dict[str, tuple[dict[str, list[Round] | None], str]] = {
    "too few rounds": ({"w1/a": rounds("w1/a", first=2.5, count=2)}, "w1/a clean probe rounds 2 of 3, over 0.5 of 2 s"),
    "too short a time": (
        {"w1/a": rounds("w1/a", first=1.5, count=4)},
        "w1/a clean probe rounds 3 of 3, over 1.5 of 2 s",
    ),
    "begun before the gate": (
        {"w1/a": rounds("w1/a", first=-2.0, count=8)},
        "w1/a clean probe rounds 3 of 3, over 1.5 of 2 s",
    ),
    "a bad round lately": (
        {"w1/a": [*rounds("w1/a", count=3), rounds("w1/a", bad=bad())[3], *rounds("w1/a")[4:]]},
        "w1/a clean probe rounds 2 of 3, over 0.5 of 2 s",
    ),
    "a restarted agent counts anew": (
        {"w1/a": [*rounds("w1/a", count=4, uid="old"), *rounds("w1/a")[4:]]},
        "w1/a clean probe rounds 2 of 3, over 0.5 of 2 s",
    ),
    "rounds between were not read": (
        {"w1/a": [*rounds("w1/a", count=3), *rounds("w1/a")[4:]]},
        "w1/a clean probe rounds 2 of 3, over 0.5 of 2 s",
    ),
}


@pytest.mark.parametrize(("changes", "observed"), NOT_YET.values(), ids=NOT_YET)
def test_not_enough_yet(changes: dict[str, list[Round] | None], observed: str) -> None:
    verdict = judge(reading(changes))
    assert isinstance(verdict, Pending), verdict
    assert observed in verdict.observed


def test_what_was_bad_before_the_gate_is_no_failure_of_it() -> None:
    verdict = gate.judge(reading({"w1/a": rounds("w1/a", bad=bad())}), EXPECTED, (), at(9), CONFIG)
    assert isinstance(verdict, Pending)


def test_nothing_read_yet_is_pending() -> None:
    assert judge(None) == Pending("waiting for the first reports of 4 agents")


def test_the_baseline_forgives_the_same_pair_network_and_kind_only() -> None:
    before = reading({"w1/a": rounds("w1/a", bad=bad())})
    known = gate.baseline(before)
    assert known == {"w1/a w2/a primary http"}
    assert isinstance(judge(before, known), Passed)
    for other in (bad("w2/b"), bad(kind="udp"), bad(net="host")):
        assert isinstance(judge(reading({"w1/a": rounds("w1/a", bad=other)}), known), Failing)
    assert isinstance(judge(reading({"w2/b": rounds("w2/b", bad=bad())}), known), Failing)


def test_the_baseline_forgets_what_has_healed() -> None:
    assert gate.baseline(reading({"w1/a": [*rounds("w1/a", count=3, bad=bad()), *rounds("w1/a")[3:]]})) == frozenset()


@pytest.mark.parametrize("expected", [{}, {"w1/a": frozenset[str]()}])
def test_nothing_to_prove_is_never_a_pass(expected: dict[str, frozenset[str]]) -> None:
    verdict = failing(gate.judge(reading(), expected, (), T0, CONFIG))
    assert "nothing would be proven" in verdict.diagnosis


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_forbidden_callers_count_with_both_strategies_unless_they_are_left_out(strategy: str) -> None:
    """Policies are in force all the time, so a forbidden call that gets through fails a gate."""
    look = reading({"w1/b": rounds("w1/b", bad=bad("w2/b", "policy_deny", error="not blocked"))})
    config = Config.model_validate({"strategy": strategy})
    assert isinstance(judge(look, config=config), Failing)
    assert isinstance(judge(look, config=config, ignore=("policy_deny",)), Passed)
    allowed = reading({"w1/a": rounds("w1/a", bad=bad("w2/b", "policy_allow", error="refused"))})
    assert isinstance(judge(allowed, config=config), Failing)


def test_a_cluster_of_one_node_has_a_pair_to_prove() -> None:
    expected = gate.expected(["w1"], CONFIG)
    assert expected == {"w1/a": {"w1/b"}, "w1/b": {"w1/a"}}
    look = reading({"w2/a": None, "w2/b": None})
    assert isinstance(gate.judge(look, expected, (), T0, CONFIG), Passed)


def many() -> tuple[list[str], Graph]:
    nodes = [f"w{n:02}" for n in range(40)]
    return nodes, graph(nodes, CONFIG)


def test_a_full_sweep_expects_every_agent_and_peer() -> None:
    nodes, mesh = many()
    wanted = gate.expected(nodes, CONFIG)
    assert len(wanted) == 80
    assert all(wanted[agent] == mesh.peers(agent) for agent in wanted)


def test_a_focus_expects_its_agents_and_their_observers_on_the_focus_alone() -> None:
    nodes, mesh = many()
    wanted = gate.expected(nodes, CONFIG, focus=["w07"])
    assert set(wanted) == {"w07/a", "w07/b"} | mesh.observers("w07")
    assert wanted["w07/a"] == mesh.peers("w07/a")
    assert all(wanted[observer] == {"w07/a", "w07/b"} for observer in mesh.observers("w07"))


def test_excluded_nodes_are_asked_nothing_and_judged_by_nobody_but_keep_their_place_in_the_ring() -> None:
    nodes, mesh = many()
    out = min(mesh.neighbours("w07"))
    wanted = gate.expected(nodes, CONFIG, focus=["w07"], excluded=[out])
    assert set(wanted) == {"w07/a", "w07/b"} | {a for a in mesh.observers("w07") if not a.startswith(f"{out}/")}
    assert wanted["w07/a"] == {a for a in mesh.peers("w07/a") if not a.startswith(f"{out}/")}
    assert not any(agent.startswith(f"{out}/") for agent in gate.expected(nodes, CONFIG, excluded=[out]))


def test_what_goes_on_elsewhere_is_not_the_business_of_a_focus() -> None:
    expected = gate.expected(["w1", "w2", "w3"], CONFIG, focus=["w1"])
    agents = [f"{node}/{mesh}" for node in ("w1", "w2", "w3") for mesh in "ab"]
    everyone = frozenset(agents)
    found = {agent: rounds(agent, peers=everyone - {agent}) for agent in agents}
    found["w2/a"] = rounds("w2/a", peers=everyone - {"w2/a"}, bad=bad("w3/a") + bad("node:w3", "tcp", "host"))
    assert isinstance(gate.judge(GateReading(at(3.5), found, {}), expected, (), T0, CONFIG), Passed)
    found["w2/a"] = rounds("w2/a", peers=everyone - {"w2/a"}, bad=bad("w1/a"))
    assert isinstance(gate.judge(GateReading(at(3.5), found, {}), expected, (), T0, CONFIG), Failing)


def test_in_a_sweep_what_any_agent_tells_of_a_further_peer_counts_and_nobody_has_to_list_one() -> None:
    """An agent has not heard yet that a node is in transit, or still lists one that is not any more."""
    nodes, mesh = many()
    wanted = gate.expected(nodes, CONFIG)
    far = min(node for node in nodes if node != "w07" and node not in mesh.neighbours("w07"))
    found = {agent: rounds(agent, peers=peers) for agent, peers in wanted.items()}
    look = GateReading(at(3.5), found, {})

    def judged(out: Collection[str] = ()) -> Verdict:
        wanted = gate.expected(nodes, CONFIG, excluded=out)
        return gate.judge(look, wanted, (), T0, CONFIG, others=gate.beyond(nodes, excluded=out))

    assert isinstance(judged(), Passed)
    listed = wanted["w07/a"] | {f"{far}/a", "left/a"}
    found["w07/a"] = rounds("w07/a", peers=listed, bad=bad("left/a"))
    assert isinstance(judged(), Passed)  # of a node that has left nothing counts
    for trouble in (bad(f"{far}/a"), bad(f"node:{far}", "tcp", "host")):
        found["w07/a"] = rounds("w07/a", peers=listed, bad=trouble)
        assert failing(judged()).pairs[0].peer == trouble[0].peer
        assert isinstance(judged([far]), Passed)  # one that is out is its own gate's business
    assert gate.beyond(nodes, focus=["w07"]) == frozenset()


def pairs(*found: str, kind: str = "http", net: str = "primary") -> list[Pair]:
    ends = (text.split(">") for text in found)
    return [Pair(agent, peer, net, kind, "timeout") for agent, peer in ends]


def heard(*found: str) -> list[Pair]:
    return [replace(pair, error=diagnosis.HEARD) for pair in pairs(*found, kind="udp")]


THREE = {f"w{n}/{mesh}": frozenset({"x"}) for n in (1, 2, 3) for mesh in "ab"}
PATTERNS: dict[str, tuple[list[Pair], str]] = {
    "one agent": (pairs("w1/a>w2/a", "w3/a>w2/a", "w2/b>w2/a"), "towards agent w2/a only: its process or its pod"),
    "one agent's network": (pairs("w1/a>w2/a", "w2/a>w3/a", "w2/b>w2/a"), "to and from agent w2/a only: its process or"),
    "lost towards a node": (
        pairs("w1/a>w2/a", "w3/a>w2/a", "w2/a>w3/b", kind="http") + heard("w1/a>w2/a", "w3/a>w2/b")
        + pairs("w2/a>w1/a", kind="udp"),
        "probes fail (packets towards node w2 are lost, those from it arrive)",
    ),
    "lost from a node": (
        pairs("w1/a>w2/a", "w3/a>w2/a", kind="http") + heard("w2/b>w1/a", "w2/a>w3/a"),
        "probes fail (packets from node w2 are lost, those towards it arrive)",
    ),
    "lost from one to another": (
        pairs("w1/a>w2/a", "w2/a>w1/a") + heard("w1/a>w2/b"),
        "packets from node w1 to w2 are lost, those in the other direction arrive",
    ),
    "late": (heard("w1/a>w2/a", "w2/a>w1/a") + pairs("w1/a>w2/a"), "answers come too late"),
    "one of two ways is known": (pairs("w1/a>w2/a", "w3/a>w2/a") + heard("w1/a>w2/a"), "towards agent w2/a only"),
    "large packets of a node": (
        pairs("w1/a>w2/a", "w2/b>w3/a", kind="http_large"), "is too large (to and from node w2)"),
    "udp of a node": (pairs("w1/a>w2/a", "w2/b>w3/a", kind="udp"), "conntrack rule (to and from node w2)"),
    "deaf": (pairs("w1/a>w2/a", "w3/a>w2/b"), "towards node w2 only: it hears nobody"),
    "mute": (pairs("w2/a>w1/a", "w2/b>w3/b"), "from node w2 only: nobody hears it"),
    "cut off": (pairs("w2/a>w1/a", "w3/b>w2/b"), "to and from node w2: it is cut off"),
    "one direction": (pairs("w1/a>w2/a", "w1/b>w2/b"), "in one direction, w1 to w2"),
    "both directions": (pairs("w1/a>w2/a", "w2/b>w1/b"), "between w1 and w2"),
    "on the node itself": (pairs("w1/a>w1/b"), "on node w1 itself"),
    "MTU": (pairs("w1/a>w2/a", kind="http_large"), "the MTU of one network is too large"),
    "udp": (pairs("w1/a>w2/a", kind="udp"), "only UDP fails"),
    "long-lived": (pairs("w1/a>w2/a", kind="tcp"), "only connections that live long fail"),
    "dns": (pairs("w1/a>dns", kind="dns"), "only names fail to resolve"),
    "api": (pairs("w1/a>api", kind="api"), "only the API server cannot be reached from pods"),
    "service": (pairs("w1/a>service", kind="service"), "only the ClusterIP fails"),
    "node port": (pairs("w1/a>nodeport", kind="nodeport"), "only the node port fails: look at kube-proxy (from w1)"),
    "kube-proxy": (
        pairs("w1/a>nodeport", kind="nodeport") + pairs("w1/b>service", kind="service"),
        "neither the ClusterIP nor the node port answers: look at kube-proxy and the Service's endpoints (from w1)",
    ),
    "own host": (pairs("w1/a>node:w1", kind="tcp", net="host"), "pods do not reach their nodes (on w1)"),
    "own hosts": (
        pairs("w1/a>node:w1", "w2/b>node:w2", "w3/a>node:w3", kind="tcp", net="host"), "pods do not reach their nodes"),
    "another host": (
        pairs("w1/a>node:w2", "w3/b>node:w2", kind="tcp", net="host"),
        "pods on other nodes do not reach the node w2, at the host's own address (from w1, w3)",
    ),
    "a host alone": (
        pairs("w1/a>node:w2", "w2/b>node:w2", kind="tcp", net="host"),
        "pods do not reach the node w2, not even its own, at the host's own address (from w1, w2)",
    ),
    "other hosts": (
        pairs("w1/a>node:w2", "w1/b>node:w3", kind="tcp", net="host"), "reach the nodes w2, w3, at the host's own"),
    "a host and long-lived": (
        pairs("w1/a>node:w2", kind="tcp", net="host") + pairs("w1/a>w2/a", kind="tcp"),
        "probes fail (in one direction, w1 to w2)",
    ),
    "allowed": (pairs("w1/a>w2/b", kind="policy_allow"), "allowed callers are blocked"),
    "forbidden": (pairs("w1/b>w2/b", kind="policy_deny"), "forbidden callers get through"),
    "both policies": (
        pairs("w1/b>w2/b", kind="policy_deny") + pairs("w1/a>w2/b", kind="policy_allow"),
        "NetworkPolicies do not hold in either direction",
    ),
    "allowed by ClusterIP": (
        [Pair("w1/a", "guard", "primary", "policy_allow", "timeout")],
        "by ClusterIP alone allowed callers are blocked: on a Service's way a NetworkPolicy does not see who they are (from",
    ),
    "forbidden by ClusterIP": (
        [Pair("w1/b", "guard", "primary", "policy_deny", "not blocked")], "by ClusterIP alone forbidden callers get"),
    "both by ClusterIP": (
        [Pair("w1/b", "guard", "primary", "policy_deny", "not blocked"),
         Pair("w1/a", "guard", "primary", "policy_allow", "timeout")],
        "by ClusterIP alone NetworkPolicies do not hold",
    ),
    "allowed in both ways": (
        [*pairs("w1/a>w2/b", kind="policy_allow"), Pair("w1/a", "guard", "primary", "policy_allow", "timeout")],
        "allowed callers are blocked: a NetworkPolicy does not see who they are (in one direction, w1 to w2)",
    ),
    "kubelets": (
        [Pair(agent, "kubelet", "primary", "kubelet", "never heard") for agent in ("w2/a", "w2/b")],
        "kubelets do not reach the pods of their own nodes: pods answer by another interface, or not at all (from w2)",
    ),
    "unknown peer": (pairs("w1/a>w2/b", kind="peer"), "w1/a does not list w2/b"),
    "everything": (
        pairs("w1/a>w2/a", "w2/a>w3/a", "w3/a>w1/a", "w1/b>w2/b", "w2/b>w3/b", "w3/b>w1/b", "w2/a>w1/a", "w3/a>w2/a",
              "w1/a>w3/a", "w1/a>w1/b", "w2/a>w2/b", "w3/a>w3/b"),
        "nothing reaches anything",
    ),
    "nothing": ([], "nothing is wrong"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "said"), PATTERNS.values(), ids=PATTERNS)
def test_the_pattern_is_told_in_words(found: list[Pair], said: str) -> None:
    assert said in diagnosis.diagnose(found, THREE)


def test_silence_is_told_in_words() -> None:
    assert "all on node w2" in diagnosis.diagnose([], THREE, [("w2/a", "x"), ("w2/b", "x")])
    assert diagnosis.diagnose([], THREE, [("w2/a", "x")]) == "no report from w2/a"
    whole = diagnosis.diagnose(pairs("w1/a>w2/a", "w3/a>w2/a"), THREE, [("w2/a", "x"), ("w2/b", "x")])
    assert "towards node w2 only" in whole
    assert diagnosis.diagnose([], THREE, [(agent, "x") for agent in THREE]) == "no agent reports at all"


@pytest.mark.parametrize("index", range(6))
def test_any_bad_round_among_those_that_count_keeps_the_gate_shut(index: int) -> None:
    config = Config.model_validate({"gate": {"rounds": 6}})
    changed = rounds("w1/a")
    changed[index] = replace(changed[index], bad=bad())
    assert not isinstance(judge(reading({"w1/a": changed}), config=config), Passed)


def test_what_no_round_has_probed_yet_is_not_proven() -> None:
    """The newest round has to tell that all has been probed: by then it fails, or is well. An older one need not."""
    young = rounds("w1/a", shared=gate.shared(CONFIG) - {"kubelet"})
    verdict = judge(reading({"w1/a": young}))
    assert isinstance(verdict, Pending), verdict
    assert "w1/a has not probed kubelet" in verdict.observed
    assert verdict.lacking == {"w1/a"}
    heard = [*young[:-1], replace(young[-1], shared=gate.shared(CONFIG))]
    assert isinstance(judge(reading({"w1/a": heard})), Passed)


def test_what_agents_have_to_probe_is_what_they_are_told_to() -> None:
    """The node port only where there is one; nothing that is not asked for."""
    assert gate.shared(CONFIG) == {"api", "dns", "guard", "kubelet", "nodeport", "service"}
    assert gate.shared(Config.model_validate({"knet": {"node_port": False}}), {"dns"}) == {
        "api", "guard", "kubelet", "service",
    }  # fmt: skip


def test_a_kubelet_is_its_own_node_s_business() -> None:
    """Where a node is in focus, what its kubelet sees counts; what those of its observers' nodes see does not."""
    heard = (BadProbe("kubelet", "primary", "kubelet", "never heard"),)
    wanted = gate.expected(("w1", "w2", "w3"), CONFIG, focus=["w1"])
    everyone = [f"{node}/{mesh}" for node in ("w1", "w2", "w3") for mesh in "ab"]
    for node, counts in (("w1", True), ("w2", False)):
        found = {
            agent: rounds(agent, peers=frozenset(everyone) - {agent}, bad=heard if agent[:2] == node else ())
            for agent in everyone
        }
        verdict = gate.judge(GateReading(at(3.5), found, {}), wanted, (), T0, CONFIG)
        assert isinstance(verdict, Failing) is counts, verdict
        if counts:
            assert "kubelets do not reach the pods of their own nodes" in failing(verdict).diagnosis


class Seen:
    """As much of a snapshot as `ask` looks at: nodes, and pods by node."""

    def __init__(self, pods: Collection[Pod], nodes: Collection[str] = NODES) -> None:
        self.nodes: Mapping[str, Node] = dict.fromkeys(nodes)  # type: ignore[assignment]
        self._pods = pods

    def pods_on(self, node: str) -> list[Pod]:
        return [pod for pod in self._pods if pod.node == node]


def pod(agent: str, **values: Any) -> Pod:
    node, mesh = agent.split("/")
    one = Pod(
        namespace="knet-stress", name=f"knet-stress-{mesh}-{node}", uid=agent, node=node, ip="10.0.0.1",
        host_network=False, phase="Running", ready=True, deleting=False, labels={}, annotations={},
        controller=("DaemonSet", f"knet-stress-{mesh}", "uid"), containers=("knet-stress",), mirror=False,
        local_storage=False, revision="1", trouble="", message="",
    )  # fmt: skip
    return replace(one, **values)


def ask(pods: Collection[Pod], **values: Any) -> tuple[list[str], dict[str, str]]:
    snapshot: Snapshot = Seen(pods)  # type: ignore[assignment]
    wanted, missing = gate.ask("k", values.pop("focus", None), snapshot, CONFIG, T0, **values)
    assert (wanted.key, wanted.since) == ("k", T0)
    assert all(namespace == "knet-stress" for namespace, _, _ in wanted.pods)
    return [f"{name} as {agent}" for _, name, agent in wanted.pods], missing


def test_ask_names_the_pod_of_every_expected_agent() -> None:
    found, missing = ask([pod(agent) for agent in AGENTS])
    assert found == [f"knet-stress-{agent[-1]}-{agent[:2]} as {agent}" for agent in AGENTS]
    assert missing == {}


def test_ask_tells_which_agents_cannot_be_read_and_why() -> None:
    pods = [
        pod("w1/a", deleting=True),
        pod("w1/b", phase="Pending", trouble="ImagePullBackOff"),
        pod("w2/a", phase="Failed"),
        pod("w2/b", namespace="elsewhere"),
    ]
    found, missing = ask(pods)
    assert found == []
    assert missing == {
        "w1/a": "its pod is being deleted",
        "w1/b": "its pod is Pending: ImagePullBackOff",
        "w2/a": "no pod",
        "w2/b": "no pod",
    }


def test_ask_takes_the_pod_that_stays() -> None:
    found, _ = ask([pod("w1/a", name="old", deleting=True), pod("w1/a", name="new")], excluded=["w2"])
    assert found == ["new as w1/a"]
