"""What a command finds out about the cluster before it begins."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.cli.goals import goal_of
from cni_migrate.cli.ui.confirmation import asked
from cni_migrate.config import Config
from cni_migrate.core.model.goal import Goal
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.wiring import cleaning_image, host_image
from tests.cli.conftest import QUICK, Served, Typed
from tests.unit.core.builders import a_daemonset, seen

CALICO = ("docker.io/calico/cni:v3.29.1", "docker.io/calico/node:v3.29.1", "docker.io/flannel/flannel:v0.24.4")
FLANNEL = ("ghcr.io/flannel-io/flannel-cni-plugin:v1.6.2-flannel1", *["ghcr.io/flannel-io/flannel:v0.26.7"] * 2)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param(CALICO, CALICO[-1], id="Canal"),
        pytest.param(FLANNEL, FLANNEL[-1], id="flannel, as its own manifest installs it"),
        pytest.param(("registry.example/a:1", "registry.example/b:2"), "registry.example/b:2", id="mirrored"),
    ],
)
def test_host_tasks_run_in_the_image_with_iptables(images: tuple[str, ...], expected: str) -> None:
    """Flannel's own has them, and a shell; the installer of its plugin has neither of them for sure."""
    found = seen(a_daemonset("canal", images=images))
    assert host_image(Config(), found) == expected


HARDENED = ("rancher/hardened-calico:v3.29.1-build1", "rancher/hardened-flannel:v0.26.1-build1")


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param(CALICO, CALICO[1], id="Canal"),
        pytest.param(HARDENED, HARDENED[0], id="RKE2's"),
        pytest.param(("mirror/x/mirrored-calico-node@sha256:0a", CALICO[-1]), "mirror/x/mirrored-calico-node@sha256:0a", id="mirrored"),
        pytest.param(("quay.io/calico/calico:v3.33.0", CALICO[-1]), "quay.io/calico/calico:v3.33.0", id="one for all"),
        pytest.param(FLANNEL, FLANNEL[-1], id="flannel alone"),
        pytest.param(("registry.example/node:1",), "registry.example/node:1", id="nobody's"),
    ],
)  # fmt: skip
def test_canal_is_removed_in_calicos_own_image(images: tuple[str, ...], expected: str) -> None:
    """Flannel's has no ipset: on a node without one Calico's sets would stay, and nobody would see them."""
    assert cleaning_image(Config(), seen(a_daemonset("canal", images=images))) == expected


def test_calicos_image_is_found_where_it_has_a_daemonset_of_its_own() -> None:
    """Split DaemonSets: kube-flannel and calico-node."""
    found = seen(a_daemonset("canal", images=FLANNEL), a_daemonset("calico-node", images=CALICO[:2]))
    canal = {"more_daemonsets": ["kube-system/calico-node"]}
    assert cleaning_image(Config.model_validate({"canal": canal}), found) == CALICO[1]


def test_a_run_connects_and_lists_once(migrate: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said before the question, and what is driven after it, come from one connection and one list."""
    entered: list[str] = []
    enter = KubeCluster.__aenter__

    async def counted(self: KubeCluster) -> KubeCluster:
        entered.append("listed")
        return await enter(self)

    def meant(*arguments: Any) -> Goal:
        entered.append("goal")
        return goal_of(*arguments)

    monkeypatch.setattr(KubeCluster, "__aenter__", counted)
    monkeypatch.setattr("cni_migrate.cli.drive.goal_of", meant)
    config = tmp_path / "quick.yaml"
    config.write_text(QUICK, encoding="utf-8")
    with Served(tmp_path) as served:
        ended = migrate(
            "run", "--yes", "--until", "preparing", "--kubeconfig", str(served.kubeconfig), "--config", str(config)
        )
    assert ended.code == 0, ended.err
    assert entered == ["listed", "goal"]


def test_a_question_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an answer is waited for, all else goes on: the connection stays alive, and Ctrl-C is heard."""
    came, typed = os.pipe()
    steps: list[str] = []

    async def beside() -> None:
        await asyncio.sleep(0.05)
        steps.append("went on")
        os.write(typed, b"y\n")

    async def main() -> bool:
        other = asyncio.create_task(beside())
        answer = await asked("Continue?")
        await other
        return answer

    with os.fdopen(came) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert asyncio.run(main()) is True
    assert steps == ["went on"]
    os.close(typed)
