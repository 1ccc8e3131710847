"""What Calico keeps in the API."""

from typing import Any

from cni_migrate.kube.calico import Calico, calico
from tests.unit.kube.fake_api import FakeServer, listed
from tests.unit.kube.test_canal import run

API = "/apis/crd.projectcalico.org/v1"


def named(name: str, namespace: str = "", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "spec": spec}


OFF = named("b", disabled=True, cidr="10.2.0.0/16", natOutgoing=True)
"""A pool that gives no addresses any more; felix masquerades what comes from it all the same."""


def test_what_only_calico_acts_on() -> None:
    """Its own policies, tiers and host endpoints are named; what it makes by itself is not."""
    server = FakeServer()
    server.on("GET", f"{API}/globalnetworkpolicies", listed(named("deny")))
    server.on("GET", f"{API}/networkpolicies", listed(named("db", "shop"), named("knp.default.web", "shop")))
    server.on("GET", f"{API}/tiers", listed(named("default"), named("security")))
    server.on("GET", f"{API}/felixconfigurations", listed(named("default", bpfEnabled=True)))
    server.on("GET", f"{API}/ippools", listed(named("a", cidr="10.1.0.0/16"), OFF))
    kinds = ("globalnetworkpolicies", "networkpolicies", "tiers", "felixconfigurations", "ippools")
    crds = [f"{kind}.crd.projectcalico.org" for kind in kinds]
    assert run(server, lambda client: calico(client, crds)) == Calico(
        ("GlobalNetworkPolicy deny", "NetworkPolicy shop/db", "Tier security"),
        {"default": {"bpfEnabled": True}},
        ("a 10.1.0.0/16",),
        {"a": "10.1.0.0/16", "b": "10.2.0.0/16"},
        ("b",),
    )


def test_other_groups_of_policies_that_felix_enforces() -> None:
    """Calico's definitions under the name of its own API, and Kubernetes' policies for administrators."""
    server = FakeServer()
    server.on("GET", "/apis/projectcalico.org/v3/globalnetworkpolicies", listed(named("deny")))
    server.on("GET", "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies", listed(named("tenants")))
    server.on("GET", "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies", listed(named("default")))
    server.on("GET", "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", listed(named("tenants")))
    crds = ["globalnetworkpolicies.projectcalico.org", "adminnetworkpolicies.policy.networking.k8s.io",
            "baselineadminnetworkpolicies.policy.networking.k8s.io",
            "clusternetworkpolicies.policy.networking.k8s.io"]  # fmt: skip
    assert run(server, lambda client: calico(client, crds)).policies == (
        "AdminNetworkPolicy tenants", "BaselineAdminNetworkPolicy default", "ClusterNetworkPolicy tenants",
        "GlobalNetworkPolicy deny",
    )  # fmt: skip


def test_nothing_is_asked_for_that_is_not_served() -> None:
    """Without Calico's definitions there is nothing to read."""
    assert run(FakeServer(), lambda client: calico(client, ["a.b.c"])) == Calico()
