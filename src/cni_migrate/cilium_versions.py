"""What differs between the versions of Cilium that can be installed: one table, read by templates and checks.

Each row was read in Cilium's own sources: `install/kubernetes/cilium` (the chart), `Documentation/cmdref`,
`pkg/k8s/apis/cilium.io/client/crds` and `Documentation/network/kubernetes/compatibility.rst` of the tags 1.15.19,
1.16.0, 1.16.19, 1.17.2, 1.17.16, 1.18.2, 1.18.6, 1.19.0, 1.19.4 and 1.20.2. What the charts say is written down in
`tests/charts/recorded`, and compared with what is rendered here. What is not here is the same in all of them, as far
as the tool depends on it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Version = tuple[int, int]

SEED: Final[Version] = (1, 7)
"""The version of the procedure that this tool grew from (profile seed). It was run on the simulator only."""

KUBERNETES: Final[Mapping[Version, tuple[str, ...]]] = {
    (1, 15): ("1.26", "1.27", "1.28", "1.29"),
    (1, 16): ("1.27", "1.28", "1.29", "1.30"),
    (1, 17): ("1.29", "1.30", "1.31", "1.32"),
    (1, 18): ("1.30", "1.31", "1.32", "1.33"),
    (1, 19): ("1.31", "1.32", "1.33", "1.34", "1.35"),
    (1, 20): ("1.33", "1.34", "1.35", "1.36"),
}
"""The versions of Kubernetes that Cilium is tested with (compatibility.rst). Its keys are the versions there are.

Of 1.19 the first release lists 1.31 to 1.34, later ones 1.32 to 1.35."""

NODE_CONFIG: Final[Mapping[str, Version]] = {"v2": (1, 16), "v2alpha1": (1, 15)}
"""Since when CiliumNodeConfig is served, the newest first. v2alpha1 is deprecated from 1.16 on, and still in 1.20."""


PORT_RANGES: Final[Version] = (1, 16)
"""Since when `endPort` of NetworkPolicies counts (pkg/k8s/network_policy.go): 1.15 warns, and takes the first port."""


@dataclass(frozen=True, slots=True)
class Span:
    """From which version to which, both included."""

    since: Version = (0, 0)
    until: Version = (99, 99)

    def holds(self, version: Version) -> bool:
        """Whether a version is among them."""
        return self.since <= version <= self.until


EVERY: Final = Span()


@dataclass(frozen=True, slots=True)
class Right:
    """A rule of a ClusterRole that not every version's chart has."""

    span: Span
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def rule(self) -> dict[str, Any]:
        """As Kubernetes writes it."""
        found: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return found | ({"resourceNames": list(self.names)} if self.names else {})


_READ: Final = ("get", "list", "watch")
_BGP: Final = (
    "ciliumbgpclusterconfigs.cilium.io", "ciliumbgppeerconfigs.cilium.io", "ciliumbgpadvertisements.cilium.io",
    "ciliumbgpnodeconfigs.cilium.io", "ciliumbgpnodeconfigoverrides.cilium.io",
)  # fmt: skip

AGENT: Final = (
    Right(Span(until=(1, 15)), "cilium.io",
          ("ciliumnetworkpolicies/status", "ciliumclusterwidenetworkpolicies/status"), ("patch",)),
    Right(Span(until=(1, 18)), "cilium.io", ("ciliumbgppeeringpolicies",), ("list", "watch")),
    Right(Span(until=(1, 19)), "", ("endpoints",), _READ),
    Right(Span(since=(1, 20)), "cilium.io", ("ciliumdatapathplugins",), ("list", "watch")),
)  # fmt: skip
"""Rights of the agent (chart: templates/cilium-agent/clusterrole.yaml)."""

OPERATOR: Final = (
    Right(Span(since=(1, 16), until=(1, 18)), "cilium.io", ("ciliumbgppeeringpolicies",), _READ),
    Right(Span(since=(1, 17)), "cilium.io", ("ciliumbgpclusterconfigs/status", "ciliumbgppeerconfigs/status"),
          ("update",)),
    Right(Span(until=(1, 19)), "", ("endpoints",), _READ),
    Right(Span(since=(1, 19)), "cilium.io", ("ciliumendpointslices",), ("deletecollection",)),
    Right(Span(since=(1, 20)), "", ("serviceaccounts",), _READ),
    Right(Span(since=(1, 20)), "cilium.io", ("ciliumdatapathplugins",), _READ),
    Right(Span(since=(1, 20)), "cilium.io", ("ciliumcidrgroups",), (*_READ, "create", "update", "patch", "delete")),
    Right(Span(since=(1, 20)), "cilium.io", ("ciliumbgpclusterconfigs", "ciliumbgpnodeconfigoverrides"),
          ("create", "update", "patch", "delete")),
    Right(Span(since=(1, 20)), "apiextensions.k8s.io", ("customresourcedefinitions/status",), ("update",), _BGP),
)  # fmt: skip
"""Rights of the operator (chart: templates/cilium-operator/clusterrole.yaml).

Three that charts have are left out. To read every Secret, from 1.17 on, is for secrets of L7 policies, which are off
here. No program of 1.16 to 1.20 patches a ConfigMap, and none of 1.19 reads ciliumbgppeeringpolicies, which the chart
of 1.19.0 does not name and that of 1.19.4 does."""

