"""Where an operator's own Cilium puts its plugin and its file: elsewhere, a node would be drained and never switched."""

from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.core.render import foreign, suitability
from tests.unit.core.render.test_foreign import CONFIG, objects, one

K3S = "/var/lib/rancher/k3s/agent/etc/cni/net.d"
BIN = "/var/lib/rancher/k3s/data/cni"


def pod_of(made: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = one(made, "DaemonSet", names.CILIUM)["spec"]["template"]["spec"]
    return found


def with_folder(volume: str, path: str) -> list[Any]:
    """Cilium with another folder of the node behind a volume."""
    made = objects()
    for found in pod_of(made)["volumes"]:
        if found["name"] == volume:
            found["hostPath"]["path"] = path
    return made


@pytest.mark.parametrize(
    ("volume", "path", "key"), [("etc-cni-netd", K3S, "cni_folder"), ("cni-path", BIN, "bin_folder")]
)
def test_a_folder_that_was_said_is_cilium_s_too(volume: str, path: str, key: str) -> None:
    """What was said is compared at once; what was not is found in the cluster, and is no contradiction before."""
    source = foreign.read(with_folder(volume, path))
    said = Config.model_validate({"strategy": "overlay", "host_task": {key: "/elsewhere"}})
    (found,) = suitability.problems(source, said)
    assert f"is {path}, host_task.{key} is /elsewhere: not the same" in found
    same = Config.model_validate({"strategy": "overlay", "host_task": {key: path}})
    assert suitability.problems(source, same) == []
    assert suitability.problems(source, CONFIG) == []


def test_a_chart_that_installs_no_plugin() -> None:
    """Values cni.install: false: neither the plugin nor the file of a node that joins is anybody's."""
    made = objects()
    pod = pod_of(made)
    for container in pod["initContainers"]:
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [found for found in mounts if found["mountPath"] != "/host/opt/cni/bin"]
    (found,) = suitability.problems(foreign.read(made), CONFIG)
    assert "install Cilium's CNI plugin into" in found
    del one(made, "ConfigMap", foreign.CONFIG)["data"]["write-cni-conf-when-ready"]
    lines = suitability.problems(foreign.read(made), CONFIG)
    assert [line for line in lines if "Values: cni.install: true" in line] == lines
    assert len(lines) == 2


@pytest.mark.parametrize("what", ["file", "mount"])
def test_another_folder_in_the_agent(what: str) -> None:
    """Values cni.hostConfDirMountPath: agents are told to write where they have no folder of the node's."""
    made = objects()
    if what == "file":
        one(made, "ConfigMap", foreign.CONFIG)["data"]["write-cni-conf-when-ready"] = "/cni/05-cilium.conflist"
    for container in pod_of(made)["containers"]:
        for mount in container.get("volumeMounts") or ():
            if what == "mount" and mount["name"] == "etc-cni-netd":
                mount["mountPath"] = "/cni"
    (found,) = suitability.problems(foreign.read(made), CONFIG)
    assert "cni.hostConfDirMountPath: /host/etc/cni/net.d" in found
