"""Checks of the operator's own Cilium: one that is installed already, what comes late, and Helm's release."""

from collections.abc import Iterator

from cni_migrate import cilium_versions
from cni_migrate.core.model import names
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, info, warning
from cni_migrate.core.render import overrides
from cni_migrate.core.render.coexistence import wrong
from cni_migrate.core.render.foreign import AGENT
from cni_migrate.core.render.suitability import decided
from cni_migrate.core.steps.existing import asked_for


@check
def installed(facts: Facts) -> Iterator[Finding]:
    """It is where the configuration says."""
    cilium = facts.config.cilium
    if cilium.source != "existing":
        return
    one = facts.seen.daemonsets.get((cilium.namespace, names.CILIUM))
    if one is None or AGENT not in one.containers or facts.seen.cilium_config is None:
        others = sorted(
            f"{where}/{what}" for (where, what), one in facts.seen.daemonsets.items() if AGENT in one.containers
        )
        yield blocker(
            "CILIUM_INSTALLED",
            f"cilium.source is existing, and there is no Cilium in namespace {cilium.namespace}: a DaemonSet"
            f" {names.CILIUM} with a container {AGENT}, and a ConfigMap {names.CILIUM_CONFIG}",
            f'install Cilium by its guide "Migrating a cluster to Cilium", with these values, too:'
            f" {asked_for('transit').partition(';')[0]}; or correct cilium.namespace",
            others,
        )
        return
    for said in overrides.of_version(one):
        todo = f"use images with a version for their tag, of {cilium_versions.known()}"
        yield blocker("CILIUM_INSTALLED", said, todo, one.images)
    version = overrides.version_in(one)
    if cilium_versions.supported(version) and version != cilium.version:
        yield blocker(
            "CILIUM_INSTALLED",
            f"cilium.version is {cilium.version}, the images of DaemonSet {one.namespace}/{one.name} are {version}",
            "omit cilium.version: it is found",
            one.images,
        )


@check
def operator(facts: Facts) -> Iterator[Finding]:
    """Its operator runs: nodes have their networks from it."""
    where = facts.config.cilium.namespace
    if facts.config.cilium.source != "existing" or facts.seen.cilium_config is None:
        return
    pods = (pod for node in facts.seen.nodes for pod in facts.seen.pods_on(node))
    if not any(pod.namespace == where and names.CILIUM_OPERATOR in pod.containers for pod in pods):
        yield blocker(
            "CILIUM_OPERATOR",
            f"no pod of Cilium's operator (container {names.CILIUM_OPERATOR}) is on a node, in namespace {where}: nodes"
            " would have no networks for pods on Cilium",
            f"kubectl -n {where} describe deployment {names.CILIUM_OPERATOR} says why, or put it back by helm upgrade",
            [f"{where}/{names.CILIUM_OPERATOR}"],
        )


@check
def keys(facts: Facts) -> Iterator[Finding]:
    """Its configuration keeps it to itself while Canal is there, too, key by key."""
    config = facts.seen.cilium_config
    if facts.config.cilium.source != "existing" or config is None:
        return
    if found := wrong(config.data, facts.config, "transit"):
        yield blocker(
            "CILIUM_KEYS",
            f"{many(len(found), 'key')} of ConfigMap {config.namespace}/{names.CILIUM_CONFIG} would not let Cilium run"
            " beside Canal",
            f"give it these values: {asked_for('transit')}",
            map(str, found),
        )


@check
def agents(facts: Facts) -> Iterator[Finding]:
    """Its agents run on every node, stay while it is in transit, and read what the migration tells them."""
    where, config = facts.config.cilium.namespace, facts.seen.cilium_config
    installed = facts.config.cilium.source == "existing"
    one = facts.seen.daemonsets.get((where, names.CILIUM)) if installed else facts.agents
    if one is None or AGENT not in one.containers or (installed and config is None):
        return
    found = overrides.of_daemonset(one, facts.seen.nodes.values(), facts.taint, facts.config)
    if config is not None and installed:  # of one that is brought, they were judged when it was read
        found += overrides.of_settings(one.settings, config.data, facts.config, "transit")
    if found:
        yield blocker(
            "CILIUM_DAEMONSET",
            f"the agents of DaemonSet {where}/{names.CILIUM} could not do their part beside Canal",
            f"change its values{' (helm upgrade)' if installed else ''}, or the configuration",
            found,
        )


@check
def node_configs(facts: Facts) -> Iterator[Finding]:
    """No CiliumNodeConfig of somebody else's decides for some nodes what the migration decides for all."""
    config, where = facts.seen.cilium_config, facts.config.cilium.namespace
    if facts.config.cilium.source == "existing":
        data = config.data if config is not None else {}
        nodes = facts.seen.nodes.values()
        found = overrides.of_node_configs(facts.node_configs, data, facts.config, "transit", nodes)
    else:
        found = [text for one in facts.node_configs if not one.ours for text in decided(one.name, one.defaults)]
    if found:
        yield blocker(
            "CILIUM_NODE_CONFIG",
            f"{many(len(found), 'key')} of CiliumNodeConfigs in namespace {where} would outrank the migration's",
            "remove them until the migration is done, or delete what an earlier Cilium left behind:"
            f" kubectl -n {where} get ciliumnodeconfigs",
            found,
        )


