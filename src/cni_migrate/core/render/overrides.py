"""What outranks the `cilium-config` of a Cilium that is there already, and whether its agents can do their part.

An agent reads what the first container of its pod (`build-config`) has written: the ConfigMap, and over it the
CiliumNodeConfigs that select the node, the later name the stronger (cilium, `pkg/option/resolver`). Its own arguments
outrank both, and so does its environment (`CILIUM_…`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cni_migrate import cilium_versions
from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.core.model.nodeconfig import NodeConfig
from cni_migrate.core.model.objects import DaemonSet, Node, Taint
from cni_migrate.core.model.words import many
from cni_migrate.core.render.coexistence import Stage, Wrong, wrong
from cni_migrate.core.render.foreign import AGENT, PORTMAP, version_of

BUILD: Final = "build-config"
"""The program that puts an agent's configuration together; its flags are told as `build-config FLAG`."""

_ENVIRONMENT: Final = "CILIUM_"

CNI_VOLUME: Final = "etc-cni-netd"
"""The volume of Cilium's agents that is the node's folder of CNI files (the chart's name for it, 1.15 to 1.20)."""

BIN_VOLUME: Final = "cni-path"
"""The volume that is the node's folder of CNI plugins (the same)."""

Data = Mapping[str, str]


def switching(config: Config, given: Data) -> dict[str, str]:
    """What the migration's CiliumNodeConfig says to agents whose node's turn it is; `given` is `cilium-config`."""
    return {
        "write-cni-conf-when-ready": f"/host/etc/cni/net.d/{config.cilium.primary_file}",
        "custom-cni-conf": "false",
        "cni-chaining-mode": PORTMAP if given.get("cni-chaining-mode") == PORTMAP else "none",
        "cni-exclusive": "true",
    }


def settings_of(pod: Mapping[str, Any]) -> dict[str, str]:
    """What a pod's spec tells its agent beside `cilium-config`, and how that is put together; {} where there is none.

    Of the environment only what is written out: what is taken from elsewhere is none of `cilium-config`'s keys.
    """
    found: dict[str, str] = {}
    for container in pod.get("containers") or ():
        if container.get("name") == AGENT:
            for one in container.get("env") or ():
                name = str(one.get("name", ""))
                if name.startswith(_ENVIRONMENT) and "value" in one:
                    found[name.removeprefix(_ENVIRONMENT).lower().replace("_", "-")] = str(one["value"])
            found |= _flags([*(container.get("command") or ()), *(container.get("args") or ())])
    for container in pod.get("initContainers") or ():
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        if BUILD in words:
            found |= {f"{BUILD} {flag}": value for flag, value in _flags(words).items()}
    return found


def _flags(words: Iterable[Any]) -> dict[str, str]:
    """`--key=value`, `--key value` and `--key` of a command line."""
    found: dict[str, str] = {}
    last = ""
    for word in map(str, words):
        if word.startswith("--"):
            last, is_said, value = word[2:].partition("=")
            found[last] = value if is_said else "true"
            last = "" if is_said else last
        elif last:
            found[last], last = word, ""
    return found


def more_wrong(data: Data, over: Data, config: Config, stage: Stage) -> list[Wrong]:
    """What is wrong because of what is laid over `cilium-config`, and not already by that itself."""
    before = wrong(data, config, stage)
    return [one for one in wrong({**data, **over}, config, stage) if one not in before]


def of_node_configs(
    found: Iterable[NodeConfig], data: Data, config: Config, stage: Stage, nodes: Iterable[Node] = ()
) -> list[str]:
    """What CiliumNodeConfigs of somebody else's set that contradicts a stage, whichever nodes they select now.

    Labels change and nodes join, so that one that selects nobody is refused, too.
    """
    return [
        f"CiliumNodeConfig {one.namespace}/{one.name} sets {key} to {value!r}{_selected(one, nodes)}: {why}"
        for one in sorted(found, key=lambda one: (one.namespace, one.name))
        if not one.ours
        for key, value, why in _of_one(one, data, config, stage)
    ]


def _of_one(one: NodeConfig, data: Data, config: Config, stage: Stage) -> Iterator[tuple[str, str, str]]:
    ours = switching(config, data) if stage == "transit" else {}
    after_us = one.only_with(config.labels.switched)
    for key in ours:
        said = one.defaults.get(key)
        if said is not None and not (after_us and said == ours[key]):
            yield key, said, "the migration decides by it which nodes use Cilium"
    rest = {key: value for key, value in one.defaults.items() if key not in ours}
    for found in more_wrong(data, rest, config, stage):
        yield found.key, one.defaults.get(found.key, found.found), found.why


