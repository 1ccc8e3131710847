"""What a configuration becomes by the Canal that was found, and where the two contradict each other."""

from dataclasses import replace
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.canal import FoundCanal, contradictions, pods_part, settled

RKE2 = FoundCanal(
    daemonsets=(("kube-system", "rke2-canal"),),
    config_map="kube-system/rke2-canal-config",
    network="10.42.0.0/16",
    pods="10.42.0.0/16",
    backend="vxlan",
    vni=1,
    port=8472,
    cni_file="10-canal.conflist",
)
KOPS = replace(RKE2, network="100.64.0.0/10", pods="100.96.0.0/11")
SPLIT = replace(RKE2, daemonsets=(("kube-flannel", "kube-flannel-ds"), ("kube-system", "calico-node")))


@pytest.mark.parametrize(
    ("config", "said", "found", "becomes"),
    [
        ({}, (), RKE2, {"daemonset": "rke2-canal", "pod_cidr": "10.42.0.0/16", "whole": "10.42.0.0/16"}),
        ({}, (), KOPS, {"pod_cidr": "100.96.0.0/11", "whole": "100.64.0.0/10"}),
        ({"pod_cidr": "100.96.0.0/11"}, ("pod_cidr",), KOPS, {"pod_cidr": "100.96.0.0/11", "whole": "100.64.0.0/10"}),
        ({"pod_cidr": "10.244.0.0/16"}, ("pod_cidr",), RKE2, {"pod_cidr": "10.244.0.0/16", "whole": "10.244.0.0/16"}),
        ({"daemonset": "other"}, ("daemonset",), RKE2, {"daemonset": "other"}),
        ({"tunnel_port": 4789}, ("tunnel_port",), RKE2, {"tunnel_port": 4789}),
        ({}, (), SPLIT, {"namespace": "kube-flannel", "more_daemonsets": ["kube-system/calico-node"]}),
        ({"daemonset": "calico-node"}, ("daemonset",), SPLIT,
         {"namespace": "kube-system", "more_daemonsets": ["kube-flannel/kube-flannel-ds"]}),
        ({}, (), FoundCanal(), {"daemonset": "canal", "pod_cidr": "10.244.0.0/16"}),
    ],
)  # fmt: skip
def test_the_clusters_values_stand_where_nothing_was_said(
    config: dict[str, Any], said: tuple[str, ...], found: FoundCanal, becomes: dict[str, Any]
) -> None:
    """What was said stays; what was not is taken from the cluster, flannel's whole network beside the pods' part."""
    canal = settled(Config.model_validate({"canal": config}), [f"canal.{key}" for key in said], found).canal
    assert {key: getattr(canal, key) for key in becomes} == becomes


@pytest.mark.parametrize(
    ("config", "found", "says"),
    [
        ({}, RKE2, [("canal.pod_cidr", "10.244.0.0/16", "10.42.0.0/16")]),
        ({"pod_cidr": "10.42.0.0/16"}, RKE2, []),
        ({"pod_cidr": "10.42.0.0/17"}, RKE2, []),
        ({"pod_cidr": "100.96.0.0/11"}, KOPS, []),
        ({"pod_cidr": "100.96.0.0/11", "network": "100.64.0.0/10"}, KOPS, []),
        ({"pod_cidr": "100.96.0.0/11", "network": "100.96.0.0/11"}, KOPS,
         [("canal.network", "100.96.0.0/11", "100.64.0.0/10")]),
        ({"pod_cidr": "10.42.0.0/16", "tunnel_port": 4789}, RKE2, [("canal.tunnel_port", "4789", "8472")]),
        ({"pod_cidr": "10.42.0.0/16", "cni_file": "11-a.conflist"}, RKE2,
         [("canal.cni_file", "11-a.conflist", "10-canal.conflist")]),
    ],
)  # fmt: skip
def test_a_contradiction_names_both_values(
    config: dict[str, Any], found: FoundCanal, says: list[tuple[str, str, str]]
) -> None:
    """A part of flannel's network is no contradiction; another network, port or file is."""
    assert list(contradictions(Config.model_validate({"canal": config}), found)) == says


@pytest.mark.parametrize(
    ("network", "cluster_cidr", "nodes", "addresses", "part"),
    [
        ("10.244.0.0/16", "", ["10.244.1.0/24"], ["192.168.0.1", "10.96.0.1"], "10.244.0.0/16"),
        ("100.64.0.0/10", "100.96.0.0/11", ["100.96.1.0/24"], ["100.64.0.1"], "100.96.0.0/11"),
        ("100.64.0.0/10", "", ["100.96.0.0/24", "100.96.3.0/24"], ["100.64.0.1"], "100.96.0.0/16"),
        ("10.0.0.0/8", "", ["10.244.1.0/24"], ["10.0.0.4"], "10.244.0.0/16"),
        ("10.0.0.0/8", "10.244.0.0/16", ["10.42.1.0/24"], ["10.0.0.4"], "10.42.0.0/16"),
        ("10.0.0.0/8", "", ["10.42.1.0/24", "10.44.1.0/24"], ["10.0.0.4"], "10.40.0.0/13"),
        ("10.0.0.0/8", "", ["10.42.1.0/24"], ["10.42.7.4"], "10.42.0.0/22"),
        ("10.0.0.0/8", "", ["10.42.1.0/24"], ["10.0.0.4", "10.42.128.0/17"], "10.42.0.0/17"),
        ("10.0.0.0/8", "192.168.0.0/16", ["10.42.1.0/24"], [], "10.0.0.0/8"),
        ("10.244.0.0/16", "", ["10.42.1.0/24"], ["10.244.0.4"], "10.244.0.0/16"),
        ("10.244.0.0/16", "", [], ["10.244.0.4"], "10.244.0.0/16"),
        ("", "", ["10.42.1.0/24"], [], ""),
    ],
)
def test_the_pods_part_of_a_network(
    network: str, cluster_cidr: str, nodes: list[str], addresses: list[str], part: str
) -> None:
    """What the control plane hands to nodes; else the whole network, unless nodes or Services are in it."""
    assert pods_part(network, cluster_cidr, nodes, addresses)[0] == part


def test_what_is_found_leaves_the_strategy_alone() -> None:
    """It is overlay everywhere, or what somebody chose."""
    assert settled(Config(), (), FoundCanal()).strategy == "overlay"
    assert settled(Config(strategy="multus"), (), FoundCanal(calico=("by its plugin",))).strategy == "multus"
