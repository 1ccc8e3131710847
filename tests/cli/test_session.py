"""What a command finds out about the cluster before it begins."""

import pytest

from cni_migrate.config import Config
from cni_migrate.wiring import host_image
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
