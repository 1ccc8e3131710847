"""List and watch: what is asked of the server, and what is shown after each thing that can go wrong.

pages · expired page · bookmarks · orderly end · cut · in-stream 410 · HTTP 410 · other ERROR · silence · overload ·
lost cluster · missing right · Cilium's kinds come and go · own writes.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cni_migrate import ports
from cni_migrate.config import Config
from cni_migrate.core.model.effects import DeleteObject, EvictPod, PatchNode
from cni_migrate.core.model.objects import ObjectRef, Requests, Snapshot
from cni_migrate.errors import ClusterUnreachable, RightsMissing, Unauthorized
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, Feed, LoopClock, listed, status

GATHER = 0.02
NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
DAEMONSETS = "/apis/apps/v1/daemonsets"
BUDGETS = "/apis/policy/v1/poddisruptionbudgets"
REQUESTS = "/api/v1/namespaces/cni-migrate/configmaps"
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


def node(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "labels": labels}}


def pod(name: str, version: int, **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "web", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version), **meta},
        "spec": {"nodeName": "n1"},
    }


class Stage:
    """A scripted server with an empty cluster, whose watches stay open, and what runs on it."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.clock = LoopClock()
        self.feeds: dict[str, list[Feed]] = {}
        for path in (NODES, PODS, DAEMONSETS, BUDGETS, REQUESTS):
            self.server.on("GET", path, listed())
            self.watch(path)

    def watch(self, path: str) -> None:
        """Every watch of this collection gets a feed of its own."""

        def begin(_: httpx.Request) -> Feed:
            feed = Feed()
            self.feeds.setdefault(path, []).append(feed)
            return feed

        self.server.on("GET", f"{path}?watch", begin)

    def lists(self, path: str) -> int:
        return len(self.server.asked("GET", path))

    def watches(self, path: str) -> list[str]:
        """From which version each watch of this collection began."""
        return [one.query["resourceVersion"] for one in self.server.asked("GET", f"{path}?watch")]

    @contextlib.asynccontextmanager
    async def cluster(self) -> AsyncGenerator[KubeCluster]:
        client = Client(FakeApi(self.server), self.clock, random.Random(1))
        async with KubeCluster(client, Config(), self.clock) as cluster:
            await asyncio.sleep(0.01)
            yield cluster

    async def within(self, cluster: KubeCluster, seconds: float) -> float:
        """Wait for a change; how long it took."""
        begun = self.clock.now()
        await cluster.changed(begun + timedelta(seconds=seconds), GATHER)
        return (self.clock.now() - begun).total_seconds()


