"""The lab's pure parts: names, command lines, what is left behind; and that what is written down twice agrees."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cni_migrate.config import Config
from tests.controlplane import kubernetes
from tests.lab import (
    build,
    capabilities,
    cilium,
    cli,
    cluster,
    configuration,
    images,
    leftovers,
    node_config,
    node_init,
    settings,
)
from tests.lab.build import BUILDS, HELM, GoBuild
from tests.lab.settings import HERE, ROOT, Lab, LabError, node_ip, node_number

MANIFESTS = sorted((HERE / "manifests").glob("*.yaml"))
TAGS = {
    f"docker.io/cloudnativelabs/kube-router:v{settings.KUBE_ROUTER}",
    f"docker.io/flannel/flannel:v{settings.FLANNEL}",
    f"ghcr.io/k8snetworkplumbingwg/multus-cni:v{settings.MULTUS}",
    f"registry.k8s.io/coredns/coredns:v{settings.COREDNS}",
    images.PAUSE,
    images.PROBER,
    images.USERLAND,
}


def lab(folder: Path) -> Lab:
    return Lab(cache=folder / "cache", folder=folder / "running")


def required(module: str, path: str, file: str = "go.mod") -> str:
    """The version of PATH that a module file asks for."""
    text = (HERE / "go" / module / file).read_text()
    found = re.search(rf"^(?:require)?\s*{re.escape(path)} v(\S+)", text, re.MULTILINE)
    assert found, f"{module} does not require {path}"
    return found[1]


def test_nodes_have_names_and_addresses_by_number() -> None:
    """A node's number is in its name and in its address."""
    assert node_number("node12") == 12
    assert node_ip(node_number("node1")) == "172.30.0.11"


@pytest.mark.parametrize("name", ["", "node", "worker1", "node-1", "node1x", "1"])
def test_other_names_of_nodes_are_refused(name: str) -> None:
    """Names become paths and links, so none but the lab's own are taken."""
    with pytest.raises(LabError, match="node1, node2"):
        node_number(name)


def test_labs_in_different_folders_share_no_names(tmp_path: Path) -> None:
    """`down` finds links and cgroups by names that only its own lab has."""
    one, other = lab(tmp_path / "one"), lab(tmp_path / "other")
    assert one.cgroup != other.cgroup
    assert one.alias != other.alias


def test_a_lab_that_is_not_there_says_how_to_start_one(tmp_path: Path) -> None:
    """Asking for the state of no lab names the command to type."""
    with pytest.raises(LabError, match=r"python -m tests\.lab up"):
        lab(tmp_path).state()


def test_a_lab_remembers_what_was_started(tmp_path: Path) -> None:
    """What is saved is what a later command reads."""
    here = lab(tmp_path)
    here.save({"api_port": 1, "nodes": ["node1"]})
    assert here.exists
    assert here.state() == {"api_port": 1, "nodes": ["node1"]}


def test_a_lab_keeps_its_cilium(tmp_path: Path) -> None:
    """Another one than the lab was brought up with is refused, before anything is built."""
    here = lab(tmp_path)
    assert here.cilium == settings.CILIUM
    here.save({"api_port": 1, "nodes": [], "cilium": "1.20.2"})
    assert here.cilium == "1.20.2"
    with pytest.raises(LabError, match=r"has Cilium 1\.20\.2: end it with"):
        cluster.built(here, version="1.15.19")


def test_a_lab_keeps_its_kubernetes(tmp_path: Path) -> None:
    """Another one is refused, before anything is built; a lab from before it was written down has the default."""
    here = lab(tmp_path)
    here.save({"api_port": 1, "nodes": []})
    assert here.kubernetes == settings.KUBERNETES
    here.save({"api_port": 1, "nodes": [], "kubernetes": "1.37.2"})
    with pytest.raises(LabError, match=r"has Kubernetes 1\.37\.2: end it with"):
        cluster.built(here, kubernetes="1.34.4")


