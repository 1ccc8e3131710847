"""Every outcome of every effect, from the API server's answers as a real one gives them."""

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import pytest

from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import (
    AS_IT_WAS,
    CHANGED,
    GONE,
    DeleteObject,
    DeletePod,
    Effect,
    EvictPod,
    KeepObject,
    PatchNode,
    PatchObject,
    PutObject,
    RunHostTask,
    SweepTasks,
)
from cni_migrate.core.model.objects import ObjectRef, Taint
from cni_migrate.errors import ClusterUnreachable, RightsMissing
from cni_migrate.kube.cache import Cache
from cni_migrate.kube.perform import PARALLEL, Performer
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import EPOCH, run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, Scripted, status

Script = Mapping[tuple[str, str], list[Scripted]]


def perform(
    script: Script, *effects: Effect, known: Iterable[Mapping[str, Any]] = ()
) -> tuple[dict[str, Attempt], FakeServer, Exception | None]:
    """The outcomes, what was asked, and what was raised; `known` is in the cache beforehand."""
    server = FakeServer()
    for (method, path), replies in script.items():
        server.on(method, path, *replies)

    async def main() -> tuple[dict[str, Attempt], Exception | None]:
        clock = LoopClock()
        client = Client(FakeApi(server), clock, random.Random(1))
        cache = Cache(client, clock, "cni-migrate")
        for one in known:
            cache.fold(one)
        raised = None
        try:
            await Performer(client, cache, clock).perform(effects)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            raised = error
        return cache.attempts, raised

    attempts, raised = run_virtual(main())
    return attempts, server, raised


def outcome(script: Script, effect: Effect) -> tuple[str, str]:
    attempts, _, raised = perform(script, effect)
    assert raised is None
    return attempts[effect.key].result, attempts[effect.key].message


POD = "/api/v1/namespaces/web/pods/p"
EVICTION = f"{POD}/eviction"
TERMINATING = status(
    403, "Forbidden", "unable to create new content in namespace web because it is being terminated",
    causes=(("NamespaceTerminating", "namespace web is being terminated"),),
)  # fmt: skip
BUDGET = status(
    429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.",
    causes=(("DisruptionBudget", "The disruption budget web needs 2 healthy pods and has 2 currently"),),
)  # fmt: skip
TWO = {
    "kind": "Status", "status": "Failure", "code": 500,
    "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
}  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "result", "message"),
    [
        ((201, {"kind": "Status", "status": "Success"}), "applied", ""),
        ((404, status(404, "NotFound", 'pods "p" not found')), "gone", 'pods "p" not found'),
        ((409, status(409, "Conflict", "the UID in the precondition does not match")), "gone", "the UID in the"),
        (
            (429, BUDGET),
            "blocked",
            "pod web/p: PodDisruptionBudget web/web allows 0 disruptions: it needs 2 healthy pods and has 2",
        ),
        ((403, TERMINATING), "blocked", "being terminated"),
        ((403, status(403, "Forbidden", "pods p is forbidden: pod disruption budget")), "failed", "disruption budget"),
        ((500, TWO), "failed", "more than one PodDisruptionBudget"),
        ((400, status(400, "BadRequest", "name in URL does not match")), "failed", "name in URL"),
        ((422, status(422, "Invalid", "bad")), "failed", "bad"),
    ],
)
def test_evictions(reply: Scripted, result: str, message: str) -> None:
    found = outcome({("POST", EVICTION): [reply]}, EvictPod("web", "p", "u1", "n1"))
    assert found[0] == result
    assert message in found[1]


EVACUATES = 'admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: Eviction triggered'


def test_an_eviction_that_a_webhook_puts_off_is_tried_again_later() -> None:
    """As `kubectl drain` does: KubeVirt moves the VM meanwhile, and the eviction is accepted in the end."""
    refusal = {"kind": "Status", "status": "Failure", "code": 429, "message": EVACUATES}
    found = outcome({("POST", EVICTION): [(429, refusal)]}, EvictPod("web", "p", "u1", "n1"))
    assert found == ("blocked", f"pod web/p: {EVACUATES}")


