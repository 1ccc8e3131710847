"""The same whole migrations to the oldest Cilium that the lab has."""

import pytest

from tests.lab import cilium
from tests.lab.cluster import Cluster
from tests.lab.conftest import STRATEGIES, Hire
from tests.lab.test_migration import migrate


@pytest.mark.parametrize("version", list(cilium.RELEASES)[-1:])
@pytest.mark.parametrize(("strategy", "canal"), STRATEGIES)
def test_the_oldest_cilium(strategy: str, cluster: Cluster, hire: Hire) -> None:
    migrate(cluster, hire, strategy)
