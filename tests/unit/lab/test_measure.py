"""What another program than the tool costs on the lab."""

import json
import sys
from pathlib import Path

import pytest

from tests.lab.measure import by_command
from tests.lab.settings import ADMINISTRATOR, Lab, LabError

ASKS = "import os, sys; assert os.environ['KUBECONFIG'] == sys.argv[1]; open(sys.argv[2], 'a').write(sys.argv[3])"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab of two nodes, by its files alone; its administrator has asked once."""
    found = Lab(cache=tmp_path / "cache", folder=tmp_path / "running")
    found.logs.mkdir(parents=True)
    found.save({"api_port": 1, "nodes": ["node1", "node2"]})
    (found.logs / "audit.log").write_text(_asked(ADMINISTRATOR))
    return found


def _asked(*users: str) -> str:
    lines = (
        {
            "stage": "ResponseComplete",
            "requestReceivedTimestamp": "2030-01-01T12:00:00Z",
            "user": {"username": user},
            "verb": "get",
            "requestURI": "/api",
        }
        for user in users
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_the_requests_of_a_command_are_the_administrators_while_it_runs(lab: Lab) -> None:
    """Those of the cluster's own programs, and from before, are not its."""
    lines = _asked(ADMINISTRATOR, "system:kube-scheduler", ADMINISTRATOR, ADMINISTRATOR)
    log = str(lab.logs / "audit.log")
    cost = by_command(lab, [sys.executable, "-c", ASKS, str(lab.admin), log, lines])
    assert (cost.requests, cost.all_requests, cost.drains) == (1.5, 3, None)
    assert cost.seconds > 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "which command"),
        (["/nowhere/program"], "/nowhere/program: No such file"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3"),
    ],
)
def test_a_command_that_fails_has_no_cost(lab: Lab, command: list[str], said: str) -> None:
    """Half a migration would look cheap."""
    with pytest.raises(LabError, match=said):
        by_command(lab, command)
