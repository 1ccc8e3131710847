"""The cluster steps' answers to hand-made views: installing, making Canal selective, cleaning up, auditing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import (
    DeleteObject,
    DeletePod,
    Effect,
    PatchNode,
    PatchObject,
    PutObject,
    RunHostTask,
)
from cni_migrate.core.model.lifecycle import NodeState
from cni_migrate.core.model.objects import CiliumConfig, CiliumNode, Node, ObjectRef, Pod, Taint
from cni_migrate.core.model.record import NodeRecord
from cni_migrate.core.render import foreign
from cni_migrate.core.steps.answers import Answer, Apply, ClusterChanges, Done, Refuse, Wait
from cni_migrate.core.steps.progress import AT_ONCE
from cni_migrate.core.steps.registry import CLUSTER_STEPS
from cni_migrate.core.steps.view import Plan
from tests.unit.core.builders import (
    OUR_TAINT,
    OURS,
    Seen,
    a_cluster_view,
    a_daemonset,
    a_node,
    a_plan,
    a_plan_with,
    a_pod,
    an_agent,
    an_entry,
    seen,
)

MULTUS, OVERLAY = a_plan(), a_plan("overlay")
LABEL = MULTUS.config.labels.canal_cilium
LABELLED = {LABEL.key: LABEL.value}
NODE_CONFIGS = "cilium.io/v2alpha1/ciliumnodeconfigs"
CANAL = ObjectRef("apps/v1", "DaemonSet", "kube-system", "canal")


def _answer(
    step: str, found: Seen, plan: Plan = MULTUS, entries: dict[str, NodeRecord] | None = None, **cluster: Any
) -> Answer:
    return CLUSTER_STEPS[step](a_cluster_view(found, plan=plan, entries=entries, **cluster))


def _effects(answer: Answer) -> tuple[Effect, ...]:
    assert isinstance(answer, Apply)
    return answer.effects


PUTS = [
    ("apply_namespaces", MULTUS),
    ("apply_knet", MULTUS),
    ("apply_cilium", MULTUS),
    ("apply_cilium", OVERLAY),
    ("apply_multus", MULTUS),
    ("finish_cilium", MULTUS),
    ("finish_cilium", OVERLAY),
    ("apply_node_config", OVERLAY),
]


@pytest.mark.parametrize(("step", "plan"), PUTS)
def test_manifests_are_applied_once(step: str, plan: Plan) -> None:
    """Every object is put, a few at a time; what was applied is not put again, what failed is."""
    found = seen(a_node(), served=[NODE_CONFIGS])
    first = _effects(_answer(step, found, plan))
    assert first
    while effects := [one for one in _effects(_answer(step, found, plan)) if one != first[0]]:
        assert all(isinstance(effect, PutObject) for effect in effects)
        assert len(effects) <= AT_ONCE
        for effect in effects:
            found.tried(effect.key, "applied")
        found.tried(first[0].key, "conflict")
    assert _effects(_answer(step, found, plan)) == first[:1]
    found.tried(first[0].key, "applied")
    assert _answer(step, found, plan) == Done()


@pytest.mark.parametrize(("step", "plan"), [("apply_cilium", MULTUS), ("delete_cilium", OVERLAY)])
def test_a_driver_that_takes_over_goes_on_behind_what_was_performed(step: str, plan: Plan) -> None:
    """What is in the record is not sent again: drivers that live for a few writes get to the end all the same."""
    performed: tuple[str, ...] = ()
    sent: list[str] = []
    for _ in range(20):
        found = seen(a_node())  # a new driver: it has tried nothing
        answer = _answer(step, found, plan, performed=performed)
        if not isinstance(answer, Apply):
            break
        for effect in answer.effects:
            found.tried(effect.key, "applied")
            sent.append(effect.key)
        later = _answer(step, found, plan, performed=performed)
        if isinstance(later, Done):
            break
        assert isinstance(later, Apply)
        performed = cast("ClusterChanges", later.remember)["performed"]
    assert len(sent) == len(set(sent)) > AT_ONCE


def test_what_was_performed_counts_for_its_step_only() -> None:
    """The next step may write the same object, with another driver or in another list."""
    cluster = a_cluster_view(seen(a_node()), performed=("put:x",)).record.cluster
    assert cluster.at("clean", 3, "delete_canal", cluster.since).performed == ()


def test_a_node_config_waits_for_its_crd() -> None:
    """Cilium's operator creates it."""
    answer = _answer("apply_node_config", seen(a_node()), OVERLAY)
    assert isinstance(answer, Wait)
    assert "ciliumnodeconfigs" in answer.on


