"""A Canal that somebody else has published, given to a scenario as files or objects: it is installed as it stands."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import BadScenario, Scenario, load
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.flannel import shows_run
from tests.unit.sim_world.install import pods_on, restart
from tests.unit.sim_world.shapes import flannel_alone, published

Object = dict[str, Any]


def run(objects: list[Object], test: Callable[[Simulation], Awaitable[None]], **more: Any) -> None:
    """Run a test on three nodes with this Canal and one pod on each."""
    workloads = [{"kind": "daemonset", "name": "app"}]
    given = Scenario.model_validate({"nodes": 3, "canal": {"objects": objects}, "workloads": workloads, **more})

    async def main() -> None:
        async with Simulation(given) as sim:
            await sim.world.idle()
            await test(sim)

    run_virtual(main())


SHAPES: list[tuple[str, list[Object], str, str]] = [
    ("the usual one", published(), "10-canal.conflist", "k8s-pod-network"),
    ("other names", published("rke2-canal", "rke2-canal-config", file="12-net.conflist"), "12-net.conflist",
     "k8s-pod-network"),
    ("a file that nobody has named", published(file=""), "10-calico.conflist", "k8s-pod-network"),
    ("flannel alone", flannel_alone(), "10-flannel.conflist", "cbr0"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "objects", "file", "network"), SHAPES, ids=[row[0] for row in SHAPES])
def test_at_the_start_all_is_as_its_own_install_would_have_left_it(
    what: str, objects: list[Object], file: str, network: str
) -> None:
    """Nodes are Ready with the file that the manifests ask for; a restart of every pod of it changes nothing."""

    async def test(sim: Simulation) -> None:
        before = {name: host.plane for name, host in sim.world.ctx.net.hosts.items()}
        assert file in before["w1"].files
        assert json.loads(before["w1"].files[file])["name"] == network == before["w1"].network
        (daemonset,) = [one for one in objects if one["kind"] == "DaemonSet"]
        for node in before:
            await restart(sim, node, f"{meta.name(daemonset)}-")
        assert {name: host.plane for name, host in sim.world.ctx.net.hosts.items()} == before
        await restart(sim, "w2", "app-")
        (pod,) = await pods_on(sim, "w2", "app-")
        assert meta.ready(pod)
        found, _ = await sim.client.list(kinds.NODE)
        assert all(meta.ready(node) for node in found)

    run(objects, test)


@pytest.mark.parametrize("text", ["{", "[]", '{"Network": "10.244.0.0/16" /* ours */}', '{"Network": "ten"}'])
def test_broken_settings_stop_flannel_when_it_starts_the_next_time(text: str) -> None:
    """As long as nobody restarts it all is well; then its pod says what it cannot read."""

    async def test(sim: Simulation) -> None:
        found, _ = await sim.client.list(kinds.NODE)
        assert all(meta.ready(node) for node in found)
        await restart(sim, "w1", "canal-")
        (pod,) = await pods_on(sim, "w1", "canal-")
        assert "error parsing subnet config" in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]

    run(published(net_conf=text), test)


def test_keys_of_flannels_settings_in_any_case() -> None:
    """Go's decoder does not mind, and backends are looked up in lower case."""
    text = '{"network": "10.0.7.9/8", "BACKEND": {"type": "VXLAN", "vni": 4096, "port": 4789}}'

    async def test(sim: Simulation) -> None:
        plane = sim.world.host("w1").plane
        assert (plane.vtep, plane.vtep_port) == ("flannel.4096", 4789)
        await restart(sim, "w1", "canal-")
        assert sim.world.host("w1").plane == plane
        assert sim.world.ctx.pod_network == "10.0.0.0/8"

    run(published(net_conf=text), test)


