"""The table of Cilium's versions: what each has, what the manifests make of it, and what is refused."""

import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from cni_migrate import cilium_versions as versions
from cni_migrate import resources
from cni_migrate.config import Config
from cni_migrate.core.render.manifests import TEMPLATES, Manifests, Payload

TEXTS = {name: resources.read("templates", name) for name in TEMPLATES}
Granted = set[tuple[str, str, str, str]]

CHARTS = {
    # Per version: a right of the agent's and of the operator's that its chart has, and one that it has not.
    "1.15.19": (("cilium.io", "ciliumnetworkpolicies/status", "patch"), ("cilium.io", "ciliumdatapathplugins", "list"),
                ("", "endpoints", "list"), ("cilium.io", "ciliumbgppeerconfigs/status", "update")),
    "1.16.0": (("cilium.io", "ciliumbgppeeringpolicies", "list"), ("cilium.io", "ciliumnetworkpolicies/status", "patch"),
               ("cilium.io", "ciliumbgppeeringpolicies", "get"), ("cilium.io", "ciliumbgppeerconfigs/status", "update")),
    "1.17.2": (("cilium.io", "ciliumbgppeeringpolicies", "list"), ("cilium.io", "ciliumdatapathplugins", "list"),
               ("cilium.io", "ciliumbgppeerconfigs/status", "update"), ("cilium.io", "ciliumendpointslices", "deletecollection")),
    "1.18.2": (("", "endpoints", "watch"), ("cilium.io", "ciliumdatapathplugins", "list"),
               ("cilium.io", "ciliumbgppeeringpolicies", "get"), ("", "serviceaccounts", "list")),
    "1.19.0": (("", "endpoints", "watch"), ("cilium.io", "ciliumbgppeeringpolicies", "list"),
               ("cilium.io", "ciliumendpointslices", "deletecollection"), ("cilium.io", "ciliumbgppeeringpolicies", "get")),
    "1.20.2": (("cilium.io", "ciliumdatapathplugins", "list"), ("", "endpoints", "list"),
               ("", "serviceaccounts", "watch"), ("", "endpoints", "list")),
}  # fmt: skip


def role(version: str, name: str) -> list[dict[str, Any]]:
    """The rules of a ClusterRole in the manifests of a version."""
    config = Config.model_validate({"strategy": "overlay", "cilium": {"version": version}})
    made = Manifests(TEXTS, config, Payload("canal:1", {})).cilium()
    (found,) = [one for one in made if one["kind"] == "ClusterRole" and one["metadata"]["name"] == name]
    rules: list[dict[str, Any]] = found["rules"]
    return rules


def granted(rules: list[dict[str, Any]]) -> Granted:
    """Group, resource, verb and name of all that is granted."""
    return {
        one
        for rule in rules
        for one in itertools.product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    }


@pytest.mark.parametrize("version", CHARTS)
def test_rights_are_those_of_the_version_s_chart(version: str) -> None:
    """What a version's chart grants is granted, and what it no longer or not yet grants is not."""
    has, has_not, may, may_not = CHARTS[version]
    agent, operator = granted(role(version, "cilium")), granted(role(version, "cilium-operator"))
    assert (*has, "") in agent
    assert (*has_not, "") not in agent
    assert (*may, "") in operator
    assert (*may_not, "") not in operator


@pytest.mark.parametrize(
    ("version", "there", "not_there"),
    [
        ("1.15.19", "ciliumexternalworkloads", "ciliumgatewayclassconfigs"),
        ("1.18.2", "ciliumgatewayclassconfigs", "ciliumexternalworkloads"),
        ("1.19.0", "ciliumgatewayclassconfigs", "ciliumbgppeeringpolicies"),
        ("1.20.2", "ciliumdatapathplugins", "ciliumbgppeeringpolicies"),
    ],
)
def test_definitions_are_those_of_the_version(version: str, there: str, not_there: str) -> None:
    """The operator keeps the definitions of its own version up to date, and no others."""
    names = {name for *_, name in granted(role(version, "cilium-operator"))}
    assert f"{there}.cilium.io" in names
    assert f"{not_there}.cilium.io" not in names


@pytest.mark.parametrize(
    ("version", "served"),
    [("1.15.19", "cilium.io/v2alpha1"), ("1.16.0", "cilium.io/v2"), ("1.20.2", "cilium.io/v2"), ("1.7.2", "")],
)
def test_node_configs_are_of_the_newest_version(version: str, served: str) -> None:
    """v2 since 1.16, v2alpha1 in 1.15, none long ago."""
    assert versions.node_config(versions.parsed(version)) == served


@pytest.mark.parametrize("version", ["1.14.9", "1.21.0", "1.8.0", "2.0.0", "0.9.1"])
def test_other_versions_are_refused_when_the_configuration_is_read(version: str) -> None:
    """Their manifests would be a guess."""
    with pytest.raises(ValidationError, match=r"1\.15 to 1\.20 are"):
        Config.model_validate({"cilium": {"version": version}})


@pytest.mark.parametrize(
    "version", ["1.15.19", "1.16.0", "1.17.2", "1.18.2", "1.19.0", "v1.20.2", "1.20.0-rc.1", "1.7.2"]
)
def test_these_versions_are_known(version: str) -> None:
    """From 1.15 on, release candidates too, and the seed's."""
    assert Config.model_validate({"cilium": {"version": version}}).cilium.version == version


@pytest.mark.parametrize(
    ("cilium", "kubernetes", "listed"),
    [
        ("1.20.2", "v1.34.4", True), ("1.20.2", "v1.36.0", True), ("1.20.2", "v1.32.9+rke2r1", False),
        ("1.20.2", "v1.35.6", True), ("1.19.4", "v1.35.6", True), ("1.19.4", "v1.36.4", False), ("1.18.6", "v1.35.6", False),
        ("1.20.2", "v1.37.2", False), ("1.15.19", "v1.34.4", False), ("1.15.19", "v1.29.3-eks-1", True),
        ("1.7.2", "v1.34.4", True), ("1.20.2", "", True),
    ],
)  # fmt: skip
def test_pairs_with_kubernetes(cilium: str, kubernetes: str, listed: bool) -> None:
    """As Cilium's page on compatibility lists them; what is not known is not judged."""
    assert versions.listed_with(cilium, kubernetes) is listed


@pytest.mark.parametrize(
    ("served", "version"),
    [
        (set(), None),
        ({"cilium.io/v2alpha1/ciliumnodeconfigs"}, "cilium.io/v2alpha1"),
        ({"cilium.io/v2alpha1/ciliumnodeconfigs", "cilium.io/v2/ciliumnodeconfigs"}, "cilium.io/v2"),
        ({"cilium.io/v2/ciliumnodes"}, None),
    ],
)
def test_the_version_of_node_configs(served: set[str], version: str | None) -> None:
    """The newest that is served; none while CiliumNodeConfigs are not."""
    assert versions.served_node_config(served) == version
