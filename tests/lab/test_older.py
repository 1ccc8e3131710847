"""The same whole migrations to the oldest Cilium that the lab has."""

import pytest

from tests.lab import cilium
from tests.lab.conftest import Bring, Hire
from tests.lab.test_migration import migrate


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_the_oldest_cilium(strategy: str, bring: Bring, hire: Hire) -> None:
    migrate(bring(list(cilium.RELEASES)[-1], strategy), hire, strategy)
