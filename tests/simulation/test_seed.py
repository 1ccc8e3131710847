"""The procedure that this tool grew from, sentence by sentence (docs/explanation/seed.md): a test for each.

Each test reads a recorded run. `needs` names the steps that stand behind the sentence; the last test of this module
runs the migration without each of them and sees the sentence's test fail.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from cni_migrate import wiring
from cni_migrate.config import PROFILES, Config
from cni_migrate.core.model import names
from cni_migrate.core.steps.view import Plan
from cni_migrate.sim.clock import run_virtual
from tests.simulation import harness
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.trace import Now, Trace, ready

NODES = ["cp1", "w1", "w2"]
CONFIG = config_for("multus", deadlines={"drain": 60, "pods": 60, "agent": 60, "host": 60, "gate": 30})
LABELS = CONFIG.labels

Check = Callable[[Trace], None]
NEEDS: dict[str, tuple[Check, tuple[str, ...]]] = {}


def needs(*steps: str) -> Callable[[Check], Callable[[], None]]:
    """A test of a sentence on the recorded run; without any of these steps it fails."""

    def register(check: Check) -> Callable[[], None]:
        NEEDS[check.__name__] = (check, steps)

        def test() -> None:
            check(recorded())

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return register


@cache
def recorded(without: str = "") -> Trace:
    """A whole migration, possibly without a step."""

    async def main() -> Trace:
        trace = Trace(CONFIG)
        async with simulated(SMALL, CONFIG) as (sim, watch):
            await trace.record(sim, _Lame(sim, CONFIG, without=without) if without else Process(sim, CONFIG))
            if without:
                watch.broken.clear()
        return trace

    return run_virtual(main())


class _Lame(Process):
    """A process whose strategy lacks a step."""

    def __init__(self, *args: Any, without: str) -> None:
        super().__init__(*args)
        self._without = without

    async def run(self) -> Any:
        """Run with the step taken out of every event and phase."""
        whole = harness._plan
        harness._plan = self._plan
        try:
            return await super().run()
        finally:
            harness._plan = whole

    def _plan(self, config: str, seen: Any) -> Plan:
        plan = wiring.plan_for(Config.model_validate_json(config), seen)
        table = plan.strategy
        events = {event: tuple(s for s in steps if s != self._without) for event, steps in table.events.items()}
        phases = {phase: tuple(s for s in steps if s != self._without) for phase, steps in table.phases.items()}
        strategy = type(table)(table.name, events, phases, table.in_service)
        return Plan(plan.config, plan.manifests, strategy, plan.node_lifecycle, plan.cluster_lifecycle)


def phase_begins(trace: Trace, phase: str) -> tuple[Now, dict[str, list[str]]]:
    """The first moment at which the record shows a phase."""
    for _, now, files in trace.moments():
        if now.cluster.get("phase") == phase:
            return now, files
    raise AssertionError(f"phase {phase} never began")


# --- what it promises ---------------------------------------------------------------------------------------------


@needs("label_multus", "apply_multus", "apply_cilium")
def test_both_networks_run_side_by_side(trace: Trace) -> None:
    """When the migration of nodes begins, Canal, the first Cilium and Multus are Ready on every node."""
    now, _ = phase_begins(trace, "migrating")
    for node in NODES:
        for daemonset in ("canal", names.FIRST_CILIUM, names.MULTUS):
            assert [pod for pod in now.of(daemonset, node) if ready(pod)], (node, daemonset)


@needs("delete_single_pods")
def test_every_pod_gets_both_interfaces(trace: Trace) -> None:
    """When a node comes back from being rolled, all its pods have a Canal address and a Cilium interface."""
    seen = set()
    for node, patch, now, _ in trace.patches():
        if now.step(node) == ("attach", "untaint") and "taints" in patch.get("spec", {}):
            seen.add(node)
            assert now.pods(node), node
            assert all(now.dual(pod) for pod in now.pods(node)), node
    assert seen == set(NODES)


@needs("delete_pods_off_cilium", "exchange_labels")
def test_each_node_ends_on_cilium_alone(trace: Trace) -> None:
    """In the end every pod of every node has a Cilium address."""
    assert trace.final is not None
    assert trace.final.outcome == "done"
    now = trace.last()
    for node in NODES:
        assert now.pods(node)
        assert {pod["status"]["podIP"].rsplit(".", 2)[0] for pod in now.pods(node)} == {"10.245"}


@needs()
def test_every_pair_talks_all_the_time(trace: Trace) -> None:
    """At every write of the driver every Running pod of the shop reaches every other one: asked of the network itself."""
    assert trace.cut == []


@needs("gate", "recheck", "baseline_gate", "sweep", "final_sweep", "take_baseline")
def test_every_event_is_followed_by_a_gate(trace: Trace) -> None:
    """The agents are asked before anything, after each roll, before each drain, after switch and release, and in full."""
    asked = {key.rsplit("/", 1)[0] for key in trace.asks}
    for node in NODES:
        wanted = {"attach/gate", "drain/baseline_gate", "switch/gate", "release/recheck"}
        assert {f"{node}/{one}" for one in wanted} <= asked
    assert {"baseline", "sweep", "final"} <= {key.split("/")[0] for key in trace.asks}


@needs("apply_knet")
def test_agents_probe_all_nodes_in_both_directions(trace: Trace) -> None:
    """An agent's configuration makes it probe every other node of a cluster of this size, and each node has two."""
    found = [
        obj for _, now, _ in trace.moments() for key, obj in now.objects["configmaps"].items() if key.startswith("knet-stress/")
    ]  # fmt: skip
    settings = [json.loads(obj["data"]["config.json"]) for obj in found if "config.json" in obj["data"]]
    assert settings
    assert settings[0]["full_mesh_max"] >= len(NODES)


