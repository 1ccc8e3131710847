"""What is kept of ours, and how it is told. Whole runs are in tests/simulation/test_put_back.py."""

from datetime import timedelta
from typing import Any

import pytest

from cni_migrate.core.decision.decide import Decision, decide
from cni_migrate.core.decision.installed import installed, put_back
from cni_migrate.core.model import names
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import AS_IT_WAS, CHANGED, GONE, KeepObject, PutObject, describe
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import DaemonSet
from tests.unit.core.builders import NOW, Seen, a_daemonset, a_node, a_plan, a_record, after, an_entry, seen, under_way

OVERLAY = a_plan("overlay")
MULTUS = a_plan("multus")
SERVED = ("cilium.io/v2/ciliumnodeconfigs",)
MARK = {names.MANAGED_BY: names.TOOL}


def kept(plan: Any = OVERLAY, **cluster: Any) -> set[tuple[str, str]]:
    found = installed(plan, a_record(plan, ["w1"], **cluster), seen(a_node(), served=SERVED))
    return {(one.ref.kind, one.ref.name) for one in found}


@pytest.mark.parametrize("phase", [Phase.ATTACHING, Phase.MIGRATING])
@pytest.mark.parametrize("direction", ["forward", "back"])
def test_all_that_preparation_has_installed_stays(phase: Phase, direction: str) -> None:
    """Both ways; but for the agents' pace, which is written again and again."""
    found = kept(phase=phase, direction=direction)
    assert {
        ("Namespace", "knet-stress"), ("ServiceAccount", "cilium"), ("ConfigMap", "cilium-config"),
        ("DaemonSet", "cilium"), ("Deployment", "cilium-operator"), ("CiliumNodeConfig", names.NODE_CONFIG),
        ("DaemonSet", names.IDENTITIES), ("NetworkPolicy", "knet-stress-guard"),
    } <= found  # fmt: skip
    assert ("ConfigMap", names.PACE) not in found
    assert ("DaemonSet", "kube-multus") not in found
    assert ("DaemonSet", "kube-multus") in kept(MULTUS, phase=phase, direction=direction)


def test_a_node_config_is_none_of_it_while_nobody_serves_it() -> None:
    found = installed(OVERLAY, a_record(OVERLAY, ["w1"]), seen(a_node()))
    assert "CiliumNodeConfig" not in {one.ref.kind for one in found}


def test_what_is_not_installed_yet_is_not_kept() -> None:
    """In preparation, what lies behind the step that is under way; nothing of it once it is undone."""
    steps = OVERLAY.strategy.phases["prepare"]
    at = {"phase": Phase.PREPARING, "list_name": "prepare", "position": steps.index("apply_cilium")}
    found = kept(**at)
    assert ("DaemonSet", "knet-stress-a") in found
    assert ("DaemonSet", "cilium") not in found
    assert kept(**{**at, "direction": "back", "list_name": "undo"}) == set()
    assert kept(phase=Phase.PREFLIGHT) == set()


def test_clean_up_keeps_the_end_form_up_to_the_point_of_no_return() -> None:
    """Behind it Helm may own what is there."""
    steps = OVERLAY.strategy.phases["clean"]
    end = OVERLAY.manifests.cilium_final()
    before, behind = steps.index("delete_canal"), steps.index("delete_canal") + 1
    record = a_record(OVERLAY, ["w1"], phase=Phase.CLEANING, list_name="clean", position=before)
    found = installed(OVERLAY, record, seen(a_node()))
    assert [one.manifest for one in found] == end
    assert kept(phase=Phase.CLEANING, list_name="clean", position=behind) == set()
    assert kept(phase=Phase.CLEANING, list_name="clean", position=0) == set()
    assert kept(phase=Phase.CLEANING, direction="back", list_name="reopen", position=1) == set()


