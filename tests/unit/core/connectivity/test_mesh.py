"""The mesh by itself: what is asked of it, what it says, and whether it is there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cni_migrate.config import Config
from cni_migrate.core.connectivity import mesh
from cni_migrate.core.connectivity.gate import Failing, Pair, Passed, Pending, Verdict, shared
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.record import ClusterRecord, Record
from cni_migrate.core.model.rounds import BadProbe, GateReading, Round
from tests.unit.core.builders import Seen, a_daemonset, a_node, an_agent, seen

CONFIG = Config()
NAMESPACE = CONFIG.knet.namespace
T0 = datetime(2030, 1, 1, tzinfo=UTC)


def agent(node: str, which: str, **changes: object) -> Pod:
    pod = an_agent(f"knet-stress-{which}", node, NAMESPACE, annotations={mesh.DIGEST: "d1"}, **changes)
    return replace(pod, host_network=False)


def both_on(*nodes: str) -> Seen:
    pods = [agent(node, which) for node in nodes for which in "ab"]
    return seen(*(a_node(node) for node in nodes), *pods)


def rounds(name: str, bad: tuple[BadProbe, ...] = (), count: int = 6) -> list[Round]:
    node, which = name.split("/")
    peers = frozenset({"w1/a", "w1/b", "w2/a", "w2/b"}) - {name}
    one = Round(1, T0, node, which, name, 0.5, peers, 20, len(bad), bad, 0.0, shared(CONFIG))
    return [replace(one, round=n + 1, at=T0 + timedelta(seconds=n / 2)) for n in range(count)]


def read(**changes: list[Round]) -> GateReading:
    every = {name: rounds(name) for name in ("w1/a", "w1/b", "w2/a", "w2/b")}
    changed = {name.replace("_", "/"): found for name, found in changes.items()}
    return GateReading(T0 + timedelta(seconds=3), {**every, **changed}, {})


@pytest.mark.parametrize(
    ("phase", "said"),
    [(phase, phase not in (Phase.PREFLIGHT, Phase.DONE)) for phase in Phase],
)
def test_under_way(phase: Phase, said: bool) -> None:
    """From the first change to the end; a record that was rolled back is none."""
    assert mesh.under_way(Record(cluster=ClusterRecord(strategy="overlay", identity="x", phase=phase))) is said
    assert mesh.under_way(None) is False


def test_old_rounds_count() -> None:
    """There is no step that they must be younger than."""
    question = mesh.question(both_on("w1", "w2"), CONFIG)
    assert set(question.expected) == {"w1/a", "w1/b", "w2/a", "w2/b"}
    _, verdict = question.judged(read(), CONFIG)
    assert verdict == Passed(sent=4 * 6 * 20, lost=0, stall_ms=0.0)


def test_a_missing_pod_is_a_failure() -> None:
    """And it is told why there is no report."""
    there = both_on("w1", "w2")
    there.pods = [pod for pod in there.pods if pod.name != "knet-stress-b-w2"]
    question = mesh.question(there, CONFIG)
    full, verdict = question.judged(read(w2_b=[]), CONFIG)
    assert isinstance(verdict, Failing)
    assert verdict.silent == (("w2/b", "no pod"),)
    lines = mesh.agents(question, full, verdict)
    assert [(one.node, one.mesh, one.pod, one.trouble) for one in lines][-1] == ("w2", "b", "", "no pod")


def test_what_is_left_out_is_not_asked() -> None:
    """Neither its agents nor those who would tell of it."""
    question = mesh.question(both_on("w1", "w2"), CONFIG, left_out={"w2"})
    assert question.expected == {"w1/a": {"w1/b"}, "w1/b": {"w1/a"}}
    assert question.left_out == ("w2",)


def test_what_is_ignored_or_known_does_not_count() -> None:
    """By kind, and by name."""
    bad = (BadProbe("w2/a", "primary", "udp", "timeout"),)
    look = read(w1_a=rounds("w1/a", bad))
    for extra in ({"ignored": ["udp"]}, {"known": [Pair("w1/a", "w2/a", "primary", "udp", "").known]}):
        question = mesh.question(both_on("w1", "w2"), CONFIG, **extra)
        full, verdict = question.judged(look, CONFIG)
        assert isinstance(verdict, Passed)
        assert mesh.agents(question, full, verdict)[0].worst == "1 that do not count"
        assert "proven" not in mesh.said(verdict, mesh.doubt(question, full))


DOUBTS: dict[str, tuple[mesh.Doubt, bool, str]] = {
    "none": (mesh.Doubt(), True, "connectivity is proven: 90 probes"),
    "a node is left out": (
        mesh.Doubt(("w2",)), False,
        "connectivity is not known: w2 is not probed, as a migration is working on it; of the rest 90 probes",
    ),
    "failures are excused": (
        mesh.Doubt(("w2", "w3"), 45), False,
        ("connectivity is not known: w2, w3 are not probed, as a migration is working on them; 45 failing probes"
        " not counted: known from before the migration, or of a node that it is working on; of the rest 90 probes"),
    ),
    "an agent is older": (
        mesh.Doubt(older=("w1/a",)), False,
        "connectivity is not known: w1/a is of an earlier version, which does not probe all of it; of the rest 90 probes",
    ),
    "what was not asked for fails": (
        mesh.Doubt(ignored=("policy_deny",)), True,
        "every probe that counts succeeds, policy_deny fails and was not asked for: 90 probes",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("left", "proven", "line"), DOUBTS.values(), ids=DOUBTS)
def test_connectivity_is_not_called_proven_while_something_is_left_open(
    left: mesh.Doubt, proven: bool, line: str
) -> None:
    """An agent that fails, or a node that is not probed, is told instead."""
    assert left.proven is proven
    said = mesh.said(Passed(90, 0, 324500.0), left)
    assert said.startswith(line)
    assert ("proven" in said) == (left == mesh.Doubt())


def test_an_agent_that_does_not_probe_all_proves_nothing() -> None:
    """One that tells so waits; one of an earlier version, which does not tell, leaves the verdict open."""
    question = mesh.question(both_on("w1", "w2"), CONFIG)
    full, verdict = question.judged(
        read(w1_a=[replace(one, shared=frozenset({"api"})) for one in rounds("w1/a")]), CONFIG
    )
    assert "w1/a has not probed dns, guard, kubelet, nodeport, service" in mesh.said(
        verdict, mesh.doubt(question, full)
    )
    full, verdict = question.judged(read(w1_a=[replace(one, shared=None) for one in rounds("w1/a")]), CONFIG)
    left = mesh.doubt(question, full)
    assert (isinstance(verdict, Passed), left.proven, left.older) == (True, False, ("w1/a",))


def test_an_agents_line() -> None:
    """Its newest round, and the peer that it reaches in the fewest ways."""
    failing = (("w2/a", "primary", "udp"), ("w2/b", "primary", "http"), ("w2/b", "primary", "udp"))
    bad = tuple(BadProbe(peer, net, kind, "timeout") for peer, net, kind in failing)
    question = mesh.question(both_on("w1", "w2"), CONFIG)
    full, verdict = question.judged(read(w1_a=rounds("w1/a", bad)), CONFIG)
    first, second, *_ = mesh.agents(question, full, verdict)
    assert first == mesh.Agent("w1", "a", "knet-stress-a-w1", 0.5, 3, 3, 20, 3, "w2/b: http, udp, and 1 more", "")
    assert second == mesh.Agent("w1", "b", "knet-stress-b-w1", 0.5, 3, 3, 20, 0, "", "")


def test_an_agent_is_told_before_a_service() -> None:
    """When each fails in one way, the peer says more."""
    bad = (BadProbe("dns", "primary", "dns", "timeout"), BadProbe("w2/a", "primary", "udp", "timeout"))
    question = mesh.question(both_on("w1", "w2"), CONFIG)
    full, verdict = question.judged(read(w1_a=rounds("w1/a", bad)), CONFIG)
    assert mesh.agents(question, full, verdict)[0].worst == "w2/a: udp, and 1 more"


PAIR = Pair("w1/a", "w2/a", "primary", "http", "timeout")
SAID: dict[str, tuple[Verdict, str, list[str]]] = {
    "passed": (Passed(90, 0, 0.0), "connectivity is proven: 90 probes in the newest clean rounds", []),
    "passed after losses": (
        Passed(90, 2, 310.0),
        (
            "connectivity is proven: 90 probes in the newest clean rounds, 2 lost in the rounds before, "
            "the longest stall 310 ms"
        ),
        [],
    ),
    "pending": (Pending("waiting for w1"), "connectivity is not proven yet: waiting for w1", []),
    "failing": (
        Failing((PAIR,), "only UDP", (("w2/b", "no pod"),)),
        "connectivity is broken: only UDP",
        ["w1/a -> w2/a http: timeout", "w2/b: no pod"],
    ),
}


@pytest.mark.parametrize(("verdict", "line", "below"), SAID.values(), ids=SAID)
def test_said(verdict: Verdict, line: str, below: list[str]) -> None:
    """In the gate's words."""
    assert mesh.said(verdict) == line
    assert mesh.details(verdict) == below