# --- step 1 -------------------------------------------------------------------------------------------------------


@needs("label_nodes", "apply_cilium", "apply_multus")
def test_preparing_installs_both_and_labels(trace: Trace) -> None:
    """When nodes begin to be attached, both Ciliums, Multus and Canal are there and every node is labelled."""
    now, _ = phase_begins(trace, "attaching")
    wanted = {f"kube-system/{name}" for name in ("canal", names.FIRST_CILIUM, names.CILIUM, names.MULTUS)}
    assert wanted <= set(now.objects["daemonsets"])
    for node in NODES:
        assert now.objects["nodes"][node]["metadata"]["labels"][LABELS.canal_cilium.key] == LABELS.canal_cilium.value


@needs("label_nodes")
def test_all_nodes_are_labelled(trace: Trace) -> None:
    """Every node gets the label cilium-canal, before Canal is patched to need it."""
    assert set(trace.labelled(LABELS.canal_cilium.key)) == set(NODES)
    for call, now, _ in trace.moments():
        if call.method == "PATCH" and call.path.endswith("/daemonsets/canal"):
            assert all(LABELS.canal_cilium.key in node["metadata"]["labels"] for node in now.objects["nodes"].values())


@needs("select_canal")
def test_canal_is_patched_with_the_selector(trace: Trace) -> None:
    """Canal's DaemonSet selects the label, keeps what it selected before, and is not restarted by the patch."""
    now, _ = phase_begins(trace, "attaching")
    spec = now.objects["daemonsets"]["kube-system/canal"]["spec"]
    assert spec["template"]["spec"]["nodeSelector"] == {
        "kubernetes.io/os": "linux",
        LABELS.canal_cilium.key: LABELS.canal_cilium.value,
    }
    assert spec["updateStrategy"]["type"] == "OnDelete"


@needs("apply_knet")
def test_two_agents_run_on_each_node(trace: Trace) -> None:
    """When reports are read for the first time, two agents are Ready on every node."""
    for call, now, _ in trace.moments():
        if call.path.endswith("/log"):
            for node in NODES:
                for daemonset in names.KNET.values():
                    assert [pod for pod in now.of(daemonset, node) if ready(pod)], (node, daemonset)
            return
    raise AssertionError("no report was read")


@needs("await_knet", "await_cilium_everywhere")
def test_who_is_waited_for_is_named(trace: Trace) -> None:
    """While agents start, the DaemonSet that has to be Ready is named, and on how many nodes."""
    for daemonset in (names.KNET["a"], names.FIRST_CILIUM):
        assert [on for on in trace.waits if f"/{daemonset} to be Ready on" in on], daemonset


@needs("apply_cilium")
def test_two_cilium_daemonsets_exist(trace: Trace) -> None:
    """There are two Cilium DaemonSets when nodes begin to be attached."""
    now, _ = phase_begins(trace, "attaching")
    assert {f"kube-system/{names.FIRST_CILIUM}", f"kube-system/{names.CILIUM}"} <= set(now.objects["daemonsets"])


