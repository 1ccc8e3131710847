"""Each node step's answers to hand-made views: one row per answer that it can give.

Grouped as the steps are: drop, labels, agents, pods, host. The gates have their own file.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from cni_migrate.core.model.effects import DeletePod, Effect, EvictPod, PatchNode, RunHostTask
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.names import KNET
from cni_migrate.core.model.objects import CiliumNode, Node, Pod, Taint
from cni_migrate.core.model.record import Before, NodeRecord
from cni_migrate.core.steps.answers import Answer, Apply, Done, Refuse, Wait
from cni_migrate.core.steps.host import current_task, task_name
from cni_migrate.core.steps.registry import NODE_STEPS
from cni_migrate.core.steps.view import NodeView, Plan
from tests.unit.core.builders import (
    EVERYTHING,
    NOW,
    OUR_TAINT,
    OURS,
    Seen,
    a_daemonset,
    a_node,
    a_plan,
    a_pod,
    a_view,
    after,
    an_agent,
    an_endpoint,
    an_entry,
    seen,
    under_way,
)

MULTUS, OVERLAY = a_plan(), a_plan("overlay")
LABELS = MULTUS.config.labels
STRANGER = Taint("dedicated", "db", "NoSchedule")
DAEMON = ("DaemonSet", "logs", "uid-logs")


def _answer(step: str, found: Seen, entry: NodeRecord | None = None, plan: Plan = MULTUS, seconds: float = 0) -> Answer:
    return NODE_STEPS[step](a_view(found, entry, plan=plan, now=after(seconds)))


def _at(step: str, **changes: Any) -> NodeRecord:
    return under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, step, **changes)


def _patch(node: Node, **changes: Any) -> PatchNode:
    values: dict[str, Any] = {"labels": {}, "annotations": {}}
    return PatchNode(node.name, node.uid, node.resource_version, **{**values, **changes})


def _evict(pod: Pod) -> EvictPod:
    return EvictPod(pod.namespace, pod.name, pod.uid, pod.node)


def _delete(pod: Pod) -> DeletePod:
    return DeletePod(pod.namespace, pod.name, pod.uid, pod.node)


class TestCordon:
    """cordon: refuses before it touches anything, and remembers whose cordon it is."""

    def test_a_free_node_is_cordoned_with_our_mark_in_the_same_patch(self) -> None:
        """Killed between two patches, nobody could say whose cordon it is."""
        answer = _answer("cordon", seen(a_node(), a_pod()))
        assert isinstance(answer, Apply)
        assert answer.effects == (_patch(a_node(), annotations=OURS, unschedulable=True),)
        assert dict(answer.remember) == {"before": Before(unschedulable=False)}

    @pytest.mark.parametrize(
        ("annotations", "before"), [(OURS, None), (OURS, Before()), ({}, Before(unschedulable=True))]
    )
    def test_a_cordon_that_we_know_is_done(self, annotations: dict[str, str], before: Before | None) -> None:
        """Ours, or one that was noted as somebody else's already."""
        node = a_node(unschedulable=True, annotations=annotations)
        assert _answer("cordon", seen(node), _at("cordon", before=before)) == Done()

    @pytest.mark.parametrize("before", [None, Before(unschedulable=False)])
    def test_somebody_elses_cordon_is_noted_and_stays_theirs(self, before: Before | None) -> None:
        """Also when it appeared after our intent was recorded and before our patch."""
        answer = _answer("cordon", seen(a_node(unschedulable=True)), _at("cordon", before=before))
        assert answer == Done(remember={"before": Before(unschedulable=True)})

    @pytest.mark.parametrize("pod", [a_pod(controller=None), a_pod(local_storage=True)])
    def test_a_pod_that_cannot_be_moved_is_refused_before_anything_is_touched(self, pod: Pod) -> None:
        """The refusal names the pod and the way out."""
        answer = _answer("cordon", seen(a_node(), pod))
        assert isinstance(answer, Refuse)
        assert pod.key in answer.why
        assert "drain.force" in answer.next

    def test_a_mark_without_a_cordon_is_no_cordon(self) -> None:
        """Somebody uncordoned the node meanwhile: it is cordoned again."""
        assert isinstance(_answer("cordon", seen(a_node(annotations=OURS))), Apply)