@pytest.mark.parametrize(
    ("step", "plan", "agents"),
    [
        ("await_knet", MULTUS, [("knet-stress", "knet-stress-a"), ("knet-stress", "knet-stress-b")]),
        ("await_cilium_everywhere", MULTUS, [("kube-system", "cilium-canal")]),
        ("await_cilium_everywhere", OVERLAY, [("kube-system", "cilium")]),
    ],
)
def test_agents_must_be_ready_on_every_node(step: str, plan: Plan, agents: list[tuple[str, str]]) -> None:
    """Nodes that are NotReady, skipped or gone are not waited for; a Ready one without its agent is."""
    sets = [a_daemonset(name, namespace) for namespace, name in agents]
    cidrs = [CiliumNode("w1", ("10.245.1.0/24",))]
    pods = [an_agent(name, namespace=namespace) for namespace, name in agents]
    quiet = [a_node(), a_node("dead", ready=False), a_node("waived")]
    entries = {"w1": an_entry(), "dead": an_entry("dead"), "waived": an_entry("waived", skipped=True)}
    assert _answer(step, seen(*quiet, *sets, *pods, *cidrs), plan, entries) == Done()
    for number, (_, name) in enumerate(agents):
        for change in ({"ready": False, "trouble": "starting"}, {"deleting": True}):
            worse = [replace(pod, **change) if i == number else pod for i, pod in enumerate(pods)]
            answer = _answer(step, seen(*quiet, *sets, *worse, *cidrs), plan, entries)
            assert isinstance(answer, Wait)
            assert name in answer.on
            assert answer.observed.startswith(f"node w1: pod {name}-w1 ")


def test_every_node_needs_a_cilium_cidr() -> None:
    """The agent may be Ready before the operator has given its node a part of the network."""
    found = seen(a_node(), a_daemonset("cilium"), an_agent("cilium"))
    answer = _answer("await_cilium_everywhere", found, OVERLAY)
    assert answer == Wait(on="a Cilium pod CIDR for every node", observed="none for node w1")
    earlier = _answer("await_cilium_everywhere", seen(*found.nodes.values(), a_daemonset("cilium"), an_agent("cilium"),
                                                      CiliumNode("w1", ("10.99.1.0/24",))), OVERLAY)  # fmt: skip
    assert isinstance(earlier, Wait)
    assert (earlier.on, "10.99.1.0/24" in earlier.observed) == ("a pod CIDR of 10.245.0.0/16 for node w1", True)


