"""The simulator's host tasks, held to the same table as the script that runs on real nodes."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.world.host import (
    CALICO_FOLDERS,
    CALICO_NODENAME,
    CILIUM_STATE,
    FLANNEL_FOLDER,
    LEASE_FOLDER,
    MULTUS_FOLDER,
    Host,
    Plane,
)
from cni_migrate.sim.world.hosttask import perform
from cni_migrate.sim.world.masquerade import Keep

TABLE: dict[str, Any] = YAML(typ="safe", pure=True).load(
    (Path(__file__).parents[2] / "conformance" / "host_task_cases.yaml").read_text(encoding="utf-8")
)
PODS = ("10.244.0.0/16", "10.245.0.0/16")
_BIN = "/opt/cni/bin/"
_RESULTS = "/var/lib/cni/results/"


def host_of(tree: dict[str, Any]) -> Host:
    host = Host("n", "172.18.0.10")
    left = {_BIN + name for name in tree.get("bin", ())}
    if tree.get("calico_state"):
        left |= set(CALICO_FOLDERS)
    if tree.get("nodename"):
        left.add(CALICO_NODENAME)
    if tree.get("flannel_state"):
        left.add(FLANNEL_FOLDER)
    if tree.get("multus_state"):
        left.add(MULTUS_FOLDER)
    if tree.get("cilium_state"):
        left.add(CILIUM_STATE)
    left |= {f"{_RESULTS}{network}-*" for network in tree.get("results", ())}
    if tree.get("leases") is not None:
        left.add(LEASE_FOLDER)
        host.leases = dict.fromkeys(tree["leases"], "uid")
    host.seed(
        Plane(
            files={name: _content(name, tree) for name in tree.get("netd", ())},
            subnet="10.244.1.0/24" if tree.get("routed") else "",
            flannel_run=bool(tree.get("subnet_env")),
            links=frozenset(tree.get("links", ())),
            chains=frozenset(tree.get("chains", ())),
            ipsets=frozenset(tree.get("ipsets", ())),
            tables=frozenset(tree.get("tables", ())),
            left=frozenset(left),
            postrouting=(Keep(*PODS),) if tree.get("rule") else (),
        )
    )
    return host


def _content(name: str, tree: dict[str, Any]) -> str:
    known = name == "10-canal.conflist" and "plugin" in tree
    return json.dumps({"plugins": [{"type": tree["plugin"]}]}) if known else "{}"


def tree_of(host: Host) -> dict[str, Any]:
    plane = host.plane
    return {
        "netd": sorted(plane.files),
        "subnet_env": plane.subnet_file,
        "nodename": CALICO_NODENAME in plane.left,
        "calico_state": set(CALICO_FOLDERS) <= plane.left,
        "ipsets": sorted(plane.ipsets),
        "tables": sorted(plane.tables),
        "routed": bool(plane.subnet),
        "links": sorted(plane.links),
        "chains": sorted(plane.chains),
        "leases": sorted(host.leases) if LEASE_FOLDER in plane.left else None,
        "bin": sorted(path.removeprefix(_BIN) for path in plane.left if path.startswith(_BIN)),
        "flannel_state": FLANNEL_FOLDER in plane.left,
        "multus_state": MULTUS_FOLDER in plane.left,
        "cilium_state": CILIUM_STATE in plane.left,
        "rule": Keep(*PODS) in plane.postrouting,
        "results": sorted(
            path.removeprefix(_RESULTS).removesuffix("-*") for path in plane.left if path.startswith(_RESULTS)
        ),
    }


def full(tree: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in tree.items() if name != "plugin"}
    empty: dict[str, Any] = {"netd": [], "subnet_env": False, "links": [], "chains": [], "leases": None, "bin": []}
    return {
        key: sorted(value) if isinstance(value, list) else value
        for key, value in {
            **empty,
            "flannel_state": False,
            "multus_state": False,
            "cilium_state": False,
            "rule": False,
            "nodename": False,
            "calico_state": False,
            "ipsets": [],
            "tables": [],
            "routed": False,
            "results": [],
            **given,
        }.items()
    }


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: str(case["name"]))
def test_table(case: dict[str, Any]) -> None:
    async def run() -> None:
        host = host_of(case["before"])
        code, message = perform(host, list(case["ops"]), pods=PODS)
        assert code == case.get("exit", 0)
        if "error" in case:
            assert case["error"] in str(message["error"])
        else:
            assert message == case["message"]
        assert tree_of(host) == full(case.get("after", case["before"]))

    run_virtual(run())