class TestEvict:
    """evict_pods: kubectl's drain, one eviction per pod."""

    def test_an_empty_node_is_done(self) -> None:
        """Pods that stay do not count."""
        stays = [a_pod("logs", controller=DAEMON), a_pod("static", mirror=True)]
        assert _answer("evict_pods", seen(a_node(), *stays)) == Done()

    def test_every_movable_pod_is_evicted(self) -> None:
        """In parallel, each once; the owners of what was Ready are remembered."""
        one, two = a_pod("web-a"), a_pod("web-b")
        leaving = a_pod("web-c", deleting=True)
        answer = _answer("evict_pods", seen(a_node(), one, two, leaving))
        assert isinstance(answer, Apply)
        assert answer.effects == (_evict(one), _evict(two))
        assert answer.on == "2 pods to leave node w1"
        assert dict(answer.remember) == {"displaced": ("ReplicaSet default/web-1 uid-rs",)}

    def test_once_all_are_leaving_it_is_done(self) -> None:
        """The time that they take is used for the node's agents."""
        assert _answer("evict_pods", seen(a_node(), a_pod(deleting=True))) == Done()

    def test_a_port_of_the_host_is_closed_by_the_plugin_that_opened_it(self) -> None:
        """evict_host_ports: such pods are evicted first, and have to be gone before another plugin is in force."""
        port, leaving = a_pod("b", host_ports=True), a_pod("c", deleting=True, host_ports=True)
        others = [a_pod("a"), a_pod("d", deleting=True), a_pod("logs", host_ports=True, controller=DAEMON)]
        answer = _answer("evict_host_ports", seen(a_node(), port, leaving, *others))
        assert isinstance(answer, Apply)
        assert answer.effects == (_evict(port),)
        assert dict(answer.remember) == {"displaced": ("ReplicaSet default/web-1 uid-rs",)}
        answer = _answer("evict_host_ports", seen(a_node(), leaving, *others))
        assert isinstance(answer, Apply)
        assert (answer.effects, answer.observed) == ((), "default/c terminating")
        assert _answer("evict_host_ports", seen(a_node(), *others)) == Done()

    def test_what_was_broken_before_is_not_waited_for_later(self) -> None:
        """An owner with a pod that is not Ready now, here or elsewhere, and a Job, are not displaced."""
        job = a_pod("job-a", controller=("Job", "job", "uid-job"))
        sick = a_pod("web-b", node="w2", ready=False)
        answer = _answer("evict_pods", seen(a_node(), a_pod("web-a"), sick, job))
        assert isinstance(answer, Apply)
        assert dict(answer.remember) == {"displaced": ()}

    def test_who_was_displaced_stays_remembered(self) -> None:
        """While evictions go on, the owner's other pods are not Ready any more."""
        entry = _at("evict_pods", displaced=("ReplicaSet default/web-1 uid-rs",))
        answer = _answer("evict_pods", seen(a_node(), a_pod(ready=False)), entry)
        assert isinstance(answer, Apply)
        assert dict(answer.remember) == {"displaced": ("ReplicaSet default/web-1 uid-rs",)}

    def test_a_budget_is_named_first(self) -> None:
        """What blocks is seen at once, not the first pods by name."""
        found = seen(a_node(), a_pod("a"), a_pod("b"), a_pod("z"))
        found.tried(_evict(a_pod("z")).key, "blocked", "budget default/web allows no disruption")
        answer = _answer("evict_pods", found)
        assert isinstance(answer, Apply)
        assert answer.observed == "pod default/z: budget default/web allows no disruption"

    def test_a_pod_that_came_meanwhile_and_cannot_move_is_refused(self) -> None:
        """It tolerated the cordon; nothing else is evicted then."""
        answer = _answer("evict_pods", seen(a_node(), a_pod("a"), a_pod("b", controller=None)))
        assert isinstance(answer, Refuse)

    def test_chosen_pods_are_deleted_instead_of_evicted(self) -> None:
        """drain.disable_eviction passes the budgets of the pods that it selects, of no others."""
        plan = a_plan(drain={"disable_eviction": "app=db"})
        db = a_pod("db", labels={"app": "db"})
        answer = _answer("evict_pods", seen(a_node(), db, a_pod()), plan=plan)
        assert isinstance(answer, Apply)
        assert answer.effects == (_delete(db), _evict(a_pod()))

    @pytest.mark.parametrize(("asked", "sent"), [(-1, None), (0, 1), (20, 20)])
    def test_pods_get_the_time_that_was_asked_for(self, asked: int, sent: int | None) -> None:
        """drain.grace_period; 0 is 1: nothing may still run when the node's network is exchanged."""
        plan = a_plan(drain={"grace_period": asked, "disable_eviction": "app=db"})
        db, web = a_pod("db", labels={"app": "db"}), a_pod()
        answer = _answer("evict_pods", seen(a_node(), db, web), plan=plan)
        assert isinstance(answer, Apply)
        assert answer.effects == (replace(_delete(db), grace=sent), replace(_evict(web), grace=sent))
        answer = _answer("delete_left_pods", seen(a_node(taints=(OUR_TAINT,)), web), plan=plan)
        assert isinstance(answer, Apply)
        assert answer.effects == (replace(_delete(web), grace=sent),)

    def test_pods_that_are_not_selected_go_last(self) -> None:
        """drain.pod_selector: their budgets are not asked, but their owners have to be well again all the same."""
        plan = a_plan(drain={"pod_selector": "app!=storage"})
        last = a_pod("osd", labels={"app": "storage"})
        answer = _answer("evict_pods", seen(a_node(), last, a_pod()), plan=plan)
        assert isinstance(answer, Apply)
        assert answer.effects == (_evict(a_pod()),)
        answer = _answer("evict_pods", seen(a_node(), last), plan=plan)
        assert answer == Done(remember={"displaced": ("ReplicaSet default/web-1 uid-rs",)})
        answer = _answer("delete_left_pods", seen(a_node(taints=(OUR_TAINT,)), last), plan=plan)
        assert isinstance(answer, Apply)
        assert answer.effects == (_delete(last),)

    def test_a_pod_that_would_be_lost_is_refused_although_it_is_not_selected(self) -> None:
        """It is deleted when the node is tainted."""
        plan = a_plan(drain={"pod_selector": "app=web"})
        assert isinstance(_answer("cordon", seen(a_node(), a_pod(controller=None)), plan=plan), Refuse)

    @pytest.mark.parametrize(("limit", "seconds", "waits"), [(0, 9999, True), (30, 30, True), (30, 31, False)])
    def test_a_pod_that_hangs_in_its_end_is_waited_for_as_long_as_asked(
        self, limit: int, seconds: float, waits: bool
    ) -> None:
        """drain.skip_wait_for_delete_timeout, as kubectl counts it: from when the pod should have been gone."""
        plan = a_plan(drain={"skip_wait_for_delete_timeout": limit})
        found = seen(a_node(taints=(OUR_TAINT,)), a_pod(deleting=True, host_ports=True, due_gone=NOW))
        for step in ("await_pods_gone", "evict_host_ports", "await_all_dual"):
            assert isinstance(_answer(step, found, plan=plan, seconds=seconds), Done) is not waits, step
        if waits and limit:
            answer = _answer("await_pods_gone", found, plan=plan, seconds=seconds)
            assert isinstance(answer, Wait)
            assert answer.retry_in == pytest.approx(0.001)