@pytest.mark.parametrize("code", [404, 409])
def test_a_pod_that_a_webhook_keeps_is_not_gone(code: int) -> None:
    refusal = {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "message": 'admission webhook "w" denied the request',
    }
    effects: list[tuple[str, str, Effect]] = [
        ("POST", EVICTION, EvictPod("web", "p", "u1", "n1")),
        ("DELETE", POD, DeletePod("web", "p", "u1", "n1")),
    ]
    for method, path, effect in effects:
        assert outcome({(method, path): [(code, refusal)]}, effect)[0] == "failed"


def test_a_pod_of_which_a_proxy_knows_nothing_is_not_gone() -> None:
    """It was not seen any more, by no step and no audit, as long as the run lasted."""
    away = (404, "404 page not found")
    for method, path, effect in (
        ("POST", EVICTION, EvictPod("web", "p", "u1", "n1")),
        ("DELETE", POD, DeletePod("web", "p", "u1", "n1")),
    ):
        assert outcome({(method, path): [away]}, effect) == ("blocked", "HTTP 404: 404 page not found")


@pytest.mark.parametrize(
    "words",
    [
        'Operation cannot be fulfilled on pods "p": the object has been modified; please apply your changes',
        'Operation cannot be fulfilled on poddisruptionbudgets.policy "b": the object has been modified',
        "the ResourceVersion in the precondition (5) does not match the record's. The object might have been modified",
        "Precondition failed: ResourceVersion in precondition: 5, ResourceVersion in object meta: 6",
    ],
)
def test_a_pod_that_was_written_while_it_was_evicted_is_not_gone(words: str) -> None:
    """The eviction API gives up after some tries of its own, and tells the conflict."""
    answer = (409, status(409, "Conflict", words))
    assert outcome({("POST", EVICTION): [answer]}, EvictPod("web", "p", "u1", "n1")) == ("conflict", words)
    other = "the UID in the precondition (u1) does not match the UID in record (u2). The object might have been deleted"
    answer = (409, status(409, "Conflict", other))
    assert outcome({("POST", EVICTION): [answer]}, EvictPod("web", "p", "u1", "n1"))[0] == "gone"


def test_an_object_of_which_a_proxy_knows_nothing_is_not_gone() -> None:
    """Canal's DaemonSet was not seen any more, and what was to be deleted counted as deleted."""
    away = (404, "404 page not found")
    for method, path, effect in (
        ("DELETE", CANAL, DeleteObject(REF, "u")),
        ("PATCH", CANAL, PatchObject(REF, {"spec": {"x": 1}}, "5")),
        ("PATCH", "/api/v1/nodes/n1", PatchNode("n1", "u", "5", {"a": "b"}, {})),
        ("POST", TASKS, RunHostTask("n1", "task", TASK)),
    ):
        assert outcome({(method, path): [away]}, effect) == ("blocked", "HTTP 404: 404 page not found")


def test_an_eviction_names_the_very_pod() -> None:
    _, server, _ = perform({("POST", EVICTION): [(201, {})]}, EvictPod("web", "p", "u1", "n1"))
    assert server.seen[0].body == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "p", "namespace": "web"},
        "deleteOptions": {"preconditions": {"uid": "u1"}},
    }


