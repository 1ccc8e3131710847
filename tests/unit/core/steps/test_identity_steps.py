"""Canal's pods are known to Cilium before anything is switched, and nothing of that is left in the end."""

from typing import Any

import pytest

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeleteIdentities, DeleteObject, PutObject
from cni_migrate.core.model.lifecycle import NodeEvent
from cni_migrate.core.model.objects import Endpoint, Pod
from cni_migrate.core.steps.answers import Apply, Done, Wait
from cni_migrate.core.steps.registry import CLUSTER_STEPS, NODE_STEPS
from tests.unit.core.builders import (
    Seen,
    a_cluster_view,
    a_daemonset,
    a_node,
    a_plan,
    a_pod,
    a_view,
    an_agent,
    an_entry,
    seen,
)

OVERLAY = a_plan("overlay")
AGENTS = a_daemonset(names.IDENTITIES, namespace="cni-migrate")
AGENT = an_agent(names.IDENTITIES, namespace="cni-migrate")


def ours(pod: Pod, **changes: Any) -> Endpoint:
    values: dict[str, Any] = {
        "namespace": pod.namespace, "name": names.endpoint_of(pod.name), "pod_uid": pod.uid, "ip": pod.ip,
        "uid": "uid-endpoint", "identity": 4711, "ours": True,
    }  # fmt: skip
    return Endpoint(**{**values, **changes})


def ask(step: str, found: Seen) -> Any:
    if step in CLUSTER_STEPS:
        return CLUSTER_STEPS[step](a_cluster_view(found, plan=OVERLAY))
    return NODE_STEPS[step](a_view(found, an_entry(event=NodeEvent.DRAIN, step=step), plan=OVERLAY))


@pytest.mark.parametrize("step", ["await_identities", "await_identified"])
@pytest.mark.parametrize(
    ("found", "known"),
    [
        ([a_pod(), ours(a_pod())], True),
        ([a_pod()], False),
        ([a_pod(), ours(a_pod(), identity=0)], False),
        ([a_pod(), ours(a_pod(), pod_uid="an-earlier-one")], False),
        ([a_pod(), ours(a_pod(), ip="10.244.1.77")], False),
        ([a_pod(), ours(a_pod(), name=a_pod().name)], False),
        ([a_pod(ip="10.245.1.5")], True),
        ([a_pod(deleting=True)], True),
        ([a_pod(host_network=True)], True),
        ([a_pod(phase="Succeeded")], True),
        ([a_pod(node="dead"), a_node("dead", ready=False)], True),
    ],
    ids=[
        "known", "no endpoint", "no identity", "another pod's", "another address", "an agent of Cilium's", "on Cilium",
        "leaving", "on the host", "ended", "on a dead node",
    ],
)  # fmt: skip
def test_every_pod_on_canal_is_to_be_known(step: str, found: list[Any], known: bool) -> None:
    """By an endpoint of its own with its address and an identity, before anything of a node is touched."""
    answer = ask(step, seen(a_node(), AGENTS, AGENT, *found))
    if known:
        assert answer == Done()
    else:
        assert isinstance(answer, Wait)
        assert "default/web-1-a on node w1" in answer.observed


@pytest.mark.parametrize("step", ["await_identities", "await_identified", "await_identity_agent"])
def test_an_agent_keeps_watch_on_every_node(step: str) -> None:
    """What is right now is not enough: pods come and go."""
    answer = ask(step, seen(a_node(), AGENTS))
    assert isinstance(answer, Wait)
    assert names.IDENTITIES in answer.on


def test_who_is_missing_is_named() -> None:
    """Before a drain, every node whose agent is gone, or whose rule does not stand (its pod is not Ready then)."""
    nodes = [a_node(name) for name in ("w1", "w2", "w3")]
    agents = [an_agent(names.IDENTITIES, "w1", namespace="cni-migrate"),
              an_agent(names.IDENTITIES, "w2", namespace="cni-migrate", ready=False)]  # fmt: skip
    answer = ask("await_identified", seen(*nodes, AGENTS, *agents))
    assert isinstance(answer, Wait)
    assert answer.on == "DaemonSet cni-migrate/cni-migrate-identities to be Ready on 2 nodes"
    assert answer.observed.startswith("node w2: ")
    assert answer.observed.endswith("also on w3")


def test_the_agents_are_applied_with_their_rights() -> None:
    """All in the tool's own namespace."""
    answer = ask("apply_identities", seen(a_node()))
    assert isinstance(answer, Apply)
    kinds = {effect.ref.kind: effect.ref.namespace for effect in answer.effects if isinstance(effect, PutObject)}
    assert kinds == {
        "ServiceAccount": "cni-migrate", "ClusterRole": "", "ClusterRoleBinding": "", "ConfigMap": "cni-migrate",
        "DaemonSet": "cni-migrate",
    }  # fmt: skip


def test_agents_go_before_the_endpoints_that_they_would_make_again() -> None:
    """And each endpoint is deleted by its uid; Cilium's own stay."""
    own = Endpoint("default", "web-1-a", "uid-web-1-a", "10.245.0.1", "uid-own", 7)
    found = seen(a_node(), AGENTS, AGENT, ours(a_pod()), own)
    while isinstance(answer := ask("delete_identities", found), Apply):
        for effect in answer.effects:
            assert isinstance(effect, DeleteObject)
            assert effect.ref.kind != "CiliumEndpoint"
            found.tried(effect.key, "applied")
    assert isinstance(answer, Wait)
    found.pods.clear()
    while isinstance(second := ask("delete_identities", found), Apply) and len(second.effects) > 1:
        for effect in second.effects:
            found.tried(effect.key, "applied")
    assert isinstance(second, Apply)
    (effect,) = second.effects
    assert isinstance(effect, DeleteObject)
    assert (effect.ref.name, effect.uid) == (names.endpoint_of("web-1-a"), "uid-endpoint")
    del found.endpoints["default", names.endpoint_of("web-1-a")]
    assert ask("delete_identities", found) == Done()


@pytest.mark.parametrize("result", ["applied", "gone"])
def test_identities_go_when_cilium_has_gone(result: Any) -> None:
    """By the mark on those that our agents have made."""
    found = seen(a_node())
    answer = ask("forget_identities", found)
    assert isinstance(answer, Apply)
    (effect,) = answer.effects
    assert effect == DeleteIdentities(names.OURS)
    found.tried(effect.key, result)
    assert ask("forget_identities", found) == Done()


@pytest.mark.parametrize("step", ["audit", "audit_undone"])
@pytest.mark.parametrize(("left", "says"), [(AGENTS, names.IDENTITIES), (ours(a_pod()), "CiliumEndpoint default/")])
def test_the_audits_look_for_what_is_left_of_it(step: str, left: Any, says: str) -> None:
    """Agents as well as endpoints."""
    answer = ask(step, seen(a_node(), left))
    assert isinstance(answer, Wait)
    assert says in answer.observed