def test_a_build_is_kept_by_its_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another version of Kubernetes is built of moves no program of this one; its own does."""
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "go" / "node").mkdir(parents=True)
    files = [f"{stem}.{end}" for stem in ("go", "1.37") for end in ("mod", "sum")]
    for file in files:
        (tmp_path / "go" / "node" / file).write_text("")
    builds = [build.node(release) for release in kubernetes.RELEASES.values()]
    before = [build.programs(lab(tmp_path), [one]) for one in builds]
    for file, moved in zip(files, ([True, False], [True, False], [False, True], [False, True]), strict=True):
        (tmp_path / "go" / "node" / file).write_text(file)
        after = [build.programs(lab(tmp_path), [one]) for one in builds]
        assert [old != new for old, new in zip(before, after, strict=True)] == moved, file
        before = after


def test_a_lab_whose_tests_were_killed_is_abandoned(tmp_path: Path) -> None:
    """The next tests take it away. That of living tests, and one that a user has brought up, they leave alone."""
    mine, killed, a_users = lab(tmp_path / "mine"), lab(tmp_path / "killed"), lab(tmp_path / "user")
    cluster.keep_for_this_process(mine)
    keep = (
        "import os, sys; from pathlib import Path; from tests.lab import cluster, settings;"
        "cluster.keep_for_this_process(settings.Lab(Path(sys.argv[1]), Path(sys.argv[2]))); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", keep, killed.cache, killed.folder], check=False, cwd=ROOT)
    a_users.save({"api_port": 1, "nodes": []})
    assert [cluster.abandoned(one) for one in (mine, killed, a_users)] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "own", "rest"),
    [
        (["up", "--nodes", "4"], ["up", "--nodes", "4"], []),
        (["kubectl", "get", "pods", "-A"], ["kubectl"], ["get", "pods", "-A"]),
        (["kubectl", "exec", "x", "--", "ls", "-l"], ["kubectl"], ["exec", "x", "--", "ls", "-l"]),
        (["exec", "node1", "--", "ip", "-br", "link"], ["exec", "node1"], ["ip", "-br", "link"]),
        (["helm", "template", "--set", "a=b", "."], ["helm"], ["template", "--set", "a=b", "."]),
        (["exec", "node1", "ip", "--brief", "link"], ["exec", "node1"], ["ip", "--brief", "link"]),
        ([], [], []),
    ],
)
def test_flags_of_other_programs_are_theirs(words: list[str], own: list[str], rest: list[str]) -> None:
    """What follows `kubectl`, `helm` and `exec NODE` goes on untouched, but for a leading `--`."""
    assert cli._split(words) == (own, rest)


def test_what_is_left_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are the lab's by their alias, cgroups by their name; others' are not reported."""
    here, cgroups = lab(tmp_path), tmp_path / "cgroup"
    for name in (here.cgroup, f"memory/{here.cgroup}", "pids/kubepods"):
        (cgroups / name).mkdir(parents=True)
    monkeypatch.setattr(leftovers, "_CGROUPS", cgroups)
    monkeypatch.setattr(
        leftovers, "_links", lambda: {"cnilab0": here.alias, "eth0": "", "br0": "cni-migrate lab /other"}
    )
    assert leftovers.found(here) == [
        "link cnilab0",
        f"cgroup {cgroups / here.cgroup}",
        f"cgroup {cgroups / 'memory' / here.cgroup}",
    ]


def test_the_bridge_of_another_lab_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labs on one machine would mix their nodes' addresses."""
    monkeypatch.setattr(leftovers, "_links", lambda: {"cnilab0": "cni-migrate lab /other"})
    with pytest.raises(LabError, match="cni-migrate lab /other"):
        leftovers.make_bridge(lab(tmp_path))


def test_a_build_of_several_programs_fills_a_folder() -> None:
    """`go build` gets a folder for all commands of a module, and a file for a single package."""
    target = Path("/there")
    many = GoBuild("many", "many", ("a", "b")).argv(target)
    assert many[many.index("-o") + 1] == "/there/"
    one = GoBuild("one", "one", ("a",), packages=("example.org/one",)).argv(target)
    assert one[one.index("-o") + 1] == "/there/a"
    tools = GoBuild("tools", "tools", ("a", "b"), packages=("tool",)).argv(target)
    assert tools[tools.index("-o") + 1] == "/there/"


