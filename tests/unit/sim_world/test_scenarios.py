"""The shipped scenarios, and what a scenario file may say."""

import asyncio
from importlib import resources
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from cni_migrate.sim import scenario
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation, serve
from cni_migrate.sim.world import kinds, meta

NAMES = scenario.names()


def test_there_are_enough_of_them() -> None:
    assert {"calm", "pdb-deadlock", "never-ready", "deaf-peer", "node-lost", "node-joins", "slow-pods", "zones"} <= set(
        NAMES
    )
    assert {"flaky-api", "reboot-mid-run"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_is(name: str) -> None:
    text = (resources.files("cni_migrate.sim") / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert scenario.load(name).name == name
    assert scenario.load(name).description


@pytest.mark.parametrize("name", NAMES)
def test_each_starts_settled(name: str) -> None:
    async def run() -> None:
        async with Simulation(name) as sim:
            pods, _ = await sim.client.list(kinds.POD)
            running = [pod for pod in pods if meta.condition(pod, "Ready").get("status") == "True"]
            jobs = [pod for pod in pods if (meta.controller(pod) or {}).get("kind") == "Job"]
            assert len(running) == len(pods) - len(jobs)
            nodes, _ = await sim.client.list(kinds.NODE)
            assert all(meta.ready(node) for node in nodes)
            uids = {meta.uid(pod) for pod in pods}
            await sim.world.idle()
            after, _ = await sim.client.list(kinds.POD)
            assert uids <= {meta.uid(pod) for pod in after}

    run_virtual(run())


@pytest.mark.parametrize("name", [n for n in NAMES if any(f.when for f in scenario.load(n).faults)])
def test_each_fault_strikes_when_its_moment_comes(name: str) -> None:
    async def run() -> None:
        async with Simulation(name) as sim:
            await sim.world.idle()
            assert sim.faults.struck == []
            for fault in sim.scenario.faults:
                assert fault.when is not None
                patch: dict[str, Any] = {"spec": {"unschedulable": True}} if fault.when.cordoned else {}
                if fault.when.label:
                    patch = {"metadata": {"labels": {fault.when.label: "migrated"}}}
                await sim.client.patch(kinds.NODE, fault.when.node, patch)
            await asyncio.sleep(5 + max(fault.after for fault in sim.scenario.faults))
            assert sim.faults.struck == [fault.action for fault in sim.scenario.faults]
            await sim.world.idle()
            await asyncio.sleep(900)
            await sim.world.idle()

    run_virtual(run())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nodez: 3", "nodez"),
        ("workloads: [{name: a, budget: {}}]", "exactly one of min_available"),
        ("faults: [{at: 3s}]", "exactly one of"),
        ("faults: [{at: 3s, when: {writes: 3}, reboot: w1}]", "not both"),
        ("faults: [{when: {label: a}, reboot: w1}]", "need `node`"),
        ("faults: [{at: soon, reboot: w1}]", "at"),
        ("timings: {pod_start: -1}", "greater than or equal"),
    ],
)
def test_mistakes_are_refused(text: str, what: str) -> None:
    with pytest.raises(scenario.BadScenario, match=what):
        scenario.parse(text)


def test_durations() -> None:
    faults = scenario.parse("faults: [{at: 1m30s, reboot: w1}, {at: 500ms, reboot: w1}, {at: 7, reboot: w1}]").faults
    assert [fault.at for fault in faults] == [90.0, 0.5, 7.0]


def test_an_empty_file_is_a_calm_cluster() -> None:
    assert scenario.parse("") == scenario.Scenario()


def test_every_field_is_described() -> None:
    """With a reference beside it, JSON Schema keeps a field's description only in the model."""
    models: list[type[BaseModel]] = [scenario.Scenario]
    for model in models:
        assert model.__doc__
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            models += [m for m in _models(field.annotation) if m not in models]
    assert scenario.schema()["additionalProperties"] is False


def _models(annotation: Any) -> list[type[BaseModel]]:
    inner = [found for part in get_args(annotation) for found in _models(part)]
    direct = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return [annotation, *inner] if direct else inner


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (f"nodes:\n- name: {'n' * 64}", 2, "no more than 63 characters: the kubelet makes it the value of the label"),
        ("nodes:\n- name: A_b", 2, "RFC 1123 subdomain"),
        ("nodes:\n- {name: a}\n- {name: a}", 1, "there are two nodes a"),
        ("nodes: -1", 1, "greater than or equal to 0"),
        ("nodes: 99999999", 1, "less than or equal to 10000"),
        ("nodes:\n- name: a\n  taints: [{key: x, effect: No}]", 3, "a taint's effect is one of"),
        ("nodes:\n- name: a\n  labels: {x y: z}", 3, "name part must consist of"),
        ("pod_cidr: x", 1, "an IPv4 network"),
        ("node_cidr: 10.244.0.0/16", 1, "overlaps"),
        ("workloads:\n- name: A b", 2, "RFC 1123 label"),
        ("workloads:\n- {name: a}\n- {name: a}", 1, "there are two workloads deployment/default/a"),
        ("workloads:\n- name: a\n  budget: {min_available: -3}", 3, "a number or a percentage"),
        ("faults:\n- {at: .inf, reboot: w1}", 2, "finite"),
        ("faults:\n- {at: 1e300, reboot: w1}", 2, "31622400"),
        ("faults:\n- {at: 1s, api: {path: '['}}", 2, "no regular expression"),
        ("objects:\n- kind: x", 2, "found no apiVersion"),
        ("network_policies:\n- metadata: {}", 2, "metadata.name"),
        ("timings:\n  boot: .nan", 2, "finite"),
        ("a: [", 1, "not valid YAML"),
        ("x", 1, "dictionary"),
        ("<<: {nodez: 2}", 1, "nodez"),
    ],
)
def test_what_cannot_be_is_refused_by_line(text: str, line: int, what: str) -> None:
    """File, line, key, and what would be right."""
    with pytest.raises(scenario.BadScenario, match=rf"^file\.yaml:{line}: .*{what}"):
        scenario.parse(text, "file.yaml")


@pytest.mark.parametrize(
    ("text", "nodes", "what"),
    [
        ("pod_cidr: 10.0.0.0/29", None, "pod_cidr 10.0.0.0/29 has no room for 3 nodes"),
        ("node_cidr: 10.0.0.0/27", 50, "node_cidr 10.0.0.0/27 has no room for 50 nodes"),
        (
            "faults: [{at: 1s, reboot: w3}]",
            2,
            "faults.0.reboot names the node w3, which is not there; there are: w1, w2",
        ),
        ("faults: [{at: 1s, deaf: {node: w9}}]", None, "names the node w9"),
        ("workloads: [{name: a, kind: pod, node: w9}]", None, "workloads.0.node names the node w9"),
        ("objects: [{apiVersion: v1, kind: Frob, metadata: {name: x}}]", None, "serves no v1 Frob"),
    ],
)
def test_what_this_cluster_cannot_have_is_refused_at_its_start(text: str, nodes: int | None, what: str) -> None:
    """With the number of nodes that was asked for."""
    with pytest.raises(scenario.BadScenario, match=what):
        asyncio.run(serve(scenario.parse(text), nodes=nodes))


def test_a_node_that_joins_may_be_spoken_of() -> None:
    """It is there by then."""
    scenario.check(scenario.parse("faults: [{at: 1s, join: {name: new}}, {at: 9s, reboot: new}]"), ["w1"])
