"""Steps that look at Canal on a node, where it is several DaemonSets: flannel and Calico apart, or architectures."""

from typing import Any

import pytest

from cni_migrate.core.model.effects import DeletePod
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.objects import DaemonSet, Node, Pod, Requirement
from cni_migrate.core.steps.answers import Answer, Apply, Done, Wait
from cni_migrate.core.steps.registry import CLUSTER_STEPS, NODE_STEPS
from tests.unit.core.builders import (
    a_cluster_view,
    a_daemonset,
    a_node,
    a_plan,
    a_view,
    an_agent,
    seen,
    under_way,
)

ARCH, OURS = "kubernetes.io/arch", {"node-role.kubernetes/cilium-canal": "cilium-canal"}
SPLIT = a_plan("overlay", canal={"more_daemonsets": ["calico/calico-node"]})
BY_ARCH = a_plan("overlay", canal={"daemonset": "canal-amd64", "more_daemonsets": ["kube-system/canal-arm64"]})

ARM = a_node(labels={ARCH: "arm64"})
AMD64 = a_daemonset("canal-amd64", node_selector={ARCH: "amd64", **OURS})
ARM64 = a_daemonset("canal-arm64", node_selector={ARCH: "arm64", **OURS})
BY_AFFINITY = [
    a_daemonset(f"canal-{arch}", node_terms=((Requirement(ARCH, "In", (arch,)),),)) for arch in ("amd64", "arm64")
]
FLANNEL, CALICO = a_daemonset("canal", node_selector=OURS), a_daemonset("calico-node", "calico", node_selector=OURS)


def _calico(**changes: Any) -> Pod:
    return an_agent("calico-node", namespace="calico", **changes)


READY: list[tuple[str, Any, Node, list[DaemonSet], list[Pod], str]] = [
    ("both of two", SPLIT, a_node(), [FLANNEL, CALICO], [an_agent("canal"), _calico()], ""),
    ("only flannel", SPLIT, a_node(), [FLANNEL, CALICO], [an_agent("canal")], "calico/calico-node"),
    ("calico not ready", SPLIT, a_node(), [FLANNEL, CALICO], [an_agent("canal"), _calico(ready=False)], "calico-node"),
    ("calico ending", SPLIT, a_node(), [FLANNEL, CALICO], [an_agent("canal"), _calico(deleting=True)], "calico-node"),
    ("only calico", SPLIT, a_node(), [FLANNEL, CALICO], [_calico()], "kube-system/canal"),
    ("one that is not there", SPLIT, a_node(), [FLANNEL], [an_agent("canal")], "calico/calico-node"),
    ("its architecture's", BY_ARCH, ARM, [AMD64, ARM64], [an_agent("canal-arm64")], ""),
    ("its architecture's is missing", BY_ARCH, ARM, [AMD64, ARM64], [], "canal-arm64"),
    ("by affinity", BY_ARCH, ARM, BY_AFFINITY, [an_agent("canal-arm64")], ""),
    ("by affinity, missing", BY_ARCH, ARM, BY_AFFINITY, [], "canal-arm64"),
    ("none is meant for it", BY_ARCH, a_node(labels={ARCH: "s390x"}), [AMD64, ARM64], [], "canal-amd64"),
]


@pytest.mark.parametrize(
    ("plan", "node", "sets", "pods", "lacking"), [row[1:] for row in READY], ids=[row[0] for row in READY]
)
def test_every_daemonset_that_is_meant_for_the_node_is_waited_for(
    plan: Any, node: Node, sets: list[DaemonSet], pods: list[Pod], lacking: str
) -> None:
    """await_canal, restart_canal (undo): the label by which nodes leave Canal does not count, architectures do."""
    found = seen(node, *sets, *pods)
    answer = NODE_STEPS["await_canal"](a_view(found, plan=plan))
    undone = CLUSTER_STEPS["restart_canal"](a_cluster_view(found, plan=plan))
    if not lacking:
        assert (answer, undone) == (Done(), Done())
        return
    assert isinstance(answer, Wait)
    assert lacking in answer.on
    assert isinstance(undone, Wait)
    assert lacking in undone.observed


