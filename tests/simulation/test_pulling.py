"""From a mirror with secrets: every pod that a migration brings, counted as they come up on the way."""

from collections import Counter
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Event
from cni_migrate.sim.clock import run_virtual
from tests.simulation.harness import SMALL, Process, config_for, simulated

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