@pytest.mark.parametrize("reply", [(201, {}), (429, BUDGET)])
def test_an_eviction_notes_the_budgets_as_they_were_known_before(reply: Scripted) -> None:
    """The answer belongs to that version or to a later one: an equal one says nothing new."""

    def known(kind: str, api: str, name: str, version: str, **parts: Any) -> dict[str, Any]:
        meta = {"namespace": "web", "name": name, "uid": f"u-{name}", "resourceVersion": version}
        return {"kind": kind, "apiVersion": api, **parts, "metadata": {**meta, **parts.get("metadata", {})}}

    def budget(name: str, version: str, app: str) -> dict[str, Any]:
        return known("PodDisruptionBudget", "policy/v1", name, version, spec={"selector": {"matchLabels": {"a": app}}})

    pod = known("Pod", "v1", "p", "3", metadata={"labels": {"a": "x"}}, spec={"containers": []})
    effect = EvictPod("web", "p", "u-p", "n1")
    attempts, _, _ = perform(
        {("POST", EVICTION): [reply]}, effect, known=[pod, budget("b", "7", "x"), budget("c", "8", "y")]
    )
    assert attempts[effect.key].budgets == {("web", "b", "7")}


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ((200, {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "uid": "u1"}}), "applied"),
        ((404, status(404, "NotFound")), "gone"),
        ((409, status(409, "Conflict")), "gone"),
        ((422, status(422, "Invalid")), "failed"),
    ],
)
def test_deletions_of_pods(reply: Scripted, result: str) -> None:
    attempts, server, _ = perform({("DELETE", POD): [reply]}, effect := DeletePod("web", "p", "u1", "n1"))
    assert attempts[effect.key].result == result
    assert server.seen[0].body["preconditions"] == {"uid": "u1"}
    assert "gracePeriodSeconds" not in server.seen[0].body


def test_a_pod_can_be_given_another_time_to_end() -> None:
    """In an eviction as in a deletion."""
    pod = (200, {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "uid": "u1"}})
    _, server, _ = perform({("DELETE", POD): [pod]}, DeletePod("web", "p", "u1", "n1", grace=5))
    assert server.seen[0].body["gracePeriodSeconds"] == 5
    _, server, _ = perform({("POST", EVICTION): [(201, {})]}, EvictPod("web", "p", "u1", "n1", grace=5))
    assert server.seen[0].body["deleteOptions"] == {"preconditions": {"uid": "u1"}, "gracePeriodSeconds": 5}


def test_a_pod_can_be_deleted_at_once() -> None:
    """The object goes before its processes have ended; still exactly this one."""
    pod = (200, {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "uid": "u1"}})
    _, server, _ = perform({("DELETE", POD): [pod]}, DeletePod("web", "p", "u1", "n1", at_once=True))
    body = server.seen[0].body
    assert (body["gracePeriodSeconds"], body["preconditions"]) == (0, {"uid": "u1"})


@pytest.mark.parametrize(
    ("reply", "result"),
    [((200, {"kind": "PodList", "items": []}), "applied"), ((422, status(422, "Invalid")), "failed")],
)
def test_a_sweep_is_one_request(reply: Scripted, result: str) -> None:
    """For tasks on that node that have ended, and no others."""
    effect = SweepTasks("t", "n1", (("host-a", "u1"), ("host-b", "u2")))
    attempts, server, _ = perform({("DELETE", "/api/v1/namespaces/t/pods"): [reply]}, effect)
    assert attempts[effect.key].result == result
    (asked,) = server.seen
    assert asked.query == {
        "labelSelector": "app.kubernetes.io/component=host-task",
        "fieldSelector": "spec.nodeName=n1,status.phase!=Pending,status.phase!=Running",
    }


def test_a_sweep_for_a_purpose_takes_all_of_them() -> None:
    """On every node, also those that still run."""
    effect = SweepTasks("t", "", (("host-a", "u1"),), "tunnel")
    _, server, _ = perform({("DELETE", "/api/v1/namespaces/t/pods"): [(200, {"kind": "PodList", "items": []})]}, effect)
    (asked,) = server.seen
    assert asked.query == {"labelSelector": "app.kubernetes.io/component=host-task,cni-migrate.io/task=tunnel"}


NODE = "/api/v1/nodes/n1"


