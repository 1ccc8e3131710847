"""Checks of the operator's own Cilium: one that is installed already, what comes late, and Helm's release."""

from collections.abc import Iterator

from cni_migrate import cilium_versions
from cni_migrate.core.model import names
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, info, warning
from cni_migrate.core.render.coexistence import wrong
from cni_migrate.core.render.foreign import AGENT, version_of
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
    version = version_of(next((image for image in one.images if version_of(image)), ""))
    if not version or not cilium_versions.supported(version):
        said = f"are version {version}, which this program does not know" if version else "do not tell Cilium's version"
        yield blocker(
            "CILIUM_INSTALLED",
            f"the images of DaemonSet {cilium.namespace}/{names.CILIUM} {said}",
            f"use images with a version for their tag, of {cilium_versions.known()}",
            one.images,
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
            f"{many(len(found), 'key')} of ConfigMap {config.namespace}/{names.CILIUM_CONFIG} would not let Cilium live"
            " beside Canal",
            f"give it these values: {asked_for('transit')}",
            map(str, found),
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
            f"Helm's release {name} has {many(len(objects), 'object')} that the migration puts: to uninstall it"
            " later would remove them from under Cilium",
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