@needs("apply_cilium", "label_nodes")
def test_the_first_cilium_runs_on_all_nodes(trace: Trace) -> None:
    """Before the first node is touched, the first Cilium selects cilium-canal, is Ready and has written its 99- file."""
    now, files = phase_begins(trace, "attaching")
    selector = now.objects["daemonsets"][f"kube-system/{names.FIRST_CILIUM}"]["spec"]["template"]["spec"][
        "nodeSelector"
    ]
    assert selector[LABELS.canal_cilium.key] == LABELS.canal_cilium.value
    for node in NODES:
        assert [pod for pod in now.of(names.FIRST_CILIUM, node) if ready(pod)]
        assert "99-cilium.conflist" in files[node]


@needs("exchange_labels")
def test_the_second_cilium_waits_for_its_label(trace: Trace) -> None:
    """The second Cilium selects its label and runs nowhere until a node is switched; then it runs there."""
    now, _ = phase_begins(trace, "migrating")
    selector = now.objects["daemonsets"][f"kube-system/{names.CILIUM}"]["spec"]["template"]["spec"]["nodeSelector"]
    assert selector[LABELS.cilium.key] == LABELS.cilium.value
    assert not [pod for node in NODES for pod in now.of(names.CILIUM, node)]
    labelled = trace.labelled(LABELS.cilium.key)
    assert set(labelled) == set(NODES)
    assert all(not now.of(names.CILIUM, node) for node, now in labelled.items())


@needs("apply_multus", "label_multus")
def test_multus_runs_on_labelled_nodes(trace: Trace) -> None:
    """Multus selects cilium-canal, and runs on every node once all are attached."""
    now, _ = phase_begins(trace, "migrating")
    selector = now.objects["daemonsets"][f"kube-system/{names.MULTUS}"]["spec"]["template"]["spec"]["nodeSelector"]
    assert selector[LABELS.canal_cilium.key] == LABELS.canal_cilium.value
    assert all(now.of(names.MULTUS, node) for node in NODES)