def node(**parts: Any) -> dict[str, Any]:
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1", "uid": "u", "resourceVersion": "9"}, **parts}


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ((200, node()), "applied"),
        ((409, status(409, "Conflict", "the object has been modified")), "conflict"),
        ((404, status(404, "NotFound")), "gone"),
        ((422, {**status(422, "Invalid"), "details": {"causes": [{"field": "metadata.uid"}]}}), "gone"),
        ((422, status(422, "Invalid")), "failed"),
    ],
)
def test_patches_of_nodes(reply: Scripted, result: str) -> None:
    effect = PatchNode("n1", "u", "5", {"a": "b"}, {})
    assert outcome({("PATCH", NODE): [reply]}, effect)[0] == result


def test_a_conflict_is_not_tried_again() -> None:
    _, server, _ = perform({("PATCH", NODE): [(409, status(409, "Conflict"))]}, PatchNode("n1", "u", "5", {}, {}))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("effect", "body"),
    [
        (
            PatchNode("n1", "u", "5", {"a": "b", "gone": None}, {"c": "d"}, unschedulable=True),
            {
                "metadata": {
                    "uid": "u",
                    "resourceVersion": "5",
                    "labels": {"a": "b", "gone": None},
                    "annotations": {"c": "d"},
                },
                "spec": {"unschedulable": True},
            },
        ),
        (
            PatchNode("n1", "u", "5", {}, {}, unschedulable=False, taints=(Taint("k", "v", "NoExecute"),)),
            {
                "metadata": {"uid": "u", "resourceVersion": "5"},
                "spec": {"unschedulable": None, "taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]},
            },
        ),
        (
            PatchNode("n1", "u", "5", {}, {}, taints=()),
            {"metadata": {"uid": "u", "resourceVersion": "5"}, "spec": {"taints": None}},
        ),
        (
            PatchNode("n1", "u", "5", {"a": "b"}, {}),
            {"metadata": {"uid": "u", "resourceVersion": "5", "labels": {"a": "b"}}},
        ),
    ],
)
def test_what_a_node_patch_sends(effect: PatchNode, body: dict[str, Any]) -> None:
    _, server, _ = perform({("PATCH", NODE): [(200, node())]}, effect)
    assert server.seen[0].body == body
    assert server.seen[0].headers["content-type"] == "application/merge-patch+json"
    assert server.seen[0].query["fieldManager"] == "migrate"


MAPS = "/api/v1/namespaces/a/configmaps"
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": "m"}, "data": {"k": "v"}}
EXISTS = (409, status(409, "AlreadyExists"))


def live(data: dict[str, str], **meta: Any) -> dict[str, Any]:
    return {
        **MAP,
        "metadata": {"namespace": "a", "name": "m", "uid": "u", "resourceVersion": "7", **meta},
        "data": data,
    }


def test_an_object_that_is_missing_is_created() -> None:
    attempts, server, _ = perform({("POST", MAPS): [(201, live({"k": "v"}))]}, effect := PutObject(MAP))
    assert attempts[effect.key] == Attempt("applied", "", EPOCH)
    assert server.seen[0].body == MAP


