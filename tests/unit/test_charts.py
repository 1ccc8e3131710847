"""The built-in Cilium against Cilium's own charts and programs, version by version, as they were written down.

`python -m tests.charts 1.20.2 …` writes them down anew. What differs on purpose is named here and explained in
docs/explanation/cilium-manifests.md.
"""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cni_migrate import cilium_versions as versions
from cni_migrate.core.render import coexistence
from tests.charts import facts, used

RECORDED = {
    file.stem: YAML(typ="safe").load(file.read_text())
    for file in sorted((Path(__file__).parents[1] / "charts" / "recorded").glob("*.yaml"))
}

TAINTS = {"set-cilium-node-taints"}
"""Nodes on which Cilium is not up are the rule during a migration."""

L7 = {
    "dnsproxy-enable-transparent-mode", "envoy-xds-mode", "proxy-prometheus-port", "enable-policy-secrets-sync",
    "policy-secrets-namespace", "policy-secrets-only-from-secrets-namespace",
}  # fmt: skip
"""Nothing reads them while the L7 proxy is off."""

SAME_IN_OTHER_WORDS = {"bpf-root", "metrics-sampling-interval", "tunnel-source-port-range"}
OF_WHAT_IS_OFF = {"vtep-mask"}
BY_DEFAULT = {"enable-source-ip-verification"}
"""Its default is the chart's text, in a place that `tests.charts` does not read (pkg/endpoint, pkg/defaults)."""

EXPLAINED = TAINTS | L7 | SAME_IN_OTHER_WORDS | OF_WHAT_IS_OFF | BY_DEFAULT

SECRETS = {f"core/secrets {verb}" for verb in ("get", "list", "watch")}
"""For secrets of L7 policies, from 1.17 on."""

ANNOTATION = {"core/configmaps/cilium-config patch"}
"""No program of these versions does that."""

UNREAD = {f"cilium.io/ciliumbgppeeringpolicies {verb}" for verb in ("get", "list", "watch")}
"""In 1.19.4's chart, and in none of its programs."""

OF_THE_CHART_ALONE = {"custom-cni-conf", "cni-uninstall"}
"""Keys that no program takes: the first is for who reads the ConfigMap, the other for the chart's script."""

OF_SOME = {
    # Key: from which version to which the programs take it.
    "enable-ipv4-egress-gateway": versions.Span(until=(1, 18)),
    "enable-external-ips": versions.Span(until=(1, 18)),
    "enable-host-port": versions.Span(until=(1, 18)),
    "enable-node-port": versions.Span(until=(1, 18)),
    "enable-egress-gateway": versions.Span(since=(1, 18)),
    "enable-bbr-hostns-only": versions.Span(since=(1, 18)),
    "enable-ztunnel": versions.Span(since=(1, 19)),
    "enable-remote-node-masquerade": versions.Span(since=(1, 19)),
    "only-masquerade-default-pool": versions.Span(since=(1, 19)),
    "identity-management-mode": versions.Span(since=(1, 18)),
    "underlay-protocol": versions.Span(since=(1, 18)),
    "tunnel": versions.Span(until=(1, 14)),
}


@pytest.fixture(params=RECORDED)
def version(request: pytest.FixtureRequest) -> str:
    """Each version that is written down."""
    found: str = request.param
    return found


def test_every_version_is_written_down() -> None:
    """One chart for each row of the table."""
    assert sorted(map(versions.parsed, RECORDED)) == sorted(versions.KUBERNETES)


@pytest.mark.parametrize("role", ["agent", "operator"])
def test_rights_are_the_chart_s(version: str, role: str) -> None:
    """None is missing that a program uses, and none is there that the chart does not give."""
    chart = facts.by_verb(RECORDED[version][role])
    ours = facts.rights(used.builtin(version), {"agent": "cilium", "operator": "cilium-operator"}[role])
    left_out = SECRETS | ANNOTATION if role == "operator" else set()
    if versions.parsed(version) == (1, 19):
        left_out |= UNREAD
    assert chart - ours - left_out == set(), "missing"
    assert ours - chart == set(), "too many"


