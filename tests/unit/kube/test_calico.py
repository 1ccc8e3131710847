"""What Calico keeps in the API, and which policies name pods or nodes by address."""

from typing import Any

import pytest

from cni_migrate.kube.calico import Calico, calico
from cni_migrate.kube.ipblocks import Block, about_the_cluster, ip_blocks
from tests.unit.kube.fake_api import FakeServer, listed
from tests.unit.kube.test_canal import run

API = "/apis/crd.projectcalico.org/v1"


def named(name: str, namespace: str = "", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "spec": spec}


def test_what_only_calico_acts_on() -> None:
    """Its own policies, tiers and host endpoints are named; what it makes by itself is not."""
    server = FakeServer()
    server.on("GET", f"{API}/globalnetworkpolicies", listed(named("deny")))
    server.on("GET", f"{API}/networkpolicies", listed(named("db", "shop"), named("knp.default.web", "shop")))
    server.on("GET", f"{API}/tiers", listed(named("default"), named("security")))
    server.on("GET", f"{API}/felixconfigurations", listed(named("default", bpfEnabled=True)))
    server.on("GET", f"{API}/ippools", listed(named("a", cidr="10.1.0.0/16"), named("b", disabled=True)))
    kinds = ("globalnetworkpolicies", "networkpolicies", "tiers", "felixconfigurations", "ippools")
    crds = [f"{kind}.crd.projectcalico.org" for kind in kinds]
    assert run(server, lambda client: calico(client, crds)) == Calico(
        ("GlobalNetworkPolicy deny", "NetworkPolicy shop/db", "Tier security"),
        {"default": {"bpfEnabled": True}},
        ("a 10.1.0.0/16",),
    )


def test_other_groups_of_policies_that_felix_enforces() -> None:
    """Calico's definitions under the name of its own API, and Kubernetes' policies for administrators."""
    server = FakeServer()
    server.on("GET", "/apis/projectcalico.org/v3/globalnetworkpolicies", listed(named("deny")))
    server.on("GET", "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies", listed(named("tenants")))
    server.on("GET", "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies", listed(named("default")))
    crds = ["globalnetworkpolicies.projectcalico.org", "adminnetworkpolicies.policy.networking.k8s.io",
            "baselineadminnetworkpolicies.policy.networking.k8s.io"]  # fmt: skip
    assert run(server, lambda client: calico(client, crds)).policies == (
        "AdminNetworkPolicy tenants", "BaselineAdminNetworkPolicy default", "GlobalNetworkPolicy deny",
    )  # fmt: skip


def test_nothing_is_asked_for_that_is_not_served() -> None:
    """Without Calico's definitions there is nothing to read."""
    assert run(FakeServer(), lambda client: calico(client, ["a.b.c"])) == Calico()


def test_blocks_are_read_from_both_directions() -> None:
    """Ingress and egress, with what is left out of them."""
    server = FakeServer()
    ingress = [{"from": [{"ipBlock": {"cidr": "10.244.0.0/16"}}, {"podSelector": {}}]}]
    egress = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}, {}]
    server.on(
        "GET", "/apis/networking.k8s.io/v1/networkpolicies", listed(named("db", "shop", ingress=ingress, egress=egress))
    )
    assert run(server, ip_blocks) == [
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
