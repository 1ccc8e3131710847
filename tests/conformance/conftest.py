"""Every test in this folder runs twice: on the simulator and on a real control plane, with the same assertions.

There is no skipping: without the programs of a control plane the real half fails and says what to install.
"""

from collections.abc import Iterator

import pytest

from tests.conformance import harness
from tests.conformance.harness import Cluster, Space
from tests.controlplane import build


@pytest.fixture(scope="session")
def kubectl() -> build.Binaries:
    return build.ensure_binaries(harness.KUBERNETES)


@pytest.fixture(scope="session", params=["simulator", "real"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kubectl: build.Binaries
) -> Iterator[Cluster]:
    if request.param == "real":
        with harness.real() as found:
            yield found
    else:
        with harness.simulator(tmp_path_factory.mktemp("simulator"), kubectl["kubectl"]) as found:
            yield found


@pytest.fixture
def space(cluster: Cluster) -> Space:
    """A namespace of the test's own."""
    return cluster.space(harness.unique("space"))


@pytest.fixture
def node(cluster: Cluster) -> str:
    """A node of the test's own, without conditions; its admission taint has gone."""
    name = harness.unique("node")
    assert cluster.post("/api/v1/nodes", {"metadata": {"name": name}}).code == 201
    cluster.eventually(f"/api/v1/nodes/{name}", lambda body: not body["spec"].get("taints"))
    return name