class TestTaint:
    """taint and untaint: the whole list in one patch, others' taints kept."""

    def test_ours_is_added_to_the_others(self) -> None:
        """A patch of taints replaces the list."""
        node = a_node(taints=(STRANGER,))
        answer = _answer("taint", seen(node))
        assert isinstance(answer, Apply)
        assert answer.effects == (_patch(node, taints=(STRANGER, OUR_TAINT)),)

    def test_once_is_enough(self) -> None:
        """A tainted node is done."""
        assert _answer("taint", seen(a_node(taints=(OUR_TAINT,)))) == Done()

    @pytest.mark.parametrize(
        ("node", "change"),
        [
            (a_node(taints=(STRANGER, OUR_TAINT), annotations=OURS, unschedulable=True),
             {"taints": (STRANGER,), "annotations": {next(iter(OURS)): None}, "unschedulable": False}),
            (a_node(taints=(OUR_TAINT,), unschedulable=True), {"taints": ()}),
            (a_node(annotations=OURS, unschedulable=True),
             {"annotations": {next(iter(OURS)): None}, "unschedulable": False}),
            (a_node(annotations=OURS), {"annotations": {next(iter(OURS)): None}}),
        ],
        ids=["taint and our cordon", "taint, their cordon", "our cordon", "our mark alone"],
    )  # fmt: skip
    def test_what_is_ours_is_taken_off(self, node: Node, change: dict[str, Any]) -> None:
        """Their taints and their cordon stay."""
        answer = _answer("untaint", seen(node))
        assert isinstance(answer, Apply)
        assert answer.effects == (_patch(node, **change),)

    @pytest.mark.parametrize("node", [a_node(), a_node(unschedulable=True, taints=(STRANGER,))])
    def test_a_node_without_our_marks_is_in_service(self, node: Node) -> None:
        """What was noted of the time before is forgotten."""
        assert _answer("untaint", seen(node)) == Done(remember={"before": None})


class TestDeleteLeft:
    """delete_left_pods: what the evictions leave on the pod network, DaemonSets aside."""

    @pytest.mark.parametrize(
        ("description", "pod", "deleted"),
        [
            ("a late pod", a_pod(), True),
            ("a pod that tolerates everything", a_pod(tolerations=EVERYTHING), True),
            ("a DaemonSet's pod without toleration: the taint removes it", a_pod(controller=DAEMON), False),
        ],
    )
    def test_what_is_left_has_to_go(self, description: str, pod: Pod, deleted: bool) -> None:
        """Deleted by uid; until it is, it is waited for."""
        answer = _answer("delete_left_pods", seen(a_node(), pod))
        assert isinstance(answer, Apply), description
        assert answer.effects == ((_delete(pod),) if deleted else ())
        assert pod.key in answer.observed

    @pytest.mark.parametrize(
        "pod",
        [
            a_pod(controller=DAEMON, tolerations=EVERYTHING),
            a_pod(host_network=True),
            a_pod(phase="Succeeded"),
            a_pod(mirror=True),
            a_pod(deleting=True),
        ],
        ids=["DaemonSet pod that comes straight back", "host network", "finished", "static", "on its way"],
    )
    def test_what_may_stay_is_no_obstacle(self, pod: Pod) -> None:
        """These are not affected, or are recreated on the new network later, or are waited for later."""
        assert _answer("delete_left_pods", seen(a_node(), pod)) == Done()


class TestAwaitPodsGone:
    """await_pods_gone: those that were told to leave, while or after the node's agents are exchanged."""

    @pytest.mark.parametrize("event", [NodeEvent.ATTACH, NodeEvent.SWITCH, NodeEvent.DETACH])
    def test_the_leaving_are_waited_for(self, event: NodeEvent) -> None:
        """Whatever network they were born with."""
        leaving = [a_pod(f"web-{n}", deleting=True, ip=f"10.24{n}.0.9") for n in (4, 5)]
        entry = under_way("w1", NodeState.CILIUM, event, "await_pods_gone")
        answer = _answer("await_pods_gone", seen(a_node(), *leaving, a_pod("new")), entry)
        expected = "default/web-4 terminating, default/web-5 terminating"
        assert answer == Wait(on="2 pods to leave node w1", observed=expected, pods=tuple(leaving))

    def test_what_comes_straight_back_is_not(self) -> None:
        """A DaemonSet's pod that tolerates the taint is recreated; the steps around this one see to it."""
        agent = a_pod("logs", deleting=True, controller=DAEMON, tolerations=EVERYTHING)
        assert _answer("await_pods_gone", seen(a_node(), agent), _at("await_pods_gone")) == Done()

    def test_on_the_way_back_a_pod_that_was_born_on_canal_may_hang(self) -> None:
        """It may be why the node goes back; one that was born on Cilium has to go first."""
        entry = under_way("w1", NodeState.CILIUM, NodeEvent.RESTORE, "await_pods_gone")
        stuck, new = a_pod("stuck", deleting=True), a_pod("new", deleting=True, ip="10.245.1.9")
        assert _answer("await_pods_gone", seen(a_node(), stuck), entry) == Done()
        answer = _answer("await_pods_gone", seen(a_node(), stuck, new), entry)
        assert answer == Wait(on="1 pod to leave node w1", observed="default/new terminating", pods=(new,))


class TestDisplaced:
    """await_displaced: the workload is whole again, wherever it is."""

    ENTRY = _at("await_displaced", displaced=("ReplicaSet default/web-1 uid-rs",))

    def test_a_pod_that_is_not_ready_elsewhere_is_waited_for(self) -> None:
        """With what is wrong with it."""
        sick = a_pod(node="w2", ready=False, trouble="ImagePullBackOff")
        answer = _answer("await_displaced", seen(a_node(), sick), self.ENTRY)
        assert answer == Wait(
            on="the pods of ReplicaSet default/web-1 to be Ready",
            observed="default/web-1-a on node w2: ImagePullBackOff",
            pods=(sick,),
        )

    def test_a_pod_without_a_node_is_waited_for(self) -> None:
        """Pending pods count."""
        answer = _answer("await_displaced", seen(a_node(), a_pod(node="", ready=False, phase="Pending")), self.ENTRY)
        assert isinstance(answer, Wait)
        assert "without a node: Pending" in answer.observed

    @pytest.mark.parametrize("pod", [a_pod(node="w2"), a_pod(ready=False, deleting=True), a_pod(phase="Failed")])
    def test_ready_leaving_and_finished_pods_are_fine(self, pod: Pod) -> None:
        """And the owner is forgotten."""
        assert _answer("await_displaced", seen(a_node(), pod), self.ENTRY) == Done(remember={"displaced": ()})

    def test_an_owner_that_is_gone_is_fine(self) -> None:
        """A Deployment was rolled out meanwhile: its old ReplicaSet has no pods."""
        assert isinstance(_answer("await_displaced", seen(a_node()), self.ENTRY), Done)


