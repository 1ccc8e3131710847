"""What an installed Cilium's configuration needs, key by key: what is named, with which helm value, and what is not."""

import pytest

from cni_migrate.config import Config
from cni_migrate.core.render.coexistence import Stage, rows, values, wrong

CONFIG = Config.model_validate({"cilium": {"source": "existing"}})

GUIDE = {
    "identity-allocation-mode": "crd", "ipam": "cluster-pool", "cluster-pool-ipv4-cidr": "10.245.0.0/16",
    "cluster-pool-ipv4-mask-size": "24", "routing-mode": "tunnel", "tunnel-protocol": "vxlan", "tunnel-port": "8473",
    "custom-cni-conf": "true", "unmanaged-pod-watcher-interval": "0", "enable-host-legacy-routing": "true",
    "kube-proxy-replacement": "false", "enable-policy": "default", "prepend-iptables-chains": "false",
    "enable-stale-cilium-endpoint-cleanup": "false", "cni-chaining-mode": "none", "enable-ipv6": "false",
}  # fmt: skip
"""What the chart makes of the values for the transit (1.15 to 1.20), as far as it matters here."""

STAYS = GUIDE | {"write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist", "custom-cni-conf": "false"}


def test_existing_means_overlay() -> None:
    """Nobody has to say the strategy that alone goes with it."""
    assert CONFIG.strategy == "overlay"


@pytest.mark.parametrize(("data", "stage"), [(GUIDE, "transit"), (STAYS, "final")])
def test_what_the_values_make_is_right(data: dict[str, str], stage: Stage) -> None:
    """By the values that are asked for nothing is wrong."""
    assert wrong(data, CONFIG, stage) == []


@pytest.mark.parametrize("key", [row.key for row in rows("transit") if row.key in GUIDE])
def test_each_key_is_looked_at(key: str) -> None:
    """Another text is named with the key and a helm value."""
    found = wrong({**GUIDE, key: "other"}, CONFIG, "transit")
    assert [one.key for one in found] == [key]
    assert found[0].found == "other"
    assert found[0].value


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("enable-k8s-networkpolicy", "false", "k8sNetworkPolicy.enabled: true"),
        ("policy-audit-mode", "true", "policyAuditMode: false"),
        ("disable-endpoint-crd", "true", "disableEndpointCRD: false"),
        ("identity-management-mode", "operator", "identityManagementMode: agent"),
        ("enable-cilium-endpoint-slice", "true", "ciliumEndpointSlice.enabled: false"),
        ("cilium-endpoint-gc-interval", "0s", "operator.endpointGCInterval: 5m0s"),
        ("enable-ipv6", "true", "ipv6.enabled: false"),
        ("underlay-protocol", "ipv6", "underlayProtocol: auto"),
        ("auto-direct-node-routes", "true", "autoDirectNodeRoutes: false"),
        ("bpf-lb-sock", "true", "socketLB.enabled: false"),
        ("enable-egress-gateway", "true", "egressGateway.enabled: false"),
        ("enable-ipv4-egress-gateway", "true", "egressGateway.enabled: false"),
        ("enable-bbr", "true", "bandwidthManager.bbr: false"),
        ("encrypt-node", "true", "encryption.nodeEncryption: false"),
        ("enable-node-port", "true", "nodePort.enabled: false"),
        ("enable-remote-node-masquerade", "true", "extraConfig.enable-remote-node-masquerade: false"),
    ],
)
def test_what_an_operator_may_have_turned_on_or_off_is_named(key: str, text: str, value: str) -> None:
    """Policies that would not hold, and what an agent does not start with once its companion is off."""
    (found,) = wrong({**GUIDE, key: text}, CONFIG, "transit")
    assert found.key == key
    assert value in str(found)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("policy-audit-mode", "true"), ("enable-k8s-networkpolicy", "false"), ("disable-endpoint-crd", "true"),
        ("label-prefix-file", "/labels"),
    ],
)  # fmt: skip
def test_by_which_policies_would_not_hold(key: str, text: str) -> None:
    """Keys that no guide sets: named in transit, and a values file does not ask for what is the default."""
    assert [one.key for one in wrong({**GUIDE, key: text}, CONFIG, "transit")] == [key]
    assert key not in str(values(CONFIG, "transit"))


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("prepend-iptables-chains", True), ("enable-stale-cilium-endpoint-cleanup", True),
        ("unmanaged-pod-watcher-interval", True), ("enable-host-legacy-routing", True),
        ("enable-policy", False), ("kube-proxy-replacement", False), ("cni-chaining-mode", False),
    ],
)  # fmt: skip
def test_a_key_that_is_not_there_has_its_default(missing: str, named: bool) -> None:
    """What the programs do when nothing is written counts."""
    data = {key: value for key, value in GUIDE.items() if key != missing}
    assert bool(wrong(data, CONFIG, "transit")) is named


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("unmanaged-pod-watcher-interval", "0s"), ("cni-chaining-mode", ""), ("kube-proxy-replacement", "disabled"),
        ("cluster-pool-ipv4-cidr", "10.245.0.0/16 "), ("cni-exclusive", "true"), ("cilium-endpoint-gc-interval", "10m"),
    ],
)  # fmt: skip
def test_other_words_for_the_same(key: str, text: str) -> None:
    """Versions write some of it in another way, and what means nothing without a CNI file is not looked at."""
    assert wrong({**GUIDE, key: text}, CONFIG, "transit") == []


@pytest.mark.parametrize(("data", "stage"), [(GUIDE, "transit"), (STAYS, "final")])
@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("cni-chaining-mode", "portmap", "cni.chainingMode: none"),
        ("cluster-name", "other", "cluster.name: default"),
        ("max-connected-clusters", "511", "clustermesh.maxConnectedClusters: 255"),
    ],
)
def test_what_nodes_agree_on_stays_until_the_last_is_through(
    data: dict[str, str], stage: Stage, key: str, text: str, value: str
) -> None:
    """As it was found when the migration began, it is right; a resumed run would refuse it otherwise, at any stage."""
    (found,) = wrong({**data, key: text}, CONFIG, stage)
    assert value in str(found)
    begun = CONFIG.model_copy(update={"cilium": CONFIG.cilium.model_copy(update={"agreed": {key: text}})})
    assert wrong({**data, key: text}, begun, stage) == []


def test_flannels_port_is_refused_by_name() -> None:
    """The default port is flannel's: two devices cannot share it."""
    data = {key: value for key, value in GUIDE.items() if key != "tunnel-port"}
    at_8472 = CONFIG.model_copy(update={"cilium": CONFIG.cilium.model_copy(update={"tunnel_port": 8472})})
    assert [str(one) for one in wrong(data, at_8472, "transit")] == [
        "tunnel-port is 8472: it is flannel's port; helm value tunnelPort: 8473"
    ]


def test_values_say_what_was_configured() -> None:
    """A network and a port of one's own are in the values file, and texts that helm takes for others are texts."""
    config = Config.model_validate({"cilium": {"source": "existing", "pod_cidr": "10.77.0.0/16", "tunnel_port": 8999}})
    found = values(config, "transit")
    assert found["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"] == ["10.77.0.0/16"]
    assert found["tunnelPort"] == 8999
    assert found["cni"]["customConf"] is True
    assert found["extraConfig"] == {"prepend-iptables-chains": "false", "enable-stale-cilium-endpoint-cleanup": "false"}
    assert values(config, "final")["cni"]["customConf"] is False
