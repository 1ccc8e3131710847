"""What of NetworkPolicies Cilium takes for something else than Kubernetes does."""

from typing import Any

import pytest

from cni_migrate.kube.networkpolicies import (
    Block,
    about_sctp,
    about_the_cluster,
    by_unknown_labels,
    ip_blocks,
    network_policies,
    port_ranges,
)
from tests.unit.kube.fake_api import FakeServer, listed
from tests.unit.kube.test_calico import named
from tests.unit.kube.test_canal import run


def test_blocks_are_read_from_both_directions() -> None:
    """Ingress and egress, with what is left out of them."""
    server = FakeServer()
    ingress = [{"from": [{"ipBlock": {"cidr": "10.244.0.0/16"}}, {"podSelector": {}}]}]
    egress = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}, {}]
    server.on(
        "GET", "/apis/networking.k8s.io/v1/networkpolicies", listed(named("db", "shop", ingress=ingress, egress=egress))
    )
    assert ip_blocks(run(server, network_policies)) == [
        Block("shop/db", "10.244.0.0/16", ()),
        Block("shop/db", "0.0.0.0/0", ("10.0.0.0/8",)),
    ]


@pytest.mark.parametrize(
    ("cidr", "without", "inside"),
    [
        ("10.244.3.0/24", (), True),
        ("10.0.0.0/8", (), True),
        ("0.0.0.0/0", (), True),
        ("0.0.0.0/0", ("10.0.0.0/8", "192.168.0.0/16"), False),
        ("0.0.0.0/0", ("10.0.0.0/8",), True),
        ("0.0.0.0/0", ("10.244.3.0/24",), True),
        ("192.168.0.11/32", (), True),
        ("203.0.113.0/24", (), False),
        ("::/0", (), False),
        ("none", (), False),
    ],
)
def test_which_blocks_are_about_the_cluster(cidr: str, without: tuple[str, ...], inside: bool) -> None:
    """Pods' networks and nodes' addresses, unless all of them are left out."""
    own = ["10.244.0.0/16", "10.245.0.0/16", "192.168.0.11"]
    found = list(about_the_cluster([Block("shop/db", cidr, without)], own))
    assert bool(found) is inside
    assert all("NetworkPolicy shop/db" in one for one in found)


def _by(**pods: Any) -> dict[str, Any]:
    """A policy over the pods of this selector."""
    return named("db", "shop", podSelector=pods)


@pytest.mark.parametrize(
    ("selector", "more", "key"),
    [
        ({"matchLabels": {"statefulset.kubernetes.io/pod-name": "db-0"}}, "", "statefulset.kubernetes.io/pod-name"),
        ({"matchLabels": {"app": "db", "pod-template-hash": "1"}}, "", "pod-template-hash"),
        (
            {"matchExpressions": [{"key": "kubernetes.io/tier", "operator": "In", "values": ["db"]}]},
            "",
            "kubernetes.io",
        ),
        ({"matchExpressions": [{"key": "k8s.io/tier", "operator": "Exists"}]}, "", "k8s.io/tier"),
        ({"matchLabels": {"app": "db"}}, "team", "app"),
        ({"matchLabels": {"app": "db", "app.kubernetes.io/name": "db", "example.com/kubernetes.io": "1"}}, "", ""),
        ({"matchLabels": {"kubernetes.io/tier": "db"}}, "app kubernetes.io/tier", ""),
        ({"matchLabels": {"pod-template-hash": "1"}}, "app pod-template-hash", "pod-template-hash"),
        ({}, "", ""),
    ],
)
def test_labels_that_are_no_part_of_identities(selector: dict[str, Any], more: str, key: str) -> None:
    """Told by Cilium's own filter and the operator's patterns, of the policy's own pods and of peers."""
    peer = named("web", "shop", podSelector={}, ingress=[{"from": [{"podSelector": selector}]}], egress=[{}])
    subject, caller = (list(by_unknown_labels([one], (1, 20), more)) for one in (_by(**selector), peer))
    assert bool(subject) == bool(caller) == bool(key)
    assert all("NetworkPolicy shop/db: podSelector by" in one and key in one for one in subject)
    assert all("NetworkPolicy shop/web: a peer's podSelector by" in one and key in one for one in caller)


@pytest.mark.parametrize(
    ("more", "keys"),
    [
        ("", ""),
        ("k8s:app", ""),
        ("!io.cilium.k8s.namespace.labels.team", "team"),
        (r"k8s:!io\.cilium\.k8s\.namespace\.labels", "kubernetes.io/metadata.name, team"),
        (r"!io.cilium.k8s.namespace.labels k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", "team"),
    ],
)
def test_namespaces_are_chosen_by_the_labels_that_identities_have_of_them(more: str, keys: str) -> None:
    """Cilium takes all labels of namespaces in, unless its option leaves some out."""
    chosen = {"matchLabels": {"kubernetes.io/metadata.name": "shop"}, "matchExpressions": [{"key": "team"}]}
    policy = named("db", "shop", podSelector={}, ingress=[{"from": [{"namespaceSelector": chosen}]}])
    found = list(by_unknown_labels([policy], (1, 20), more))
    assert found == ([f"NetworkPolicy shop/db: a peer's namespaceSelector by {keys}"] if keys else [])


@pytest.mark.parametrize(("version", "found"), [((1, 18), 0), ((1, 19), 1), ((1, 20), 1)])
def test_a_later_cilium_leaves_out_more_labels(version: tuple[int, int], found: int) -> None:
    """`topology.kubernetes.io/zone`, which Kubernetes 1.35 gives to every pod, is none of an identity's from 1.19 on."""
    policy = _by(matchLabels={"topology.kubernetes.io/zone": "a"})
    assert len(list(by_unknown_labels([policy], version, ""))) == found


def test_ports() -> None:
    """Ranges and SCTP, of both directions."""
    ranged = named("ranged", "shop", ingress=[{"ports": [{"port": 8000, "endPort": 8010}, {"port": 53}]}])
    sctp = named("sctp", "shop", egress=[{"ports": [{"port": 3868, "protocol": "SCTP"}]}])
    assert list(port_ranges([ranged, sctp])) == ["NetworkPolicy shop/ranged: ports 8000-8010"]
    assert list(about_sctp([ranged, sctp])) == ["NetworkPolicy shop/sctp"]