def test_soak_waits_out_its_time() -> None:
    """And says when to look again."""
    plan = a_plan(soak_seconds=60)
    assert _answer("soak", seen(a_node()), _at("soak"), plan, 20) == Wait(
        on="node w1 to soak", observed="40 s left", retry_in=40.0
    )
    assert _answer("soak", seen(a_node()), _at("soak"), plan, 60) == Done()
    assert _answer("soak", seen(a_node()), _at("soak")) == Done()


LABEL_STEPS: list[tuple[str, dict[str, str | None]]] = [
    ("label_dual", {LABELS.canal_cilium.key: LABELS.canal_cilium.value}),
    ("label_multus", {LABELS.multus.key: LABELS.multus.value}),
    ("unlabel_multus", {LABELS.multus.key: None}),
    (
        "exchange_labels",
        {LABELS.cilium.key: LABELS.cilium.value, LABELS.canal_cilium.key: None, LABELS.multus.key: None},
    ),
    ("unlabel_cilium", {LABELS.cilium.key: None, LABELS.migrated.key: None}),
    ("label_switched", {LABELS.switched.key: LABELS.switched.value}),
    ("unlabel_switched", {LABELS.switched.key: None, LABELS.migrated.key: None}),
    ("label_detached", {LABELS.detached.key: LABELS.detached.value}),
    ("label_migrated", {LABELS.migrated.key: LABELS.migrated.value}),
]


@pytest.mark.parametrize(("step", "change"), LABEL_STEPS)
def test_labels_are_set_and_removed_in_one_patch(step: str, change: dict[str, str | None]) -> None:
    """Only what differs is patched; nothing to do is done."""
    ours = {label.key: label.value for label in LABELS.every()}
    before = {key: ours[key] for key, value in change.items() if value is None} | {"theirs": "x"}
    node = a_node(labels=before)
    answer = _answer(step, seen(node))
    assert isinstance(answer, Apply)
    assert answer.effects == (_patch(node, labels=change),)
    wanted = {"theirs": "x"} | {key: value for key, value in change.items() if value is not None}
    done = _answer(step, seen(a_node(labels=wanted)))
    assert isinstance(done, Done)
    assert set(done.remember) <= {"boot"}


@pytest.mark.parametrize(("step", "change"), LABEL_STEPS)
def test_a_label_of_somebody_else_is_neither_overwritten_nor_removed(step: str, change: dict[str, str | None]) -> None:
    """Preflight finds it; one that is set later holds the node, with its name and value."""
    answer = _answer(step, seen(a_node(labels=dict.fromkeys(change, "other"))))
    wanted = [key for key, value in change.items() if value is not None]
    if not wanted:
        assert isinstance(answer, Done)
        return
    assert isinstance(answer, Refuse)
    assert f"node w1 has the label {wanted[0]}=other, set by somebody else: it is not overwritten" in answer.why
    assert answer.next == f"remove it (`kubectl label node w1 {wanted[0]}-`)", "the command that goes on is added"


def test_a_taint_of_somebody_else_is_not_overwritten() -> None:
    """One key and effect has one value: the API server would refuse a second."""
    other = replace(OUR_TAINT, value="other")
    answer = _answer("taint", seen(a_node(taints=(other,))))
    assert isinstance(answer, Refuse)
    assert f"has the taint {other.key}=other:NoExecute, set by somebody else: it is not overwritten" in answer.why
    assert answer.next == f"remove it (`kubectl taint node w1 {other.key}-`)", "the command that goes on is added"
    beside = replace(OUR_TAINT, effect="NoSchedule")
    assert isinstance(_answer("taint", seen(a_node(taints=(beside,)))), Apply)


AWAITS: list[tuple[str, Plan, list[str]]] = [
    ("await_canal", MULTUS, ["canal"]),
    ("await_first_cilium", MULTUS, ["cilium-canal"]),
    ("await_multus", MULTUS, ["cilium-canal", "kube-multus"]),
    ("await_cilium", OVERLAY, ["cilium"]),
]


@pytest.mark.parametrize(("step", "plan", "agents"), AWAITS)
def test_a_daemonset_that_is_gone_is_said_to_be(step: str, plan: Plan, agents: list[str]) -> None:
    """On the way back as well: without the word, a Canal that somebody has deleted looks like a slow one."""
    answer = _answer(step, seen(a_node()), plan=plan)
    assert isinstance(answer, Wait)
    assert (agents[0] in answer.on, answer.observed) == (True, "no such DaemonSet: apply it again if it was deleted")


@pytest.mark.parametrize(("step", "plan", "agents"), AWAITS)
def test_agents_are_waited_for(step: str, plan: Plan, agents: list[str]) -> None:
    """Ready, not terminating, of the DaemonSet that is there now; each one that is missing is waited for."""
    sets = [a_daemonset(name) for name in agents]
    pods = [an_agent(name) for name in agents]
    assert _answer(step, seen(a_node(), *sets, *pods), plan=plan) == Done()
    for missing in agents:
        others = [pod for pod in pods if not pod.name.startswith(f"{missing}-w1")]
        states: list[tuple[list[Pod], str]] = [
            ([], "no pod yet"),
            ([an_agent(missing, ready=False, trouble="CrashLoopBackOff")], "CrashLoopBackOff"),
            ([an_agent(missing, ready=False, phase="Pending")], "Pending"),
            ([an_agent(missing, deleting=True)], "terminating"),
            ([an_agent(missing, node="w2")], "no pod yet"),
            ([an_agent(missing, controller=("DaemonSet", missing, "uid-of-an-older-one"))], "no pod yet"),
        ]
        for pod, observed in states:
            answer = _answer(step, seen(a_node(), *sets, *others, *pod), plan=plan)
            assert isinstance(answer, Wait), (missing, observed)
            assert missing in answer.on
            assert observed in answer.observed


