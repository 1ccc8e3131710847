"""Which pods a drain evicts, leaves alone or refuses: one row per verdict, in kubectl's order."""

from typing import Any

import pytest

from cni_migrate.configsections import Drain
from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Toleration
from cni_migrate.core.steps.drain import Verdict, classify, classify_all, refusals
from tests.unit.core.builders import EVERYTHING, OUR_TAINT, REPLICASET, a_pod

DAEMONSET = ("DaemonSet", "logs", "uid-ds")
TASK = {names.COMPONENT: names.HOST_TASK, names.MANAGED_BY: names.TOOL}
OTHERS = (Toleration("dedicated", "Exists", "", ""),)


@pytest.mark.parametrize(
    ("description", "pod", "options", "verdict"),
    [
        ("an ordinary pod moves", {}, {}, Verdict.EVICT),
        ("a pod that is not Ready moves too", {"ready": False}, {}, Verdict.EVICT),
        ("a static pod belongs to the node", {"mirror": True, "controller": ("Node", "w1", "u")}, {}, Verdict.STAYS),
        ("a DaemonSet's pod would come back", {"controller": DAEMONSET}, {}, Verdict.STAYS),
        ("a DaemonSet's pod with emptyDir, too", {"controller": DAEMONSET, "local_storage": True}, {}, Verdict.STAYS),
        ("our own host task stays", {"labels": TASK, "controller": None}, {}, Verdict.STAYS),
        ("somebody else's pod that is called host-task does not",
         {"labels": {names.COMPONENT: names.HOST_TASK}, "controller": None}, {}, Verdict.REFUSED),
        ("on the host's network and tolerating us: not affected",
         {"host_network": True, "tolerations": EVERYTHING}, {}, Verdict.STAYS),
        ("on the host's network without toleration: the taint would delete it anyway",
         {"host_network": True}, {}, Verdict.EVICT),
        ("on the host's network, tolerating something else", {"host_network": True, "tolerations": OTHERS}, {},
         Verdict.EVICT),
        ("on the pod network it moves even if it tolerates us", {"tolerations": EVERYTHING}, {}, Verdict.EVICT),
        ("a pod that is leaving is waited for", {"deleting": True}, {}, Verdict.LEAVING),
        ("leaving comes before emptyDir", {"deleting": True, "local_storage": True}, {}, Verdict.LEAVING),
        ("leaving comes before having no owner", {"deleting": True, "controller": None}, {}, Verdict.LEAVING),
        ("a finished pod may always go", {"phase": "Succeeded", "controller": None}, {}, Verdict.EVICT),
        ("a failed one with emptyDir, too", {"phase": "Failed", "local_storage": True}, {}, Verdict.EVICT),
        ("emptyDir data would be lost", {"local_storage": True}, {}, Verdict.REFUSED),
        ("unless that is allowed", {"local_storage": True}, {"delete_emptydir_data": True}, Verdict.EVICT),
        ("nothing would recreate it", {"controller": None}, {}, Verdict.REFUSED),
        ("unless that is allowed as well", {"controller": None}, {"force": True}, Verdict.EVICT),
        ("force does not allow to lose data", {"controller": None, "local_storage": True}, {"force": True},
         Verdict.REFUSED),
        ("nor the other way round", {"controller": None, "local_storage": True}, {"delete_emptydir_data": True},
         Verdict.REFUSED),
        ("deleted instead of evicted, by its labels", {"labels": {"app": "db"}}, {"disable_eviction": "app=db"},
         Verdict.DELETE),
        ("only those", {"labels": {"app": "web"}}, {"disable_eviction": "app=db"}, Verdict.EVICT),
        ("not selected: it goes last", {"labels": {"app": "db"}}, {"pod_selector": "app!=db"}, Verdict.LAST),
        ("selected", {"labels": {"app": "web"}}, {"pod_selector": "app!=db"}, Verdict.EVICT),
        ("who is not selected may be lost as well", {"controller": None}, {"pod_selector": "app=db"}, Verdict.REFUSED),
        ("ports of the host are closed by the plugin that opened them", {"host_ports": True}, {"pod_selector": "app=db"},
         Verdict.EVICT),
        ("both together do", {"controller": None, "local_storage": True},
         {"force": True, "delete_emptydir_data": True}, Verdict.EVICT),
    ],
)  # fmt: skip
def test_each_pod_has_its_verdict(
    description: str, pod: dict[str, Any], options: dict[str, Any], verdict: Verdict
) -> None:
    """The filters' table."""
    classified = classify(a_pod(**pod), OUR_TAINT, Drain(**options))
    assert verdict is classified.verdict, f"{description}: {classified.reason}"
    assert classified.reason


def test_all_verdicts_are_known_before_anything_is_touched() -> None:
    """Every pod gets a classified, by namespace and name, also behind one that is refused."""
    pods = [a_pod("c"), a_pod("b", controller=None), a_pod("a", local_storage=True, namespace="zoo")]
    found = classify_all(pods, OUR_TAINT, Drain())
    assert [classified.pod.key for classified in found] == ["default/b", "default/c", "zoo/a"]
    assert refusals(found) == [
        "pod default/b: nothing would recreate it (--force)",
        "pod zoo/a: its emptyDir data would be lost (--delete-emptydir-data)",
    ]


@pytest.mark.parametrize(
    ("toleration", "holds"),
    [
        (Toleration("", "Exists", "", ""), True),
        (Toleration("", "Exists", "", "NoExecute"), True),
        (Toleration("", "Exists", "", "NoSchedule"), False),
        (Toleration(OUR_TAINT.key, "Exists", "", ""), True),
        (Toleration(OUR_TAINT.key, "Equal", OUR_TAINT.value, "NoExecute"), True),
        (Toleration(OUR_TAINT.key, "", OUR_TAINT.value, ""), True),
        (Toleration(OUR_TAINT.key, "Equal", "other", ""), False),
        (Toleration("other", "Exists", "", ""), False),
        (Toleration("", "Equal", "", ""), False),
    ],
)
def test_tolerations_match_as_in_kubernetes(toleration: Toleration, holds: bool) -> None:
    """An empty key with Exists matches every taint; an empty effect matches every effect."""
    assert holds is toleration.tolerates(OUR_TAINT)
    stays = classify(a_pod(host_network=True, tolerations=(toleration,)), OUR_TAINT, Drain()).verdict is Verdict.STAYS
    assert holds is stays


def test_the_default_owner_is_a_replicaset() -> None:
    """The builder's pod is one that a drain moves."""
    assert a_pod().controller == REPLICASET


def test_what_is_lost_is_said() -> None:
    """A bare pod that may be evicted moves nowhere; with emptyDir data a pod comes back without them."""
    allowed = Drain(force=True, delete_emptydir_data=True)

    def told(**pod: Any) -> str:
        return classify(a_pod("p", **pod), OUR_TAINT, allowed).reason

    assert told() == "moves to another node"
    assert told(local_storage=True) == "moves to another node, its emptyDir data are lost"
    assert told(controller=None) == "is deleted for good: nothing recreates it"