def test_a_job_that_is_there_has_begun() -> None:
    """What it was given by the API server cannot be changed: who was killed behind it was held for ever."""
    jobs = "/apis/batch/v1/namespaces/a/jobs"
    meta = {"namespace": "a", "name": "m"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {}}
    there = {**job, "metadata": {**meta, "uid": "u", "resourceVersion": "7"}, "spec": {"selector": {}}}
    served = {"resources": [{"name": "jobs", "kind": "Job", "namespaced": True}]}
    script: Script = {
        ("GET", "/apis/batch/v1"): [(200, served)],
        ("POST", jobs): [EXISTS],
        ("GET", f"{jobs}/m"): [(200, there)],
        ("PUT", f"{jobs}/m"): [(422, status(422, "Invalid", "spec.selector: field is immutable"))],
    }
    assert outcome(script, PutObject(job)) == ("applied", "as it was")
    leaving = {**there, "metadata": {**meta, "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert outcome({**script, ("GET", f"{jobs}/m"): [(200, leaving)]}, PutObject(job))[0] == "blocked"


def test_an_object_that_differs_is_replaced() -> None:
    managed = [{"manager": "migrate"}]
    there = live({"k": "old", "extra": "x"}, labels={"theirs": "1"}, managedFields=managed, finalizers=["f"])
    script: Script = {
        ("POST", MAPS): [EXISTS],
        ("GET", f"{MAPS}/m"): [(200, there)],
        ("PUT", f"{MAPS}/m"): [(200, live({"k": "v"}))],
    }
    attempts, server, _ = perform(script, effect := PutObject(MAP))
    assert attempts[effect.key].result == "applied"
    sent = server.asked("PUT", f"{MAPS}/m")[0].body
    assert sent["data"] == {"k": "v"}
    assert sent["metadata"] == {
        "namespace": "a",
        "name": "m",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"theirs": "1"},
        "finalizers": ["f"],
    }


def test_an_object_that_is_as_it_should_be_is_not_written() -> None:
    script: Script = {("POST", MAPS): [EXISTS], ("GET", f"{MAPS}/m"): [(200, live({"k": "v"}, managedFields=[{}]))]}
    attempts, server, _ = perform(script, effect := PutObject(MAP))
    assert attempts[effect.key].result == "applied"
    assert [one.method for one in server.seen] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({("GET", f"{MAPS}/m"): [(200, live({"k": "v"}))]}, ("applied", AS_IT_WAS)),
        (
            {("GET", f"{MAPS}/m"): [(404, status(404, "NotFound"))], ("POST", MAPS): [(201, live({"k": "v"}))]},
            ("applied", GONE),
        ),
        (
            {
                ("GET", f"{MAPS}/m"): [(200, live({"k": "edited"}))],
                ("PUT", f"{MAPS}/m"): [(200, live({"k": "v"}, resourceVersion="8"))],
            },
            ("applied", CHANGED),
        ),
        (
            {("GET", f"{MAPS}/m"): [(200, live({"k": "v"}, deletionTimestamp="2026-01-01T00:00:00Z"))]},
            ("blocked", "ConfigMap a/m is being deleted: it can be made again once it is gone"),
        ),
        (
            {
                ("GET", f"{MAPS}/m"): [(404, status(404, "NotFound"))],
                ("POST", MAPS): [(403, status(403, "Forbidden", "a webhook says no"))],
            },
            ("failed", "a webhook says no"),
        ),
    ],
)
def test_an_object_is_kept_as_it_was_installed(script: Script, expected: tuple[str, str]) -> None:
    """Looked at first; written only if it is not there or says something else."""
    assert outcome(script, KeepObject(MAP, "begin")) == expected


def test_a_secret_that_is_there_is_right_as_it_is() -> None:
    """Its certificates are made anew whenever a chart is rendered."""
    place = "/api/v1/namespaces/a/secrets/m"
    there = {**live({"k": "of before"}), "kind": "Secret"}
    secret = {**MAP, "kind": "Secret"}
    assert outcome({("GET", place): [(200, there)]}, KeepObject(secret, "begin")) == ("applied", AS_IT_WAS)


def test_a_services_address_is_kept() -> None:
    path = "/api/v1/namespaces/a/services"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "a", "name": "s"},
        "spec": {"ports": [1]},
    }
    there = {
        **service,
        "metadata": {"namespace": "a", "name": "s", "resourceVersion": "1"},
        "spec": {"ports": [2], "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]},
    }
    script: Script = {
        ("POST", path): [EXISTS],
        ("GET", f"{path}/s"): [(200, there)],
        ("PUT", f"{path}/s"): [(200, there)],
    }
    _, server, _ = perform(script, PutObject(service))
    assert server.asked("PUT", f"{path}/s")[0].body["spec"] == {
        "ports": [1],
        "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"],
    }