def test_the_kubelet_s_probes_are_waited_for() -> None:
    """Both agents of the node are to be Ready, by its kubelet's word; one that only runs is named."""
    sets = [a_daemonset(name, "knet-stress") for name in KNET.values()]
    pods = [an_agent(name, namespace="knet-stress") for name in KNET.values()]
    assert _answer("await_probed", seen(a_node(), *sets, *pods), plan=MULTUS) == Done()
    deaf = an_agent("knet-stress-b", namespace="knet-stress", ready=False)
    answer = _answer("await_probed", seen(a_node(), *sets, pods[0], deaf), plan=MULTUS)
    assert isinstance(answer, Wait)
    assert "knet-stress/knet-stress-b to be Ready on node w1: its kubelet probes it" in answer.on
    assert answer.observed.startswith("pod knet-stress-b")


@pytest.mark.parametrize(
    ("step", "agents"),
    [
        ("await_old_agents_gone", ["kube-multus", "canal", "cilium-canal"]),
        ("await_cilium_gone", ["cilium"]),
        ("await_multus_gone", ["kube-multus"]),
    ],
)
def test_agents_are_waited_to_be_gone(step: str, agents: list[str]) -> None:
    """Every pod counts, terminating ones and those of a DaemonSet that is deleted already."""
    assert _answer(step, seen(a_node(), an_agent("cilium-else"), *[an_agent(a, node="w2") for a in agents])) == Done()
    for left in agents:
        answer = _answer(step, seen(a_node(), an_agent(left, deleting=True)))
        assert isinstance(answer, Wait)
        assert left in answer.on
        assert "terminating" in answer.observed


def test_a_cilium_cidr_is_waited_for() -> None:
    """No CiliumNode, one without a CIDR, one with."""
    assert isinstance(_answer("await_cilium_cidr", seen(a_node())), Wait)
    assert isinstance(_answer("await_cilium_cidr", seen(a_node(), CiliumNode("w1", ()))), Wait)
    assert _answer("await_cilium_cidr", seen(a_node(), CiliumNode("w1", ("10.245.1.0/24",)))) == Done()


def test_a_part_of_an_earlier_cilium_s_network_is_none() -> None:
    """The operator leaves it as it is, the agent would give addresses out of it, and nobody would take them for ours."""
    answer = _answer("await_cilium_cidr", seen(a_node(), CiliumNode("w1", ("10.99.1.0/24",))))
    assert isinstance(answer, Wait)
    assert "10.99.1.0/24: kubectl delete ciliumnode" in answer.observed
    both = seen(a_node(), CiliumNode("w1", ("10.99.1.0/24", "10.245.1.0/24")))
    assert _answer("await_cilium_cidr", both) == Done()


class TestRestart:
    """restart_cilium, restart_canal_pod: exactly once, by uid."""

    CILIUM = a_daemonset("cilium")

    def _answer(self, old_uid: str, *pods: Pod) -> Answer:
        return _answer("restart_cilium", seen(a_node(), self.CILIUM, *pods), _at("x", old_uid=old_uid), OVERLAY)

    def test_the_pod_that_is_there_is_deleted_and_its_uid_recorded_first(self) -> None:
        """So that a restarted driver can tell the new pod from the old one."""
        pod = an_agent("cilium")
        answer = self._answer("", pod)
        assert isinstance(answer, Apply)
        assert answer.effects == (replace(_delete(pod), at_once=True),), "the next one waits for it by itself"
        assert dict(answer.remember) == {"old_uid": pod.uid}

    def test_an_intent_that_was_not_carried_out_is_repeated(self) -> None:
        """Killed after the record and before the delete: the old pod still runs."""
        pod = an_agent("cilium")
        assert isinstance(self._answer(pod.uid, pod), Apply)

    @pytest.mark.parametrize(
        ("pod", "observed"),
        [
            (None, "no pod"),
            (an_agent("cilium", deleting=True), "terminating"),
            (an_agent("cilium", uid="uid-new", ready=False, trouble="starting"), "starting"),
        ],
    )
    def test_it_waits_for_a_new_one(self, pod: Pod | None, observed: str) -> None:
        """Until another uid is Ready."""
        answer = self._answer("uid-cilium-w1", *([pod] if pod else []))
        assert isinstance(answer, Wait)
        assert observed in answer.observed

    def test_a_new_ready_pod_is_done(self) -> None:
        """The old uid is forgotten, and rounds from before do not count any more."""
        answer = self._answer("uid-cilium-w1", an_agent("cilium", uid="uid-new"))
        assert answer == Done(remember={"old_uid": "", "renewed": None})

    def test_the_new_one_counts_while_the_old_one_still_terminates(self) -> None:
        """Both may be there for a moment."""
        old, new = an_agent("cilium", deleting=True), an_agent("cilium", uid="uid-new")
        assert isinstance(self._answer("uid-cilium-w1", old, new), Done)

    def test_canal_is_restarted_the_same_way(self) -> None:
        """restart_canal_pod."""
        pod = an_agent("canal")
        answer = _answer("restart_canal_pod", seen(a_node(), a_daemonset("canal"), pod))
        assert isinstance(answer, Apply)
        assert answer.effects == (_delete(pod),)

    def test_only_an_agent_with_endpoints_left_is_restarted(self) -> None:
        """restart_cilium_if_endpoints_left: nothing to clean, nothing to do; once begun it is finished."""
        step, pod, agent = "restart_cilium_if_endpoints_left", a_pod(), an_agent("cilium")
        quiet = seen(a_node(), self.CILIUM, pod, agent)
        assert _answer(step, quiet, plan=OVERLAY) == Done()
        assert isinstance(_answer(step, seen(a_node(), self.CILIUM, pod, agent, an_endpoint(pod))), Apply)
        new = replace(agent, uid="uid-new")
        entry = _at(step, old_uid=agent.uid)
        assert isinstance(_answer(step, seen(a_node(), self.CILIUM, pod, new), entry), Done)


ON_CILIUM = a_pod("new", ip="10.245.1.7")
DUAL = a_pod("dual")
SINGLE = a_pod("single")
NO_IP = a_pod("starting", ip="", phase="Pending", ready=False)
HOST = a_pod("host", host_network=True, ip="192.168.0.11")