@check
def switched(facts: Facts) -> Iterator[Finding]:
    """No node was switched by hand already: its pods would not be drained, and no gate would have seen it before."""
    label = facts.config.labels.switched
    if facts.config.cilium.source != "existing":
        return
    if found := sorted(node.name for node in facts.seen.nodes.values() if label.key in node.labels):
        yield blocker(
            "CILIUM_SWITCHED",
            f"{many(len(found), 'node')} labelled {label.key}: somebody has switched them to Cilium by hand already",
            f"take them back first: kubectl label node NODE {label.key}-, restart Cilium's agent there, then the node",
            found,
        )


@check
def later(facts: Facts) -> Iterator[Finding]:
    """What the operator's values ask for that cannot be while Canal is there, too."""
    if facts.later:
        proxy = any(one.startswith("kube-proxy-replacement") for one in facts.later)
        yield info(
            "CILIUM_LATER",
            f"{many(len(facts.later), 'key')} of your Cilium's come with the last step, when every node is migrated",
            "connections may be interrupted while the agents restart for it"
            + ("; kube-proxy runs on: remove it when the migration is done" if proxy else ""),
            facts.later,
        )


@check
def hooks(facts: Facts) -> Iterator[Finding]:
    """Hooks among an operator's manifests have somebody who runs them."""
    if facts.left_out:
        yield warning(
            "CILIUM_HOOKS",
            f"{many(len(facts.left_out), 'object')} of your manifests with the annotation helm.sh/hook: Helm alone runs"
            " them, and they are not applied",
            "remove the annotation where Cilium needs them, or use cilium.source: chart; nothing, if your GitOps"
            " runs them",
            facts.left_out,
        )


@check
def api_server(facts: Facts) -> Iterator[Finding]:
    """Agents that are to replace kube-proxy know where the API server is: its Service is theirs to serve then."""
    if facts.lost_without_kube_proxy:
        yield warning(
            "CILIUM_API_SERVER",
            "your Cilium is to replace kube-proxy, and its agents reach the API server by its Service alone: once"
            " kube-proxy is removed none of them starts",
            "set k8sServiceHost and k8sServicePort in the values (in manifests: KUBERNETES_SERVICE_HOST and"
            " KUBERNETES_SERVICE_PORT of the agents and the operator), or keep kube-proxy",
            [f"{facts.config.cilium.namespace}/{names.CILIUM}"],
        )


@check
def pulled(facts: Facts) -> Iterator[Finding]:
    """The operator's own Cilium is pulled as all else is: what it names is not changed."""
    config = facts.config
    if facts.pulled_without:
        secrets = ", ".join(config.pull_secrets)
        yield warning(
            "CILIUM_PULL",
            f"{many(len(facts.pulled_without), 'workload')} of your Cilium's name none of pull_secrets ({secrets}), and"
            " are put as they are",
            f"values: imagePullSecrets: [{', '.join(f'{{name: {name}}}' for name in config.pull_secrets)}]; nothing, if"
            " the nodes can pull these images without",
            facts.pulled_without,
        )
    if facts.mirrored_without:
        yield warning(
            "CILIUM_PULL",
            f"{many(len(facts.mirrored_without), 'image')} of your Cilium's are not from registry {config.registry}:"
            " they are pulled from where they are",
            "write the mirror into its values (image.repository, operator.image.repository, …); nothing, if the nodes"
            " reach these registries",
            facts.mirrored_without,
        )


@check
def other_releases(facts: Facts) -> Iterator[Finding]:
    """No other release of Helm's has objects that the migration puts: its end would be theirs."""
    cilium = facts.config.cilium
    own = f"{cilium.namespace}/{cilium.release}" if cilium.source == "chart" else ""
    for name, objects in sorted(facts.released.items()):
        if name == own:
            continue
        namespace, _, release = name.rpartition("/")
        named = " or name it (cilium.release, cilium.namespace)" if own else ""
        yield blocker(
            "RELEASE",
            f"Helm's release {name} has {many(len(objects), 'object')} that the migration applies: uninstalling"
            " it later would take them from Cilium",
            f"remove that release first (helm uninstall {release} --namespace {namespace}){named}",
            [f"{name}: {', '.join(objects[:3])}{', …' if len(objects) > 3 else ''}"],
        )


@check
def release(facts: Facts) -> Iterator[Finding]:
    """Under the release's name Helm has nothing that would be in the way of the last step."""
    found, cilium = facts.release, facts.config.cilium
    if found is None:
        return
    name = f"{cilium.namespace}/{cilium.release}"
    if found.status.startswith("pending"):
        yield blocker(
            "RELEASE",
            f"release {name} is {found.status}: another helm is at work, or was killed",
            f"kubectl -n {cilium.namespace} delete secret sh.helm.release.v1.{cilium.release}.v{found.revision}",
            [name],
        )
    elif found.status == "uninstalling":
        yield blocker(
            "RELEASE",
            f"release {name} is uninstalling: helm was ended while it removed it, and upgrades no such release",
            f"helm uninstall {cilium.release} --namespace {cilium.namespace}",
            [name],
        )
    elif "cilium" not in found.chart:
        yield blocker(
            "RELEASE",
            f"release {name} is of chart {found.chart}: the last step would replace its objects by Cilium's",
            "choose another name: cilium.release",
            [name],
        )
    else:
        yield warning(
            "RELEASE",
            f"release {name} is there already, revision {found.revision}, {found.status}: the last step upgrades it",
            "make sure that it is yours",
            [name],
        )
