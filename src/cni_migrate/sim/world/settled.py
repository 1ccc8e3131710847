"""The cluster at the start of a simulation, already settled: nodes Ready, Canal and workloads running.

What controllers would have made has their marks (owners, hashes, labels), so that they find nothing to do.
"""

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Protocol

from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.world import addresses, flannel, kinds, meta, podstatus
from cni_migrate.sim.world.canal import FELIX, binaries, felix_state
from cni_migrate.sim.world.canalmanifests import canal_objects
from cni_migrate.sim.world.cniconf import parse
from cni_migrate.sim.world.cniinstall import installed
from cni_migrate.sim.world.controllers.daemonset import daemon_pod, placement
from cni_migrate.sim.world.controllers.deployment import HASH_LABEL, replica_set_for
from cni_migrate.sim.world.controllers.scheduler import fits
from cni_migrate.sim.world.controllers.statefulset import stateful_pod
from cni_migrate.sim.world.controllers.template import fingerprint, pod_from
from cni_migrate.sim.world.environment import NoValue
from cni_migrate.sim.world.host import ALWAYS, BRIDGE, FLANNEL_CHAINS, FLANNEL_FOLDER, Host, Plane, kept_of
from cni_migrate.sim.world.machines import CONTROL_PLANE, Machine, conditions, node_object, zone_labels
from cni_migrate.sim.world.manifests import dns_objects, workload_objects
from cni_migrate.sim.world.masquerade import FLANNEL

if TYPE_CHECKING:
    from cni_migrate.sim.scenario import NodeSpec, Scenario


def machine_of(spec: "NodeSpec", address: str, version: str) -> Machine:
    """The machine a scenario describes."""
    labels = dict(spec.labels)
    taints: list[Object] = [dict(taint) for taint in spec.taints]
    if spec.zone:
        labels |= zone_labels(spec.zone)
    if spec.role == "control-plane":
        labels[CONTROL_PLANE] = ""
        taints.append({"key": CONTROL_PLANE, "effect": "NoSchedule"})
    return Machine(spec.name, address, labels, tuple(taints), version, pod_cidr=spec.pod_cidr)


def machines_of(scenario: "Scenario", count: int | None = None) -> list[Machine]:
    """The scenario's machines; `count` overrides a number of nodes, and cuts or extends a list."""
    from cni_migrate.sim.scenario import NodeSpec

    specs = list(scenario.nodes) if isinstance(scenario.nodes, list) else []
    total = count if count is not None else len(specs) or (scenario.nodes if isinstance(scenario.nodes, int) else 0)
    specs = specs[:total]
    taken = {spec.name for spec in specs}
    cps, workers = sum(spec.role == "control-plane" for spec in specs), 0
    while len(specs) < total:
        leads = not isinstance(scenario.nodes, list) and cps < scenario.control_planes
        if leads:
            cps += 1
            name = f"cp{cps}"
        else:
            workers += 1
            name = f"w{workers}"
        if name in taken:
            continue
        zone = scenario.zones[len(specs) % len(scenario.zones)] if scenario.zones else ""
        specs.append(NodeSpec(name=name, zone=zone, role="control-plane" if leads else "worker"))
    base = IPv4Network(scenario.node_cidr).network_address
    return [
        machine_of(spec, str(base + 10 + number), scenario.versions.kubernetes) for number, spec in enumerate(specs)
    ]


def node_mask(scenario: "Scenario", nodes: int) -> int:
    """The size of a node's share: the scenario's, or smaller when the pod network has not enough of them."""
    whole, mask = IPv4Network(scenario.pod_cidr).prefixlen, scenario.node_mask
    while 2 ** (mask - whole) < nodes + nodes // 50 + 1:
        mask += 1
    return mask