def _selected(one: NodeConfig, nodes: Iterable[Node]) -> str:
    taken = sorted(node.name for node in nodes if one.takes(node.labels))
    return f" on {told(taken)}" if taken else ""


def told(nodes: list[str]) -> str:
    """Nodes in words: how many, and the first three."""
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return f"{many(len(nodes), 'node')} ({', '.join(nodes[:3])}{more})"


def of_settings(said: Data, data: Data, config: Config, stage: Stage) -> Iterator[str]:
    """What an agent's arguments and environment, and those of `build-config`, contradict."""
    yield from of_arguments(said, data, config, stage)
    if stage == "transit":
        yield from of_build(said, data, config)


def of_arguments(said: Data, data: Data, config: Config, stage: Stage) -> Iterator[str]:
    """What an agent's arguments and environment, which outrank `cilium-config`, contradict."""
    for found in more_wrong(data, said, config, stage):
        yield f"container {AGENT} is started with {found}"


def of_build(said: Data, data: Data, config: Config) -> Iterator[str]:
    """What keeps `build-config` from telling the agent what the migration's CiliumNodeConfig says."""
    keys = switching(config, data)
    sources = said.get(f"{BUILD} source", "cilium-node-config:")
    if "cilium-node-config:" not in sources:
        yield f"{BUILD} reads no CiliumNodeConfig (--source={sources}). Values: omit daemonSet.configSources"
    allowed, denied = said.get(f"{BUILD} allow-config-keys", ""), said.get(f"{BUILD} deny-config-keys", "")
    if allowed and (lacking := sorted(set(keys) - set(allowed.split(",")))):
        yield (
            f"{BUILD} takes {', '.join(lacking)} from no CiliumNodeConfig (--allow-config-keys={allowed}). Values:"
            " omit daemonSet.allowedConfigOverrides"
        )
    if lacking := sorted(set(keys) & set(denied.split(","))):
        yield (
            f"{BUILD} takes {', '.join(lacking)} from no CiliumNodeConfig (--deny-config-keys={denied}). Values:"
            " omit daemonSet.blockedConfigOverrides"
        )


def of_daemonset(one: DaemonSet, nodes: Iterable[Node], taint: Taint | None, config: Config) -> list[str]:
    """What of an installed DaemonSet keeps its agents from doing their part, each with the field that says so.

    `taint` is the one of a node in transit; None when no node will have it any more.
    """
    return list(_of_daemonset(one, list(nodes), taint, config))


def _of_daemonset(one: DaemonSet, nodes: list[Node], taint: Taint | None, config: Config) -> Iterator[str]:
    what = f"DaemonSet {one.namespace}/{one.name}"
    if one.deleting:
        yield f"{what} is being deleted"
    if AGENT not in one.containers:
        yield f"{what} has no container {AGENT}"
        return
    if out := sorted(node.name for node in nodes if not one.meant_for(node)):
        field = "nodeSelector" if any(_kept_off(one, node) for node in nodes) else "affinity.nodeAffinity"
        yield f"{what}: {field} keeps its agents off {told(out)}"
    if taint is not None and not any(toleration.tolerates(taint) for toleration in one.tolerations):
        yield (
            f"{what}: tolerations lack {taint}, the taint of a node in transit, which would have no agent then. Values:"
            " tolerations: [{operator: Exists}]"
        )
    for volume, ours in (
        (CNI_VOLUME, f"host_task.cni_folder is {config.host_task.cni_folder}"),
        (BIN_VOLUME, f"host_task.bin_folder is {config.host_task.bin_folder}"),
    ):
        folder = one.folders.get(volume, "")
        if folder and folder != ours.rpartition(" ")[2].rstrip("/"):
            yield f"{what}: volume {volume} is {folder}, {ours}: not the same"


def version_in(one: DaemonSet) -> str:
    """The version of an installed Cilium by its images; '' when no tag tells it."""
    return version_of(next((image for image in one.images if version_of(image)), ""))


def of_version(one: DaemonSet) -> list[str]:
    """Why the version of an installed Cilium is none to migrate to, by its images."""
    version = version_in(one)
    if version and cilium_versions.supported(version):
        return []
    said = f"are version {version}, which this program does not know" if version else "do not tell Cilium's version"
    return [f"the images of DaemonSet {one.namespace}/{one.name} {said}"]


def _kept_off(one: DaemonSet, node: Node) -> bool:
    return any(node.labels.get(key) != value for key, value in one.node_selector.items())


def missing(namespace: str) -> str:
    """Which DaemonSet is gone, in words."""
    return f"DaemonSet {namespace}/{names.CILIUM} is gone, which is Cilium's owner's"