def test_every_module_is_built() -> None:
    """A folder under go/ without a build, or the other way round, is a mistake."""
    nodes = map(build.node, kubernetes.RELEASES.values())
    builds = (*nodes, *BUILDS, HELM, *(release.build for release in cilium.RELEASES.values()))
    assert {item.module for item in builds} == {path.parent.name for path in HERE.glob("go/*/go.mod")}


def test_versions_agree_with_the_modules() -> None:
    """Images are named by the versions that are built."""
    for version, kubernetes_release in kubernetes.RELEASES.items():
        module = kubernetes_release.modfile
        assert required("node", "k8s.io/kubernetes", module) == version == kubernetes_release.version
        assert f"gitVersion=v{version} " in build.node(kubernetes_release).ldflags
    for version, release in cilium.RELEASES.items():
        assert required(release.build.module, cilium.MODULE) == version == release.version
        assert f"={version} module" in release.build.ldflags
    assert required("coredns", "github.com/coredns/coredns") == settings.COREDNS
    assert required("cni", "github.com/flannel-io/flannel") == settings.FLANNEL
    assert required("cni", "gopkg.in/k8snetworkplumbingwg/multus-cni.v4") == settings.MULTUS
    assert required("kube-router", "github.com/cloudnativelabs/kube-router/v2") == settings.KUBE_ROUTER


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_use_images_that_nodes_have(path: Path) -> None:
    """There is no registry to pull another image from."""
    assert set(re.findall(r"image: (\S+)", path.read_text())) <= TAGS


def test_pods_are_told_the_address_that_dns_has(tmp_path: Path) -> None:
    """The kubelets, the Service and the Corefile name the same address and domain."""
    manifest = (HERE / "manifests" / "coredns.yaml").read_text()
    objects = {found["kind"]: found for found in YAML(typ="safe").load_all(manifest)}
    kubelet = YAML(typ="safe").load(node_config.kubelet(lab(tmp_path), "node1"))
    assert kubelet["clusterDNS"] == [objects["Service"]["spec"]["clusterIP"]] == [settings.DNS_IP]
    assert f"kubernetes {kubelet['clusterDomain']} " in objects["ConfigMap"]["data"]["Corefile"]


@pytest.mark.parametrize("version", cilium.RELEASES)
def test_the_tools_configuration_fits_the_lab(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images are on the nodes, its network is the lab's, and what it deletes is what the manifest creates."""
    config, release = configuration.config(version), cilium.release(version)
    monkeypatch.setattr(cilium.Release, "source", lambda _: Path("/module"))
    programs = {name: Path(name) for name in release.build.outputs}
    assert images.requested(version) <= TAGS | {image.tag for image in release.images(programs)}
    assert config.cilium.version == version
    assert str(config.canal.pod_cidr) == settings.POD_CIDR
    made = {
        "/".join(
            [found["apiVersion"], found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]]
        )
        for found in YAML(typ="safe").load_all((HERE / "manifests" / "canal.yaml").read_text())
        if found["kind"] != "DaemonSet"
    }
    assert set(config.canal.extra_objects) == made


def test_the_committed_configuration_is_that_of_the_default() -> None:
    """`--config tests/lab/migrate.yaml` is what a lab of the default Cilium is migrated with."""
    committed = Config.model_validate(YAML(typ="safe").load(configuration.COMMON.read_text()))
    assert committed == configuration.config()


def test_a_cilium_that_the_lab_lacks_names_those_it_has() -> None:
    """A typed version is answered with what can be typed instead."""
    with pytest.raises(LabError, match=r"no Cilium 1\.18\.2: choose one of 1\.20\.2, 1\.15\.19"):
        cilium.release("1.18.2")


def test_the_agents_image_has_what_the_chart_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart's init containers copy two programs by their path; shims stand before the programs they start."""
    monkeypatch.setattr(cilium.Release, "source", lambda _: Path("/module"))
    for version, release in cilium.RELEASES.items():
        (agent,) = (
            image
            for image in release.images({name: Path(name) for name in release.build.outputs})
            if image.tag.startswith("quay.io/cilium/cilium:")
        )
        assert "init-container.sh" in agent.files
        for name in release.shims:
            assert "exec" in str(agent.files[f"opt/lab/bin/{name}"])
        if version != "1.15.19":
            assert {f"usr/bin/{name}" for name in cilium.BY_PATH} <= set(agent.links)
            assert {f"opt/lab/bin/{name}" for name in cilium.BY_PATH} <= set(agent.files)