class Sink(Protocol):
    """Where the objects go: the API server's store, with its defaults."""

    def kind_of(self, manifest: Object) -> Kind:
        """What a manifest is; BadScenario when the API server serves no such thing."""
        ...

    def check(self, manifest: Object) -> None:
        """Refuse what `create` would refuse of a DaemonSet: BadScenario, ApiError."""
        ...

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store an object; answers it with its uid and defaults."""
        ...

    def set_status(self, kind: Kind, obj: Object, status: Object) -> None:
        """Give a stored object its status."""
        ...


class Builder:
    """Places pods and writes the objects of a settled cluster; `planes` is the nodes' state that goes with them."""

    def __init__(self, scenario: "Scenario", machines: list[Machine], now: str, sink: Sink) -> None:
        self._scenario = scenario
        self._machines = machines
        self._now = now
        self._sink = sink
        self.planes: dict[str, Plane] = {}
        self._canal = canal_objects(scenario)
        self._maps = {meta.key(one): one.get("data") or {} for one in self._canal if one["kind"] == "ConfigMap"}
        self._nodes: dict[str, Object] = {}
        self._addresses: dict[str, str] = {}
        self._shares: dict[str, str] = {}
        self._next_ip: dict[str, int] = {}
        self._load: dict[str, int] = {}

    def build(self) -> None:
        """Everything."""
        for one in self._canal:
            if one["kind"] == "DaemonSet":
                self._sink.check(one)
        self._make_nodes()
        scenario = self._scenario
        manifests = [*self._canal, *dns_objects(scenario), *workload_objects(scenario, len(self._nodes))]
        said = {meta.name(one) for one in manifests if one["kind"] == "Namespace"}
        for name in sorted({meta.namespace(m) for m in manifests} - _PRESENT - said):
            self._sink.create(kinds.NAMESPACE, _namespace(name))
        for manifest in manifests:
            self._furnish(manifest)

    def _make_nodes(self) -> None:
        scenario = self._scenario
        shares = IPv4Network(scenario.pod_cidr).subnets(new_prefix=node_mask(scenario, len(self._machines)))
        for machine in self._machines:
            share = machine.pod_cidr or str(next(shares))
            node = node_object(machine, f"{machine.name}-boot-0")
            node["spec"] |= {"podCIDR": share, "podCIDRs": [share]}
            pods = self._canal_pods(node)
            plane = self._plane(share, pods)
            self.planes[machine.name] = plane
            node["status"]["conditions"] = conditions(plane, self._now)
            if plane.flanneld:
                host = Host(machine.name, machine.address)
                node["metadata"]["annotations"] = flannel.annotations(host, self._net_conf(pods))
                node["status"]["conditions"].insert(0, _network_available(self._now))
            self._addresses[machine.name] = machine.address
            self._shares[machine.name] = share
            self._next_ip[machine.name] = 2
            self._nodes[machine.name] = self._sink.create(kinds.NODE, node)

    def _canal_pods(self, node: Object) -> list[Object]:
        """The pods of Canal's DaemonSets that run on a node."""
        made: list[Object] = []
        for daemon_set in self._canal:
            if daemon_set["kind"] == "DaemonSet" and placement(daemon_set, node)[0]:
                template = daemon_set["spec"]["template"]
                namespace, name = meta.key(daemon_set)
                metadata = {**(template.get("metadata") or {}), "namespace": namespace, "name": name}
                made.append({"metadata": metadata, "spec": {**template["spec"], "nodeName": meta.name(node)}})
        return made

    def _net_conf(self, pods: list[Object]) -> flannel.NetConf:
        """Flannel's settings; its defaults where they are none any more: it reads them when it starts only."""
        try:
            return next(flannel.net_conf_of(self._maps, pod) for pod in pods if flannel.runs_in(pod))
        except flannel.BadNetConf:
            return flannel.NetConf()

    def _plane(self, share: str, pods: list[Object]) -> Plane:
        """The node's state with whichever of Canal's pods run there."""
        plane = Plane()
        for pod in pods:
            try:
                new = installed(self._maps, pod)
            except NoValue:  # such a pod runs no more when it is restarted
                continue
            if new is None:
                continue
            network = parse(new.text)
            name = network.name if network is not None else ""
            kept = binaries(new.text) | kept_of(name)
            links: set[str] = set()
            if network is not None and network.bridged:
                kept, links = kept | {FLANNEL_FOLDER}, {BRIDGE}
            plane = replace(
                plane,
                files={**plane.files, **new.files},
                network=name,
                left=plane.left | kept,
                links=plane.links | links,
            )
        if any(flannel.runs_in(pod) for pod in pods):
            conf = self._net_conf(pods)
            plane = replace(
                plane,
                links=plane.links | ({conf.link} - {""}),
                chains=plane.chains | set(FLANNEL_CHAINS),
                subnet=share,
                flannel_run=any(flannel.shows_run(pod) for pod in pods),
                vtep=conf.link,
                vtep_port=conf.port,
                flannel_seen=ALWAYS,
                postrouting=(FLANNEL,),
            )
        if any(FELIX in meta.containers(pod) for pod in pods):
            plane = replace(plane, **felix_state(plane))
        return plane

    def _furnish(self, manifest: Object) -> None:
        """One manifest, with what its controller would have made of it."""
        if manifest["kind"] == "Pod":
            self._pod(manifest, meta.node_of(manifest) or self._choose(manifest["spec"], set()))
            return
        obj = self._sink.create(self._sink.kind_of(manifest), manifest)
        makers = {
            "DaemonSet": self._daemon_set,
            "Deployment": self._deployment,
            "StatefulSet": self._stateful_set,
        }
        make = makers.get(manifest["kind"])
        if make is not None:
            make(obj)

    def _daemon_set(self, obj: Object) -> None:
        revision, count = fingerprint(obj["spec"]["template"]), 0
        for name, node in self._nodes.items():
            if placement(obj, node)[0]:
                self._pod(daemon_pod(obj, name, revision), name)
                count += 1
        status: Object = {
            "currentNumberScheduled": count,
            "desiredNumberScheduled": count,
            "numberMisscheduled": 0,
            "numberReady": count,
            "observedGeneration": 1,
        }
        if count:
            status |= {"updatedNumberScheduled": count, "numberAvailable": count}
        self._sink.set_status(kinds.DAEMON_SET, obj, status)

    def _deployment(self, obj: Object) -> None:
        wanted = obj["spec"]["replicas"]
        revision = fingerprint(obj["spec"]["template"])
        replica_set = self._sink.create(kinds.REPLICA_SET, replica_set_for(obj, revision, wanted))
        self._spread(replica_set, wanted, {HASH_LABEL: revision})
        counts: Object = {"replicas": wanted, "observedGeneration": 1}
        if wanted:
            counts |= {"readyReplicas": wanted, "availableReplicas": wanted}
        full = {"fullyLabeledReplicas": wanted} if wanted else {}
        self._sink.set_status(kinds.REPLICA_SET, replica_set, counts | full)
        if wanted:
            counts |= {"updatedReplicas": wanted}
        self._sink.set_status(kinds.DEPLOYMENT, obj, counts)

    def _spread(self, owner: Object, wanted: int, labels: dict[str, str]) -> None:
        used: set[str] = set()
        for _ in range(wanted):
            pod = pod_from(owner["spec"]["template"], owner, labels=labels)
            used.add(self._pod(pod, self._choose(pod["spec"], used)))

    def _stateful_set(self, obj: Object) -> None:
        wanted: int = obj["spec"]["replicas"]
        used: set[str] = set()
        for ordinal in range(wanted):
            pod = stateful_pod(obj, ordinal)
            used.add(self._pod(pod, self._choose(pod["spec"], used)))
        name = f"{meta.name(obj)}-{fingerprint(obj['spec']['template'])}"
        status: Object = {"replicas": wanted, "availableReplicas": wanted, "observedGeneration": 1}
        status |= {"currentRevision": name, "updateRevision": name}
        if wanted:
            status |= {"readyReplicas": wanted, "currentReplicas": wanted, "updatedReplicas": wanted}
        self._sink.set_status(kinds.STATEFUL_SET, obj, status)

    def _choose(self, spec: Object, used: set[str]) -> str:
        """The node for a pod: one that fits, not used yet, with the fewest pods."""
        fitting = [name for name, node in self._nodes.items() if fits(spec, node)]
        if not fitting:
            return ""
        return min(fitting, key=lambda name: (name in used, self._load.get(name, 0), name))

    def _pod(self, pod: Object, node: str) -> str:
        """A pod that runs on a node (or waits, when there is none)."""
        if not node:
            self._sink.create(kinds.POD, pod)
            return node
        pod["spec"]["nodeName"] = node
        self._load[node] = self._load.get(node, 0) + 1
        stored = self._sink.create(kinds.POD, pod)
        host_ip = self._addresses[node]
        pod_ip = host_ip if meta.host_network(pod) else self._address(node)
        status = podstatus.running(stored, host_ip=host_ip, pod_ip=pod_ip, ready=True, restarts=0, now=self._now)
        self._sink.set_status(kinds.POD, stored, status)
        return node

    def _address(self, node: str) -> str:
        number = self._next_ip[node]
        self._next_ip[node] = number + 1
        return addresses.nth(self._shares[node], number)


_PRESENT = {"", "default", "kube-system", "kube-public", "kube-node-lease"}


def _namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _network_available(now: str) -> Object:
    return {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "FlannelIsUp",
        "message": "Flannel is running on this node",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
