"""The identity agent: which labels make an identity, which pods get an endpoint, and what is written when.

Cilium's rules are those of its sources, 1.15.19 and 1.20.2 (pkg/labelsfilter, pkg/k8s/utils, pkg/k8s/identitybackend).
"""

import copy
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from cni_migrate.core.model import names
from cni_migrate.identities.agent.__main__ import main
from cni_migrate.identities.agent.apiserver import ApiError
from cni_migrate.identities.agent.controller import GONE, Controller
from cni_migrate.identities.agent.endpoints import LABEL, POD_IP, canal_address, endpoint_name
from cni_migrate.identities.agent.health import state_file
from cni_migrate.identities.agent.identities import HEARTBEAT, identity, number_of
from cni_migrate.identities.agent.labelfilter import Filter
from cni_migrate.identities.agent.labels import security_labels
from cni_migrate.identities.agent.settings import Settings
from cni_migrate.identities.agent.watches import Watched

Json = dict[str, Any]
ENV = {"NODE_NAME": "w1", "NODE_IP": "192.0.2.11"}
CIDRS = {"canal_cidr": "10.244.0.0/15", "cilium_cidr": "10.245.0.0/16", "version": "1.20"}
SETTINGS = Settings(ENV, CIDRS)
NAMESPACE = {"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop", "team": "a"}}}


def a_pod(name: str = "web-0", ip: str = "10.244.1.5", **changes: Any) -> Json:
    pod: Json = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": {"app": "web"},
            "annotations": {},
        },
        "spec": {"nodeName": "w1", "serviceAccountName": "seller", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": ip},
    }
    for path, value in changes.items():
        place, key = path.split("_", 1)
        pod[place][key] = value
    return pod


LINKS = [(1, "lo"), (2, "cilium_host")]


