"""How calls under a NetworkPolicy are judged, without a cluster."""

import json
import time

import pytest

from tests.lab import guarded, policies, probing
from tests.lab.policies import KNOWN, TIMEOUT, Call, Life, Tally
from tests.lab.probing import SETTLE, Pod

NODES = ["node1", "node2", "node3"]


def call(caller: str, *, reached: bool, connected: bool = False, at: float = 100.0) -> Call:
    return Call(caller, "node1", "node2", "address", reached, "" if reached else "timeout", connected, at, ("a", "b"))


@pytest.mark.parametrize(
    ("caller", "reached", "connected", "wrong", "through"),
    [
        ("ok", True, False, False, False),
        ("ok", False, False, True, False),
        ("ok", False, True, False, False),
        ("bad", True, False, True, True),
        ("bad", False, False, False, False),
        ("bad", False, True, True, True),
    ],
)
def test_a_call_is_judged_by_its_caller(
    caller: str, reached: bool, connected: bool, wrong: bool, through: bool
) -> None:
    """Only what the policy allows is to come through, and all of it; who was connected was let through."""
    made = call(caller, reached=reached, connected=connected)
    assert (made.wrong, made.through) == (wrong, through)
    assert policies.wrong([made]) == ([made] if wrong else [])


@pytest.mark.parametrize(
    ("ready", "ends", "stands"),
    [
        (0.0, float("inf"), True),
        (100.0 - KNOWN, float("inf"), True),
        (100.0 - KNOWN + 0.1, float("inf"), False),
        (0.0, 100.0 + TIMEOUT + SETTLE, True),
        (0.0, 100.0 + TIMEOUT + SETTLE - 0.1, False),
        (float("inf"), float("inf"), False),
    ],
)
def test_a_pod_stands_from_when_it_is_known_until_its_end_is_asked_for(ready: float, ends: float, stands: bool) -> None:
    """What is lost before and after that is what a pod's own restart costs."""
    assert Life(ready, ends).stands(100.0, 100.0 + TIMEOUT) is stands


def test_a_pod_that_went_between_two_looks_may_have_gone_right_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks are seconds apart when kubectl has to wait; what a pod's end costs was taken for a gap in the network."""
    pod = Pod("server-1", "a", "node1", "10.244.1.2", ready=True, ends=None)
    told = iter([[(("server", "node1"), pod)], []])
    clock = iter([100.0, 100.5, 106.0, 106.5])
    monkeypatch.setattr(guarded, "told", lambda _: next(told))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    sampling = object.__new__(policies.Sampling)
    vars(sampling).update(_listing=None, _looked=0.0, _lives={}, _pods={})
    sampling._look()
    assert sampling._lives["a"] == Life(100.5, float("inf"))
    sampling._look()
    assert sampling._lives["a"] == Life(100.5, 100.0)


def test_wrong_calls_are_told_by_the_second() -> None:
    """Two calls of one second are in one row; the sum names all three kinds."""
    tally = Tally(seconds=2, calls=72)
    tally.through.append(call("bad", reached=True, at=100.4))
    tally.lost += [call("ok", reached=False, at=100.2), call("ok", reached=False, at=101.9)]
    tally.restarting.append(call("ok", reached=False, at=99.0))
    assert {second: len(found) for second, found in tally.wrong.items()} == {100: 2, 101: 1}
    assert "1 got through, 1 lost" in tally.table()
    assert "bad on node1 -> server on node2 by address got through" in tally.table()
    assert str(tally) == (
        "2 seconds, 72 calls: 1 forbidden got through, 2 allowed were lost, and 1 more while a pod of theirs came or went"
    )


def test_a_server_without_a_processor_is_no_lost_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's pods wait for seconds; that was taken for a gap in the network, 154 calls of one run."""
    sampling = object.__new__(policies.Sampling)
    monkeypatch.setattr(sampling, "_lives", {"a": Life(0.0), "b": Life(0.0)}, raising=False)
    made = [
        call("ok", reached=False),
        call("ok", reached=False, connected=True),
        call("bad", reached=False, connected=True),
        call("bad", reached=False),
    ]
    monkeypatch.setattr(sampling, "_samples", [made], raising=False)
    tally = sampling.tally()
    assert (tally.lost, tally.through, tally.restarting, tally.unanswered) == ([made[0]], [made[2]], [], 1)
    assert str(tally).endswith("; 1 were connected and not answered in time")
    # Another pod may have the address while one of the two is not there: what answers tells its name, a handshake does not.
    monkeypatch.setattr(sampling, "_lives", {"a": Life(0.0), "b": Life()})
    assert sampling.tally().through == []


def test_pods_under_a_policy_have_a_share_of_the_processors() -> None:
    """A pod that asks for nothing has next to none on a machine with other work."""
    for one in guarded.objects(NODES):
        if one["kind"] == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            assert container["resources"]["requests"]["cpu"]


def test_every_node_has_a_server_and_one_caller_of_each_kind() -> None:
    """Three nodes make 36 calls: six callers, three servers, two ways."""
    found = guarded.objects(NODES)
    deployments = [one["metadata"]["name"] for one in found if one["kind"] == "Deployment"]
    assert sorted(deployments) == sorted(f"{role}-{node}" for role in ("server", "ok", "bad") for node in NODES)
    assert len([name for name in deployments if not name.startswith("server")]) * len(NODES) * 2 == 36
    allow = next(one for one in found if one["metadata"]["name"] == "allow-ok")
    assert json.dumps(allow).count('"role": "ok"') == 1


def test_who_is_late_with_its_own_timeout_tells_nothing_of_the_network() -> None:
    """The machine stood still: curl's clock says 6.9 s where it was to wait for 5; one that waited for 5 has lost."""
    assert probing._answer(100.0, "000 6.850 0 Operation timed out") is None
    assert probing._answer(100.0, "000 5.002 0 Operation timed out") == (100.0 - 5.002, False, "Operation timed out")
