"""Quantities, and what the scheduler sets aside for a pod."""

from typing import Any

import pytest

from cni_migrate.core.model.objects import Amount
from cni_migrate.kube import views
from cni_migrate.kube.amounts import allocatable, needs, quantity

MI = 2**20


@pytest.mark.parametrize(
    ("text", "number"),
    [("100m", 0.1), ("2", 2), ("1.5", 1.5), ("64Mi", 64 * MI), ("1Gi", 1024 * MI), ("1G", 1e9), ("12e6", 12e6),
     ("1E3", 1000), ("500k", 5e5), ("128974848000m", 128974848), ("much", 0), ("", 0)],
)  # fmt: skip
def test_quantities(text: str, number: float) -> None:
    """As Kubernetes writes them; what cannot be read is nothing."""
    assert quantity(text) == pytest.approx(number)


def _container(cpu: str = "", memory: str = "", **more: Any) -> dict[str, Any]:
    asked = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": "c", "resources": {"requests": asked}, **more}


ALWAYS = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "cpu", "memory"),
    [
        ({"containers": [{"name": "c"}]}, 0, 0),
        ({"containers": [_container("100m", "64Mi"), _container("1", "1Mi")]}, 1100, 65),
        ({"containers": [_container("100m")], "initContainers": [_container("500m", "10Mi")]}, 500, 10),
        ({"containers": [_container("400m")], "initContainers": [_container("100m"), _container("300m")]}, 400, 0),
        ({"containers": [_container("100m")], "initContainers": [_container("200m", **ALWAYS)]}, 300, 0),
        (
            {"containers": [_container("100m")], "initContainers": [_container("200m", **ALWAYS), _container("300m")]},
            500,
            0,
        ),
        ({"containers": [_container("100m")], "overhead": {"cpu": "50m", "memory": "20Mi"}}, 150, 20),
        ({"containers": [_container("100m", "5Mi")], "resources": {"requests": {"cpu": "2"}}}, 2000, 5),
    ],
    ids=["nothing", "sum", "a large init", "small inits", "one that stays", "both", "overhead", "the whole pod's"],
)
def test_what_a_pod_needs(spec: dict[str, Any], cpu: int, memory: int) -> None:
    """In thousandths of a processor and bytes; each is one pod."""
    assert needs(spec) == Amount(cpu, memory * MI, 1)
    assert views.pod({"metadata": {"name": "p"}, "spec": spec}).needs == Amount(cpu, memory * MI, 1)


def test_what_a_node_has() -> None:
    """110 pods where it says nothing of them, as a kubelet without configuration."""
    assert allocatable({"allocatable": {"cpu": "3920m", "memory": "7Gi", "pods": "30"}}) == Amount(3920, 7168 * MI, 30)
    assert allocatable({"allocatable": {"cpu": "1"}}) == Amount(1000, 0, 110)
    assert allocatable({}) is None