def test_what_was_put_back_is_told_and_nothing_else() -> None:
    looks = installed(OVERLAY, a_record(OVERLAY, ["w1"]), seen(a_node()))[:5]
    results = [("applied", AS_IT_WAS), ("applied", GONE), ("applied", CHANGED), ("failed", "a webhook says no")]
    attempts = {
        look.key: Attempt(result, message, NOW)  # type: ignore[arg-type]
        for look, (result, message) in zip(looks, results, strict=False)
    }
    history = put_back(a_record(OVERLAY, ["w1"]), looks, attempts, NOW).cluster.history
    assert [line.what for line in history] == [
        f"{looks[1].ref} put back: it was gone",
        f"{looks[2].ref} put back: it was changed",
        f"{looks[3].ref} could not be put back: a webhook says no",
        f"{looks[4].ref} was not looked at: what it needs could not be put back",
    ]
    assert describe(looks[0]) == f"apply {looks[0].ref}"


@pytest.mark.parametrize(("found", "told"), [(CHANGED, True), (GONE, True), (AS_IT_WAS, False)])
def test_agents_that_have_read_another_configuration_are_told(found: str, told: bool) -> None:
    """It was put back, and they do not read it again."""
    looks = installed(OVERLAY, a_record(OVERLAY, ["w1"]), seen(a_node()))
    (look,) = [one for one in looks if one.ref.name == names.CILIUM_CONFIG]
    history = put_back(
        a_record(OVERLAY, ["w1"]), [look], {look.key: Attempt("applied", found, NOW)}, NOW
    ).cluster.history
    assert any("has started meanwhile" in line.what for line in history) is told


def there(*but: str) -> list[DaemonSet]:
    """Our DaemonSets that are there, and Canal."""
    ours = [("kube-system", "cilium"), ("cni-migrate", names.IDENTITIES)]
    ours += [("knet-stress", "knet-stress-a"), ("knet-stress", "knet-stress-b")]
    own = [a_daemonset(name, namespace, labels=MARK) for namespace, name in ours if name not in but]
    return [*own, a_daemonset("canal")]


def turn(found: Seen, *, at: float = 0.0) -> Decision:
    nodes = {"w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods"), "w2": an_entry("w2", NodeState.DUAL)}
    return decide(OVERLAY, Goal(), a_record(OVERLAY, nodes), found, after(at), outcomes=found.outcomes)


def test_while_a_daemonset_is_gone_nothing_else_is_done() -> None:
    """It and all it needs is put back."""
    decision = turn(seen(a_node(), a_node("w2"), *there(names.IDENTITIES)))
    others = [one for one in decision.effects if not isinstance(one, KeepObject)]
    assert len(others) < len(decision.effects)
    assert [one.ref.name for one in others if isinstance(one, PutObject)] == [names.PACE] * len(others)
    assert [wait.on for wait in decision.waits] == [f"DaemonSet cni-migrate/{names.IDENTITIES} to be there again"]
    assert decision.record.cluster.history[-1].what == f"DaemonSet cni-migrate/{names.IDENTITIES} gone: put back"
    assert decision.record.nodes["w1"].step == "evict_pods"


def test_where_all_is_there_the_run_goes_on() -> None:
    decision = turn(seen(a_node(), a_node("w2"), *there()))
    assert not [one for one in decision.effects if isinstance(one, KeepObject)]


def tried(found: Seen, result: str = "applied", message: str = "") -> Seen:
    for effect in turn(found).effects:
        found.tried(effect.key, result, message)  # type: ignore[arg-type]
    return found


def test_what_does_not_come_back_is_waited_for_and_then_holds() -> None:
    """Its nodes as well, which would wait for what cannot come."""
    found = tried(seen(a_node(), a_node("w2"), *there("knet-stress-a", "knet-stress-b")))
    waiting = turn(found, at=1)
    assert waiting.effects == ()
    assert waiting.record.cluster.held is None
    end = OVERLAY.config.deadlines.host
    assert waiting.deadline <= NOW + timedelta(seconds=end)
    held = turn(found, at=end).record
    assert held.cluster.held is not None
    assert held.cluster.held.why.startswith(
        "DaemonSets knet-stress/knet-stress-a, knet-stress/knet-stress-b were deleted"
    )
    assert held.nodes["w1"].held == held.cluster.held
    assert held.nodes["w2"].held is None


def test_what_cannot_be_put_back_holds_at_once() -> None:
    found = tried(seen(a_node(), a_node("w2"), *there("cilium")), "failed", "a webhook says no")
    held = turn(found, at=1).record.cluster.held
    assert held is not None
    assert "DaemonSet kube-system/cilium was deleted by somebody" in held.why
    assert "a webhook says no" in held.why