def test_capabilities_that_the_machine_lacks_are_taken_out(tmp_path: Path) -> None:
    """Of a container and of a process in one, wherever the name stands; all else goes to runc as it was."""
    without = capabilities.missing("Name:\tx\nCapBnd:\t000001fffeffffff\n")
    assert without == ["CAP_SYS_RESOURCE"]
    assert capabilities.missing("CapBnd:\t000001ffffffffff\n") == []
    script, said = tmp_path / "script", tmp_path / "said"
    script.write_text(capabilities.runc(without))
    (tmp_path / "runc").write_text(f'#!/bin/sh\necho "$@" > {said}\n')
    for path in (script, tmp_path / "runc"):
        path.chmod(0o755)
    asked = {"a": ["CAP_SYS_RESOURCE", "CAP_BPF"], "b": ["CAP_BPF", "CAP_SYS_RESOURCE"], "c": ["CAP_SYS_RESOURCE"]}
    for file, words in (
        ("config.json", ["create", "--bundle", str(tmp_path)]),
        ("p", ["exec", "--process", str(tmp_path / "p")]),
    ):
        (tmp_path / file).write_text(json.dumps(asked, separators=(",", ":")))
        subprocess.run([script, "--root", "/x", *words, "id"], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
        assert json.loads((tmp_path / file).read_text()) == {"a": ["CAP_BPF"], "b": ["CAP_BPF"], "c": []}
        assert said.read_text().split() == ["--root", "/x", *words, "id"]


@pytest.mark.parametrize("shared", [True, False])
def test_nodes_share_their_programs_unless_images_have_their_own(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted over /usr/bin would hide an official image's programs."""
    spec = subprocess.CompletedProcess[str]([], 0, '{"mounts": []}', "")
    monkeypatch.setattr(node_config, "run", lambda *_: spec)
    mounts = {mount["destination"] for mount in json.loads(node_config.base_spec(shared=shared))["mounts"]}
    assert mounts == (set(node_config.SHARED) if shared else set())


@pytest.mark.parametrize("name", ["canal.yaml", "canal-bridge.yaml"])
def test_no_manifest_of_canal_gives_away_what_the_published_one_keeps(name: str) -> None:
    """/run/flannel is the host's with the bridge alone; Canal's network is the lab's in both."""
    objects = list(YAML(typ="safe").load_all((HERE / "manifests" / name).read_text()))
    daemonset = next(found for found in objects if found["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    paths = {volume["hostPath"]["path"] for volume in daemonset["volumes"] if "hostPath" in volume}
    assert ("/run/flannel" in paths) is (name == "canal-bridge.yaml")
    assert len(daemonset["containers"]) == (2 if name == "canal.yaml" else 1)
    settings_of = next(found for found in objects if found["kind"] == "ConfigMap")["data"]
    assert json.loads(settings_of["net-conf.json"])["Network"] == settings.POD_CIDR


@pytest.mark.parametrize(
    ("knob", "usual"), [("cpu/{}/cpu.shares", 1024), ("{}/cpu.weight", 100)], ids=["cgroup v1", "cgroup v2"]
)
def test_a_lab_has_its_share_of_a_busy_machine(
    knob: str, usual: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default all of a lab's pods together would weigh as much as one process of the machine's."""
    monkeypatch.setattr(node_init, "CGROUPS", tmp_path)
    top = tmp_path / knob.format("lab")
    node = top.parent / "node1"
    node.mkdir(parents=True)
    for path in (top, node / top.name):
        path.write_text(str(usual))
    if usual == 100:
        for folder in (tmp_path, top.parent):
            (folder / "cgroup.controllers").write_text("cpu")
            (folder / "cgroup.subtree_control").write_text("")
    node_init.make_cgroups("lab/node1")
    assert int(top.read_text()) == node_init.WEIGHT * usual
    assert int((node / top.name).read_text()) == usual