class TestSelectCanal:
    """label_nodes, select_canal, unselect_canal: Canal runs on labelled nodes only, and no pod of it is restarted."""

    def test_every_node_is_labelled_first(self) -> None:
        """Nodes that have the label already are not patched."""
        effects = _effects(_answer("label_nodes", seen(a_node(), a_node("w2", labels=LABELLED))))
        assert effects == (PatchNode("w1", "uid-w1", "100", LABELLED, {}),)
        assert _answer("label_nodes", seen(a_node(labels=LABELLED))) == Done()

    def test_the_selector_comes_with_on_delete(self) -> None:
        """In one patch with the version that was seen; what was there before is recorded."""
        answer = _answer("select_canal", seen(a_node(labels=LABELLED), a_daemonset("canal")))
        assert isinstance(answer, Apply)
        (effect,) = answer.effects
        assert isinstance(effect, PatchObject)
        assert (effect.ref, effect.resource_version) == (CANAL, "50")
        assert effect.body["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert effect.body["spec"]["template"]["spec"]["nodeSelector"] == LABELLED
        assert dict(answer.remember) == {"canal_before": {"updateStrategy": "RollingUpdate"}}

    def test_what_was_recorded_is_not_overwritten(self) -> None:
        """A driver that resumes sees OnDelete, which is ours."""
        canal = a_daemonset("canal", update_strategy="OnDelete")
        found = seen(a_node(labels=LABELLED), canal)
        answer = _answer("select_canal", found, canal_before={"updateStrategy": "RollingUpdate"})
        assert isinstance(answer, Apply)
        assert dict(answer.remember) == {}

    def test_it_is_done_once(self) -> None:
        """A selected Canal is left alone."""
        assert _answer("select_canal", seen(a_node(), a_daemonset("canal", node_selector=LABELLED))) == Done()

    def test_without_canal_it_is_refused(self) -> None:
        """The message says which keys to set."""
        answer = _answer("select_canal", seen(a_node()))
        assert isinstance(answer, Refuse)
        assert "DaemonSet kube-system/canal" in answer.why
        assert "canal.namespace" in answer.next

    def test_canal_leaves_no_node_that_lacks_the_label(self) -> None:
        """A node that joined meanwhile would lose its network."""
        answer = _answer("select_canal", seen(a_node("new"), a_daemonset("canal")))
        assert isinstance(answer, Refuse)
        assert "new" in answer.why

    def test_the_way_back_restores_what_was_there(self) -> None:
        """The selector goes, the update strategy is the recorded one."""
        found = seen(a_node(), a_daemonset("canal", node_selector={**LABELLED, "os": "linux"}))
        (effect,) = _effects(_answer("unselect_canal", found, canal_before={"updateStrategy": "OnDelete"}))
        assert isinstance(effect, PatchObject)
        assert effect.body["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert effect.body["spec"]["template"]["spec"]["nodeSelector"] == {LABEL.key: None}
        assert _answer("unselect_canal", seen(a_node(), a_daemonset("canal"))) == Done()
        assert _answer("unselect_canal", seen(a_node())) == Done()


DELETES = [
    ("delete_multus", MULTUS, "kube-multus"),
    ("delete_canal", MULTUS, "canal"),
    ("delete_first_cilium", MULTUS, "cilium-canal"),
    ("delete_cilium", MULTUS, "cilium"),
    ("delete_cilium", OVERLAY, "cilium"),
]


@pytest.mark.parametrize(("step", "plan", "daemonset"), DELETES)
def test_objects_are_deleted_and_their_pods_waited_for(step: str, plan: Plan, daemonset: str) -> None:
    """One that is not there counts as deleted; what pods need goes when the DaemonSet's have left every node."""
    found = seen(a_node(), an_agent(daemonset, deleting=True))
    effects = _effects(_answer(step, found, plan))
    assert len(effects) <= AT_ONCE
    kinds = {effect.ref.kind for effect in effects if isinstance(effect, DeleteObject)}
    assert kinds <= {"DaemonSet", "Deployment"}
    assert daemonset in [effect.ref.name for effect in effects if isinstance(effect, DeleteObject)]
    for number, effect in enumerate(effects):
        found.tried(effect.key, "gone" if number % 2 else "applied")
    answer = _answer(step, found, plan)
    assert isinstance(answer, Wait)
    assert f"{daemonset}-w1 on node w1" in answer.observed
    found.pods.clear()
    while isinstance(answer := _answer(step, found, plan), Apply):
        assert all(isinstance(effect, DeleteObject) for effect in answer.effects)
        for effect in answer.effects:
            found.tried(effect.key, "applied")
    assert _answer(step, found, plan) == Done()


def test_no_namespace_that_others_use_is_deleted() -> None:
    """Undo removes Cilium's objects, never a namespace."""
    found = seen(a_node())
    kinds = []
    while isinstance(answer := _answer("delete_cilium", found, OVERLAY), Apply):
        for effect in answer.effects:
            assert isinstance(effect, DeleteObject)
            kinds.append(effect.ref.kind)
            found.tried(effect.key, "applied")
    assert _answer("delete_cilium", found, OVERLAY) == Done()
    assert "ConfigMap" in kinds
    assert "Namespace" not in kinds


def _deleted(step: str, found: Seen, plan: Plan = MULTUS) -> list[str]:
    """The kinds of all that a step deletes, until it is done."""
    kinds = []
    while isinstance(answer := _answer(step, found, plan), Apply):
        for effect in answer.effects:
            assert isinstance(effect, DeleteObject)
            kinds.append(effect.ref.kind)
            found.tried(effect.key, "applied")
    assert answer == Done()
    return kinds


def test_definitions_that_manifests_bring_stay() -> None:
    """With a definition go all objects of its kind: a rollback took other controllers' Gateways along."""
    meta = {"name": "gateways.gateway.networking.k8s.io"}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta}
    plan = a_plan_with(foreign.read([*OVERLAY.manifests.cilium_final(), crd]))
    assert crd in plan.manifests.cilium()
    kinds = _deleted("delete_cilium", seen(a_node()), plan)
    assert "DaemonSet" in kinds
    assert "CustomResourceDefinition" not in kinds


def test_no_node_keeps_its_part_of_the_network() -> None:
    """A run that begins anew may have another `cilium.pod_cidr`; an agent that still runs would make its own again."""
    part = CiliumNode("w1", ("10.245.0.0/24",))
    deleted: list[tuple[str, str]] = []
    found = seen(a_node(), an_agent("cilium"), part)
    while not isinstance(answer := _answer("delete_cilium", found, OVERLAY), Done):
        if isinstance(answer, Wait):
            assert deleted
            assert ("CiliumNode", "w1") not in deleted, answer
            gone, found = found, seen(a_node(), part)
            found.attempts.update(gone.attempts)
        for effect in answer.effects if isinstance(answer, Apply) else ():
            assert isinstance(effect, DeleteObject)
            deleted.append((effect.ref.kind, effect.ref.name))
            found.tried(effect.key, "applied")
    assert deleted[-1] == ("CiliumNode", "w1")


def test_more_objects_of_canal_can_be_named() -> None:
    """canal.extra_objects, with and without an API group or a namespace."""
    plan = a_plan(canal={"extra_objects": ["v1/ConfigMap/kube-system/canal-config",
                                           "rbac.authorization.k8s.io/v1/ClusterRole//flannel"]})  # fmt: skip
    found = seen(a_node())
    (first,) = _effects(_answer("delete_canal", found, plan))
    assert first == DeleteObject(CANAL)
    found.tried(first.key, "applied")
    refs = [e.ref for e in _effects(_answer("delete_canal", found, plan)) if isinstance(e, DeleteObject)]
    assert refs == [
        ObjectRef("v1", "ConfigMap", "kube-system", "canal-config"),
        ObjectRef("rbac.authorization.k8s.io/v1", "ClusterRole", "", "flannel"),
    ]


def test_nothing_may_be_on_canal_before_canal_goes() -> None:
    """A pod with a Canal address is named; finished ones and those on the host's network are not meant."""
    assert isinstance(_answer("check_nothing_on_canal", seen(a_node(), a_pod())), Wait)
    static = _answer("check_nothing_on_canal", seen(a_node(), a_pod(mirror=True)))
    assert isinstance(static, Wait)
    assert "move its manifest" in static.observed
    fine = [a_pod(ip="10.245.0.3"), a_pod(phase="Failed"), a_pod(host_network=True)]
    assert _answer("check_nothing_on_canal", seen(a_node(), *fine)) == Done()


FINAL = {names.STAGE: "final"}


def an_operator(name: str = "cilium-operator-1", **changes: Any) -> Pod:
    """A pod of Cilium's operator."""
    return a_pod(
        name, **{"namespace": "kube-system", "containers": ("cilium-operator",), "host_network": True} | changes
    )


@pytest.mark.parametrize(
    ("operators", "observed"),
    [
        ([an_operator()], ""),
        ([an_operator(), an_operator("old", labels={names.STAGE: "transit"}, deleting=True)], ""),
        ([an_operator(), an_operator("old", labels={names.STAGE: "transit"})], "pod old"),
        ([an_operator("new", ready=False)], "pod new"),
        ([an_operator(containers=("renamed",), controller=("ReplicaSet", "cilium-operator-7f9c", "uid"))], ""),
        ([], "no pod"),
    ],
)
def test_ciliums_operator_is_waited_for_in_its_final_form(operators: list[Pod], observed: str) -> None:
    """One that was not made anew would go on with the settings of the transit."""
    daemonset = a_daemonset("cilium", generation=2, observed_generation=2)
    answer = _answer("await_cilium_finished", seen(a_node(), daemonset, an_agent("cilium", labels=FINAL), *operators))
    if not observed:
        assert isinstance(answer, Done)
        return
    assert isinstance(answer, Wait)
    assert observed in answer.observed


CLOSED = Taint("node.cilium.io/agent-not-ready", "", "NoSchedule")
OTHERS = (Taint("node.cilium.io/agent-not-ready", "true", "NoExecute"), Taint("team", "blue", "NoSchedule"))


def test_nodes_that_cilium_s_operator_has_closed_are_opened_on_the_way_back() -> None:
    """Only what it sets itself goes, and only on the way back; an installed Cilium's operator goes on, so it stays."""
    found = seen(a_node(taints=(CLOSED, *OTHERS)), a_node("w2"))
    (patch,) = _effects(_answer("open_nodes", found, OVERLAY, direction="back"))
    assert isinstance(patch, PatchNode)
    assert (patch.node, patch.taints) == ("w1", OTHERS)
    (patch,) = _effects(_answer("remove_labels", found, OVERLAY, direction="back"))
    assert isinstance(patch, PatchNode)
    assert patch.taints == OTHERS
    assert isinstance(_answer("remove_labels", found, OVERLAY, direction="forward"), Done)
    installed = a_plan("overlay", cilium={"source": "existing"})
    assert isinstance(_answer("open_nodes", found, installed, direction="back"), Done)


@pytest.mark.parametrize(("seconds", "expected"), [(10, Wait), (61, Done)])
@pytest.mark.parametrize("labels", [{}, {names.STAGE: "transit"}])
def test_an_operator_in_the_final_form_is_waited_for_a_while(
    seconds: int, expected: type, labels: dict[str, str]
) -> None:
    """It would close the nodes again. One whose successor does not come up holds nobody on the way back."""
    plan = a_plan("overlay", cilium={"source": "manifests", "manifests": "cilium.yaml"})
    view = a_cluster_view(seen(a_node(), an_operator(labels=labels)), plan=plan, direction="back")
    answer = CLUSTER_STEPS["open_nodes"](replace(view, since=view.now - timedelta(seconds=seconds)))
    assert isinstance(answer, Done if labels else expected)


BEFORE, CHANGED, AFTER = "2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z", "2030-01-01T02:00:00Z"


@pytest.mark.parametrize(
    ("agent", "operators", "expected"),
    [
        (BEFORE, [an_operator(created=BEFORE)], "cilium-w1"),
        (AFTER, [an_operator(created=BEFORE), an_operator("other", created=BEFORE)], "cilium-operator-1"),
        (AFTER, [an_operator(created=AFTER, ready=False), an_operator("other", created=BEFORE)], Wait),
        (AFTER, [an_operator(created=BEFORE, deleting=True)], Wait),
        (AFTER, [an_operator(created=AFTER)], Done),
    ],
)
def test_an_installed_cilium_is_restarted_where_it_has_not_read_its_configuration(
    agent: str, operators: list[Pod], expected: str | type
) -> None:
    """Agents first, then one operator at a time; none beside one that is still starting."""
    config = CiliumConfig("kube-system", {}, CHANGED)
    cilium = (a_daemonset("cilium"), an_agent("cilium", created=agent))
    found = seen(a_node(), *cilium, *operators, cilium_config=config)
    answer = _answer("restart_unaware_cilium", found, OVERLAY)
    if isinstance(expected, str):
        (effect,) = _effects(answer)
        assert isinstance(effect, DeletePod)
        assert effect.name == expected
    else:
        assert isinstance(answer, expected)


@pytest.mark.parametrize(
    ("pod", "done"),
    [
        (an_agent("cilium", labels=FINAL), True),
        (an_agent("cilium"), False),
        (an_agent("cilium", ready=False, labels=FINAL), False),
        (an_agent("cilium", deleting=True, labels=FINAL), False),
        (None, False),
    ],
)
def test_ciliums_final_form_is_waited_for(pod: Pod | None, done: bool) -> None:
    """On every Ready node, and not before the control plane has looked at the new template."""
    daemonset = a_daemonset("cilium", generation=2, observed_generation=2)
    found = seen(a_node(), a_node("dead", ready=False), daemonset, an_operator(), *([pod] if pod else []))
    assert isinstance(_answer("await_cilium_finished", found), Done if done else Wait)
    found.daemonsets["kube-system", "cilium"] = replace(daemonset, generation=3)
    assert isinstance(_answer("await_cilium_finished", found), Wait)


class TestCleanHosts:
    """clean_hosts: one task per node, some at a time; each result is recorded before its pod is removed."""

    def test_a_task_is_started_on_every_node(self) -> None:
        """Cleaned, gone and waived ones aside; with what to remove by name."""
        entries = {
            "w1": an_entry(),
            "w2": an_entry("w2", cleaned=True),
            "w3": an_entry("w3", gone=True),
            "w4": an_entry("w4", skipped=True),
        }
        found = seen(*(a_node(name) for name in entries))
        (effect,) = _effects(_answer("clean_hosts", found, entries=entries))
        assert isinstance(effect, RunHostTask)
        assert effect.node == "w1"
        args = effect.pod["spec"]["containers"][0]["args"]
        assert args == ["remove-rules", "remove-flannel=10-canal.conflist", "remove-multus=00-multus.conflist"]

    def test_not_all_at_once(self) -> None:
        """Twenty tasks, however large the cluster."""
        found = seen(*(a_node(f"w{number}") for number in range(50)))
        assert len(_effects(_answer("clean_hosts", found))) == 20

    def test_a_result_is_recorded_and_its_pod_removed(self) -> None:
        """Then the node is not looked at again."""
        found = seen(a_node())
        (effect,) = _effects(_answer("clean_hosts", found))
        assert isinstance(effect, RunHostTask)
        task = a_pod(effect.name, namespace="cni-migrate", phase="Succeeded", message='{"files": []}')
        found.pods.append(task)
        answer = _answer("clean_hosts", found)
        assert isinstance(answer, Apply)
        assert answer.nodes == {"w1": {"cleaned": True}}
        assert answer.effects == (DeletePod("cni-migrate", task.name, task.uid, "w1"),)
        assert _answer("clean_hosts", found, entries={"w1": an_entry(cleaned=True)}) == Done()

    def test_a_node_that_is_not_ready_is_waited_for(self) -> None:
        """It would keep its traces otherwise."""
        answer = _answer("clean_hosts", seen(a_node(ready=False)))
        assert isinstance(answer, Apply)
        assert (answer.effects, answer.observed) == ((), "node w1 is not Ready")

    def test_a_task_that_fails_is_refused(self) -> None:
        """With how to look at it."""
        found = seen(a_node())
        (effect,) = _effects(_answer("clean_cilium_hosts", found))
        assert isinstance(effect, RunHostTask)
        found.pods.append(a_pod(effect.name, namespace="cni-migrate", phase="Failed", message="exit 2"))
        answer = _answer("clean_cilium_hosts", found)
        assert isinstance(answer, Refuse)
        assert "exit 2" in answer.why


def _marked(**changes: Any) -> Node:
    return a_node(labels={**LABELLED, "theirs": "x"}, **changes)


def test_every_mark_of_the_migration_is_removed() -> None:
    """Labels, a cordon of ours, our taint, in one patch; what is others' stays; a clean node is not patched."""
    effects = _effects(_answer("remove_labels", seen(_marked(), a_node("w2"))))
    assert effects == (PatchNode("w1", "uid-w1", "100", {LABEL.key: None}, {}),)
    theirs = Taint("dedicated", "db", "NoSchedule")
    left = a_node(annotations=OURS, unschedulable=True, taints=(theirs, OUR_TAINT))
    (effect,) = _effects(_answer("remove_labels", seen(left)))
    assert effect == PatchNode("w1", "uid-w1", "100", {}, {names.CORDONED_BY: None}, False, (theirs,))
    assert _answer("remove_labels", seen(a_node(unschedulable=True, taints=(theirs,)))) == Done()
    assert _answer("remove_labels", seen(a_node(labels={"theirs": "x"}))) == Done()


def test_canals_annotations_go_once_it_is_gone() -> None:
    """They outlive it, and nobody else removes them; as long as Canal is there they are what its peers read."""
    node = a_node(annotations={"flannel.alpha.coreos.com/public-ip": "172.18.0.2", "theirs": "x"})
    (effect,) = _effects(_answer("remove_labels", seen(node)))
    assert effect == PatchNode("w1", "uid-w1", "100", {}, {"flannel.alpha.coreos.com/public-ip": None})
    assert _answer("remove_labels", seen(node, a_daemonset("canal"))) == Done()


@pytest.mark.parametrize("node", ["w1", ""])
def test_a_namespace_that_others_use_stays(node: str) -> None:
    """knet.namespace may be one that was there before: the agents go, what others run in it does not."""
    kinds = _deleted("remove_knet", seen(a_node(), a_pod("grafana", namespace="knet-stress", node=node)))
    assert "DaemonSet" in kinds
    assert "Namespace" not in kinds


def test_agents_are_removed_unless_they_are_to_be_kept() -> None:
    """knet.keep."""
    assert _effects(_answer("remove_knet", seen(a_node())))
    assert _answer("remove_knet", seen(a_node()), a_plan(knet={"keep": True})) == Done()


@pytest.mark.parametrize("step", ["audit", "audit_undone"])
@pytest.mark.parametrize(
    ("node", "says"),
    [
        (_marked(), f"the label {LABEL.key}"),
        (a_node(annotations=OURS), "cordoned by this migration"),
        (a_node(taints=(OUR_TAINT,)), f"the taint {OUR_TAINT.key}"),
    ],
)
def test_the_audit_finds_our_marks(step: str, node: Node, says: str) -> None:
    """A label, a cordon or a taint that was left behind."""
    answer = _answer(step, seen(node))
    assert isinstance(answer, Wait)
    assert says in answer.observed


@pytest.mark.parametrize(
    ("step", "left", "says"),
    [
        ("audit", a_daemonset("canal"), "DaemonSet kube-system/canal"),
        ("audit", a_daemonset("kube-multus"), "DaemonSet kube-system/kube-multus"),
        ("audit", a_daemonset("cilium-canal"), "DaemonSet kube-system/cilium-canal"),
        ("audit", a_pod(), "is on Canal"),
        ("audit", a_pod(mirror=True), "is on Canal: it is static"),
        ("audit_undone", a_pod(ip="10.245.0.9", mirror=True), "is on Cilium: it is static"),
        ("audit_undone", a_daemonset("cilium"), "DaemonSet kube-system/cilium "),
        ("audit_undone", a_daemonset("kube-multus"), "DaemonSet kube-system/kube-multus"),
        ("audit_undone", a_pod(ip="10.245.0.9"), "is on Cilium"),
    ],
)
def test_the_audit_finds_what_is_left_of_the_other_network(step: str, left: Any, says: str) -> None:
    """DaemonSets and pods, each by name."""
    answer = _answer(step, seen(a_node(), left))
    assert isinstance(answer, Wait)
    assert says in answer.observed


@pytest.mark.parametrize("step", ["audit", "audit_undone"])
def test_the_audit_takes_away_host_tasks_that_ended_late(step: str) -> None:
    """One that waited for a file may end a minute after its driver was killed; one that still runs is waited for."""
    task = a_pod(
        "host-w1-1", namespace="cni-migrate", host_network=True, phase="Succeeded",
        labels={names.COMPONENT: names.HOST_TASK},
    )  # fmt: skip
    (effect,) = _effects(_answer(step, seen(a_node(), task)))
    assert effect == DeletePod("cni-migrate", "host-w1-1", task.uid, "w1")
    running = _answer(step, seen(a_node(), replace(task, phase="Running")))
    assert isinstance(running, Wait)
    assert "host-w1-1" in running.observed


def test_an_operators_own_cordon_does_not_disturb_the_audit() -> None:
    """It was there before, and stays."""
    node = a_node(unschedulable=True)
    assert _answer("audit", seen(node, a_daemonset("cilium"), a_pod(ip="10.245.0.9"))) == Done()
    assert _answer("audit_undone", seen(node, a_daemonset("canal"), a_pod())) == Done()


def test_undo_waits_for_canal_everywhere() -> None:
    """restart_canal: every Ready node has a Ready Canal."""
    found = seen(a_node(), a_node("dead", ready=False), a_daemonset("canal"))
    answer = _answer("restart_canal", found)
    assert isinstance(answer, Wait)
    found.pods.append(an_agent("canal"))
    assert _answer("restart_canal", found) == Done()


def test_undo_removes_the_node_config_if_there_can_be_one() -> None:
    """Without its CRD there is none."""
    assert _answer("delete_node_config", seen(a_node()), OVERLAY) == Done()
    assert _effects(_answer("delete_node_config", seen(a_node(), served=[NODE_CONFIGS]), OVERLAY))


def test_the_states_in_these_tests_are_the_real_ones() -> None:
    """A builder's entry begins where a node begins."""
    assert an_entry().state is NodeState.CANAL


def test_every_daemonset_of_canals_is_deleted() -> None:
    """Where flannel and Calico have their own, none is left."""
    plan = a_plan("overlay", canal={"more_daemonsets": ["kube-system/calico-node"]})
    effects = _effects(_answer("delete_canal", seen(), plan))
    names_of = [effect.ref.name for effect in effects if isinstance(effect, DeleteObject)]
    assert {"canal", "calico-node"} <= set(names_of)