def test_files_are_taken_from_the_scenarios_folder(tmp_path: Path) -> None:
    """Several documents, a List and an empty one; what others need is installed first."""
    daemonset = next(one for one in published() if one["kind"] == "DaemonSet")
    rest = [one for one in published() if one["kind"] != "DaemonSet"]
    rest.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "extra"}})
    text = f"{json.dumps(daemonset)}\n---\n---\n{json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': rest})}\n"
    (tmp_path / "canal.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("nodes: 2\ncanal: {manifests: [canal.yaml]}\n", encoding="utf-8")
    loaded = load(tmp_path / "mine.yaml")
    assert sorted(one["kind"] for one in loaded.canal.objects) == [
        "ConfigMap",
        "DaemonSet",
        "Namespace",
        "ServiceAccount",
    ]

    async def main() -> None:
        async with Simulation(loaded) as sim:
            found, _ = await sim.client.list(kinds.DAEMON_SET, namespace="kube-system")
            assert [meta.name(one) for one in found] == ["canal"]

    run_virtual(main())


def test_a_canal_as_kubectl_gets_it_from_a_cluster() -> None:
    """What belongs to the cluster it was got from (versions, uids, status) does not stand in the way."""
    wanted = [kinds.SERVICE_ACCOUNT, kinds.CONFIG_MAP, kinds.DAEMON_SET]

    async def got() -> list[Object]:
        async with Simulation(Scenario.model_validate({"nodes": 2, "canal": {"objects": published()}})) as sim:
            found = [one for kind in wanted for one in (await sim.client.list(kind, namespace="kube-system"))[0]]
            return [item for item in found if meta.name(item).startswith("canal")]

    objects = run_virtual(got())
    assert all(item["metadata"]["resourceVersion"] for item in objects)

    async def test(sim: Simulation) -> None:
        nodes, _ = await sim.client.list(kinds.NODE)
        assert all(meta.ready(node) for node in nodes)

    run(objects, test)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("kind: [", "not valid YAML"),
        ("just: this", "document 1 is no manifest"),
        ("{kind: ConfigMap, apiVersion: v1, metadata: {name: one}}", "no DaemonSet in"),
    ],
)
def test_files_that_are_no_canal(tmp_path: Path, text: str | None, says: str) -> None:
    """The scenario is refused, with the file and what is wrong with it."""
    if text is not None:
        (tmp_path / "canal.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("canal: {manifests: [canal.yaml]}\n", encoding="utf-8")
    with pytest.raises(BadScenario, match=says):
        load(tmp_path / "mine.yaml")


def test_what_this_api_server_does_not_serve_is_refused() -> None:
    """A version that Kubernetes no longer has: named, as kubectl would."""
    old = {"apiVersion": "extensions/v1beta1", "kind": "DaemonSet", "metadata": {"name": "old"}}
    given = Scenario.model_validate({"canal": {"objects": [*published(), old]}})

    async def main() -> None:
        async with Simulation(given):
            raise AssertionError("it started")

    with pytest.raises(BadScenario, match="extensions/v1beta1 DaemonSet"):
        run_virtual(main())


def test_a_daemonset_without_pods_is_refused() -> None:
    """Before anything is made."""
    empty = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "empty"}, "spec": {}}

    async def main() -> None:
        async with Simulation(Scenario.model_validate({"canal": {"objects": [empty]}})):
            raise AssertionError("it started")

    with pytest.raises(BadScenario, match=r"DaemonSet empty has no spec\.template\.spec"):
        run_virtual(main())


@pytest.mark.parametrize(
    ("mount", "path", "shows"),
    [
        ("/run/flannel", "/run/flannel", True),
        ("/run/flannel/", "/var/run/flannel", True),
        ("/run", "/run", True),
        ("/var/run", "/run/", True),
        ("/run", "/var/lib/run", False),
        ("/run/flannel", "/run", False),
    ],
)
def test_whether_the_host_sees_flannels_subnet_file(mount: str, path: str, shows: bool) -> None:
    """When the folder, or the whole of /run as flannel's old manifests have it, is the host's."""
    (daemonset,) = [one for one in flannel_alone() if one["kind"] == "DaemonSet"]
    pod = daemonset["spec"]["template"]
    pod["spec"]["containers"][0]["volumeMounts"][-1]["mountPath"] = mount
    pod["spec"]["volumes"][-1]["hostPath"]["path"] = path
    assert shows_run(pod) is shows
