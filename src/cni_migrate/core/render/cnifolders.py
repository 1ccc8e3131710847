"""Whether an operator's own Cilium installs its plugin, and writes its file, where nodes look for them."""

from collections.abc import Iterator
from typing import Final

from cni_migrate.config import Config
from cni_migrate.core.render.foreign import AGENT, Foreign, Manifest, containers
from cni_migrate.core.render.overrides import BIN_VOLUME, CNI_VOLUME, settings_of

CNI_FILE: Final = "write-cni-conf-when-ready"

NET_FOLDER: Final = "/host/etc/cni/net.d"
"""Where agents see the node's folder of CNI files; what they are told to write has to be there."""

BIN_FOLDER: Final = "/host/opt/cni/bin"
"""Where the one of the agents' containers that installs Cilium's plugin sees the folder for it."""

FOLDERS: Final = (
    (CNI_VOLUME, "cni_folder", "folder of CNI files", "cni.confPath"),
    (BIN_VOLUME, "bin_folder", "folder of CNI plugins", "cni.binPath"),
)
"""Cilium's volumes with folders of the node, the key of `host_task` that has to be the same, and the helm value."""


def problems(foreign: Foreign, config: Config) -> Iterator[str]:
    """Agents install Cilium's plugin and write its file where the node's container runtime looks for them."""
    daemonset = foreign.daemonset
    said = {**foreign.config, **settings_of(daemonset["spec"]["template"]["spec"])}
    file, places = said.get(CNI_FILE) or "", _mounted(daemonset)
    if not file and said.get("custom-cni-conf") != "true":
        yield f"{CNI_FILE} is not there: nodes that join would have no CNI file. Values: cni.install: true"
    elif file and (file.rpartition("/")[0] != NET_FOLDER or (AGENT, NET_FOLDER) not in places):
        yield (
            f"{CNI_FILE} is {file}, or its folder is not mounted there: agents are told to write into {NET_FOLDER}."
            f" Values: cni.hostConfDirMountPath: {NET_FOLDER}"
        )
    if not any(path == BIN_FOLDER for _, path in places):
        yield (
            f"no container of the agents' DaemonSet has {BIN_FOLDER} to install Cilium's CNI plugin into: pods on"
            " migrated nodes would not start. Values: cni.install: true"
        )
    there = _host_folders(daemonset)
    for volume, key, what, value in FOLDERS:
        ours = getattr(config.host_task, key)
        # A default is only a guess: the cluster's own folder takes its place, and preflight compares.
        if key in config.host_task.model_fields_set and there.get(volume, ours) != ours.rstrip("/"):
            yield f"Cilium's {what} is {there[volume]}, host_task.{key} is {ours}: not the same. Values: {value}"


def _host_folders(daemonset: Manifest) -> dict[str, str]:
    """The node's folders that a DaemonSet's pods have, by the volume's name."""
    return {
        str(volume.get("name", "")): str((volume.get("hostPath") or {}).get("path", "")).rstrip("/")
        for volume in daemonset["spec"]["template"]["spec"].get("volumes") or ()
    }


def _mounted(daemonset: Manifest) -> set[tuple[str, str]]:
    """(container, path) of all that the containers of a DaemonSet's pods have mounted."""
    return {
        (str(container.get("name", "")), str(mount.get("mountPath", "")).rstrip("/"))
        for container in containers(daemonset, init=True)
        for mount in container.get("volumeMounts") or ()
    }
