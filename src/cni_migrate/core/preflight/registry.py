"""What checks are made of: the facts they look at, the findings they give, and where they are registered."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cni_migrate.config import Config
from cni_migrate.core.model.canal import FoundCanal
from cni_migrate.core.model.nodeconfig import NodeConfig
from cni_migrate.core.model.objects import DaemonSet, Snapshot, Taint
from cni_migrate.core.model.words import many as many


class Severity(StrEnum):
    """What a finding means for a run."""

    BLOCKER = "blocker"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: on which objects, and what to do about it; `waived`: an operator goes on all the same."""

    id: str
    severity: Severity
    what: str
    to_do: str
    objects: tuple[str, ...] = ()
    waived: bool = False


@dataclass(frozen=True, slots=True)
class Hook:
    """An admission webhook that is called for pods and whose failure refuses them."""

    name: str
    service: str


@dataclass(frozen=True, slots=True)
class ReleaseFound:
    """A release of Helm's as it was found: of which chart, in which state."""

    chart: str
    status: str
    revision: int


NO_CANAL = FoundCanal()


@dataclass(frozen=True)
class Facts:
    """What the checks look at, gathered once.

    `rights_missing` are rights in words; `refused` objects of the migration that the API server would refuse, with why;
    `local_volumes` the PersistentVolumes that are on one node, by the claim (namespace/name) that has them; `found` the
    Canal that the cluster tells of; `policies` are (kind, namespace, name), `calico_policies` those that only Calico
    enforces; `pod_hooks` are webhooks with failurePolicy Fail that pods meet; `service_ips` known ClusterIPs,
    `service_networks` what they are taken from, `api_servers` the API server's own addresses; `felix`
    the FelixConfigurations by name; `pool_networks` the networks of Calico's IPPools by name, `masquerading` the names
    of those with natOutgoing; `ip_blocks` rules of NetworkPolicies on pods or nodes, in words; `audited`
    whether Cilium only logs in the end what policies forbid; `unknown_labels`
    policies that choose pods by labels which Cilium's identities do not have; `port_ranges` those with ranges of ports
    that this version does not read; `sctp` policies and Services with SCTP, unless Cilium passes it; `proxy_mode` and
    `proxy_cidr` what kube-proxy was started with; `cautions` what manifests cannot promise; `later` what of the
    operator's Cilium comes with the last step; `lost_without_kube_proxy` and
    `host_ports` as `Manifests` has them; `release` the one that Helm has under the configured name already; `released`
    by release of Helm's (`namespace/name`), what of Cilium's is there already and belongs to it; `node_configs` the
    CiliumNodeConfigs that agents of Cilium will read, or do; `agents` the DaemonSet that an operator's own Cilium
    brings; `left_out`, `pulled_without` and `mirrored_without` as `Manifests` has them.
    """

    config: Config
    seen: Snapshot
    taint: Taint
    version: str = ""
    rights_missing: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    local_volumes: Mapping[str, str] = field(default_factory=dict)
    found: FoundCanal = NO_CANAL
    policies: tuple[tuple[str, str, str], ...] = ()
    calico_policies: tuple[str, ...] = ()
    pod_hooks: tuple[Hook, ...] = ()
    service_ips: tuple[str, ...] = ()
    service_networks: tuple[str, ...] = ()
    api_servers: tuple[str, ...] = ()
    ipv6_services: tuple[str, ...] = ()
    felix: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ip_pools: tuple[str, ...] = ()
    pool_networks: Mapping[str, str] = field(default_factory=dict)
    masquerading: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    audited: bool = False
    unknown_labels: tuple[str, ...] = ()
    port_ranges: tuple[str, ...] = ()
    sctp: tuple[str, ...] = ()
    crds: tuple[str, ...] = ()
    proxy_mode: str = ""
    proxy_cidr: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    lost_without_kube_proxy: bool = False
    host_ports: str = ""
    release: ReleaseFound | None = None
    released: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    node_configs: tuple[NodeConfig, ...] = ()
    agents: DaemonSet | None = None
    left_out: tuple[str, ...] = ()
    pulled_without: tuple[str, ...] = ()
    mirrored_without: tuple[str, ...] = ()

    @property
    def canal(self) -> DaemonSet | None:
        """Canal's DaemonSet."""
        return self.seen.daemonsets.get((self.config.canal.namespace, self.config.canal.daemonset))


Check = Callable[[Facts], Iterator[Finding]]

CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Register a check."""
    CHECKS.append(function)
    return function


def blocker(check_id: str, what: str, to_do: str, objects: Iterable[str] = ()) -> Finding:
    """What a run cannot do without mending."""
    return Finding(check_id, Severity.BLOCKER, what, to_do, tuple(objects))


def warning(check_id: str, what: str, to_do: str, objects: Iterable[str] = ()) -> Finding:
    """What is the operator's choice."""
    return Finding(check_id, Severity.WARNING, what, to_do, tuple(objects))


def info(check_id: str, what: str, to_do: str, objects: Iterable[str] = ()) -> Finding:
    """What is worth knowing."""
    return Finding(check_id, Severity.INFO, what, to_do, tuple(objects))