RECREATE: list[tuple[str, list[Pod], list[Pod]]] = [
    ("delete_single_pods", [SINGLE, NO_IP], [DUAL, HOST]),
    ("delete_pods_off_cilium", [SINGLE, DUAL, NO_IP], [ON_CILIUM, HOST]),
    ("delete_dual_pods", [DUAL, ON_CILIUM, NO_IP], [SINGLE, HOST]),
    ("delete_pods_on_cilium", [ON_CILIUM, NO_IP], [SINGLE, DUAL, HOST]),
]


@pytest.mark.parametrize(("step", "wrong", "right"), RECREATE)
def test_pods_on_the_wrong_network_are_deleted_once(step: str, wrong: list[Pod], right: list[Pod]) -> None:
    """Which ones is recorded first; what comes later is not looked at."""
    found = seen(a_node(), *wrong, *right, an_endpoint(DUAL))
    answer = _answer(step, found)
    assert isinstance(answer, Apply)
    assert set(answer.effects) == {_delete(pod) for pod in wrong}
    targets = tuple(sorted(pod.uid for pod in wrong))
    assert dict(answer.remember) == {"targets": targets}
    later = a_pod("later", ip="1.2.3.4")
    again = _answer(step, seen(a_node(), wrong[0], *right, later, an_endpoint(DUAL)), _at(step, targets=targets))
    assert isinstance(again, Apply)
    assert again.effects == (_delete(wrong[0]),)
    gone = _answer(step, seen(a_node(), *right, later, an_endpoint(DUAL)), _at(step, targets=targets))
    assert gone == Done(remember={"targets": None, "renewed": NOW})


def test_our_own_agents_are_deleted_at_once() -> None:
    """They have nothing to put away, and the next ones are to report soon. Pods of others have their grace."""
    agent = an_agent("knet-stress-a", namespace="knet-stress", host_network=False, ip="10.244.1.9")
    found = seen(a_node(), agent, SINGLE, other := replace(agent, namespace="shop", name="other", uid="uid-other"))
    answer = _answer("delete_pods_off_cilium", found)
    assert isinstance(answer, Apply)
    assert set(answer.effects) == {replace(_delete(agent), at_once=True), _delete(SINGLE), _delete(other)}


@pytest.mark.parametrize(("step", "wrong", "right"), RECREATE)
def test_pods_on_the_right_network_are_left_alone(step: str, wrong: list[Pod], right: list[Pod]) -> None:
    """Nothing to delete is done at once; finished pods do not count, and others wait for terminating ones."""
    finished = replace(wrong[0], phase="Succeeded")
    assert _answer(step, seen(a_node(), *right, finished, an_endpoint(DUAL))) == Done()
    leaving = replace(wrong[0], deleting=True)
    assert _answer(step, seen(a_node(), leaving, an_endpoint(DUAL))) == Done()


@pytest.mark.parametrize(
    ("step", "wrong", "right"),
    [
        ("await_all_dual", [SINGLE, ON_CILIUM, NO_IP], [DUAL, HOST]),
        ("check_all_dual", [SINGLE, ON_CILIUM], [DUAL, HOST, NO_IP]),
        ("await_pods_on_cilium", [SINGLE, DUAL, NO_IP], [ON_CILIUM, HOST]),
        ("await_pods_on_canal", [ON_CILIUM, NO_IP], [SINGLE, DUAL, HOST]),
    ],
)
def test_pods_are_waited_for(step: str, wrong: list[Pod], right: list[Pod]) -> None:
    """Each pod on the wrong network, also a terminating one, is named; the right ones are done."""
    leaving = replace(right[0], deleting=True)
    assert _answer(step, seen(a_node(), leaving, *right[1:], an_endpoint(DUAL))) == Done()
    for pod in [*wrong, replace(wrong[0], deleting=True)]:
        answer = _answer(step, seen(a_node(), pod, an_endpoint(DUAL)))
        assert isinstance(answer, Wait), pod.name
        assert pod.key in answer.observed


@pytest.mark.parametrize("step", ["await_all_dual", "await_pods_on_cilium", "await_pods_on_canal"])
@pytest.mark.parametrize(
    ("pod", "event", "waits"),
    [
        (NO_IP, 'FailedMount: MountVolume.SetUp failed for volume "tls" : secret "tls" not found', False),
        (NO_IP, "FailedCreatePodSandBox: no CNI file", True),
        (NO_IP, "", True),
        (replace(NO_IP, deleting=True), "FailedMount: timed out", True),
        (replace(SINGLE, ip="192.0.2.1"), "FailedMount: of long ago", True),
    ],
)
def test_a_pod_that_waits_for_a_volume_holds_nobody(step: str, pod: Pod, event: str, waits: bool) -> None:
    """A DaemonSet's pod without its Secret never gets an address: each node was held, out of service."""
    found = seen(a_node(), pod)
    found.pod_events[pod.uid] = event
    assert isinstance(_answer(step, found), Wait) is waits


def test_an_endpoint_of_an_older_pod_of_the_same_name_proves_nothing() -> None:
    """A StatefulSet's pod: its endpoint carries another uid."""
    old = an_endpoint(replace(DUAL, uid="uid-older"))
    assert isinstance(_answer("await_all_dual", seen(a_node(), DUAL, old)), Wait)


CANAL_FILE = "10-canal.conflist"


def _status(**changes: Any) -> str:
    values: dict[str, Any] = {
        "files": [CANAL_FILE],
        "lacks": [],
        "routed": True,
        "links": [],
        "leases": [],
        "chains": [],
    }
    return json.dumps({**values, "left": [], **changes})


LEASED = ("10.244.1.2", "10.244.1.3", "10.244.1.5")
"""What was leased before pods were deleted; the last one is the address of a pod that is there."""

