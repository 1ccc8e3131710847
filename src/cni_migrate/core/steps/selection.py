"""Canal's DaemonSets as they are while nodes leave them one by one: on labelled nodes only, restarted by nobody.

Somebody who owns a DaemonSet (a Helm controller, an addon manager, GitOps) may put it back. Then Canal returns to nodes
that have left it, so this is looked for at every look.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.core.model.objects import DaemonSet, Snapshot

OWNERS: Final = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "addonmanager.kubernetes.io/mode": "the addon manager",
    "addon.kops.k8s.io/name": "kops",
    "kubeone.io/addon": "KubeOne",
    "kubermatic-addon": "Kubermatic's addon controller",
    "helm.cattle.io/chart": "the Helm controller",
    "meta.helm.sh/release-name": "Helm",
    "objectset.rio.cattle.io/hash": "Rancher",
    "objectset.rio.cattle.io/owner-name": "Rancher",
}
"""Labels and annotations by which an owner is known that would put Canal back as it was."""

NODE_SELECTOR: Final = "spec.template.spec.nodeSelector"
UPDATE_STRATEGY: Final = "spec.updateStrategy"
ON_DELETE: Final = "OnDelete"


def owners_of(daemonset: DaemonSet) -> list[str]:
    """Who keeps the DaemonSet as it is: what controls it, as an operator's object does; and by its marks."""
    controls = [f"{daemonset.owner} (its operator)"] if daemonset.owner else []
    return [*controls, *owners_by(daemonset.labels, daemonset.annotations)]


def owners_by(labels: Mapping[str, str], annotations: Mapping[str, str]) -> list[str]:
    """Who keeps an object as it is, by its labels and annotations."""
    marks = {**labels, **annotations}
    found = sorted({owner for key, owner in OWNERS.items() if key in marks})
    if marks.get(names.MANAGED_BY) == "Helm" and "Helm" not in found:
        found.append("Helm")
    return found


def canals(config: Config, seen: Snapshot) -> Iterator[DaemonSet]:
    """Canal's DaemonSets that are there."""
    for name in config.canal.every_daemonset():
        if (found := seen.daemonsets.get(name)) is not None:
            yield found


def deleted(config: Config, seen: Snapshot) -> list[str]:
    """Canal's DaemonSets that are not there, or on their way out, as `namespace/name`."""
    every = ((name, seen.daemonsets.get(name)) for name in config.canal.every_daemonset())
    return ["/".join(name) for name, found in every if found is None or found.deleting]


def without(names: list[str], command: str) -> tuple[str, str]:
    """What it means that DaemonSets of Canal's were deleted, and what to type before `command`."""
    one = len(names) == 1
    why = (
        f"DaemonSet{'' if one else 's'} {' and '.join(names)} of Canal's {'was' if one else 'were'} deleted by"
        " somebody: what Canal has laid on nodes follows no change any more, and there is no way back"
    )
    to_do = (
        "apply Canal's manifests again as they were installed (`kubectl apply -f`, or its owner), and at once"
        f" `{command}`: it goes on"
    )
    return why, to_do


def selecting(config: Config) -> dict[str, Any]:
    """The patch that makes a DaemonSet of Canal's run on the labelled nodes only.

    The update strategy becomes OnDelete in the same patch: otherwise the changed template would restart Canal on every
    node (kubernetes.io: "Perform a Rolling Update on a DaemonSet").
    """
    label = config.labels.canal_cilium
    template = {"spec": {"nodeSelector": {label.key: label.value}}}
    return {"spec": {"updateStrategy": {"type": ON_DELETE}, "template": template}}


def strategies(config: Config, seen: Snapshot) -> dict[str, Any]:
    """What `selecting` changes: each one's update strategy, of others than the first by name."""
    own = (config.canal.namespace, config.canal.daemonset)
    return {
        "updateStrategy" if (one.namespace, one.name) == own else f"{one.namespace}/{one.name}": one.update_strategy
        for one in canals(config, seen)
    }


def strategy_before(config: Config, before: Mapping[str, Any], one: DaemonSet) -> str:
    """The update strategy that a DaemonSet had before."""
    own = (config.canal.namespace, config.canal.daemonset)
    name = "updateStrategy" if (one.namespace, one.name) == own else f"{one.namespace}/{one.name}"
    return str(before.get(name, "RollingUpdate"))


@dataclass(frozen=True, slots=True)
class PutBack:
    """A DaemonSet of Canal's that somebody has put back: which field, what it holds, who wrote it."""

    daemonset: DaemonSet
    field: str
    found: str
    who: str

    def __str__(self) -> str:
        one = self.daemonset
        return f"{self.who} has put DaemonSet {one.namespace}/{one.name} back: {self.field} is {self.found}"


def put_back(config: Config, seen: Snapshot) -> list[PutBack]:
    """Canal's DaemonSets that are not as `selecting` made them."""
    label = config.labels.canal_cilium
    found: list[PutBack] = []
    for one in canals(config, seen):
        if one.node_selector.get(label.key) != label.value:
            shown = ", ".join(f"{key}={value}" for key, value in sorted(one.node_selector.items())) or "empty"
            found.append(PutBack(one, NODE_SELECTOR, f"{shown} (without {label.key})", _who(one, "nodeSelector")))
        elif one.update_strategy != ON_DELETE:
            found.append(PutBack(one, UPDATE_STRATEGY, one.update_strategy, _who(one, "updateStrategy")))
    return found


def who_made(one: DaemonSet) -> str:
    """Who has made a DaemonSet, as far as it tells."""
    return _who(one, "")


def _who(one: DaemonSet, field: str) -> str:
    """The owner, by its marks; and who wrote the field last, by the object's managed fields."""
    others = [writer for writer in one.writers if writer.manager != names.FIELD_MANAGER]
    named = [writer for writer in others if field in writer.fields] or others
    last = max(named, key=lambda writer: writer.at, default=None)
    owners = owners_of(one)
    who = " and ".join(owners)
    if last is None:
        return who or "somebody"
    manager = f"field manager {last.manager}{f' at {last.at}' if last.at else ''}"
    return f"{who} ({manager})" if who else manager