@pytest.mark.parametrize(
    ("script", "result", "message"),
    [
        ({("GET", f"{MAPS}/m"): [(404, status(404, "NotFound"))]}, "conflict", "deleted meanwhile"),
        (
            {
                ("GET", f"{MAPS}/m"): [(200, live({}))],
                ("PUT", f"{MAPS}/m"): [(409, status(409, "Conflict", "modified"))],
            },
            "conflict",
            "modified",
        ),
        (
            {
                ("GET", f"{MAPS}/m"): [(200, live({}))],
                ("PUT", f"{MAPS}/m"): [(422, status(422, "Invalid", "immutable"))],
            },
            "failed",
            "immutable",
        ),
        ({("GET", f"{MAPS}/m"): [(200, live({}, deletionTimestamp="x"))]}, "blocked", "being deleted"),
    ],
)
def test_replacing_may_fail(script: dict[tuple[str, str], list[Scripted]], result: str, message: str) -> None:
    found = outcome({("POST", MAPS): [EXISTS], **script}, PutObject(MAP))
    assert found[0] == result
    assert message in found[1]


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ((404, status(404, "NotFound", 'namespaces "a" not found', kind="namespaces")), "failed"),
        ((404, status(404, "NotFound", "the server could not find the requested resource")), "blocked"),
        ((404, "404 page not found"), "blocked"),
        ((403, TERMINATING), "blocked"),
        ((500, status(500, "InternalError", "failed calling webhook")), "failed"),
    ],
)
def test_creating_may_fail(reply: Scripted, result: str) -> None:
    assert outcome({("POST", MAPS): [reply]}, PutObject(MAP))[0] == result


def test_a_creation_whose_answer_was_lost_is_read_back() -> None:
    script: Script = {
        ("POST", MAPS): [httpx.ReadError("reset"), EXISTS],
        ("GET", f"{MAPS}/m"): [(200, live({"k": "v"}))],
    }
    assert outcome(script, PutObject(MAP))[0] == "applied"


def test_namespaces_are_made_first() -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    script: Script = {("POST", MAPS): [(201, live({}))], ("POST", "/api/v1/namespaces"): [(201, space)]}
    _, server, _ = perform(script, PutObject(MAP), PutObject(space))
    assert [one.path for one in server.seen] == ["/api/v1/namespaces", MAPS]


def _made(kind: str) -> PutObject:
    version = {"DaemonSet": "apps/v1", "ClusterRole": "rbac.authorization.k8s.io/v1"}.get(kind, "v1")
    meta = {"name": "x"} if kind in ("Namespace", "ClusterRole") else {"name": "x", "namespace": "web"}
    return PutObject({"apiVersion": version, "kind": kind, "metadata": meta})


IN_RANKS = [
    ("Namespace", "/api/v1/namespaces"),
    ("ServiceAccount", "/api/v1/namespaces/web/serviceaccounts"),
    ("ConfigMap", "/api/v1/namespaces/web/configmaps"),
    ("DaemonSet", "/apis/apps/v1/namespaces/web/daemonsets"),
]


@pytest.mark.parametrize("refused", [None, 0, 1, 2])
def test_objects_are_applied_after_what_they_need(refused: int | None) -> None:
    """Rank by rank, whatever order they are given in; behind one that is not accepted nothing is sent."""
    script: Script = {
        ("POST", path): [
            (409, status(409, "Conflict", "try again")) if at == refused else (201, {"metadata": {"name": "x"}})
        ]
        for at, (_, path) in enumerate(IN_RANKS)
    }
    effects = [_made(kind) for kind, _ in reversed(IN_RANKS)]
    attempts, server, raised = perform(script, *effects)
    assert raised is None
    end = len(IN_RANKS) if refused is None else refused + 1
    assert [one.path for one in server.seen] == [path for _, path in IN_RANKS[:end]]
    assert len(attempts) == end


