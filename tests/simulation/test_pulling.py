"""From a mirror with secrets: every pod that a migration brings, counted as they come up on the way."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.configfile import Loaded
from cni_migrate.core.model.attempts import Result
from cni_migrate.core.model.effects import UpgradeRelease
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.preflight.registry import ReleaseFound
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Event
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world.kinds import JOB
from cni_migrate.wiring import completed, forget, manifests_for
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.owncilium import HOOK, objects, own_cilium

MIRROR, SECRETS = "harbor.example:5000/proxy/cache", ["harbor", "backup"]
CANALS = {SMALL.versions.flannel, SMALL.versions.calico}
"""On the nodes already."""

BROUGHT = {
    "overlay": {"cilium-agent", "cilium-operator", "host-task", "identities", "knet-stress", "tunnel-probe"},
    "multus": {
        "cilium-agent",
        "cilium-operator",
        "host-task",
        "identities",
        "kube-multus",
        "knet-stress",
        "tunnel-probe",
    },
}


def _mirrored(strategy: str) -> Config:
    return Config.model_validate(
        {**config_for(strategy).model_dump(exclude_unset=True), "registry": MIRROR, "pull_secrets": SECRETS}
    )


@pytest.mark.parametrize("strategy", sorted(BROUGHT))
def test_every_pod_that_is_brought_is_pulled_with_the_secrets(strategy: str) -> None:
    """Forward and back: each has both secrets, and the mirror's image where it is not Canal's own."""

    async def main() -> None:
        config = _mirrored(strategy)
        pods: list[dict[str, Any]] = []
        async with simulated(SMALL, config) as (sim, _):

            def noted(resource: Resource, event: Event) -> None:
                if resource.key == ("", "pods") and event.after is not None and event.before is None:
                    pods.append(event.after.object)

            sim.app.machinery.after.append(noted)
            for goal in (Goal(until=Phase.ATTACHING), Goal(kind="rollback"), Goal()):
                final = await Process(sim, config, goal=goal).run()
                assert final is not None
                assert final.outcome == "done", final
        brought = Counter[str]()
        for pod in pods:
            names = {one["name"] for one in pod["spec"]["containers"]}
            if not (mine := names & BROUGHT[strategy]):
                assert pod["spec"].get("imagePullSecrets", []) == [], pod["metadata"]["name"]
                continue
            brought.update(mine)
            assert [one["name"] for one in pod["spec"]["imagePullSecrets"]] == SECRETS, pod["metadata"]["name"]
            spec = pod["spec"]
            images = {one["image"] for one in (*spec["containers"], *spec.get("initContainers", []))}
            assert all(image.startswith(f"{MIRROR}/") or image in CANALS for image in images), images
        assert set(brought) == BROUGHT[strategy]
        assert min(brought.values()) >= 2, brought

    run_virtual(main())


def _chart(folder: Path, strategy: str) -> Config:
    """That, as a chart which a program called helm renders."""
    program = folder / "bin" / "helm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$1" in version) echo v3.18.0;; template) cat {objects(folder)};; esac\n')
    program.chmod(0o700)
    forget()
    before, os.environ["PATH"] = os.environ["PATH"], f"{program.parent}:{os.environ['PATH']}"
    try:
        config = config_for(strategy, cilium={"source": "chart", "chart": "oci://charts.example/cilium"})
        return completed(Loaded(config, {}), None).config
    finally:
        os.environ["PATH"] = before


@dataclass
class _Helm:
    """Does what helm does with the last step's objects: they are there already, and its hook is run."""

    sim: Simulation

    def found(self) -> ReleaseFound | None:
        """No release yet."""
        return None

    async def upgrade(self, effect: UpgradeRelease) -> tuple[Result, str]:
        """The hook's Job, as helm makes it anew."""
        await self.sim.client.create(JOB, json.loads(json.dumps(HOOK)), effect.namespace)
        await asyncio.sleep(30)
        return "applied", ""


def _images(sim: Simulation) -> set[str]:
    """The images of all pods that are there."""
    found = (one.object["spec"] for one in sim.store.select(sim.app.catalog.find("", "v1", "pods")))
    return {one["image"] for spec in found for one in (*spec["containers"], *spec.get("initContainers", []))}


PULLS: list[tuple[str, Callable[[Path], Config]]] = [
    *((f"builtin {name}", lambda _, name=name: config_for(name)) for name in sorted(BROUGHT)),
    *((f"own {name}", lambda folder, name=name: own_cilium(folder, name)) for name in sorted(BROUGHT)),
    *((f"chart {name}", lambda folder, name=name: _chart(folder, name)) for name in sorted(BROUGHT)),
    ("existing", lambda _: config_for("overlay", cilium={"source": "existing"})),
    ("a mirror", lambda _: _mirrored("overlay")),
    ("images of one's own", lambda _: config_for(
        "multus", host_task={"image": "r.example/shell:1"}, knet={"image": "r.example/python:3"})),
]  # fmt: skip


@pytest.mark.parametrize("given", [row[1] for row in PULLS], ids=[row[0] for row in PULLS])
def test_the_list_of_images_is_what_is_pulled(given: Callable[[Path], Config], tmp_path: Path) -> None:
    """Counted on the pods of a whole migration: every image that was not there before is on the list, and no other."""

    async def main() -> None:
        config = given(tmp_path)
        existing = config.cilium.source == "existing"
        data = SMALL.model_dump(exclude_defaults=True) | ({"cilium": {"config": {}}} if existing else {})
        pulled: set[str] = set()
        async with simulated(Scenario.model_validate(data), config) as (sim, _):
            await asyncio.sleep(30)  # an installed Cilium has pods by then
            there = _images(sim)

            def noted(resource: Resource, event: Event) -> None:
                if resource.key == ("", "pods") and event.after is not None and event.before is None:
                    spec = event.after.object["spec"]
                    pulled.update(one["image"] for one in (*spec["containers"], *spec.get("initContainers", [])))

            sim.app.machinery.after.append(noted)
            process = Process(sim, config, goal=Goal(until=Phase.MIGRATING) if existing else Goal())
            process.releases = _Helm(sim)
            final = await process.run()
            assert final is not None
            assert final.outcome == "done", final
        named = manifests_for(config, None).images()
        if not config.host_task.image:
            del named["host-task"]  # Canal's own, as the command says
        assert pulled - there == set(named.values())

    run_virtual(main())