DEFINITIONS: Final[Mapping[str, Span]] = {
    "ciliumbgppeeringpolicies": Span(until=(1, 18)),
    "ciliumexternalworkloads": Span(until=(1, 17)),
    "ciliumgatewayclassconfigs": Span(since=(1, 18)),
    "ciliumdatapathplugins": Span(since=(1, 20)),
}
"""Kinds of Cilium's own that not every version has, whose definition its operator keeps up to date (the same file)."""

CHOICES: Final[tuple[tuple[str, str, Span], ...]] = (
    # Not one event per packet.
    ("monitor-aggregation", "medium", EVERY),
    ("monitor-aggregation-interval", "5s", EVERY),
    ("monitor-aggregation-flags", "all", EVERY),
    # Maps that are allocated in another way are made anew, and connections are forgotten with them.
    ("preallocate-bpf-maps", "false", EVERY),
    # Pods that change their identity are strangers to policies for a moment.
    ("enable-well-known-identities", "false", EVERY),
    # From 1.17 on that is the programs' own default (pkg/defaults).
    ("k8s-client-qps", "10", Span(until=(1, 16))),
    ("k8s-client-burst", "20", Span(until=(1, 16))),
    # Where its probes look, also on a node on which `localhost` is something else.
    ("operator-api-serve-addr", "127.0.0.1:9234", EVERY),
)
"""Keys of `cilium-config` for which Cilium's chart chooses something else than the programs' own default, and so do
we. What is not here is the same by default, or is off here: docs/explanation/cilium-manifests.md."""

ENVOY: Final = Span(since=(1, 16))
"""Where the chart brings Envoy as a DaemonSet of its own unless its values say otherwise (values.yaml: envoy.enabled).
Ours has no L7 proxy, so no version of it needs one."""

NETNS: Final = Span(since=(1, 16))
"""Where the agent has the node's folder of network namespaces at /var/run/cilium/netns (chart:
templates/cilium-agent/daemonset.yaml). By it pods get another MTU (pkg/mtu, 1.17), and their sockets are closed when a
backend is gone (pkg/service, 1.16); without it, that fails."""

INIT: Final = ("config", "mount-cgroup", "apply-sysctl-overwrites", "mount-bpf-fs", "clean-cilium-state",
               "install-cni-binaries")  # fmt: skip
"""The init containers of the chart's agent, the same from 1.15 to 1.20; the operator's arguments are the same, too."""


def parsed(text: str) -> Version:
    """Major and minor of a version such as `1.20.2` or `v1.34.4+rke2r1`; (0, 0) when it is none."""
    parts = text.removeprefix("v").split(".")[:2]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdecimal() for part in parts) else (0, 0)


def supported(version: str) -> bool:
    """Whether the tool knows this version of Cilium."""
    return parsed(version) in KUBERNETES or parsed(version) == SEED


def known() -> str:
    """The versions there are, in words."""
    first, *_, last = sorted(KUBERNETES)
    return f"{_text(first)} to {_text(last)}"


def listed_with(version: str, kubernetes: str) -> bool:
    """Whether Cilium lists a version of Kubernetes; yes for what is not known."""
    tested = KUBERNETES.get(parsed(version))
    return tested is None or parsed(kubernetes) == (0, 0) or _text(parsed(kubernetes)) in tested


def rules(rights: Iterable[Right], version: Version) -> list[dict[str, Any]]:
    """The rules that a version has beside those of every version."""
    return [right.rule() for right in rights if right.span.holds(version)]


def definitions(version: Version) -> list[str]:
    """The kinds that a version has beside those of every version."""
    return [name for name, span in DEFINITIONS.items() if span.holds(version)]


def choices(version: Version) -> dict[str, str]:
    """The chart's choices for `cilium-config`."""
    return {key: text for key, text, span in CHOICES if span.holds(version)}


def node_config(version: Version) -> str:
    """The newest apiVersion in which a version serves CiliumNodeConfig; '' for none."""
    return next((f"cilium.io/{name}" for name, since in NODE_CONFIG.items() if version >= since), "")


def served_node_config(served: Collection[str]) -> str | None:
    """The newest apiVersion in which an API server serves CiliumNodeConfig; None when it does not.

    `served` has `group/version/plural` of what is served, as `Snapshot.served` has it.
    """
    versions = (f"cilium.io/{name}" for name in NODE_CONFIG)
    return next((version for version in versions if f"{version}/ciliumnodeconfigs" in served), None)


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
