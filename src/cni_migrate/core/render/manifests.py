"""Everything that `migrate` applies, as plain objects: rendered from `templates/`, a configuration and a few facts.

Pure: the texts come in from outside. What is handed out is shared and must not be changed.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from cni_migrate import cilium_versions
from cni_migrate.config import Config
from cni_migrate.core.model import leftovers, names
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.render import foreign as foreign_cilium
from cni_migrate.core.render import rights
from cni_migrate.core.render.overrides import switching
from cni_migrate.core.render.settings import HEALTH_PORT, cilium_config, identities_config, knet_config, policy_keys
from cni_migrate.resources import documents

Manifest = dict[str, Any]

TEMPLATES = (
    "namespace.yaml", "knet-stress.yaml", "cilium-common.yaml", "cilium-agent.yaml", "cilium-multus.yaml",
    "cilium-overlay.yaml", "cilium-final.yaml", "cilium-node-config.yaml", "multus.yaml", "multus_conf.py",
    "host-task.yaml", "host-task.sh", "tunnel-probe.yaml", "tunnel_probe.py", "identities.yaml", "rbac.yaml",
    "driver-job.yaml",
)  # fmt: skip
"""The files of `templates/` that `Manifests` needs."""

FINAL_CODES = (1, 2, 3, 4, 6, 7)
"""Exit codes after which the same command, typed again, would only end in the same way: a human is needed."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What is found out elsewhere: the image that runs Canal (host tasks use it), and our agents' modules by file name.

    `agent` is the one of knet-stress, `identities` the one that makes Canal's pods known to Cilium. `cilium_config` is
    what the installed Cilium is configured by (`cilium.source: existing`). In `cleaning_image` Canal is removed from
    hosts; in `canal_image`, too, where it is empty.
    """

    canal_image: str
    agent: Mapping[str, str]
    identities: Mapping[str, str] = field(default_factory=dict)
    cilium_config: Mapping[str, str] = field(default_factory=dict)
    cleaning_image: str = ""


class Manifests:
    """The objects to apply, by purpose. Each is made once; the lists are new, their objects are shared.

    `foreign` is the operator's own Cilium, where `cilium.source` says so. `adapt` may change an object before it is
    handed out, for clusters that need more than the configuration can say (a lab whose images have no userland of their
    own).
    """

    def __init__(
        self,
        templates: Mapping[str, str],
        config: Config,
        facts: Payload,
        adapt: Callable[[Manifest], Manifest] | None = None,
        foreign: foreign_cilium.Foreign | None = None,
    ) -> None:
        self._config = config
        self._foreign = foreign
        self._facts = facts
        self._templates = templates
        self._adapt = adapt or (lambda manifest: manifest)
        # The output is YAML and every value is JSON, never HTML, hence no escaping.
        self._environment = Environment(
            loader=DictLoader(dict(templates)),
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701
            optimized=False,  # folding constants takes longer than it saves: each template is rendered once
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._made: dict[str, list[Manifest]] = {}
        self._installed = config.cilium.source == "existing"
        self.cilium_version: cilium_versions.Version = cilium_versions.parsed(config.cilium.version)

    def namespaces(self) -> list[Manifest]:
        """The tool's own namespace and the agents'."""
        return self._render("namespace.yaml") + [m for m in self.knet() if m["kind"] == "Namespace"]

    def knet(self) -> list[Manifest]:
        """The knet-stress agents with all they need, their namespace first."""

        def values() -> dict[str, Any]:
            settings = json.dumps(knet_config(self._config), sort_keys=True)
            digest = _digest(self._facts.agent, settings)
            return {"agent": self._facts.agent, "knet_config": settings, "knet_digest": digest}

        return self._render("knet-stress.yaml", values)

    def pace(self, until: datetime) -> Manifest:
        """The ConfigMap that asks the agents for fast rounds until an instant."""
        found = next(m for m in self.knet() if m["metadata"]["name"] == names.PACE)
        return {**found, "data": {"until": until.isoformat(timespec="seconds")}}

    def cilium(self) -> list[Manifest]:
        """Cilium as it runs during the migration, beside Canal; nothing of one that is installed already."""
        if self._installed:
            return []
        if self._foreign is not None:
            keys = policy_keys(self._config, self.cilium_version)
            return self._own("transit", lambda own: foreign_cilium.transit(own, self._config, keys))
        return self._cilium(f"cilium-{self._config.strategy}.yaml", final=False)

    def cilium_final(self) -> list[Manifest]:
        """Cilium as it stays: on every node, present and future, with the configured policy enforcement.

        The DaemonSet's template carries a label and a digest of the configuration, so putting it restarts all agents,
        a tenth of them at a time. An operator's own Cilium stays exactly as it came.
        """
        if self._installed:
            return []
        if self._foreign is not None:
            return self._own("final", lambda own: list(own.objects))
        return self._cilium("cilium-final.yaml", final=True)

    def node_config(self, served: Collection[str]) -> list[Manifest]:
        """The CiliumNodeConfig that makes labelled nodes use Cilium (overlay), in the version that is served.

        Raises:
            ValueError: no version is served yet: ask `cilium_versions.served_node_config` first.
        """
        version = cilium_versions.served_node_config(served)
        if version is None:
            raise ValueError("CiliumNodeConfig is not served")
        return self._render(
            "cilium-node-config.yaml",
            key=f"node-config {version}",
            name=names.OWN_NODE_CONFIG if self._installed else names.NODE_CONFIG,
            node_config_version=version,
            defaults=switching(self._config, self.given()),
        )

    def identities(self) -> list[Manifest]:
        """The agents by which Canal's pods have identities in Cilium, and the node's rule for traffic between both."""

        def values() -> dict[str, Any]:
            settings = json.dumps(identities_config(self._config, self.given()), sort_keys=True)
            script = self._templates["host-task.sh"]
            return {
                "agent": self._facts.identities,
                "identities_config": settings,
                "identities_digest": _digest(self._facts.identities, settings, script),
                "canal_image": self._facts.canal_image,
                "host_task_script": script,
            }

        return self._render("identities.yaml", values)

    def later(self) -> list[str]:
        """What Cilium's owner asks for that comes with the last step only, as `key: text`."""
        return foreign_cilium.later(self._foreign.config) if self._foreign is not None else []

    def left_out(self) -> list[str]:
        """What of an operator's manifests nobody puts: hooks, which Helm alone runs."""
        found = self._foreign.hooks if self._foreign is not None and self._config.cilium.source == "manifests" else ()
        return [str(ObjectRef.of(one)) for one in found]

    def agents(self) -> Manifest | None:
        """The DaemonSet of an operator's own Cilium as it came; None where nobody has brought one."""
        return self._foreign.daemonset if self._foreign is not None else None

    def lost_without_kube_proxy(self) -> bool:
        """Whether agents in their final form could not start without the kube-proxy that they replace."""
        return self._foreign is not None and self._foreign.lost_without_kube_proxy

    def host_ports(self) -> str:
        """Who serves host ports in the end: `portmap`, `kube-proxy-replacement`, or nobody ('')."""
        return foreign_cilium.host_ports(self.given())

    def given(self) -> Mapping[str, str]:
        """What Cilium's owner has said in `cilium-config`, wherever Cilium comes from."""
        if self._installed:
            return self._facts.cilium_config
        return self._foreign.config if self._foreign is not None else self._config.cilium.extra_config

    def multus(self) -> list[Manifest]:
        """Multus, on nodes that carry both its label and the one of Canal beside Cilium."""
        tag = self._config.multus.image.rpartition(":")[2].removeprefix("v")
        legacy = tag.split(".")[0] in ("1", "2", "3")
        return self._render("multus.yaml", multus_legacy=legacy, multus_script=self._templates["multus_conf.py"])

    @property
    def cleaning_image(self) -> str:
        """The image in which Canal is removed from hosts."""
        return self._config.host_task.image or self._facts.cleaning_image or self._facts.canal_image

    def host_task(self, node: str, name: str, ops: Sequence[str], *, cleaning_image: str = "") -> Manifest:
        """The one-shot pod that does `ops` on a node.

        Where they remove Canal it runs `cleaning_image`, by default the one that this cluster's Canal tells of.
        """
        task = {"node": "", "name": "", "ops": ["status"]}
        (base,) = self._render(
            "host-task.yaml",
            task=task,
            canal_image=self._facts.canal_image,
            host_task_script=self._templates["host-task.sh"],
        )
        spec = base["spec"]
        (container,) = spec["containers"]
        container = {**container, "args": list(ops)}
        if any(op.startswith("remove-flannel") for op in ops):
            container["image"] = self._config.host_task.image or cleaning_image or self.cleaning_image
        return {
            **base,
            "metadata": {**base["metadata"], "name": name},
            "spec": {**spec, "nodeName": node, "containers": [container]},
        }

    def tunnel_probe(self, node: str, address: str, name: str, ops: Sequence[str]) -> Manifest:
        """The short-lived pod that listens on the port of Cilium's tunnel on a node, or sends to it on others."""
        task = {"node": "", "address": "", "name": "", "ops": ["listen"]}
        (base,) = self._render("tunnel-probe.yaml", task=task, tunnel_probe=self._templates["tunnel_probe.py"])
        (container,) = base["spec"]["containers"]
        container = {**container, "args": list(ops), "env": [{"name": "NODE_IP", "value": address}]}
        return {
            **base,
            "metadata": {**base["metadata"], "name": name},
            "spec": {**base["spec"], "nodeName": node, "containers": [container]},
        }

    def rbac(self) -> list[Manifest]:
        """The least rights for `migrate` as a ServiceAccount in its own namespace.

        Kubernetes lets nobody grant rights they do not hold (kubernetes.io: "Privilege escalation prevention"), so
        the rules of what is installed are among them. A namespace that an operator's own Cilium brings comes first.
        """
        config = self._config
        installed = [*self.cilium(), *self.knet(), *self.identities()]
        own: dict[str, list[rights.Rule]] = {}
        homes: list[Manifest] = []
        if self._foreign is not None:
            helm, final = config.cilium.source == "chart", self.cilium_final()
            installed += final
            homes = [m for m in final if m["kind"] == "Namespace"]
            own = rights.of_objects([*final, *self._hooks()], helm=helm)
            if helm:
                own.setdefault(config.cilium.namespace, []).append(rights.RELEASE)
            for namespace, rules in rights.to_await(self._hooks()).items():
                own.setdefault(namespace, []).extend(rules)
        grants = [rule for m in installed if m["kind"] in ("ClusterRole", "Role") for rule in m.get("rules") or []]
        canals = list(dict.fromkeys(namespace for namespace, _ in config.canal.every_daemonset()))
        work = [*canals, *([] if self._installed else [config.cilium.namespace])]
        work += [config.multus.namespace, config.knet.namespace, config.namespace]
        return homes + self._render(
            "rbac.yaml",
            grants=[rule for number, rule in enumerate(grants) if rule not in grants[:number]],
            own=own,
            namespaces=[config.namespace, config.knet.namespace],
            work_namespaces=list(dict.fromkeys(work)),
            canal_namespaces=canals,
            calico=leftovers,
            definitions=[f"{kind}.{group}" for group in leftovers.CALICO_GROUPS for kind in leftovers.KINDS],
        )

    def job(self, settings: str) -> list[Manifest]:
        """The Job that runs `migrate run` in the cluster, with the text of its configuration file."""
        return self._render("driver-job.yaml", key=f"job {settings}", settings=settings, final_codes=FINAL_CODES)

    def images(self) -> dict[str, str]:
        """Every image that is pulled, by what it is for."""
        config = self._config
        cilium = {"cilium": config.cilium.image, "cilium-operator": config.cilium.operator_image}
        if self._installed:
            cilium = {}
        elif self._foreign is not None:
            cilium = dict(foreign_cilium.workloads([*self._foreign.objects, *self._hooks()]))
        found = {
            **cilium,
            "knet-stress": config.knet.image,
            "host-task": config.host_task.image or self._facts.canal_image,
        }
        if config.traits.multus:
            found["multus"] = config.multus.image
        return found

    def pulled_without(self) -> list[str]:
        """The workloads of an operator's own Cilium that name none of `pull_secrets`; they are put as they are."""
        secrets = self._config.pull_secrets
        if self._foreign is None or not secrets:
            return []
        return foreign_cilium.without_secrets(self._foreign.objects, secrets)

    def mirrored_without(self) -> list[str]:
        """The images of an operator's own Cilium that are not from `registry`, with the workload of each."""
        registry = self._config.registry
        if self._foreign is None or not registry:
            return []
        every = foreign_cilium.workloads([*self._foreign.objects, *self._hooks()])
        return [f"{name}: {image}" for name, image in every if not image.startswith(f"{registry}/")]

    def cautions(self) -> list[str]:
        """What these manifests cannot promise, in words: for the preflight's report."""
        if self.cilium_version != cilium_versions.SEED:
            return []
        said = (
            f"Cilium {self._config.cilium.version}: tried on the simulator only. It needs Kubernetes below 1.22, has no"
            " CiliumNodeConfig (so no strategy overlay), and before 1.8 takes pod addresses from the nodes' own CIDRs"
            f" instead of {self._config.cilium.pod_cidr}"
        )
        return [said]

    def _hooks(self) -> tuple[Manifest, ...]:
        """What Helm runs once in the last step."""
        found = self._foreign if self._config.cilium.source == "chart" else None
        return found.hooks if found is not None else ()

    def _own(self, key: str, make: Callable[[foreign_cilium.Foreign], list[Manifest]]) -> list[Manifest]:
        """The operator's Cilium in one of its forms, made once."""
        assert self._foreign is not None
        if (made := self._made.get(f"own {key}")) is None:
            made = self._made[f"own {key}"] = [self._adapt(found) for found in make(self._foreign)]
        return list(made)

    def _cilium(self, template: str, *, final: bool) -> list[Manifest]:
        version = self.cilium_version

        def values() -> dict[str, Any]:
            settings = cilium_config(self._config, version, final=final)
            modern = version != cilium_versions.SEED
            return {
                "cilium_config": settings,
                "cilium_digest": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16],
                "seed": not modern,
                "agent_rules": cilium_versions.rules(cilium_versions.AGENT, version),
                "operator_rules": cilium_versions.rules(cilium_versions.OPERATOR, version),
                "definitions": cilium_versions.definitions(version),
                "netns": cilium_versions.NETNS.holds(version),
                "legacy_args": [] if modern else ["--read-cni-conf=/tmp/cni-configuration/cni-config"],
                "health_port": HEALTH_PORT,
            }

        return self._render(template, values)

    def _render(
        self, template: str, late: Callable[[], Mapping[str, Any]] = dict, *, key: str = "", **values: Any
    ) -> list[Manifest]:
        """The objects of a template, made once per `key` (the template's name unless it is given).

        What `late` gives is asked for only then: each look at the cluster asks for these objects.
        """
        made = self._made.get(key or template)
        if made is None:
            values |= late()
            text = self._environment.get_template(template).render(config=self._config, names=names, **values)
            made = [self._adapt(found) for found in documents(text) if found]
            self._made[key or template] = made
        return list(made)


def _digest(modules: Mapping[str, str], *more: str) -> str:
    """What an agent's pods are annotated with: any change of a module, or of the rest, makes them anew."""
    return hashlib.sha256(json.dumps([sorted(modules.items()), *more]).encode()).hexdigest()[:16]