def test_objects_are_deleted_before_what_they_need() -> None:
    """The other way round."""
    script: Script = {("DELETE", f"{path}/x"): [(200, {})] for _, path in IN_RANKS}
    effects = [DeleteObject(_made(kind).ref) for kind, _ in IN_RANKS]
    _, server, _ = perform(script, *effects)
    assert [one.path for one in server.seen] == [f"{path}/x" for _, path in reversed(IN_RANKS)]


def test_a_kind_that_is_not_in_the_table_is_asked_for() -> None:
    group = "/apis/k8s.cni.cncf.io/v1"
    nad = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"namespace": "a", "name": "x"},
    }
    plural = "network-attachment-definitions"
    kinds = {"resources": [{"name": plural, "kind": "NetworkAttachmentDefinition", "namespaced": True}]}
    path = f"{group}/namespaces/a/{plural}"
    script: Script = {("GET", group): [(200, kinds)], ("POST", path): [(201, nad)]}
    attempts, server, _ = perform(script, effect := PutObject(nad), PutObject({**nad, "spec": {}}))
    assert attempts[effect.key].result == "applied"
    assert len(server.asked("GET", group)) == 1
    assert outcome({}, PutObject(nad))[0] == "blocked"
    assert outcome({}, DeleteObject(ObjectRef.of(nad)))[0] == "gone"


CANAL = "/apis/apps/v1/namespaces/kube-system/daemonsets/canal"
REF = ObjectRef("apps/v1", "DaemonSet", "kube-system", "canal")


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (
            (200, {"kind": "DaemonSet", "apiVersion": "apps/v1", "metadata": {"name": "canal", "namespace": "k"}}),
            "applied",
        ),
        ((409, status(409, "Conflict")), "conflict"),
        ((404, status(404, "NotFound")), "gone"),
        ((422, status(422, "Invalid")), "failed"),
    ],
)
def test_patches_of_foreign_objects(reply: Scripted, result: str) -> None:
    effect = PatchObject(REF, {"spec": {"x": 1}}, "5")
    attempts, server, _ = perform({("PATCH", CANAL): [reply]}, effect)
    assert attempts[effect.key].result == result
    assert server.seen[0].body == {"spec": {"x": 1}, "metadata": {"resourceVersion": "5"}}


def test_a_patch_without_a_version_sends_none() -> None:
    _, server, _ = perform({("PATCH", CANAL): [(200, {})]}, PatchObject(REF, {"spec": {"x": 1}}))
    assert server.seen[0].body == {"spec": {"x": 1}}


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ((200, {"kind": "Status", "details": {"uid": "u"}}), "applied"),
        ((404, status(404, "NotFound")), "gone"),
        ((409, status(409, "Conflict")), "gone"),
        ((422, status(422, "Invalid")), "failed"),
    ],
)
def test_deletions(reply: Scripted, result: str) -> None:
    attempts, server, _ = perform({("DELETE", CANAL): [reply]}, effect := DeleteObject(REF, "u"))
    assert attempts[effect.key].result == result
    assert server.seen[0].body["propagationPolicy"] == "Background"
    assert server.seen[0].body["preconditions"] == {"uid": "u"}


def test_a_deletion_that_is_under_way_counts() -> None:
    """A terminating namespace may answer 409."""
    reply = (409, status(409, "Conflict", "The system is ensuring all content is removed from this namespace."))
    effect = DeleteObject(ObjectRef("v1", "Namespace", "", "a"))
    assert outcome({("DELETE", "/api/v1/namespaces/a"): [reply]}, effect)[0] == "applied"