@needs("delete_single_pods")
def test_canal_is_first_and_cilium_extra(trace: Trace) -> None:
    """A dual pod's own address is Canal's; its CiliumEndpoint has another one, Cilium's."""
    now, _ = phase_begins(trace, "migrating")
    pods = [pod for node in NODES for pod in now.pods(node)]
    assert pods
    for pod in pods:
        assert pod["status"]["podIP"].startswith("10.244.")
        endpoint = now.objects["ciliumendpoints"][f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"]
        assert endpoint["status"]["networking"]["addressing"][0]["ipv4"].startswith("10.245.")


def _host_looks(trace: Trace, event: str, file: str) -> set[str]:
    """The nodes on which a host task has waited for this file to be in force, in this event."""
    found = set()
    for call, now, _ in trace.moments():
        if call.method == "POST" and call.path.endswith(f"/namespaces/{CONFIG.namespace}/pods"):
            pod = json.loads(call.body)
            args = pod["spec"]["containers"][0]["args"]
            if now.step(pod["spec"]["nodeName"])[0] == event and f"await-first={file}" in args:
                found.add(pod["spec"]["nodeName"])
    return found


@needs("label_multus", "check_multus_first")
def test_multus_writes_its_file(trace: Trace) -> None:
    """`00-multus.conflist` is on the node, and was seen there, before pods are recreated."""
    assert _host_looks(trace, "attach", CONFIG.multus.cni_file) == set(NODES)
    deleted = set()
    for call, now, files in trace.moments():
        if call.method == "DELETE" and "/pods/" in call.path and "/shop/" in call.path:
            node = now.objects["pods"].get("/".join(call.path.split("/")[4::2]), {}).get("spec", {}).get("nodeName", "")
            if now.step(node) == ("attach", "delete_single_pods"):
                deleted.add(node)
                assert files[node][0] == "00-multus.conflist"
    assert deleted == set(NODES)


@needs("exchange_labels")
def test_multus_is_in_force_until_the_switch(trace: Trace) -> None:
    """Multus's file comes first on every dual node, and Multus and its file are gone from a node that is migrated."""
    _, files = phase_begins(trace, "migrating")
    assert all(files[node][0] == "00-multus.conflist" for node in NODES)
    labelled = trace.labelled(LABELS.migrated.key)
    assert set(labelled) == set(NODES)
    assert all(not now.of(names.MULTUS, node) for node, now in labelled.items())
    _, _, files = list(trace.moments())[-1]
    assert not any("00-multus.conflist" in files[node] for node in NODES)


# --- step 2 -------------------------------------------------------------------------------------------------------


@needs("cordon", "evict_pods", "taint", "delete_single_pods")
def test_nodes_are_rolled_one_by_one(trace: Trace) -> None:
    """Each node is cordoned, emptied by eviction and tainted before its pods are recreated, one node at a time."""
    order: dict[str, list[str]] = {node: [] for node in NODES}
    for call, now, _ in trace.moments():
        busy = [n for n, e in now.entries.items() if e.get("event") == "attach"]
        assert len(busy) <= 1
        for node in busy:
            if call.path == f"/api/v1/nodes/{node}" and call.method == "PATCH":
                spec = json.loads(call.body).get("spec", {})
                order[node].append(
                    "cordon" if spec.get("unschedulable") else "taint" if spec.get("taints") else "other"
                )
            if call.path.endswith("/eviction"):
                order[node].append("evict")
            if call.method == "DELETE" and "/shop/" in call.path:
                order[node].append("delete")
    for node in ("w1", "w2"):
        steps = [step for step in dict.fromkeys(order[node]) if step != "other"]
        assert steps == ["cordon", "evict", "taint", "delete"], (node, steps)


@needs("gate")
def test_a_gate_follows_every_roll(trace: Trace) -> None:
    """Connectivity of each node is asked for at the end of its roll."""
    assert {f"{node}/attach/gate" for node in NODES} <= {key.rsplit("/", 1)[0] for key in trace.asks}


@needs("sweep")
def test_no_node_leaves_dual_before_all_are(trace: Trace) -> None:
    """All nodes are dual, and a full sweep was asked for, before the first node is drained for its migration."""
    for _, now, _ in trace.moments():
        if any(entry.get("event") == "drain" for entry in now.entries.values()):
            assert all(entry.get("state", "canal") != "canal" for entry in now.entries.values())
    first_drain = next(i for i, key in enumerate(trace.asks) if "/drain/" in key)
    last_attach = max(i for i, key in enumerate(trace.asks) if "/attach/" in key)
    assert [key for key in trace.asks[last_attach:first_drain] if key.startswith("sweep/")]


# --- step 3 -------------------------------------------------------------------------------------------------------


@needs("cordon", "evict_pods")
def test_the_node_is_drained(trace: Trace) -> None:
    """A node is cordoned, then its workloads are evicted, while the record says drain."""
    seen: dict[str, set[str]] = {}
    for call, now, _ in trace.moments():
        for node, entry in now.entries.items():
            if entry.get("event") == "drain":
                if call.path.endswith("/eviction"):
                    assert now.objects["nodes"][node]["spec"].get("unschedulable") is True
                    seen.setdefault(node, set()).add("evict")
                if call.path == f"/api/v1/nodes/{node}" and json.loads(call.body).get("spec", {}).get("unschedulable"):
                    seen.setdefault(node, set()).add("cordon")
    assert all("cordon" in seen.get(node, ()) for node in NODES)
    assert "evict" in seen["w1"] | seen["w2"]


def _switched(trace: Trace) -> dict[str, Now]:
    """By node: what was there when its switch began by taking the label cilium-canal away."""
    found = trace.labelled(LABELS.canal_cilium.key, removed=True)
    return {node: now for node, now in found.items() if now.cluster["phase"] == "migrating"}


@needs("taint")
def test_the_node_is_tainted(trace: Trace) -> None:
    """The node has a NoExecute taint when its networks are exchanged."""
    switched = _switched(trace)
    assert set(switched) == set(NODES)
    for node, now in switched.items():
        assert "NoExecute" in [taint["effect"] for taint in now.objects["nodes"][node]["spec"].get("taints", [])]


@needs("taint", "delete_pods_off_cilium")
def test_all_pods_on_the_node_are_replaced(trace: Trace) -> None:
    """When the networks are exchanged only tolerating DaemonSets' pods stay; later none that was there is the same."""
    switched = _switched(trace)
    assert set(switched) == set(NODES)
    old = {}
    for node, now in switched.items():
        staying = [pod["metadata"] for pod in now.pods(node) if "deletionTimestamp" not in pod["metadata"]]
        owners = {ref["name"] for meta in staying for ref in meta.get("ownerReferences", [])}
        assert owners == {"logs", *names.KNET.values()}, (node, owners)
        old[node] = {pod["metadata"]["uid"] for pod in now.pods(node)}
    for node, now in trace.labelled(LABELS.migrated.key).items():
        assert not old[node] & {pod["metadata"]["uid"] for pod in now.pods(node)}


@needs("exchange_labels")
def test_the_label_cilium_canal_goes(trace: Trace) -> None:
    """The label cilium-canal is removed from every node during its switch."""
    assert set(_switched(trace)) == set(NODES)


@needs("taint")
def test_the_taint_is_named_like_the_label(trace: Trace) -> None:
    """The taint has the key and the value of the label cilium."""
    switched = _switched(trace)
    assert set(switched) == set(NODES)
    for node, now in switched.items():
        taints = now.objects["nodes"][node]["spec"]["taints"]
        assert (LABELS.cilium.key, LABELS.cilium.value) in [(taint["key"], taint.get("value")) for taint in taints]


@needs("exchange_labels")
def test_the_second_cilium_replaces_the_first(trace: Trace) -> None:
    """The old agents' pods have left the node before its pods are recreated, and the second Cilium is Ready there."""
    assert set(trace.labelled(LABELS.cilium.key)) == set(NODES)
    deleting: dict[str, Now] = {}
    for _, now, _ in trace.moments():
        for node in NODES:
            if now.step(node) == ("switch", "delete_pods_off_cilium"):
                deleting.setdefault(node, now)
    assert set(deleting) == set(NODES)
    for node, now in deleting.items():
        for daemonset in (names.FIRST_CILIUM, "canal", names.MULTUS):
            assert not now.of(daemonset, node), (node, daemonset)
        assert [pod for pod in now.of(names.CILIUM, node) if ready(pod)]


@needs("check_cilium_first")
def test_ciliums_file_is_in_force(trace: Trace) -> None:
    """Cilium's file comes first on the node, and was seen there by a host task, before pods are recreated."""
    assert _host_looks(trace, "switch", CONFIG.cilium.primary_file) == set(NODES)
    for _, now, files in trace.moments():
        for node in NODES:
            if now.step(node) == ("switch", "delete_pods_off_cilium"):
                assert files[node][0] == CONFIG.cilium.primary_file


@needs("delete_pods_off_cilium", "check_cilium_first")
def test_pods_have_cilium_alone(trace: Trace) -> None:
    """When a node comes back into service, every pod on it has a Cilium address, and Multus's file is not in force."""
    asked = set()
    for node, patch, now, files in trace.patches():
        if now.entries.get(node, {}).get("state") == "cilium" and "taints" in patch.get("spec", {}):
            asked.add(node)
            assert now.pods(node)
            assert all(pod["status"].get("podIP", "").startswith("10.245.") for pod in now.pods(node)), node
            assert files[node][0] == CONFIG.cilium.primary_file
    assert asked == set(NODES)
    assert _host_looks(trace, "switch", CONFIG.cilium.primary_file) == set(NODES)


@needs("untaint", "await_displaced")
def test_workloads_come_back(trace: Trace) -> None:
    """The node is in service, and the workloads that were moved away are Ready, before it counts as migrated."""
    labelled = trace.labelled(LABELS.migrated.key)
    assert set(labelled) == set(NODES)
    for node, now in labelled.items():
        spec = now.objects["nodes"][node]["spec"]
        assert not spec.get("unschedulable")
        assert LABELS.cilium.key not in [taint["key"] for taint in spec.get("taints", [])]
    assert all(not entry.get("displaced") for entry in trace.last().entries.values())


@needs("gate", "recheck")
def test_migrated_pods_are_reachable_from_everywhere(trace: Trace) -> None:
    """The migrated node's agents, and those of the others, have proven it before the node counts as migrated."""
    asked = {key.rsplit("/", 1)[0] for key in trace.asks}
    assert {f"{node}/{gate}" for node in NODES for gate in ("switch/gate", "release/recheck")} <= asked
    for node, now in trace.labelled(LABELS.migrated.key).items():
        assert now.entries[node]["gate"]["sent"] > 0


@needs("label_migrated")
def test_the_node_is_labelled_migrated(trace: Trace) -> None:
    """Every node gets the label migrated."""
    assert set(trace.labelled(LABELS.migrated.key)) == set(NODES)


# --- step 4 -------------------------------------------------------------------------------------------------------


def _gone(trace: Trace, daemonset: str) -> None:
    now, _ = phase_begins(trace, "attaching")
    assert f"kube-system/{daemonset}" in now.objects["daemonsets"]
    assert f"kube-system/{daemonset}" not in trace.last().objects["daemonsets"]


@needs("delete_multus")
def test_multus_is_deleted(trace: Trace) -> None:
    """Multus is there during the migration and not afterwards."""
    _gone(trace, names.MULTUS)


@needs("delete_canal")
def test_canal_is_deleted(trace: Trace) -> None:
    """Canal is there during the migration and not afterwards."""
    _gone(trace, "canal")


@needs("delete_first_cilium")
def test_the_first_cilium_is_deleted(trace: Trace) -> None:
    """The first Cilium is there during the migration and not afterwards."""
    _gone(trace, names.FIRST_CILIUM)


@needs("remove_labels", "clean_hosts", "finish_cilium")
def test_the_audit_is_clean(trace: Trace) -> None:
    """The run ends done; nodes carry no mark, hosts only Cilium's file, and Cilium needs no label any more."""
    assert trace.final is not None
    assert trace.final.outcome == "done"
    now = trace.last()
    marks = {label.key for label in (LABELS.canal_cilium, LABELS.cilium, LABELS.migrated, LABELS.multus)}
    for node in now.objects["nodes"].values():
        assert not marks & set(node["metadata"]["labels"])
        assert not [taint for taint in node["spec"].get("taints", []) if taint["key"] in marks]
    cilium = now.objects["daemonsets"]["kube-system/cilium"]["spec"]["template"]["spec"]
    assert not marks & set(cilium.get("nodeSelector", {}))
    *_, files = trace.files.values()
    assert all(found == [CONFIG.cilium.primary_file] for found in files.values())


# --- requirements -------------------------------------------------------------------------------------------------


def test_preflight_names_the_port() -> None:
    """The seed's profile uses Geneve on 6081, and preflight says that it must be open."""
    from cni_migrate.core.preflight.findings import findings
    from tests.unit.core.preflight.test_preflight import _facts

    config = Config.model_validate({"strategy": "multus", **PROFILES["seed"]})
    assert (config.cilium.tunnel_protocol, config.cilium.tunnel_port) == ("geneve", 6081)
    found = {finding.id: finding for finding in findings(replace(_facts(), config=config))}
    assert "6081" in found["FIREWALL"].what + found["FIREWALL"].to_do


def test_two_tunnels_never_share_a_port() -> None:
    """Canal's and Cilium's tunnels on one port are refused before anything is looked at."""
    with pytest.raises(ValueError, match="both 8472: Cilium could not start"):
        config_for("multus", cilium={"tunnel_port": 8472})


@needs("apply_knet")
def test_policies_hold_in_transit(trace: Trace) -> None:
    """A pair that a policy allows and one that it forbids are probed all the time; the policy is there before Cilium."""
    for call, now, _ in trace.moments():
        if call.method == "POST" and call.path.endswith("/daemonsets") and b'"cilium-canal"' in call.body:
            assert "knet-stress/knet-stress-guard" in now.objects["networkpolicies"]
            return
    raise AssertionError("Cilium was never applied")


@needs("finish_cilium", "final_sweep")
def test_policies_hold_at_the_end(trace: Trace) -> None:
    """Cilium's final form enforces policies, and the last sweep has asked for both pairs."""
    config = trace.last().objects["configmaps"]["kube-system/cilium-config"]["data"]
    assert config["enable-policy"] == CONFIG.cilium.policy_enforcement == "default"
    assert config["custom-cni-conf"] == "false"
    assert "write-cni-conf-when-ready" in config
    assert [key for key in trace.asks if key.startswith("final/")]


def test_the_seed_profile_has_its_images() -> None:
    """The images of the seed, but for knet-stress, which is our own program in a stock Python image."""
    config = Config.model_validate({"strategy": "multus", **PROFILES["seed"]})
    assert config.cilium.image == "docker.io/cilium/cilium:v1.7.2"
    assert config.cilium.operator_image == "docker.io/cilium/operator:v1.7.2"
    assert config.multus.image == "nfvpe/multus:v3.4.1"


@pytest.mark.parametrize(
    ("sentence", "step"),
    [pytest.param(name, step, id=f"{name}-{step}") for name, (_, steps) in NEEDS.items() for step in steps],
)
def test_without_the_step_the_sentence_fails(sentence: str, step: str) -> None:
    """The step stands behind the sentence: take it out, and the sentence's test fails."""
    check, _ = NEEDS[sentence]
    with pytest.raises((AssertionError, KeyError, StopIteration, IndexError)):
        check(recorded(without=step))