def test_what_the_chart_chooses_is_chosen_or_explained(version: str) -> None:
    """A key whose text is not the programs' default has that text here, too, or is named above."""
    ours = facts.config(used.builtin(version))
    chosen: dict[str, str] = RECORDED[version]["chosen"]
    assert {key: text for key, text in chosen.items() if key not in EXPLAINED and ours.get(key) != text} == {}


def test_nothing_is_chosen_that_the_chart_does_not(version: str) -> None:
    """What we write is the chart's text, or the programs' default."""
    recorded: dict[str, Any] = RECORDED[version]
    ours = facts.config(used.builtin(version))
    known = recorded["defaults"]
    differing = {
        key: text
        for key, text in ours.items()
        if key not in OF_THE_CHART_ALONE
        and text not in (recorded["chosen"].get(key), *known.get(key, "").split(" or "))
    }
    assert differing == {}


def test_every_key_is_one_that_the_programs_take(version: str) -> None:
    """A key that an agent does not know would be ignored without a word."""
    absent = used.keys(version) - set(RECORDED[version]["defaults"]) - OF_THE_CHART_ALONE
    assert absent == {key for key, span in OF_SOME.items() if not span.holds(versions.parsed(version))} & used.keys(
        version
    )


@pytest.mark.parametrize("stage", ["transit", "final"])
def test_what_is_not_written_means_what_the_programs_make_of_it(version: str, stage: coexistence.Stage) -> None:
    """Each key of an operator's own `cilium-config` has its version's default when it is left away."""
    known = RECORDED[version]["defaults"]
    always_written = {
        "cluster-pool-ipv4-cidr",
        "tunnel-port",
        "underlay-protocol",
    }  # by every chart, or read in another way
    for row in coexistence.rows(stage):
        if row.key in known and row.key not in always_written:
            assert row.default in (*known[row.key].split(" or "), known[row.key].removesuffix("s")), row.key


@pytest.mark.parametrize("stage", ["transit", "final"])
def test_what_a_chart_makes_of_the_values_that_are_asked_for_is_right(version: str, stage: coexistence.Stage) -> None:
    """`migrate manifests cilium-values` on top of the guide's values, and `cilium-values-final` on top of these."""
    assert coexistence.wrong(RECORDED[version]["installed"][stage], used.EXISTING, stage) == []


def test_the_guide_s_own_values_lack_what_keeps_policies_in_force(version: str) -> None:
    """Three keys, each named with its value; everything else of the guide will do."""
    found = coexistence.wrong(RECORDED[version]["installed"]["guide"], used.EXISTING, "transit")
    assert [one.key for one in found] == [
        "enable-policy", "prepend-iptables-chains", "enable-stale-cilium-endpoint-cleanup"
    ]  # fmt: skip


def test_pods_have_the_form_of_the_chart_s(version: str) -> None:
    """The node's folders, with the propagation of their mounts, and the arguments."""
    ours, chart = used.builtin(version), RECORDED[version]
    mounts = facts.mounts(ours)
    assert {path: what for path, what in chart["mounts"].items() if mounts.get(path) != what} == {}
    assert [one for one in chart["arguments"] if not one.startswith("--debug=")] == facts.arguments(ours)
    assert set(chart["init_containers"]) <= set(versions.INIT)
    assert facts.init_containers(ours) == ["config"]


def test_the_table_says_what_cilium_s_sources_say(version: str) -> None:
    """Kubernetes, CiliumNodeConfig and Cilium's own kinds."""
    chart, row = RECORDED[version], versions.parsed(version)
    assert set(chart["kubernetes"]) <= set(versions.KUBERNETES[row])
    assert versions.node_config(row).removeprefix("cilium.io/") == chart["node_config"][0]
    assert {kind for kind in versions.DEFINITIONS if kind in chart["definitions"]} == set(versions.definitions(row))
