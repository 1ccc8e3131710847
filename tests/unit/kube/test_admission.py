"""What would refuse the migration's objects, by a dry run."""

import asyncio
from typing import Any

import pytest

from cni_migrate.kube.access import Ask, Reviews
from cni_migrate.kube.admission import refusals
from cni_migrate.kube.request import Client
from cni_migrate.kube.volumes import local_volumes
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, Reply, listed, status

SET = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "probe", "namespace": "mesh"},
    "spec": {
        "template": {"metadata": {"labels": {"app": "probe"}}, "spec": {"hostNetwork": True, "serviceAccountName": "p"}}
    },
}
SETS, PODS = "/apis/apps/v1/namespaces/mesh/daemonsets", "/api/v1/namespaces/mesh/pods"
QUOTA = status(403, "Forbidden", 'pods "dry-run-probe" is forbidden: exceeded quota: q, requested: pods=1')
SECURITY = status(403, "Forbidden", 'pods "dry-run-probe" is forbidden: violates PodSecurity "restricted:latest"')
WEBHOOK = status(400, "BadRequest", 'admission webhook "v.kyverno.svc" denied the request: no host network')
TERMINATING = status(403, "Forbidden", "it is being terminated", causes=(("NamespaceTerminating", "of late"),))
RIGHT = status(403, "Forbidden", 'pods is forbidden: User "j" cannot create resource "pods" in API group ""')
NO_SPACE = status(404, "NotFound", 'namespaces "mesh" not found')


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def asked(*, may: bool = True, **replies: Reply) -> tuple[tuple[str, ...], FakeServer]:
    server = FakeServer()
    server.on("POST", REVIEWS, (201, {"status": {"allowed": may}}))
    for name, path in (("sets", SETS), ("pods", PODS), ("elsewhere", "/api/v1/namespaces/default/pods")):
        server.on("POST", path, replies.get(name, (201, {})))
    client = Client(FakeApi(server), LoopClock())
    return run_virtual(refusals(client, [SET], Reviews(client))), server


def test_no_right_is_asked_about_twice() -> None:
    """The checks of rights and of admission ask about the same rights at the same time: each goes to the server once."""
    server = FakeServer()
    server.on("POST", REVIEWS, (201, {"status": {"allowed": False}}))
    client = Client(FakeApi(server), LoopClock())
    reviews = Reviews(client)
    asks = [Ask("create", "apps", "daemonsets", "", "mesh"), Ask("create", "", "pods", "", "mesh")]

    async def both() -> None:
        await asyncio.gather(reviews.allowed(asks), refusals(client, [SET], reviews))

    run_virtual(both())
    seen = [tuple(sorted(one.body["spec"]["resourceAttributes"].items())) for one in server.seen]
    assert len(seen) == len(set(seen)) == 4  # everything, the two, and pods in `default` to stand in


def test_nothing_is_asked_of_a_namespace_that_is_not_there_yet() -> None:
    """It comes with the migration: only webhooks could refuse a pod then, and they are asked in another namespace."""
    server = FakeServer()
    server.on("POST", REVIEWS, (201, {"status": {"allowed": True}}))
    server.on("POST", "/api/v1/namespaces", (201, {}))
    server.on("POST", "/api/v1/namespaces/default/pods", (400, WEBHOOK))
    client = Client(FakeApi(server), LoopClock())
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mesh"}}
    found = run_virtual(refusals(client, [SET, space], Reviews(client)))
    assert found == (f"a pod of DaemonSet mesh/probe: {WEBHOOK['message']}",)
    assert not server.asked("POST", SETS) + server.asked("POST", PODS)


def test_a_namespace_that_is_there_is_asked_about_all() -> None:
    """Its quota and its PodSecurity count."""
    server = FakeServer()
    server.on("POST", REVIEWS, (201, {"status": {"allowed": True}}))
    server.on("POST", "/api/v1/namespaces", (409, status(409, "AlreadyExists")))
    server.on("POST", SETS, (201, {}))
    server.on("POST", PODS, (403, QUOTA))
    client = Client(FakeApi(server), LoopClock())
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mesh"}}
    found = run_virtual(refusals(client, [space, SET], Reviews(client)))
    assert found == (f"a pod of DaemonSet mesh/probe: {QUOTA['message']}",)