TASKS = "/api/v1/namespaces/cni-migrate/pods"
TASK = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "cni-migrate", "name": "task"}}


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ((201, TASK), "applied"),
        (EXISTS, "applied"),
        ((404, status(404, "NotFound", 'namespaces "cni-migrate" not found', kind="namespaces")), "failed"),
        ((403, status(403, "Forbidden", "violates PodSecurity")), "failed"),
        ((403, TERMINATING), "blocked"),
    ],
)
def test_host_tasks(reply: Scripted, result: str) -> None:
    assert outcome({("POST", TASKS): [reply]}, RunHostTask("n1", "task", TASK))[0] == result


def evictions(number: int) -> list[EvictPod]:
    return [EvictPod("web", f"p{one}", f"u{one}", "n1") for one in range(number)]


def test_effects_go_in_parallel_but_not_without_bound() -> None:
    busy = peak = 0

    async def slow(_: httpx.Request) -> tuple[int, Any]:
        nonlocal busy, peak
        busy += 1
        peak = max(peak, busy)
        await asyncio.sleep(1)
        busy -= 1
        return 201, {}

    effects = evictions(35)
    script: Script = {("POST", f"/api/v1/namespaces/web/pods/{one.name}/eviction"): [slow] for one in effects}
    attempts, _, _ = perform(script, *effects)
    assert len(attempts) == 35
    assert peak == PARALLEL


def test_effects_on_one_target_keep_their_order() -> None:
    async def slow(_: httpx.Request) -> tuple[int, Any]:
        await asyncio.sleep(5)
        return 200, node()

    script: Script = {("PATCH", NODE): [slow, (200, node())]}
    _, server, _ = perform(script, PatchNode("n1", "u", "5", {"a": "1"}, {}), PatchNode("n1", "u", "6", {"a": "2"}, {}))
    assert [one.body["metadata"]["labels"]["a"] for one in server.seen] == ["1", "2"]
    assert server.seen[1].at >= 5


def test_a_missing_right_is_raised_after_the_rest_was_done() -> None:
    denied = status(403, "Forbidden", 'User "j" cannot patch resource "nodes" in API group "" at the cluster scope')
    script: Script = {("PATCH", NODE): [(403, denied)], ("POST", EVICTION): [(201, {})]}
    attempts, _, raised = perform(script, PatchNode("n1", "u", "5", {}, {}), effect := EvictPod("web", "p", "u1", "n1"))
    assert isinstance(raised, RightsMissing)
    assert attempts[effect.key].result == "applied"


def test_a_server_that_does_not_answer_is_raised() -> None:
    _, _, raised = perform({("POST", EVICTION): [httpx.ConnectError("x")]}, EvictPod("web", "p", "u1", "n1"))
    assert isinstance(raised, ClusterUnreachable)


def test_the_end_of_the_run_stops_all_effects() -> None:
    """What is no `Exception` must not let the others go on writing."""

    class Killed(BaseException):
        pass

    server = FakeServer()

    async def kill(_: httpx.Request) -> Any:
        await asyncio.sleep(0.1)
        raise Killed

    async def evicted(_: httpx.Request) -> Any:
        await asyncio.sleep(0.2)
        return 201, {}

    for number, one in enumerate(effects := evictions(30)):
        path = f"/api/v1/namespaces/web/pods/{one.name}/eviction"
        server.on("POST", path, kill if number == 3 else evicted)

    async def main() -> None:
        clock = LoopClock()
        client = Client(FakeApi(server), clock)
        with pytest.raises(Killed):
            await Performer(client, Cache(client, clock, "n"), clock).perform(effects)
        asked = len(server.seen)
        await asyncio.sleep(60)
        assert len(server.seen) == asked <= PARALLEL

    run_virtual(main())


def test_outcomes_are_bounded() -> None:
    async def main() -> None:
        clock = LoopClock()
        cache = Cache(Client(FakeApi(FakeServer()), clock), clock, "n")
        for number in range(10_050):
            cache.note(str(number), Attempt("applied", "", clock.now()))
        assert len(cache.attempts) == 10_000
        assert "49" not in cache.attempts
        assert "50" in cache.attempts

    run_virtual(main())