HostCase = tuple[str, tuple[str, ...], str]
HOST_STEPS: list[HostCase] = [
    ("check_canal_first", ("await-first=10-canal.conflist",), _status()),
    ("check_subnet", ("status",), _status()),
    ("check_multus_first", ("await-first=00-multus.conflist",), _status(files=["00-multus.conflist", CANAL_FILE])),
    (
        "check_cilium_first",
        ("await-first=05-cilium.conflist",),
        _status(files=["05-cilium.conflist", "10-a.cilium_bak"]),
    ),
    ("reclaim_leases", ("free-leases=10.244.1.2,10.244.1.3",), _status()),
    ("remove_cilium_file", ("remove-cni=05-cilium.conflist", "restore-bak", "keep-leases=10.244.1.5"), _status()),
    ("remove_multus_file", ("remove-cni=00-multus.conflist",), _status()),
    ("restore_canal_files", ("restore-bak", "remove-cni=05-cilium.conflist", "keep-leases=10.244.1.5"), _status()),
    ("clean_cilium_host", ("remove-cilium", "remove-rules"), _status()),
    ("lay_rules", ("lay-rules",), _status()),
]


@pytest.mark.parametrize(
    ("step", "op"),
    [("reclaim_leases", "free-leases=10.244.1.2"), ("restore_canal_files", "keep-leases=10.244.1.3,10.244.1.5"),
     ("remove_cilium_file", "keep-leases=10.244.1.3,10.244.1.5")],
)  # fmt: skip
def test_the_lease_of_a_static_pod_is_not_given_back(step: str, op: str) -> None:
    """It runs on with its address, whatever becomes of the others: another pod must not get that."""
    static = a_pod("static-w1", ip="10.244.1.3", mirror=True, controller=None)
    view = a_view(seen(a_node(), a_pod("canal-pod"), static, ON_CILIUM), _at(step, leases=LEASED))
    answer = NODE_STEPS[step](view)
    assert isinstance(answer, Apply)
    (effect,) = answer.effects
    assert isinstance(effect, RunHostTask)
    assert op in effect.pod["spec"]["containers"][0]["args"]


def _task(view: NodeView, **changes: Any) -> Pod:
    values: dict[str, Any] = {
        "namespace": "cni-migrate",
        "phase": "Succeeded",
        "controller": None,
        "host_network": True,
    }
    return a_pod(current_task(view), **{**values, **changes})


def _with_task(step: str, **changes: Any) -> Answer:
    entry = _at(step, leases=LEASED)
    found = seen(a_node(), a_pod("canal-pod"), ON_CILIUM)
    view = a_view(found, entry)
    found.pods.append(_task(view, **changes))
    return NODE_STEPS[step](view)


@pytest.mark.parametrize(("step", "ops", "message"), HOST_STEPS)
class TestHost:
    """Host tasks: started once, waited for, read, and looked into when they fail."""

    def test_a_task_is_started_with_its_operations(self, step: str, ops: tuple[str, ...], message: str) -> None:
        """One pod, named after node, event, step and attempt."""
        view = a_view(seen(a_node(), a_pod("canal-pod"), ON_CILIUM), _at(step, leases=LEASED))
        answer = NODE_STEPS[step](view)
        assert isinstance(answer, Apply)
        (effect,) = answer.effects
        assert isinstance(effect, RunHostTask)
        assert effect.name == current_task(view)
        assert tuple(effect.pod["spec"]["containers"][0]["args"]) == ops
        assert effect.pod["spec"]["nodeName"] == "w1"

    def test_its_result_is_the_answer(self, step: str, ops: tuple[str, ...], message: str) -> None:
        """What is as it should be is done."""
        assert isinstance(_with_task(step, message=message), Done)

    def test_one_that_took_too_long_is_begun_again(self, step: str, ops: tuple[str, ...], message: str) -> None:
        """It may have begun long before its step, beside an agent that was slow to start: the step has its own deadline."""
        answer = _with_task(
            step, phase="Failed", trouble="DeadlineExceeded: Pod was active on the node longer than 120 s"
        )
        assert isinstance(answer, Apply)
        assert [type(effect) for effect in answer.effects] == [DeletePod]
        assert "DeadlineExceeded" in answer.observed

    @pytest.mark.parametrize(
        ("changes", "kind", "says"),
        [
            ({"phase": "Pending", "trouble": "ErrImagePull"}, Wait, "ErrImagePull"),
            ({"phase": "Running"}, Wait, "Running"),
            ({"phase": "Succeeded", "deleting": True}, Wait, "terminating"),
            ({"phase": "Failed", "message": "no such operation"}, Refuse, "no such operation"),
            ({"phase": "Succeeded", "message": "?"}, Refuse, "unreadable"),
            ({"phase": "Succeeded", "message": ""}, Refuse, "unreadable"),
        ],
    )
    def test_anything_else_is_waited_for_or_refused(
        self, step: str, ops: tuple[str, ...], message: str, changes: dict[str, Any], kind: type[Answer], says: str
    ) -> None:
        """With what was seen, or with how to look at it."""
        answer = _with_task(step, **changes)
        assert isinstance(answer, kind)
        assert says in (answer.observed if isinstance(answer, Wait) else getattr(answer, "why", ""))


@pytest.mark.parametrize(
    ("step", "status", "observed"),
    [
        ("check_canal_first", {"files": ["05-cilium.conflist", "10-canal.conflist"]}, "active: 05-cilium.conflist"),
        ("check_canal_first", {"files": ["10-canal.conflist.cilium_bak"]}, "active: none"),
        ("check_canal_first", {"lacks": ["/var/lib/calico/nodename"]}, "missing"),
        ("check_subnet", {"lacks": ["/run/flannel/subnet.env"]}, "missing"),
        ("check_multus_first", {}, "active: 10-canal.conflist"),
        ("check_multus_first", {"files": ["00-multus.conflist"]}, "active: 00-multus.conflist; files: 00-multus"),
        ("check_multus_first", {"files": ["00-multus.conflist", "05-other.conf", CANAL_FILE]}, "05-other.conf"),
        ("check_multus_first", {"files": ["00-multus.conflist", CANAL_FILE], "lacks": ["/x"]}, "missing"),
        ("check_cilium_first", {}, "active: 10-canal.conflist"),
        ("check_cilium_first", {"files": []}, "files: none"),
    ],
)
def test_a_node_that_is_not_as_it_should_be_is_looked_at_again(
    step: str, status: dict[str, Any], observed: str
) -> None:
    """The finished task is removed, so that the next one sees the node as it is then."""
    answer = _with_task(step, message=_status(**status))
    assert isinstance(answer, Apply)
    assert [type(effect) for effect in answer.effects] == [DeletePod]
    assert observed in answer.observed