@pytest.mark.parametrize("left", [an_agent("canal"), _calico(), _calico(deleting=True)])
def test_all_of_them_leave_the_node(left: Pod) -> None:
    """await_old_agents_gone: one that stays would go on changing the node's chains."""
    step = NODE_STEPS["await_old_agents_gone"]
    assert step(a_view(seen(a_node()), plan=SPLIT)) == Done()
    answer = step(a_view(seen(a_node(), FLANNEL, CALICO, left), plan=SPLIT))
    assert isinstance(answer, Wait)
    assert left.name in answer.observed


OLD = "uid-calico-node-w1,uid-canal-w1"
NEW = an_agent("canal", uid="new-1"), _calico(uid="new-2")

RESTARTS: list[tuple[str, str, list[Pod], set[str] | str | None]] = [
    ("both at once", "", [an_agent("canal"), _calico()], {"canal-w1", "calico-node-w1"}),
    ("one is left", OLD, [NEW[0], _calico()], {"calico-node-w1"}),
    ("one ends", OLD, [NEW[0], _calico(deleting=True)], "terminating"),
    ("one has not come", OLD, [NEW[0]], "no pod"),
    ("one is not ready", OLD, [NEW[0], _calico(uid="new-2", ready=False, trouble="starting")], "starting"),
    ("both are new", OLD, [*NEW], None),
]


@pytest.mark.parametrize(("old", "pods", "expected"), [row[1:] for row in RESTARTS], ids=[row[0] for row in RESTARTS])
def test_all_of_them_restart_once(old: str, pods: list[Pod], expected: set[str] | str | None) -> None:
    """restart_canal_pod: each by its uid, also after a kill between two deletes."""
    entry = under_way("w1", NodeState.CANAL, NodeEvent.DETACH, "restart_canal_pod", old_uid=old)
    answer: Answer = NODE_STEPS["restart_canal_pod"](a_view(seen(a_node(), FLANNEL, CALICO, *pods), entry, plan=SPLIT))
    if expected is None:
        assert answer == Done(remember={"old_uid": "", "renewed": None})
    elif isinstance(expected, str):
        assert isinstance(answer, Wait)
        assert expected in answer.observed
    else:
        assert isinstance(answer, Apply)
        assert {one.name for one in answer.effects if isinstance(one, DeletePod)} == expected
        assert dict(answer.remember) == {"old_uid": OLD}


MET: list[tuple[Requirement, bool]] = [
    (Requirement(ARCH, "In", ("amd64", "arm64")), True),
    (Requirement(ARCH, "In", ("amd64",)), False),
    (Requirement(ARCH, "NotIn", ("amd64",)), True),
    (Requirement("other", "NotIn", ("amd64",)), True),
    (Requirement(ARCH, "Exists"), True),
    (Requirement("other", "Exists"), False),
    (Requirement("other", "DoesNotExist"), True),
    (Requirement("cores", "Gt", ("3",)), True),
    (Requirement("cores", "Lt", ("4",)), False),
    (Requirement("other", "Lt", ("4",)), False),
    (Requirement("metadata.name", "In", ("w1",), on_name=True), True),
    (Requirement("metadata.name", "NotIn", ("w1",), on_name=True), False),
    (Requirement(ARCH, "Like", ("arm",)), False),
]


@pytest.mark.parametrize(("requirement", "met"), MET, ids=str)
def test_requirements_are_met_as_the_scheduler_has_it(requirement: Requirement, met: bool) -> None:
    """Each operator, on labels and on the node's name; terms are alternatives, and an empty one takes nothing."""
    node = a_node(labels={ARCH: "arm64", "cores": "4"})
    assert requirement.met(node) is met
    assert a_daemonset("canal", node_terms=((requirement,),)).meant_for(node) is met
    assert a_daemonset("canal", node_terms=((), (requirement,))).meant_for(node) is met
    assert not a_daemonset("canal", node_terms=((),)).meant_for(node)