class Server:
    """The API server as far as the agent needs it."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.requests: list[tuple[str, str]] = []
        self.version = 0

    def put(self, path: str, found: Json) -> Json:
        self.version += 1
        kept = copy.deepcopy(found)
        kept["metadata"] |= {"resourceVersion": str(self.version)}
        kept["metadata"].setdefault("uid", f"uid-{self.version}")
        self.objects[path] = kept
        return copy.deepcopy(kept)

    def request(self, method: str, path: str, body: Json | None = None, *, patch: bool = False) -> Json:
        self.requests.append((method, path))
        if method == "POST":
            assert body is not None
            whole = f"{path}/{body['metadata']['name']}"
            if whole in self.objects:
                raise ApiError(409, "there already")
            if any(len(value) > 63 for value in body["metadata"].get("labels", {}).values()):
                raise ApiError(422, "must be no more than 63 characters")
            return self.put(whole, body)
        if path not in self.objects:
            raise ApiError(404, "not there")
        found = self.objects[path]
        if method == "GET":
            return copy.deepcopy(found)
        if method == "DELETE":
            assert body is not None
            if body["preconditions"]["uid"] != found["metadata"]["uid"]:
                raise ApiError(409, "another uid")
            return self.objects.pop(path)
        assert body is not None
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise ApiError(409, "changed meanwhile")
        if not patch:
            return self.put(path, {**body, "metadata": {**body["metadata"], "uid": found["metadata"]["uid"]}})
        for key, value in body["metadata"].get("annotations", {}).items():
            assert value is None
            found["metadata"]["annotations"].pop(key)
        return self.put(path, found)

    def listed(self, path: str, query: dict[str, str]) -> tuple[list[Json], str]:
        key, _, value = query.get("labelSelector", "").partition("=")
        assert urllib.parse.quote(value) == value
        found = [o for p, o in self.objects.items() if p.startswith(path)]
        return [o for o in found if not key or o["metadata"].get("labels", {}).get(key) == value], str(self.version)

    def written(self) -> list[tuple[str, str]]:
        done = [one for one in self.requests if one[0] != "GET"]
        self.requests.clear()
        return done

    def of(self, kind: str) -> dict[str, Json]:
        return {p.rpartition("/")[2]: o for p, o in self.objects.items() if f"/{kind}/" in p}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("cni_migrate.identities.agent.controller.APART", 0.0)
    monkeypatch.setattr("socket.if_nameindex", lambda: LINKS)
    return Server()


def a_controller(server: Server, *pods: Json, settings: Settings = SETTINGS) -> Controller:
    controller = Controller(settings, lambda: server)  # type: ignore[arg-type, return-value]
    look(controller, server, *pods)
    return controller


def look(controller: Controller, server: Server, *pods: Json) -> None:
    """What the watches bring, then one turn."""
    controller.namespaces.objects = {("", "shop"): NAMESPACE}
    controller.pods.objects = {(p["metadata"]["namespace"], p["metadata"]["name"]): p for p in pods}
    own, _ = server.listed("/apis/cilium.io/v2/namespaces", {"labelSelector": f"{LABEL}={controller.settings.mark}"})
    controller.own.objects = {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in own}
    for one in controller.watched:
        one.synced = True
    controller.seen()
    controller.reconcile()


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("app", True),
        ("app.kubernetes.io/name", True),
        ("kubernetes.io/os", False),
        ("pod-template-hash", False),
        ("controller-revision-hash", False),
        ("statefulset.kubernetes.io/pod-name", False),
        ("apps.kubernetes.io/pod-index", False),
        ("batch.kubernetes.io/controller-uid", False),
        ("batch.kubernetes.io/job-name", True),
        ("job-name", True),
        ("k8s.io/x", False),
        ("failure-domain.beta.kubernetes.io/zone", False),
        ("io.kubernetes.pod.namespace", True),
        ("io.kubernetes.container.name", False),
        ("io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", True),
    ],
)
def test_labels_make_identities_as_cilium_says(key: str, taken: bool) -> None:
    """By the defaults of the oldest and the newest version."""
    assert Filter((1, 15))(key) is Filter((1, 20))(key) is taken


@pytest.mark.parametrize(
    ("key", "since", "taken"),
    [
        ("topology.kubernetes.io/zone", (1, 19), False),
        ("io.cilium.k8s.policy.cluster", (1, 16), True),
        ("io.cilium.k8s.policy.serviceaccount", (1, 18), True),
    ],
)
def test_which_labels_are_taken_differs_by_version(key: str, since: tuple[int, int], taken: bool) -> None:
    """With `labels: k8s:app` the cluster is still one of them: by it NetworkPolicies of 1.19 and later choose peers."""
    more = ["k8s:app"] if taken else []
    assert Filter(since, more)(key) is taken
    assert Filter((1, since[1] - 1), more)(key) is not taken


def test_an_option_of_cilium_that_includes_labels_leaves_out_all_others() -> None:
    """`labels` in cilium-config: an inclusion makes a whitelist of it, an exclusion does not."""
    only = Filter((1, 20), ["k8s:app", "k8s:io.kubernetes.pod.namespace"])
    assert (only("app"), only("team"), only("io.kubernetes.pod.namespace")) == (True, False, True)
    less = Filter((1, 20), ["!team"])
    assert (less("app"), less("team")) == (True, False)


def test_where_few_labels_are_taken_an_identity_tells_its_cluster_and_account() -> None:
    """As Cilium's own pods do, or those on Canal would be strangers to policies."""
    few = Settings(ENV, {**CIDRS, "labels": "k8s:app"})
    pod = a_pod(metadata_labels={"app": "web", "team": "a", "topology.kubernetes.io/zone": "z"})
    assert {key for key in security_labels(pod, NAMESPACE, few) if "namespace.labels" not in key} == {
        "k8s:app", "k8s:io.kubernetes.pod.namespace", "k8s:io.cilium.k8s.policy.cluster",
        "k8s:io.cilium.k8s.policy.serviceaccount",
    }  # fmt: skip


def test_the_labels_of_an_identity_are_those_of_pod_namespace_and_account() -> None:
    """As SanitizePodLabels makes them; what somebody has written under Cilium's prefix is dropped."""
    pod = a_pod(metadata_labels={"app": "web", "pod-template-hash": "1", "io.cilium.k8s.policy.cluster": "evil"})
    assert security_labels(pod, NAMESPACE, SETTINGS) == {
        "k8s:app": "web",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "shop",
        "k8s:io.cilium.k8s.namespace.labels.team": "a",
        "k8s:io.cilium.k8s.policy.cluster": "default",
        "k8s:io.cilium.k8s.policy.serviceaccount": "seller",
        "k8s:io.kubernetes.pod.namespace": "shop",
    }