@pytest.mark.parametrize("step", ["check_canal_first", "check_subnet"])
@pytest.mark.parametrize(
    ("others", "waits"),
    [
        ({}, False),
        ({"w2": {}}, False),
        ({"w2": {"flannel.alpha.coreos.com/public-ip": "172.18.0.11"}}, True),
    ],
)
def test_a_node_needs_routes_to_those_that_flannel_knows(
    step: str, others: dict[str, dict[str, str]], waits: bool
) -> None:
    """A cluster of one node has none, and a node without flannel's annotations gets none."""
    entry = _at(step)
    found = seen(a_node(), *(a_node(name, annotations=annotations) for name, annotations in others.items()))
    view = a_view(found, entry)
    found.pods.append(_task(view, message=_status(routed=False)))
    answer = NODE_STEPS[step](view)
    assert isinstance(answer, Apply if waits else Done)
    if isinstance(answer, Apply):
        assert "flannel's routes" in answer.on


@pytest.mark.parametrize("leases", [(), ("10.244.1.5",)])
def test_without_a_lease_of_a_pod_that_is_gone_no_task_is_run(leases: tuple[str, ...]) -> None:
    """Addresses that a pod has are nobody else's to give back."""
    found = seen(a_node(), a_pod("canal-pod"))
    assert _answer("reclaim_leases", found, _at("reclaim_leases", leases=leases)) == Done(remember={"leases": ()})


@pytest.mark.parametrize(("event", "leases"), [(NodeEvent.ATTACH, LEASED), (NodeEvent.RESTORE, None)])
def test_what_is_leased_under_canal_is_recorded_when_a_node_is_attached(
    event: NodeEvent, leases: tuple[str, ...] | None
) -> None:
    """Its pods are leaving; a pod that starts after that has an address that nobody is to give back."""
    entry = under_way("w1", NodeState.CANAL, event, "check_multus_first")
    view = a_view(found := seen(a_node()), entry)
    found.pods.append(_task(view, message=_status(files=["00-multus.conflist", CANAL_FILE], leases=list(LEASED))))
    answer = NODE_STEPS["check_multus_first"](view)
    assert isinstance(answer, Done)
    assert answer.remember.get("leases") == leases


def test_files_that_no_runtime_reads_are_not_in_force() -> None:
    """Only .conf, .conflist and .json count, by name."""
    files = ["00-multus.conflist.cilium_bak", "01-README", "05-cilium.conflist.cilium_bak", "10-canal.conflist"]
    assert isinstance(_with_task("check_canal_first", message=_status(files=files)), Done)


def test_a_task_of_another_attempt_is_another_task() -> None:
    """A step that is tried again after a rollback does not read an old result."""
    first, second = (a_view(seen(a_node()), _at("gate", attempt=number)) for number in (1, 2))
    assert current_task(first) != current_task(second)


def test_a_task_of_a_node_made_anew_is_another_task() -> None:
    """Under the same name another machine has registered: what its predecessor has finished is not believed."""
    first, second = (a_view(seen(a_node(uid=uid)), _at("gate")) for uid in ("uid-old", "uid-new"))
    assert current_task(first) != current_task(second)


@pytest.mark.parametrize("node", ["w1", "ip-10-0-0-1.eu-west-1.compute.internal", "a" * 63 + ".example", "n" * 253])
def test_a_tasks_name_is_a_pods_name(node: str) -> None:
    """A DNS label of at most 63 characters, whatever the node is called."""
    name = task_name(a_node(node), "drain/gate/1")
    assert len(name) <= 63
    assert all(part.isalnum() for part in name.split("-"))


@pytest.mark.parametrize(
    ("effect", "other"),
    [
        (_evict(a_pod()), _evict(a_pod(uid="uid-other"))),
        (_delete(a_pod()), _delete(a_pod(uid="uid-other"))),
        (_patch(a_node()), _patch(a_node(resource_version="101"))),
        (_evict(a_pod()), _delete(a_pod())),
    ],
)
def test_every_effect_carries_its_precondition(effect: Effect, other: Effect) -> None:
    """The same object under the same name but with another uid or version is another effect."""
    assert effect.key != other.key


def test_no_step_looks_at_the_clock_of_this_machine() -> None:
    """The builders' view is in 2030; a step that asked the real clock would answer otherwise tomorrow."""
    assert NOW.year == 2030
    assert an_entry().since is None


PORTMAP = {"cilium": {"extra_config": {"cni-chaining-mode": "portmap"}}}


@pytest.mark.parametrize(
    ("event", "op"), [(NodeEvent.SWITCH, "free-host-ports"), (NodeEvent.RESTORE, "free-host-ports=portmap")]
)
@pytest.mark.parametrize("ports", [True, False])
def test_ways_to_host_ports_that_lead_nowhere_go(event: NodeEvent, op: str, ports: bool) -> None:
    """Where portmap serves both networks and a pod of the node has a host port; else no task is run."""
    plan = a_plan("overlay", **PORTMAP)
    entry = under_way(
        "w1", NodeState.DRAINING if event is NodeEvent.SWITCH else NodeState.CILIUM, event, "free_host_ports"
    )
    view = a_view(seen(a_node(), a_pod("door", host_ports=ports)), entry, plan=plan)
    answer = NODE_STEPS["free_host_ports"](view)
    if not ports:
        assert answer == Done()
        return
    assert isinstance(answer, Apply)
    (effect,) = answer.effects
    assert isinstance(effect, RunHostTask)
    assert effect.pod["spec"]["containers"][0]["args"] == [op]
    without = a_view(seen(a_node(), a_pod("door", host_ports=True)), entry, plan=a_plan("overlay"))
    assert NODE_STEPS["free_host_ports"](without) == Done()
