"""What of the baseline excuses a failure later on: table by table."""

import pytest

from cni_migrate.core.connectivity.known_failures import KnownFailures, OwedByCanal, enforcing
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from tests.unit.core.builders import an_entry, under_way

OPEN = ("w1/b w2/b primary policy_deny", "w2/b w1/b primary policy_deny")
"""A cluster without anybody who enforces policies."""
GUARD = ("w1/b guard primary policy_deny",)
WALL = ("w1/a node:w2 host tcp",)


@pytest.mark.parametrize(
    ("baseline", "known", "known_failures"),
    [
        (("w1/a w2/a primary http",), "w1/a w2/a primary http", True),
        (("w1/a w2/a primary http",), "w1/a w2/a primary udp", False),
        (("w1/a w2/a primary http",), "w3/a w2/a primary http", False),
        (("w1/a w2/a primary http",), "w1/a w2/a extra http", False),
        (WALL, "w3/b node:w2 host tcp", True),
        (WALL, "w3/b node:w1 host tcp", False),
        (OPEN, "w1/b w2/b primary policy_deny", True),
        (OPEN, "w3/b w2/b primary policy_deny", True),
        (OPEN, "w1/b w3/b primary policy_deny", True),
        (OPEN[:1], "w2/b w1/b primary policy_deny", False),
        ((), "w1/b w3/b primary policy_deny", False),
        (OPEN, "w1/a w2/b primary policy_allow", False),
        (OPEN, "w1/b guard primary policy_deny", True),
        (OPEN, "w3/b guard primary policy_deny", True),
        ((), "w1/b guard primary policy_deny", False),
        (GUARD, "w1/b guard primary policy_deny", True),
        (GUARD, "w3/b w4/b primary policy_deny", False),
        (OPEN, "w1/a guard primary policy_allow", False),
        (("w1/a kubelet primary kubelet",), "w2/a kubelet primary kubelet", False),
    ],
    ids=[
        "the same", "another kind", "another caller", "another network", "a firewall", "another firewall",
        "never enforced", "by a newcomer", "on a newcomer", "was enforced there", "was enforced", "the pair that may",
        "by ClusterIP", "by ClusterIP from a newcomer", "enforced by ClusterIP", "open by ClusterIP alone",
        "that excuses no address", "who may by ClusterIP", "another kubelet",
    ],
)  # fmt: skip
def test_what_follows_from_the_baseline_is_excused(baseline: tuple[str, ...], known: str, known_failures: bool) -> None:
    assert (known in KnownFailures(baseline)) is known_failures


def test_nothing_excuses_a_node_on_which_cilium_enforces() -> None:
    """Else a cluster that never had enforcement would not notice that it has none at the end either."""
    assert OPEN[0] not in KnownFailures(OPEN, {"w2"})
    assert OPEN[1] in KnownFailures(OPEN, {"w2"})


def test_a_service_lets_nobody_through_once_cilium_enforces_everywhere() -> None:
    """Until then it may lead to a node where nobody does."""
    for baseline in (OPEN, GUARD):
        assert GUARD[0] in KnownFailures(baseline, {"w2"})
        assert GUARD[0] not in KnownFailures(baseline, {"w1", "w2"}, everywhere=True)


def test_on_the_way_back_what_any_pod_answers_counts_once_all_are_on_canal() -> None:
    """A Service may lead to a pod on Cilium, which may be what is broken."""
    for known in ("w1/a guard primary policy_allow", "w1/a service primary service", "w1/b guard primary policy_deny"):
        assert known in OwedByCanal((), everywhere=False)
        assert known not in OwedByCanal((), everywhere=True)
    assert "w1/a w2/b primary policy_allow" not in OwedByCanal((), everywhere=False)
    assert "w1/a kubelet primary kubelet" not in OwedByCanal((), everywhere=False)


def test_cilium_enforces_from_the_switch_until_the_way_back_begins() -> None:
    nodes = {
        "dual": an_entry("dual", NodeState.DUAL),
        "draining": an_entry("draining", NodeState.DRAINING),
        "cilium": under_way("cilium", NodeState.CILIUM, NodeEvent.RELEASE, "recheck"),
        "migrated": an_entry("migrated", NodeState.MIGRATED),
        "rerouted": under_way("rerouted", NodeState.MIGRATED, NodeEvent.REROUTE, "gate"),
        "back": under_way("back", NodeState.MIGRATED, NodeEvent.RESTORE, "gate"),
    }
    assert enforcing(nodes) == {"cilium", "migrated", "rerouted"}
