"""The tunnel's port is tried between all nodes before anything is changed: the step's answers to hand-made views."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod, RunHostTask, SweepTasks
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.record import Tunnel
from cni_migrate.core.steps.answers import Answer, Apply, ClusterChanges, Done, Refuse, Wait
from cni_migrate.core.steps.registry import CLUSTER_STEPS
from tests.unit.core.builders import NOW, Seen, a_cluster_view, a_node, a_plan, a_pod, after, an_agent, seen

PLAN = a_plan("overlay")
LABELS = {names.COMPONENT: names.HOST_TASK, names.TASK: names.TUNNEL}


def _nodes(count: int = 3) -> Seen:
    return seen(*(a_node(f"w{n}", internal_ip=f"192.168.0.{n}") for n in range(1, count + 1)))


def _answer(found: Seen, **cluster: Any) -> Answer:
    return CLUSTER_STEPS["probe_tunnel"](a_cluster_view(found, plan=PLAN, **cluster))


def _pod(task: RunHostTask, **changes: Any) -> Pod:
    values = {"namespace": "cni-migrate", "labels": LABELS, "controller": None, "host_network": True}
    return a_pod(task.name, node=task.node, **{**values, **changes})


def _tasks(answer: Answer) -> list[RunHostTask]:
    assert isinstance(answer, Apply), answer
    assert all(isinstance(effect, RunHostTask) for effect in answer.effects)
    return cast("list[RunHostTask]", list(answer.effects))


def _args(task: RunHostTask) -> list[str]:
    (container,) = task.pod["spec"]["containers"]
    return list(container["args"])


def _sent(task: RunHostTask, silent: list[int], why: dict[str, str] | None = None) -> Pod:
    said = json.dumps({"silent": silent, "why": why or {}})
    return _pod(task, phase="Succeeded", ready=False, message=said)


def _listening(found: Seen) -> list[RunHostTask]:
    """Everybody listens; answers the senders that are wanted then."""
    found.pods += [_pod(task) for task in _tasks(_answer(found))]
    return _tasks(_answer(found))


def _again(found: Seen, sent: list[Pod]) -> None:
    """Who got no answer sends once more, with the same result."""
    found.pods += sent
    tasks = _tasks(_answer(found))
    before = {pod.node: pod.message for pod in sent}
    found.pods += [_pod(task, phase="Succeeded", ready=False, message=before[task.node]) for task in tasks]


def _recorded(answer: Answer) -> Tunnel:
    assert isinstance(answer, Apply), answer
    (sweep,) = answer.effects
    assert isinstance(sweep, SweepTasks)
    assert sweep.purpose == names.TUNNEL
    tunnel = cast("ClusterChanges", answer.remember)["tunnel"]
    assert tunnel is not None
    return tunnel


def test_all_listen_before_anybody_sends() -> None:
    """On every node's own network, on the tunnel's port; then each sends to the addresses of the others."""
    found = _nodes()
    listeners = _tasks(_answer(found))
    assert [(task.node, _args(task)) for task in listeners] == [(f"w{n}", ["listen", "8473"]) for n in (1, 2, 3)]
    assert all(task.pod["spec"]["hostNetwork"] for task in listeners)
    found.pods += [_pod(task) for task in listeners[:2]]
    assert [task.node for task in _tasks(_answer(found))] == ["w3"]
    found.pods.append(_pod(listeners[2], phase="Pending", ready=False, trouble="ErrImagePull"))
    waits = _answer(found)
    assert isinstance(waits, Wait)
    assert "ErrImagePull" in waits.observed
    found.pods[2] = _pod(listeners[2])
    senders = _tasks(_answer(found))
    assert [(task.node, _args(task)) for task in senders] == [
        ("w1", ["send", "8473", "192.168.0.2", "192.168.0.3"]),
        ("w2", ["send", "8473", "192.168.0.1", "192.168.0.3"]),
        ("w3", ["send", "8473", "192.168.0.1", "192.168.0.2"]),
    ]


def test_where_all_answer_it_goes_on_once_the_probes_are_gone() -> None:
    """What came of it is recorded in the moment in which they are taken away."""
    found = _nodes()
    found.pods += [_sent(task, []) for task in _listening(found)]
    tunnel = _recorded(_answer(found))
    assert tunnel == Tunnel(since=NOW, port=8473, tried=6)
    assert _recorded_effect(_answer(found, tunnel=tunnel)) == 6
    found.pods = [replace(pod, deleting=True) for pod in found.pods]
    assert isinstance(_answer(found, tunnel=tunnel), Wait)
    found.pods = []
    assert _answer(found, tunnel=tunnel) == Done()


def _recorded_effect(answer: Answer) -> int:
    assert isinstance(answer, Apply)
    (sweep,) = answer.effects
    assert isinstance(sweep, SweepTasks)
    return len(sweep.tasks)


def test_a_closed_pair_is_named() -> None:
    """Both nodes, the port, the protocol and what to open; what the kernel says of a datagram that it refuses to send."""
    found = _nodes()
    senders = _listening(found)
    sent = [_sent(senders[0], [1], {"1": "Operation not permitted"}), _sent(senders[1], []), _sent(senders[2], [0])]
    _again(found, sent)
    tunnel = _recorded(_answer(found))
    assert tunnel.closed == ("w1 -> w3 (Operation not permitted)", "w3 -> w1")
    found.pods = []
    refused = _answer(found, tunnel=tunnel)
    assert isinstance(refused, Refuse)
    assert refused.gate
    assert "UDP port 8473" in refused.why
    assert "w1 -> w3 (Operation not permitted), w3 -> w1" in refused.why
    assert "open UDP port 8473 between the nodes" in refused.next
    assert "--waive FIREWALL" in refused.next


def test_who_got_no_answer_tries_once_more_after_a_while() -> None:
    """By then a node that has just died is NotReady, and one that was rebooted listens again."""
    found = _nodes()
    senders = _listening(found)
    found.tried(f"host:{senders[0].name}", "applied", at=after(-20))
    found.pods += [_sent(senders[0], [0]), _sent(senders[1], []), _sent(senders[2], [])]
    waits = _answer(found)
    assert isinstance(waits, Wait)
    assert waits.retry_in == 25
    found.tried(f"host:{senders[0].name}", "applied", at=after(-45))
    (task,) = _tasks(_answer(found))
    assert (task.node, _args(task)) == ("w1", _args(senders[0]))
    assert task.name != senders[0].name
    found.pods.append(_sent(task, []))
    assert _recorded(_answer(found)).closed == ()


def test_a_node_that_died_meanwhile_is_not_called_closed() -> None:
    """Nobody waits for its probes to end either."""
    found = _nodes()
    senders = _listening(found)
    found.pods += [_sent(senders[0], [1]), _sent(senders[1], [1])]
    found.nodes["w3"] = replace(found.nodes["w3"], ready=False)
    answer = _answer(found)
    assert isinstance(answer, Apply)
    (sweep,) = answer.effects
    assert isinstance(sweep, SweepTasks)
    assert {senders[0].name, senders[1].name} <= {name for name, _ in sweep.tasks}
    found.pods = [pod for pod in found.pods if pod.node == "w3"]
    assert [(task.node, _args(task)) for task in _tasks(_answer(found))] == [
        ("w1", ["listen", "8473"]),
        ("w2", ["listen", "8473"]),
    ]


CLOSED = Tunnel(since=NOW, port=8473, tried=6, closed=("w1 -> w2", "w1 -> w3 (no)"))


@pytest.mark.parametrize(
    ("waived", "left"),
    [
        (["FIREWALL"], ""),
        (["FIREWALL:w1"], ""),
        (["FIREWALL:w2"], "w1 -> w3"),
        (["FIREWALL:w2", "FIREWALL:w3"], ""),
        (["FIREWALL:w"], "w1 -> w2"),
        (["DUAL_STACK"], "w1 -> w2"),
    ],
)
def test_a_closed_pair_is_waived_by_name(waived: list[str], left: str) -> None:
    """All of them, or those of a node; nothing else."""
    answer = _answer(_nodes(), tunnel=CLOSED, waived=tuple(waived))
    if left:
        assert isinstance(answer, Refuse)
        assert f": {left}" in answer.why
    else:
        assert answer == Done()


def test_pairs_that_are_not_kept_are_waived_by_the_finding_only() -> None:
    """Nobody can know whose they are."""
    many = replace_model(CLOSED, more=7)
    refused = _answer(_nodes(), tunnel=many, waived=("FIREWALL:w1",))
    assert isinstance(refused, Refuse)
    assert "7 let nothing through" in refused.why
    assert _answer(_nodes(), tunnel=many, waived=("FIREWALL",)) == Done()


def replace_model(tunnel: Tunnel, **changes: Any) -> Tunnel:
    """The same with other fields."""
    return tunnel.model_copy(update=changes)


def test_a_port_that_is_taken_is_refused() -> None:
    """With the node and the kind of failure; pairs with that node are not called closed, and waiving does not help."""
    found = _nodes()
    listeners = _tasks(_answer(found))
    found.pods += [_pod(task) for task in listeners[1:]]
    said = json.dumps({"error": "taken", "said": "Address already in use"})
    found.pods.append(_pod(listeners[0], phase="Failed", ready=False, message=said, trouble="Error (exit code 1)"))
    senders = _tasks(_answer(found))
    assert [task.node for task in senders] == ["w2", "w3"]
    found.pods += [_sent(senders[0], [0]), _sent(senders[1], [0])]  # w1 comes first, and does not answer
    tunnel = _recorded(_answer(found))
    assert tunnel.closed == ()
    found.pods = []
    refused = _answer(found, tunnel=tunnel, waived=("FIREWALL",))
    assert isinstance(refused, Refuse)
    assert "node w1: another program has it (Address already in use)" in refused.why
    assert "ss -lunp" in refused.next


def test_it_is_tried_anew_when_the_step_begins_anew() -> None:
    """An operator who types the command again has opened something: probes of the attempt before go first."""
    found = _nodes()
    old = CLOSED.model_copy(update={"since": after(-600)})
    assert len(_tasks(_answer(found, tunnel=old))) == 3
    stale = a_pod("host-w1-old", namespace="cni-migrate", labels=LABELS)
    found.pods.append(stale)
    answer = _answer(found, tunnel=old)
    assert isinstance(answer, Apply)
    assert [effect.tasks for effect in answer.effects if isinstance(effect, SweepTasks)] == [((stale.name, stale.uid),)]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_listener_that_ended_by_itself_is_made_anew(phase: str) -> None:
    """It was evicted, or sat through its time while nobody drove."""
    found = _nodes()
    listeners = _tasks(_answer(found))
    found.pods += [_pod(task) for task in listeners[1:]]
    found.pods.append(_pod(listeners[0], phase=phase, ready=False, trouble="DeadlineExceeded"))
    answer = _answer(found)
    assert isinstance(answer, Apply)
    assert [effect.name for effect in answer.effects if isinstance(effect, DeletePod)] == [listeners[0].name]


@pytest.mark.parametrize(
    "changes", [{"ready": False}, {"os": "windows"}, {"internal_ip": ""}], ids=["NotReady", "Windows", "no address"]
)
def test_who_cannot_be_tried_is_left_out(changes: dict[str, Any]) -> None:
    """Other checks tell of such a node."""
    found = _nodes()
    found.nodes["w3"] = replace(found.nodes["w3"], **changes)
    assert {task.node for task in _tasks(_answer(found))} == {"w1", "w2"}


@pytest.mark.parametrize("daemonset", [names.CILIUM, names.FIRST_CILIUM])
def test_where_cilium_is_already_its_agent_has_the_port(daemonset: str) -> None:
    """As after a rollback that was stopped half way: the gates tell of the tunnel there."""
    found = _nodes(2)
    found.pods += [an_agent(daemonset, "w1"), an_agent(daemonset, "w2")]
    assert _answer(found) == Done()


def test_one_node_has_nobody_to_send_to() -> None:
    """Nothing is tried."""
    assert _answer(_nodes(1)) == Done()


def test_many_nodes_send_to_a_few_each() -> None:
    """Above a full mesh each node tries its nearest in the ring, both ways: every pair is tried from both ends."""
    found = _nodes(60)
    assert PLAN.config.knet.full_mesh_max < 60
    senders = _listening(found)
    addresses = {node.internal_ip: node.name for node in found.nodes.values()}
    pairs = {(task.node, addresses[other]) for task in senders for other in _args(task)[2:]}
    assert len(pairs) == 60 * PLAN.config.knet.degree
    assert pairs == {(there, here) for here, there in pairs}


def test_closed_pairs_are_kept_within_bounds() -> None:
    """A record has room for so many; the others are counted."""
    found = _nodes(60)
    _again(found, [_sent(task, list(range(len(_args(task)) - 2))) for task in _listening(found)])
    tunnel = _recorded(_answer(found))
    assert len(tunnel.closed) == 200
    assert tunnel.tried == len(tunnel.closed) + tunnel.more == 60 * PLAN.config.knet.degree
