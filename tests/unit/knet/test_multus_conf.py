"""The script that builds Multus's CNI file from a node's own Canal file."""

import json
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from cni_migrate import resources

SCRIPT = types.ModuleType("multus_conf")
exec(compile(resources.read("templates", "multus_conf.py"), "multus_conf.py", "exec"), SCRIPT.__dict__)

FLANNEL = {
    "name": "k8s-pod-network",
    "cniVersion": "0.3.1",
    "plugins": [
        {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}
CALICO = {
    "name": "k8s-pod-network",
    "cniVersion": "0.3.1",
    "plugins": [
        {"type": "calico", "mtu": 1450, "ipam": {"type": "host-local", "subnet": "usePodCidr"}},
        {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ],
}
CILIUM = {"cniVersion": "0.3.1", "name": "cilium", "plugins": [{"type": "cilium-cni"}]}


def built(canal: dict[str, Any], cilium: dict[str, Any] = CILIUM) -> dict[str, Any]:
    done: dict[str, Any] = SCRIPT.build(canal, cilium)
    return done


@pytest.mark.parametrize(
    ("canal", "capabilities"),
    [(FLANNEL, {"portMappings": True}), (CALICO, {"portMappings": True, "bandwidth": True})],
    ids=["flannel", "calico"],
)
def test_both_networks_stand_in_it_as_they_are(canal: dict[str, Any], capabilities: dict[str, bool]) -> None:
    """So a pod leaves by its own address, whatever Canal's plugin is; what the runtime passes on is named."""
    found = built(canal)
    (multus,) = found["plugins"]
    assert multus["delegates"] == [canal, CILIUM]
    assert multus["capabilities"] == capabilities
    assert found["name"] == "multus-cni-network"


def test_a_single_plugin_becomes_a_list() -> None:
    single = {"cniVersion": "0.3.1", "name": "cilium", "type": "cilium-cni"}
    assert built(FLANNEL, single)["plugins"][0]["delegates"][1]["plugins"] == [single]


class Node:
    """A node's folders, and the keeper on it."""

    def __init__(self, root: Path) -> None:
        self.netd, self.bin = root / "host/etc/cni/net.d", root / "host/opt/cni/bin"
        for folder in (self.netd, self.bin, root / "tmp"):
            folder.mkdir(parents=True)
        self.ready = root / "tmp/multus-ready"
        self.target = self.netd / "00-multus.conflist"
        self.keeper = SCRIPT.Keeper({}, str(root))

    def put(self, name: str, content: dict[str, Any]) -> None:
        (self.netd / name).write_text(json.dumps(content))

    def complete(self) -> "Node":
        self.put("10-canal.conflist", FLANNEL)
        self.put("99-cilium.conflist", CILIUM)
        for name in ("multus", "cilium-cni"):
            (self.bin / name).touch()
        return self


def test_nothing_is_written_until_both_networks_can_work(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for step in ("10-canal.conflist", "99-cilium.conflist"):
        assert node.keeper.step() is False
        assert not node.target.exists()
        node.put(step, FLANNEL if "canal" in step else CILIUM)
    assert node.keeper.step() is False
    node.complete()
    assert node.keeper.step() is True
    assert json.loads(node.target.read_text()) == built(FLANNEL)
    assert not list(node.netd.glob(".*"))


def test_a_changed_canal_file_is_followed(tmp_path: Path) -> None:
    node = Node(tmp_path).complete()
    assert node.keeper.step() is True
    node.put("10-canal.conflist", CALICO)
    assert node.keeper.step() is True
    assert json.loads(node.target.read_text()) == built(CALICO)


def test_not_ready_without_canal_s_file_or_cilium_s_plugin_and_the_file_stays(tmp_path: Path) -> None:
    for gone in ("host/etc/cni/net.d/10-canal.conflist", "host/opt/cni/bin/cilium-cni"):
        node = Node(tmp_path / gone.rpartition("/")[2]).complete()
        assert node.keeper.step() is True
        (tmp_path / gone.rpartition("/")[2] / gone).unlink()
        assert node.keeper.step() is False
        assert node.target.exists()


def test_a_broken_canal_file_is_told_and_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(tmp_path).complete()
    (node.netd / "10-canal.conflist").write_text("{")
    assert node.keeper.step() is False
    assert node.keeper.step() is False
    assert capsys.readouterr().out.count("cannot use 10-canal.conflist") == 1


def test_the_file_goes_at_the_end(tmp_path: Path) -> None:
    node, stop = Node(tmp_path).complete(), threading.Event()
    thread = threading.Thread(target=node.keeper.run, args=(stop,))
    thread.start()
    while not node.ready.exists():
        assert thread.is_alive()
    assert node.target.exists()
    stop.set()
    thread.join(10)
    assert not node.target.exists()
    assert not node.ready.exists()