def play(body: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await body(Stage())

    run_virtual(main())


def test_it_lists_and_watches_from_the_lists_version() -> None:
    async def body(stage: Stage) -> None:
        stage.server.on("GET", NODES, listed(node("n1", 5), version="17"))
        async with stage.cluster() as cluster:
            assert list(cluster.snapshot().nodes) == ["n1"]
            query = stage.server.asked("GET", f"{NODES}?watch")[0].query
            assert (query["resourceVersion"], query["allowWatchBookmarks"]) == ("17", "true")
            assert 240 <= int(query["timeoutSeconds"]) <= 300
            stage.feeds[NODES][0].send("ADDED", node("n2", 18))
            assert await stage.within(cluster, 60) < 0.1
            assert set(cluster.snapshot().nodes) == {"n1", "n2"}
            stage.feeds[NODES][0].send("DELETED", node("n1", 19))
            await stage.within(cluster, 60)
            assert set(cluster.snapshot().nodes) == {"n2"}

    play(body)


def test_one_watch_per_kind() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster():
            asked = [one.path for one in stage.server.seen if one.path.endswith("?watch")]
            assert sorted(asked) == sorted(f"{p}?watch" for p in (NODES, PODS, DAEMONSETS, BUDGETS, REQUESTS))
            selector = stage.server.asked("GET", REQUESTS)[0].query["fieldSelector"]
            assert selector == "metadata.name=cni-migrate-requests"

    play(body)


def test_a_long_list_is_read_in_pages() -> None:
    async def body(stage: Stage) -> None:
        first = listed(node("n1", 1), version="17", more="token")
        stage.server.on("GET", NODES, first, listed(node("n2", 2), version="17"))
        async with stage.cluster() as cluster:
            assert set(cluster.snapshot().nodes) == {"n1", "n2"}
            pages = [one.query for one in stage.server.asked("GET", NODES)]
            assert [page["limit"] for page in pages] == ["500", "500"]
            assert pages[1]["continue"] == "token"

    play(body)


def test_an_expired_page_is_answered_by_one_whole_list() -> None:
    async def body(stage: Stage) -> None:
        first = listed(node("old", 1), version="17", more="token")
        stage.server.on("GET", NODES, first, (410, status(410, "Expired")), listed(node("n1", 20), version="20"))
        async with stage.cluster() as cluster:
            assert set(cluster.snapshot().nodes) == {"n1"}
            assert "limit" not in stage.server.asked("GET", NODES)[2].query

    play(body)


def test_a_watch_that_ends_in_order_goes_on_where_it_was() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster():
            stage.feeds[NODES][0].send("ADDED", node("n1", 42))
            stage.feeds[NODES][0].end()
            await asyncio.sleep(30)
            stage.feeds[NODES][1].send("BOOKMARK", {"metadata": {"resourceVersion": "99"}})
            stage.feeds[NODES][1].end()
            await asyncio.sleep(30)
            assert stage.watches(NODES) == ["10", "42", "99"]
            assert stage.lists(NODES) == 1

    play(body)


@pytest.mark.parametrize("how", ["cut", "410", "error", "garbage"])
def test_a_watch_that_breaks_is_answered_by_a_new_list(how: str) -> None:
    async def body(stage: Stage) -> None:
        stage.server.on("GET", NODES, listed(node("n1", 5)), listed(node("n2", 30), version="30"))
        async with stage.cluster() as cluster:
            feed = stage.feeds[NODES][0]
            match how:
                case "cut":
                    feed.cut()
                case "410":
                    feed.send("ERROR", GONE)
                case "error":
                    feed.send("ERROR", {"kind": "Status", "code": 500, "message": "etcd event received with no kv"})
                case _:
                    feed.raw(b"<html>\n")
            cluster.snapshot()
            assert await stage.within(cluster, 60) < 1
            assert set(cluster.snapshot().nodes) == {"n2"}
            await asyncio.sleep(1)
            assert stage.watches(NODES) == ["10", "30"]
            assert stage.watches(PODS) == ["10"]

    play(body)


@pytest.mark.parametrize("page", ["<html>log in</html>", {"login": "https://sso.example"}])
def test_a_proxys_login_page_is_no_empty_list(page: object) -> None:
    """Every node would be gone, and start over when the proxy is content again."""

    async def body(stage: Stage) -> None:
        stage.server.on("GET", NODES, listed(node("n1", 5)), (200, page), listed(node("n1", 5), version="30"))
        async with stage.cluster() as cluster:
            cluster.snapshot()
            stage.feeds[NODES][0].send("ERROR", GONE)
            for _ in range(40):
                await asyncio.sleep(0.1)
                assert set(cluster.snapshot().nodes) == {"n1"}
            assert stage.watches(NODES) == ["10", "30"]

    play(body)


def test_a_watch_from_a_forgotten_version_does_not_run_hot() -> None:
    """kr8s itself asked 386 times a second."""

    async def body(stage: Stage) -> None:
        stage.server.on("GET", f"{NODES}?watch", (410, status(410, "Expired")))
        async with stage.cluster():
            await asyncio.sleep(60)
            assert 5 < stage.lists(NODES) < 30

    play(body)


def test_watches_that_end_at_once_do_not_run_hot() -> None:
    async def body(stage: Stage) -> None:
        def ended(_: httpx.Request) -> Feed:
            feed = Feed()
            feed.end()
            return feed

        stage.server.on("GET", f"{NODES}?watch", ended)
        async with stage.cluster():
            await asyncio.sleep(60)
            assert 5 < len(stage.watches(NODES)) < 30

    play(body)


def test_silence_is_answered_by_a_new_list() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster():
            await asyncio.sleep(100)
            stage.feeds[NODES][0].send("BOOKMARK", {"metadata": {"resourceVersion": "99"}})
            await asyncio.sleep(100)
            assert stage.lists(NODES) == 1
            assert stage.lists(PODS) == 2
            await asyncio.sleep(100)
            assert stage.lists(NODES) == 2

    play(body)


def test_events_may_be_split_and_joined_anywhere() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            feed = stage.feeds[NODES][0]
            feed.raw(b'{"type":"ADDED","object":{"metadata":{"name":"n1","labels":{"a":"\xc2\x85"},"resourceVer')
            feed.raw(
                b'sion":"11"}}}\n{"type":"ADDED","object":{"metadata":{"name":"n2","resourceVersion":"12"}}}\n{"ty'
            )
            feed.raw(b'pe":"DELETED","object":{"metadata":{"name":"n2","resourceVersion":"13"}}}\n')
            await asyncio.sleep(0.1)
            assert dict(cluster.snapshot().nodes["n1"].labels) == {"a": "\x85"}
            assert set(cluster.snapshot().nodes) == {"n1"}

    play(body)


def test_overload_is_waited_out() -> None:
    async def body(stage: Stage) -> None:
        busy = (429, "Too many requests", {"Retry-After": "7"})
        stage.server.on("GET", NODES, busy, listed(node("n1", 1)))
        async with stage.cluster() as cluster:
            assert set(cluster.snapshot().nodes) == {"n1"}
            first, second = stage.server.asked("GET", NODES)
            assert second.at - first.at >= 7

    play(body)


def test_a_404_of_what_is_always_served_is_trouble_that_may_pass() -> None:
    """A proxy in front answers so while it knows no API server: the run ended as by a bug of ours."""

    async def body(stage: Stage) -> None:
        stage.server.on("GET", NODES, (404, "404 page not found"), listed(node("n1", 1)))
        async with stage.cluster() as cluster:
            assert set(cluster.snapshot().nodes) == {"n1"}

    play(body)


def test_what_is_never_served_is_told_as_that() -> None:
    async def body(stage: Stage) -> None:
        stage.server.on("GET", BUDGETS, (404, "404 page not found"))
        with pytest.raises(ClusterUnreachable, match=r"poddisruptionbudgets.*404 page not found"):
            async with stage.cluster():
                pass

    play(body)


def test_changes_are_gathered() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            cluster.snapshot()
            for number in range(50):
                stage.feeds[NODES][0].send("ADDED", node(f"n{number}", 20 + number))
            await stage.within(cluster, 60)
            assert len(cluster.snapshot().nodes) == 50
            assert await stage.within(cluster, 33) == pytest.approx(33)

    play(body)


def test_a_change_before_waiting_is_not_missed() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            cluster.snapshot()
            stage.feeds[NODES][0].send("ADDED", node("n1", 20))
            await asyncio.sleep(5)
            assert await stage.within(cluster, 60) < 0.1

    play(body)


def test_a_cluster_that_is_lost_is_reported_after_a_minute() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            for path in (NODES, PODS, DAEMONSETS, BUDGETS, REQUESTS):
                stage.server.on("GET", path, httpx.ConnectError("refused"))
                stage.server.on("GET", f"{path}?watch", httpx.ConnectError("refused"))
                stage.feeds[path][0].cut()
            cluster.snapshot()
            begun = stage.clock.now()
            with pytest.raises(ClusterUnreachable, match=r"https://fake:6443.*last error: refused"):
                await cluster.changed(begun + timedelta(hours=1), GATHER)
            assert 60 <= (stage.clock.now() - begun).total_seconds() < 70

    play(body)


def test_a_short_outage_is_survived() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            stage.server.on("GET", NODES, *[httpx.ConnectError("refused")] * 6, listed(node("n9", 90), version="90"))
            stage.feeds[NODES][0].cut()
            cluster.snapshot()
            assert await stage.within(cluster, 3600) < 60
            assert set(cluster.snapshot().nodes) == {"n9"}

    play(body)


def test_a_configmap_that_cannot_be_watched_is_told_although_another_one_can_be() -> None:
    """A pause was not seen any more, as long as Cilium's own ConfigMap was."""
    place = "/api/v1/namespaces/kube-system/configmaps"

    async def body(stage: Stage) -> None:
        stage.server.on("GET", place, listed())
        stage.watch(place)
        client = Client(FakeApi(stage.server), stage.clock, random.Random(1))
        config = Config.model_validate({"cilium": {"source": "existing"}})
        async with KubeCluster(client, config, stage.clock) as cluster:
            await asyncio.sleep(1)
            stage.server.on("GET", REQUESTS, (500, status(500, "InternalError", "no leader")))
            stage.feeds[REQUESTS][0].cut()

            async def looked() -> None:
                for second in range(90):
                    stage.feeds[place][0].send("BOOKMARK", {"metadata": {"resourceVersion": str(100 + second)}})
                    await stage.within(cluster, 1)
                    cluster.snapshot()

            with pytest.raises(ClusterUnreachable, match=r"watches of configmaps: .*no leader"):
                await looked()

    play(body)


def test_a_kind_that_may_not_be_listed_is_told_at_once() -> None:
    async def body(stage: Stage) -> None:
        denied = 'pods is forbidden: User "jane" cannot list resource "pods" in API group "" at the cluster scope'
        stage.server.on("GET", PODS, (403, status(403, "Forbidden", denied)))
        with pytest.raises(RightsMissing, match="list pods"):
            async with stage.cluster():
                pass
        assert asyncio.get_running_loop().time() < 5

    play(body)


def test_refused_credentials_are_told_at_once() -> None:
    async def body(stage: Stage) -> None:
        stage.server.on("GET", PODS, (401, status(401, "Unauthorized")))
        with pytest.raises(Unauthorized):
            async with stage.cluster():
                pass

    play(body)


def test_a_server_that_is_not_there_is_told_after_a_minute() -> None:
    async def body(stage: Stage) -> None:
        stage.server.on("GET", PODS, httpx.ConnectError("refused"))
        with pytest.raises(ClusterUnreachable, match=r"pods.*refused"):
            async with stage.cluster():
                pass

    play(body)


def test_what_operators_ask_for() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            assert cluster.snapshot().requests == Requests()
            made = {
                "metadata": {"namespace": "cni-migrate", "name": "cni-migrate-requests", "resourceVersion": "12"},
                "data": {"paused": "now"},
            }
            stage.feeds[REQUESTS][0].send("ADDED", made)
            await asyncio.sleep(0.1)
            assert cluster.snapshot().requests.paused_since == "now"

    play(body)


CILIUM = "/apis/cilium.io"
CILIUM_NODES, ENDPOINTS = "/apis/cilium.io/v2/ciliumnodes", "/apis/cilium.io/v2/ciliumendpoints"


def register(stage: Stage, *plurals: str) -> None:
    """Cilium's operator registers kinds."""
    group = {"kind": "APIGroup", "name": "cilium.io", "versions": [{"groupVersion": "cilium.io/v2"}]}
    resources = [{"name": one, "kind": one} for one in (*plurals, "ciliumnodes/status")]
    stage.server.on("GET", CILIUM, (200, group))
    stage.server.on("GET", f"{CILIUM}/v2", (200, {"kind": "APIResourceList", "resources": resources}))
    for plural in plurals:
        stage.server.on("GET", f"{CILIUM}/v2/{plural}", listed())
        stage.watch(f"{CILIUM}/v2/{plural}")


def test_ciliums_kinds_are_noticed_when_they_appear() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            assert not cluster.snapshot().served
            await asyncio.sleep(100)
            assert stage.lists(CILIUM) < 8
            register(stage, "ciliumnodes", "ciliumendpoints")
            assert await stage.within(cluster, 3600) < 40
            assert set(cluster.snapshot().served) == {"cilium.io/v2/ciliumnodes", "cilium.io/v2/ciliumendpoints"}
            await asyncio.sleep(1)
            made = {
                "metadata": {"name": "n1", "resourceVersion": "12"},
                "spec": {"ipam": {"podCIDRs": ["10.245.0.0/24"]}},
            }
            stage.feeds[CILIUM_NODES][0].send("ADDED", made)
            await asyncio.sleep(0.1)
            assert cluster.snapshot().cilium_nodes["n1"].pod_cidrs == ("10.245.0.0/24",)
            register(stage, "ciliumnodes", "ciliumendpoints", "ciliumnodeconfigs")
            assert await stage.within(cluster, 3600) < 5, "what is still missing is looked for often"
            await asyncio.sleep(3)
            seen = stage.lists(CILIUM)
            await asyncio.sleep(300)
            assert stage.lists(CILIUM) - seen <= 10

    play(body)


def test_ciliums_kinds_are_noticed_soon_after_something_was_installed() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            await asyncio.sleep(100)
            cluster.snapshot()
            cluster._cache.cilium.hurry()
            register(stage, "ciliumnodes", "ciliumendpoints")
            assert await stage.within(cluster, 3600) < 4

    play(body)


def test_ciliums_kinds_may_go_again() -> None:
    async def body(stage: Stage) -> None:
        register(stage, "ciliumnodes", "ciliumendpoints", "ciliumnodeconfigs")
        made = {"metadata": {"namespace": "web", "name": "p", "resourceVersion": "5"}}
        stage.server.on("GET", ENDPOINTS, listed(made))
        async with stage.cluster() as cluster:
            assert set(cluster.snapshot().endpoints) == {("web", "p")}
            for path in (CILIUM, f"{CILIUM}/v2", ENDPOINTS, CILIUM_NODES):
                stage.server.on("GET", path, (404, "404 page not found"))
            before = len(stage.server.seen)
            stage.feeds[ENDPOINTS][0].cut()
            stage.feeds[CILIUM_NODES][0].cut()
            await asyncio.sleep(10)
            assert not cluster.snapshot().endpoints
            assert not cluster.snapshot().served
            assert len(stage.server.seen) - before < 20
            await asyncio.sleep(200)
            cluster.snapshot()
            await cluster.changed(stage.clock.now() + timedelta(seconds=1), GATHER)
            register(stage, "ciliumnodes", "ciliumendpoints", "ciliumnodeconfigs")
            await asyncio.sleep(60)
            assert len(cluster.snapshot().served) == 3

    play(body)


def test_ciliums_kinds_do_not_go_for_a_hiccup_of_a_proxy() -> None:
    """Each pod on both networks would be on one alone for that moment, and be deleted to get the other."""
    away = (404, "404 page not found")

    async def body(stage: Stage) -> None:
        register(stage, "ciliumnodes", "ciliumendpoints")
        made = {"metadata": {"namespace": "web", "name": "p", "resourceVersion": "5"}}
        stage.server.on("GET", ENDPOINTS, listed(made))
        async with stage.cluster() as cluster:
            stage.server.on("GET", ENDPOINTS, away, away, listed(made, version="30"))
            for path in (CILIUM, f"{CILIUM}/v2"):
                stage.server.on("GET", path, away, *stage.server.routes["GET", path])
            stage.feeds[ENDPOINTS][0].cut()
            for _ in range(600):
                await asyncio.sleep(0.1)
                assert set(cluster.snapshot().endpoints) == {("web", "p")}
                assert len(cluster.snapshot().served) == 2

    play(body)


def test_own_writes_are_seen_at_once() -> None:
    async def body(stage: Stage) -> None:
        stage.server.on("GET", NODES, listed(node("n1", 5)))
        stage.server.on("PATCH", f"{NODES}/n1", (200, {**node("n1", 20, a="b"), "kind": "Node", "apiVersion": "v1"}))
        async with stage.cluster() as cluster:
            patch = PatchNode("n1", "uid-n1", "5", {"a": "b"}, {})
            await cluster.perform([patch])
            seen = cluster.snapshot()
            assert (seen.nodes["n1"].resource_version, dict(seen.nodes["n1"].labels)) == ("20", {"a": "b"})
            assert cluster.attempts[patch.key].result == "applied"
            stage.feeds[NODES][0].send("MODIFIED", node("n1", 15))
            await asyncio.sleep(0.1)
            assert cluster.snapshot().nodes["n1"].resource_version == "20"

    play(body)


def test_an_evicted_pod_is_never_seen_untouched() -> None:
    async def body(stage: Stage) -> None:
        stage.server.on("GET", PODS, listed(pod("p", 5)))
        stage.server.on(
            "POST", "/api/v1/namespaces/web/pods/p/eviction", (201, {"kind": "Status", "status": "Success"})
        )
        async with stage.cluster() as cluster:
            await cluster.perform([EvictPod("web", "p", "uid-p", "n1")])
            (found,) = cluster.snapshot().pods_on("n1")
            assert found.deleting
            stage.feeds[PODS][0].send("MODIFIED", pod("p", 6, labels={"late": "x"}))
            await asyncio.sleep(0.1)
            assert next(iter(cluster.snapshot().pods_on("n1"))).deleting
            stage.feeds[PODS][0].send("DELETED", pod("p", 7))
            await asyncio.sleep(0.1)
            assert not cluster.snapshot().pods_on("n1")

    play(body)


def test_a_deleted_daemonset_is_not_seen_any_more() -> None:
    async def body(stage: Stage) -> None:
        made = {"metadata": {"namespace": "a", "name": "d", "uid": "u", "resourceVersion": "5"}, "spec": {}}
        stage.server.on("GET", DAEMONSETS, listed(made))
        stage.server.on(
            "DELETE", "/apis/apps/v1/namespaces/a/daemonsets/d", (200, {"kind": "Status", "details": {"uid": "u"}})
        )
        async with stage.cluster() as cluster:
            await cluster.perform([DeleteObject(ObjectRef("apps/v1", "DaemonSet", "a", "d"))])
            assert not cluster.snapshot().daemonsets

    play(body)


def test_a_fault_of_ours_is_not_swallowed() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster() as cluster:
            stage.feeds[NODES][0].send("ADDED", {"metadata": {"name": "n1"}, "spec": {"taints": [{}]}})
            cluster.snapshot()
            with pytest.raises(KeyError):
                await cluster.changed(stage.clock.now() + timedelta(seconds=60), GATHER)

    play(body)


def test_a_watch_whose_credentials_expired_goes_on_with_new_ones() -> None:
    async def body(stage: Stage) -> None:
        def answer(request: httpx.Request) -> Any:
            if request.headers.get("authorization") != "Bearer token-1":
                return 401, status(401, "Unauthorized")
            return Feed(("ADDED", node("n1", 20)))

        stage.server.on("GET", f"{NODES}?watch", answer)
        async with stage.cluster() as cluster:
            await asyncio.sleep(1)
            assert set(cluster.snapshot().nodes) == {"n1"}
            assert stage.lists(NODES) == 1

    play(body)


def test_discovery_that_fails_is_tried_again() -> None:
    async def body(stage: Stage) -> None:
        register(stage, "ciliumnodes")
        group = stage.server.routes[("GET", CILIUM)]
        stage.server.on("GET", CILIUM, (500, status(500, "InternalError")), httpx.ReadError("cut"), *group)
        async with stage.cluster() as cluster:
            assert set(cluster.snapshot().served) == {"cilium.io/v2/ciliumnodes"}

    play(body)


def test_the_ports_are_kept() -> None:
    """The type checker is what tests this."""

    async def body(stage: Stage) -> None:
        client = Client(FakeApi(stage.server), stage.clock)
        cluster: ports.Cluster = KubeCluster(client, Config(), stage.clock)
        documents: ports.Documents = KubeDocuments(client, stage.clock)
        snapshot: Snapshot = cluster.snapshot()
        assert not snapshot.pending
        assert not snapshot.pods_of("nobody")
        assert await documents.get("ConfigMap", "a", "b") is None

    play(body)


def test_one_look_watches_nothing() -> None:
    """A command that looks once asks for lists alone, Cilium's kinds too, and shows what they said."""

    async def body(stage: Stage) -> None:
        register(stage, "ciliumnodes")
        stage.server.on("GET", NODES, listed(node("n1", 5)))
        client = Client(FakeApi(stage.server), stage.clock, random.Random(1))
        async with KubeCluster(client, Config(), stage.clock, watching=False) as cluster:
            await asyncio.sleep(60)
            assert list(cluster.snapshot().nodes) == ["n1"]
            assert "cilium.io/v2/ciliumnodes" in cluster.snapshot().served
        asked = [(one.path, one.query.get("watch")) for one in stage.server.seen]
        assert len(asked) == len(set(asked)), asked
        assert not [one for one in asked if one[1]]

    play(body)


def test_one_look_waits_out_an_overload() -> None:
    """A list that fails is asked for again, as with a watch behind it."""

    async def body(stage: Stage) -> None:
        stage.server.on("GET", NODES, (503, status(503, "ServiceUnavailable")), listed(node("n1", 5)))
        client = Client(FakeApi(stage.server), stage.clock, random.Random(1))
        async with KubeCluster(client, Config(), stage.clock, watching=False) as cluster:
            assert list(cluster.snapshot().nodes) == ["n1"]

    play(body)


def test_leaving_ends_all_watches() -> None:
    async def body(stage: Stage) -> None:
        async with stage.cluster():
            pass
        own = asyncio.current_task()
        assert [task for task in asyncio.all_tasks() if task is not own] == []

    play(body)