UNREADY: dict[str, tuple[Seen, dict[str, str]]] = {
    "all Ready": (both_on("w1"), {}),
    "no pods": (seen(a_node("w1")), {"w1/a": "no pod", "w1/b": "no pod"}),
    "not asked of a node that is not Ready": (seen(a_node("w1", ready=False)), {}),
    "of an older form": (
        seen(a_node("w1"), replace(agent("w1", "a"), annotations={}), agent("w1", "b")),
        {"w1/a": "pod knet-stress-a-w1 is of an older form"},
    ),
    "running and not Ready": (
        seen(a_node("w1"), agent("w1", "a", ready=False), agent("w1", "b")),
        {"w1/a": "pod knet-stress-a-w1 is Running, not Ready"},
    ),
    "in trouble": (
        seen(a_node("w1"), agent("w1", "a", ready=False, phase="Pending", trouble="ImagePullBackOff"), agent("w1", "b")),
        {"w1/a": "pod knet-stress-a-w1 is ImagePullBackOff"},
    ),
    "on its way out": (
        seen(a_node("w1"), agent("w1", "a", deleting=True, ready=False), agent("w1", "b")), {"w1/a": "no pod"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("there", "said"), UNREADY.values(), ids=UNREADY)
def test_unready(there: Seen, said: dict[str, str]) -> None:
    """Each agent that is not Ready in the form that was applied, and what was seen instead."""
    assert mesh.unready(there, CONFIG, "d1") == said


SEEN, STALE = {"generation": 2, "observed_generation": 2}, "its controller has not seen its latest form yet"


@pytest.mark.parametrize(
    ("changes", "lost", "said"),
    [
        ({**SEEN, "desired": 3, "updated": 3, "available": 3}, 0, ""),
        ({"generation": 2, "desired": 3, "updated": 3, "available": 3}, 0, STALE),
        ({**SEEN, "desired": 3, "updated": 2, "available": 3}, 0, "2 of 3 pods are of its latest form"),
        ({**SEEN, "desired": 3, "updated": 3, "available": 2}, 0, "2 of 3 pods are Ready"),
        ({**SEEN, "desired": 3, "updated": 2, "available": 2}, 1, ""),
    ],
)
def test_a_rollout_has_ended_when_its_daemonsets_say_so(changes: dict[str, int], lost: int, said: str) -> None:
    """But for nodes that are lost, on which nothing is rolled out."""
    nodes = [a_node(f"w{n}", ready=n > lost) for n in (1, 2, 3)]
    one, two = (a_daemonset(name, NAMESPACE, **changes) for name in ("knet-stress-a", "knet-stress-b"))
    found = {one.name: said, two.name: said} if said else {}
    assert mesh.rolling(seen(*nodes, one, two), CONFIG) == {f"DaemonSet {name}": why for name, why in found.items()}
    assert mesh.rolling(seen(*nodes, one), CONFIG)["DaemonSet knet-stress-b"] == "it is not there"


def test_deployed_means_both() -> None:
    """One DaemonSet is no mesh."""
    one = a_daemonset("knet-stress-a", NAMESPACE)
    two = a_daemonset("knet-stress-b", NAMESPACE)
    assert mesh.deployed(seen(one, two), CONFIG)
    assert not mesh.deployed(seen(one), CONFIG)


def test_time_enough_for_the_rounds() -> None:
    """What the gate wants, two rounds to spare, and the timeout of a probe."""
    slow = Config.model_validate({"knet": {"interval": 10, "timeout": 2}, "gate": {"rounds": 3, "seconds": 5}})
    assert mesh.seconds_needed(slow) == 3 * 10 + 2 * 10 + 2
    assert mesh.seconds_needed(CONFIG) == 2.0 + 1.0 + 1.0