@pytest.mark.parametrize(
    ("pod", "address"),
    [
        (a_pod(), "10.244.1.5"),
        (a_pod(ip="10.245.1.5"), ""),
        (a_pod(ip=""), ""),
        (a_pod(spec_hostNetwork=True), ""),
        (a_pod(status_phase="Succeeded"), ""),
        (a_pod(status_phase="Failed"), ""),
        (a_pod(ip="", metadata_annotations={POD_IP: "10.244.1.9/32"}), "10.244.1.9"),
        (a_pod(metadata_annotations={POD_IP: ""}, metadata_deletionTimestamp="2030-01-01T00:00:00Z"), ""),
        (a_pod(metadata_deletionTimestamp="2030-01-01T00:00:00Z"), "10.244.1.5"),
    ],
    ids=["canal", "cilium", "none yet", "host", "done", "failed", "told by the plugin", "taken down", "ending"],
)
def test_pods_on_canal_have_an_address_of_its_network(pod: Json, address: str) -> None:
    """Calico's plugin tells it before the kubelet does, and that it is gone before the pod is."""
    assert canal_address(pod, SETTINGS) == address


def test_a_pod_gets_an_endpoint_with_the_identity_of_its_labels(server: Server) -> None:
    """Under a name that no agent of Cilium uses, with the pod as owner, and with its named ports."""
    pod = a_pod(spec_containers=[{"name": "c", "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 1}]}])
    controller = a_controller(server, pod)
    (made,) = server.of("ciliumendpoints").values()
    ((number, identity),) = server.of("ciliumidentities").items()
    assert identity["security-labels"] == security_labels(pod, NAMESPACE, SETTINGS)
    assert identity["metadata"]["labels"][names.OURS]
    assert made["metadata"]["name"] == names.endpoint_of("web-0") != "web-0"
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "uid-web-0"}
    ]
    status = made["status"]
    assert status["networking"] == {"addressing": [{"ipv4": "10.244.1.5"}], "node": "192.0.2.11"}
    assert status["identity"]["id"] == int(number)
    assert status["named-ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
    assert controller.report() | {"at": ""} == {
        "at": "", "node": "w1", "pods": 1, "lacking": 0, "slowest": 0.0, "made": 1, "changed": 0, "removed": 0, "identities": 1, "error": "",
    }  # fmt: skip


def test_an_account_s_name_may_be_longer_than_a_label(server: Server) -> None:
    """The API refuses such a label of the identity's own, and the pod would stay a stranger: Cilium leaves it away."""
    controller = a_controller(server, a_pod(spec_serviceAccountName="seller-" * 20 + "s"))
    assert (controller.lacking, controller.error, len(server.of("ciliumendpoints"))) == (0, "", 1)
    (made,) = server.of("ciliumidentities").values()
    assert made["security-labels"]["k8s:io.cilium.k8s.policy.serviceaccount"] == "seller-" * 20 + "s"


@pytest.mark.parametrize(("ending", "lacking"), [("2030-01-01T00:00:00Z", 0), (None, 1)])
def test_a_pod_that_hangs_in_its_end_holds_nobody(server: Server, ending: str | None, lacking: int) -> None:
    """In a namespace that is being deleted no endpoint can be made, and none is waited for; of others one is."""

    def refused(method: str, path: str, body: Json | None = None, *, patch: bool = False) -> Json:
        if method == "POST" and "/ciliumendpoints" in path:
            raise ApiError(403, "namespace shop is being terminated")
        return Server.request(server, method, path, body, patch=patch)

    server.request = refused  # type: ignore[method-assign]
    controller = a_controller(server, a_pod(metadata_deletionTimestamp=ending))
    assert controller.lacking == lacking
    assert "terminated" in controller.error


def test_how_long_a_pod_that_starts_was_a_stranger(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first sight of its address to its endpoint, the longest; those that were there before do not count."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    links = list(LINKS)
    monkeypatch.setattr("socket.if_nameindex", lambda: links)
    controller = a_controller(server, a_pod())
    assert controller.report()["slowest"] == 0.0
    links.pop()
    now[0] += 2 * GONE
    later = a_pod("web-1", "10.244.1.6")
    look(controller, server, a_pod(), later)
    now[0] += 1.5
    links.append((7, "cilium_host"))
    look(controller, server, a_pod(), later)
    assert controller.report()["slowest"] == 1.5
    now[0] += 30.0
    look(controller, server, a_pod(), later)
    look(controller, server, a_pod(), later, a_pod("web-2", "10.244.1.7"))
    assert controller.report()["slowest"] == 1.5, "neither the second look at it nor a quicker one"
    assert len(controller.since) == 3
    look(controller, server, a_pod())
    assert len(controller.since) == 1, "what is gone is forgotten"


def test_what_is_right_is_not_written_again(server: Server) -> None:
    """Neither by the next look nor by the next agent."""
    controller = a_controller(server, a_pod())
    server.written()
    look(controller, server, a_pod())
    a_controller(server, a_pod())
    assert server.written() == []


def test_an_identity_of_cilium_s_own_is_used_and_is_no_longer_marked_for_deletion(server: Server) -> None:
    """The oldest one with exactly these labels, as an agent of Cilium chooses."""
    labels = security_labels(a_pod(), NAMESPACE, SETTINGS)
    for number, at in ((4001, "2030-01-02T00:00:00Z"), (4002, "2030-01-01T00:00:00Z")):
        made = identity(number, labels)
        made["metadata"] |= {"creationTimestamp": at, "annotations": {HEARTBEAT: "x"}}
        server.put(f"/apis/cilium.io/v2/ciliumidentities/{number}", made)
    a_controller(server, a_pod())
    (made,) = server.of("ciliumendpoints").values()
    assert made["status"]["identity"]["id"] == 4002
    assert server.of("ciliumidentities")["4002"]["metadata"]["annotations"] == {}
    assert len(server.of("ciliumidentities")) == 2


def test_agents_of_two_nodes_make_one_identity(server: Server) -> None:
    """They try the same numbers, so the second finds what the first has made, even before it could list it."""
    labels = security_labels(a_pod(), NAMESPACE, SETTINGS)
    hidden = identity(number_of(labels, 0, SETTINGS), labels)
    hidden["metadata"]["labels"] = {}
    server.put(f"/apis/cilium.io/v2/ciliumidentities/{hidden['metadata']['name']}", hidden)
    a_controller(server, a_pod())
    assert list(server.of("ciliumidentities")) == [hidden["metadata"]["name"]]


def test_a_number_that_others_have_is_left_to_them(server: Server) -> None:
    """The next one is tried."""
    labels = security_labels(a_pod(), NAMESPACE, SETTINGS)
    other = identity(number_of(labels, 0, SETTINGS), {"k8s:x": "y"})
    server.put(f"/apis/cilium.io/v2/ciliumidentities/{other['metadata']['name']}", other)
    a_controller(server, a_pod())
    (made,) = server.of("ciliumendpoints").values()
    assert made["status"]["identity"]["id"] == number_of(labels, 1, SETTINGS)


def test_numbers_are_cilium_s_range_of_the_cluster() -> None:
    """Below 256 they are reserved, above 16 bits is the cluster's own number."""
    settings = Settings(ENV, {**CIDRS, "cluster_id": 3})
    drawn = [number_of({"k8s:a": str(n)}, 0, settings) for n in range(500)]
    assert all(3 << 16 | 256 <= one <= 3 << 16 | 65535 for one in drawn)
    assert len(set(drawn)) > 490


def test_where_clusters_may_be_more_each_has_fewer_numbers() -> None:
    """With `max-connected-clusters: 511` a cluster has 15 bits: a number above would be another cluster's."""
    settings = Settings(ENV, {**CIDRS, "cluster_id": 3, "max_clusters": 511})
    drawn = [number_of({"k8s:a": str(n)}, 0, settings) for n in range(500)]
    assert all(3 << 15 | 256 <= one <= 3 << 15 | 32767 for one in drawn)


def test_a_pod_that_has_gone_takes_its_endpoint_along(server: Server) -> None:
    """And so does one that has moved to Cilium."""
    controller = a_controller(server, a_pod(), a_pod("web-1", "10.244.1.6"))
    look(controller, server, a_pod("web-1", "10.245.1.6"))
    assert server.of("ciliumendpoints") == {}


def test_a_pod_of_the_same_name_gets_an_endpoint_of_its_own(server: Server) -> None:
    """An owner cannot be exchanged: with the old one the garbage collector would delete it."""
    controller = a_controller(server, a_pod())
    look(controller, server, a_pod(metadata_uid="another"))
    (made,) = server.of("ciliumendpoints").values()
    assert made["metadata"]["ownerReferences"][0]["uid"] == "another"


def test_new_labels_are_another_identity(server: Server) -> None:
    """Of the pod as of its namespace."""
    controller = a_controller(server, a_pod())
    before = next(iter(server.of("ciliumendpoints").values()))["status"]["identity"]["id"]
    look(controller, server, a_pod(metadata_labels={"app": "other"}))
    (made,) = server.of("ciliumendpoints").values()
    assert made["status"]["identity"]["id"] != before
    assert "k8s:app=other" in made["status"]["identity"]["labels"]


def test_what_somebody_has_deleted_is_made_again(server: Server) -> None:
    """An agent of Cilium that starts with its default deletes endpoints that it does not know."""
    controller = a_controller(server, a_pod())
    for path in [p for p in server.objects if "ciliumendpoints" in p]:
        del server.objects[path]
    controller.written.clear()  # the watch had brought it
    look(controller, server, a_pod())
    assert len(server.of("ciliumendpoints")) == 1


def test_an_identity_that_is_gone_is_made_again(server: Server) -> None:
    """The operator deletes what it thinks is unused."""
    controller = a_controller(server, a_pod())
    for path in [p for p in server.objects if "ciliumidentities" in p]:
        del server.objects[path]
    controller.identities.verify()
    look(controller, server, a_pod())
    (made,) = server.of("ciliumendpoints").values()
    assert str(made["status"]["identity"]["id"]) in server.of("ciliumidentities")


def test_endpoints_of_cilium_s_agents_and_of_other_nodes_are_left_alone(server: Server) -> None:
    """Only what carries this node's mark is ours to remove."""
    theirs = {"metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}}, "status": {}}
    server.put("/apis/cilium.io/v2/namespaces/shop/ciliumendpoints/web-0", theirs)
    a_controller(server, a_pod("x"), settings=Settings({**ENV, "NODE_NAME": "w2"}, CIDRS))
    a_controller(server)
    assert set(server.of("ciliumendpoints")) == {"web-0", names.endpoint_of("x")}


def test_one_pod_that_cannot_be_served_does_not_keep_the_others_waiting(server: Server) -> None:
    """It is counted, and said."""
    lost = a_pod("lost", "10.244.1.7")
    lost["metadata"]["namespace"] = "unknown"
    controller = a_controller(server, lost, a_pod())
    assert set(server.of("ciliumendpoints")) == {names.endpoint_of("web-0")}
    assert (controller.on_canal, controller.lacking) == (2, 1)
    assert "unknown/lost" in controller.error


def test_without_cilium_on_the_node_there_are_no_endpoints(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other nodes would send what is for them into a tunnel that nobody hears; a link that is made anew is not gone."""
    links = [(1, "lo")]
    monkeypatch.setattr("socket.if_nameindex", lambda: links)
    controller = a_controller(server, a_pod())
    assert (server.of("ciliumendpoints"), controller.lacking) == ({}, 1)
    links.append((9, "cilium_host"))
    look(controller, server, a_pod())
    assert (len(server.of("ciliumendpoints")), controller.lacking) == (1, 0)
    links.pop()
    look(controller, server, a_pod())
    assert len(server.of("ciliumendpoints")) == 1
    controller.link_seen -= GONE
    look(controller, server, a_pod())
    assert server.of("ciliumendpoints") == {}


def test_until_everything_is_known_nothing_is_written(server: Server) -> None:
    """A list of pods that is not there yet is no reason to remove endpoints."""
    controller = a_controller(server, a_pod())
    server.written()
    controller.pods.synced, controller.pods.objects = False, {}
    controller.reconcile()
    assert (server.written(), controller.lacking) == ([], -1)


@pytest.mark.parametrize("name", ["web-0", "x" * 241, "x" * 242, "x" * 253])
def test_names_are_those_that_the_driver_looks_for(name: str) -> None:
    """Both sides have the rule; a name is never longer than Kubernetes allows."""
    assert endpoint_name(name) == names.endpoint_of(name)
    assert len(endpoint_name(name)) <= 253
    assert LABEL == names.OURS


def test_health_is_told_by_the_file_that_the_agent_writes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready once nobody lacks an endpoint; alive as long as it looks at all."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert main(["agent", "alive"]) == 1
    state_file().write_text("1", encoding="ascii")
    assert (main(["agent", "alive"]), main(["agent", "ready"])) == (0, 1)
    state_file().write_text("0", encoding="ascii")
    assert main(["agent", "ready"]) == 0
    assert main(["agent"]) == 2


def test_a_watch_takes_in_what_has_happened(server: Server) -> None:
    """Listed, then followed; an error of the server's begins anew with a list."""
    events: list[Json] = [
        {"type": "ADDED", "object": a_pod("a")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
        {"type": "DELETED", "object": a_pod("b")},
        {"type": "ERROR", "object": {"code": 410}},
    ]
    for version, event in enumerate(events[:-1]):
        event["object"]["metadata"].setdefault("resourceVersion", str(version))
    server.objects = {"/api/v1/pods/b": a_pod("b")}

    def watch(path: str, query: dict[str, str]) -> Iterator[Json]:
        yield from events

    server.watch = watch  # type: ignore[attr-defined]
    watched = Watched(server, "/api/v1/pods", {}, lambda: None)  # type: ignore[arg-type]
    watched.follow()
    assert list(watched.objects) == [("shop", "a")]
