"""What agents are told: the content of the ConfigMaps of Cilium, of knet-stress and of the identity agents."""

from collections.abc import Mapping
from typing import Any, Final

from cni_migrate import cilium_versions
from cni_migrate.config import Config
from cni_migrate.consistency import AGENT_TAINT, NODE_TAINTS
from cni_migrate.core.connectivity import peers
from cni_migrate.core.render.foreign import POLICY_KEYS, is_on, version_of

HEALTH_PORT: Final = 9879
"""Port of the agent's health check on the node, as in Cilium's own chart."""


def knet_config(config: Config) -> dict[str, Any]:
    """What the agents are told: docs/reference/knet-report.md."""
    return {
        "interval_s": config.knet.interval,
        "idle_interval_s": config.knet.idle_interval,
        "timeout_s": config.knet.timeout,
        "full_mesh_max": config.knet.full_mesh_max,
        "degree": config.knet.degree,
        "seed": peers.seed(config),
    }


def identities_config(config: Config, cilium: Mapping[str, str]) -> dict[str, Any]:
    """What the identity agents are told; `cilium` is what Cilium's own configuration says of labels and clusters.

    By its version it is known which labels of a pod make its identity: by that of the image, as a migration that has
    begun keeps it, also of a Cilium that is there already.
    """
    version = cilium_versions.parsed(version_of(config.cilium.image) or config.cilium.version)
    return {
        "canal_cidr": config.canal.whole,
        "cilium_cidr": config.cilium.pod_cidr,
        "cluster": cilium.get("cluster-name", "default"),
        "cluster_id": int(cilium.get("cluster-id", "0") or 0),
        "max_clusters": int(cilium.get("max-connected-clusters", "255") or 255),
        "labels": cilium.get("labels", ""),
        "version": "{}.{}".format(*version),
    }


def cilium_config(config: Config, version: cilium_versions.Version, *, final: bool) -> dict[str, str]:
    """The data of the ConfigMap `cilium-config`.

    The user's `cilium.extra_config` outranks plain features, and is outranked by what the migration depends on.
    Coexistence follows Cilium's guide "Migrating a cluster to Cilium": its own tunnel port and pod CIDR, the node's
    routes for Canal's pods, and an operator that restarts no pod it does not know.
    """
    cilium = config.cilium
    traits, seed = config.traits, version == cilium_versions.SEED
    file = f"/host/etc/cni/net.d/{cilium.primary_file}"
    plain = {
        "identity-allocation-mode": "crd",
        "enable-ipv4": "true",
        "enable-ipv6": "false",
        "enable-ipv4-masquerade": "true",
        "kube-proxy-replacement": "disabled" if seed else "false",
        "bpf-lb-sock": "false",
        "enable-l7-proxy": "false",
        "enable-hubble": "false",
        "enable-health-checking": "false",
        "enable-endpoint-health-checking": "false",
        "agent-health-port": str(HEALTH_PORT),
        "agent-not-ready-taint-key": AGENT_TAINT,
        "remove-cilium-node-taints": "true",
        "set-cilium-is-up-condition": "true",
        "cgroup-root": "/run/cilium/cgroupv2",
    }
    if not seed:
        plain |= cilium_versions.choices(version)
    owned = {
        "routing-mode": "tunnel",
        "tunnel-protocol": cilium.tunnel_protocol,
        "tunnel-port": str(cilium.tunnel_port),
        "ipam": "cluster-pool",
        "cluster-pool-ipv4-cidr": cilium.pod_cidr,
        "cluster-pool-ipv4-mask-size": str(cilium.mask_size),
        "enable-host-legacy-routing": "true",
        "cni-uninstall": "false",
    }
    if seed:
        owned["tunnel"] = cilium.tunnel_protocol
    if final:
        owned |= {
            "enable-policy": cilium.policy_enforcement,
            "custom-cni-conf": "false",
            "cni-exclusive": "true",
            "write-cni-conf-when-ready": file,
        }
        return {**plain, **owned, **cilium.extra_config}
    owned |= {
        # As Canal's pods have identities, policies hold on the way, whatever becomes of them in the end.
        "enable-policy": "default",
        # No agent writes a CNI file until a CiliumNodeConfig says so; or the agents' arguments say which.
        "custom-cni-conf": "true" if traits.node_config else "false",
        "cni-exclusive": "false",
        "unmanaged-pod-watcher-interval": "0",
        # By this label the operator knows agents; two DaemonSets have it in common.
        "cilium-pod-labels": "app.kubernetes.io/name=cilium-agent",
        # An agent that starts would put its chains before Calico's, and let through what policies forbid until
        # felix has moved its own back: some 13 seconds, measured with Calico 3.32.
        "prepend-iptables-chains": "false",
        # It would delete the endpoints of its node that it did not make (pkg/endpointcleanup).
        "enable-stale-cilium-endpoint-cleanup": "false",
    }
    if is_on(cilium.extra_config.get(NODE_TAINTS, "")):
        owned[NODE_TAINTS] = "false"  # a node whose agent is sent away would stay closed to pods
    return {**plain, **cilium.extra_config, **owned}


def policy_keys(config: Config, version: cilium_versions.Version) -> dict[str, str]:
    """The keys by which policies hold in transit, whoever brings Cilium."""
    ours = cilium_config(config, version, final=False)
    return {key: ours[key] for key in POLICY_KEYS}