def test_nothing_is_written() -> None:
    """Every request is a dry run, of the template and of a pod of it."""
    found, server = asked()
    assert found == ()
    tried = [one for one in server.seen if one.path != REVIEWS]
    assert {(one.path, one.query["dryRun"]) for one in tried} == {(SETS, "All"), (PODS, "All")}
    pod = next(one.body for one in server.seen if one.path == PODS)
    assert (pod["metadata"]["labels"], pod["spec"]) == ({"app": "probe"}, {"hostNetwork": True})


def test_what_this_user_may_not_make_is_not_tried() -> None:
    """Pods are made by controllers: the least rights have none to make them, and a forbidden try is none to make."""
    found, server = asked(may=False, pods=(403, RIGHT))
    assert found == ()
    assert {one.path for one in server.seen} == {REVIEWS}


def test_an_api_server_in_trouble_refuses_nothing() -> None:
    """It has said nothing of the object; a webhook that cannot be called would refuse it, with the same status."""
    assert asked(pods=(500, status(500, "InternalError", "etcdserver: request timed out")))[0] == ()
    called = 'Internal error occurred: failed calling webhook "v.kyverno.svc": connection refused'
    found, _ = asked(pods=(500, status(500, "InternalError", called)))
    assert found == (f"a pod of DaemonSet mesh/probe: {called}",)


@pytest.mark.parametrize("reply", [QUOTA, SECURITY, WEBHOOK])
def test_what_refuses_a_pod_is_told_in_its_words(reply: dict[str, Any]) -> None:
    """A quota, PodSecurity, a webhook."""
    found, _ = asked(pods=(reply["code"], reply))
    assert found == (f"a pod of DaemonSet mesh/probe: {reply['message']}",)


def test_the_object_itself_may_be_refused() -> None:
    """A quota counts DaemonSets, too."""
    found, _ = asked(sets=(403, QUOTA))
    assert found[0].startswith("DaemonSet mesh/probe: ")


@pytest.mark.parametrize(
    ("pods", "elsewhere", "told"),
    [
        ((403, RIGHT), (201, {}), False),
        ((403, TERMINATING), (201, {}), False),
        ((409, status(409, "AlreadyExists")), (201, {}), False),
        ((400, status(400, "BadRequest", 'admission webhook "w" does not support dry run')), (201, {}), False),
        ((404, NO_SPACE), (201, {}), False),
        ((404, NO_SPACE), (400, WEBHOOK), True),
        ((404, NO_SPACE), (403, SECURITY), False),
        ((404, NO_SPACE), (403, QUOTA), False),
    ],
)
def test_what_says_nothing_of_the_migration(pods: Reply, elsewhere: Reply, told: bool) -> None:
    """A right that only this question needs; a namespace that is not there yet has the webhooks of another only."""
    found, _ = asked(pods=pods, elsewhere=elsewhere)
    assert bool(found) is told


def test_a_namespace_that_nobody_brings() -> None:
    """The first object in it would be refused on the way, when others have been put; it is told once."""
    found, _ = asked(sets=(404, NO_SPACE), pods=(404, NO_SPACE))
    assert found == ("Namespace mesh: it is not there, and nothing brings it",)


def volume(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"claimRef": {"namespace": "shop", "name": f"c-{name}"}, **spec}}


def on(key: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": ["w1"]}]}
    return {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}


def test_volumes_that_are_on_one_node() -> None:
    """By what they are, or by their affinity; a zone is more than a node, and one without a claim is nobody's."""
    server = FakeServer()
    free = {"metadata": {"name": "free"}, "spec": {"local": {"path": "/x"}}}
    volumes = [
        volume("a", local={"path": "/x"}),
        volume("b", csi={}, **on("kubernetes.io/hostname")),
        volume("c", csi={}, **on("topology.kubernetes.io/zone")),
        volume("d", nfs={}),
        volume("e", hostPath={"path": "/x"}),
        free,
    ]
    server.on("GET", "/api/v1/persistentvolumes", listed(*volumes))
    found = run_virtual(local_volumes(Client(FakeApi(server), LoopClock())))
    assert sorted(found) == ["shop/c-a", "shop/c-b", "shop/c-e"]
    assert found["shop/c-a"] == "PersistentVolume a"


def test_volumes_that_may_not_be_read() -> None:
    """Nothing is known of them then."""
    server = FakeServer()
    denied = status(403, "Forbidden", 'User "j" cannot list resource "persistentvolumes"')
    server.on("GET", "/api/v1/persistentvolumes", (403, denied))
    assert run_virtual(local_volumes(Client(FakeApi(server), LoopClock()))) == {}
