"""What a migration costs per node: by hand, by the tool with each strategy, by any other program; on the same load."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab import by_hand, report, requests
from tests.lab.account import open_account
from tests.lab.cluster import Cluster
from tests.lab.driving import Lines, Operator, said, steps_of_nodes
from tests.lab.processes import say
from tests.lab.report import Cost
from tests.lab.settings import ADMINISTRATOR, Lab, LabError

WHO = ("by-hand", "overlay", "multus", "command")


def timeline(lines: Lines) -> list[str]:
    """When each step of a node began, a line each."""
    return [f"{line['at'][11:22]}  {line['node']}  {line['of']:8} {line['step']}" for line in steps_of_nodes(lines)]


def measure(here: Cluster, who: str, options: Sequence[str] = ()) -> None:
    """Migrate the lab, which has to be a fresh one with its workloads, and print the figures.

    `options` are for the tool's `run`, or the whole of another program's command line.
    """
    here.await_workloads()
    if who == "by-hand":
        if options:
            raise LabError("by hand there are no options")
        cost = by_hand.migrate(here)
    elif who == "command":
        cost = by_command(here.lab, options)
    else:
        cost = _by_tool(here, who, options)
    say("who       drains/node  seconds/node  requests/node  requests in all")
    drains = "-" if cost.drains is None else f"{cost.drains:g}"
    say(f"{who:9} {drains:>11} {cost.seconds:13.1f} {cost.requests:14.1f} {cost.all_requests:16}")


def _by_tool(here: Cluster, strategy: str, options: Sequence[str]) -> Cost:
    with TemporaryDirectory() as folder:
        operator = Operator(here.lab, Path(folder) / "log", strategy, open_account(here, strategy))
        start = requests.position(here.lab)
        done = operator.run(*options)
        if done.returncode:
            raise LabError(said(done))
        say("\n".join(timeline(operator.lines())))
        say(requests.table(requests.of_tool(here.lab, start)))
        return report.cost(here.lab, operator.lines(), start)


def by_command(lab: Lab, command: Sequence[str]) -> Cost:
    """What another program does from its start to its end; nobody else may ask as administrator meanwhile.

    Raises:
        LabError: there is no such program, or it fails.
    """
    if not command:
        raise LabError("which command? `python -m tests.lab measure command -- PROGRAM ...`")
    start, began = requests.position(lab), time.monotonic()
    try:
        code = subprocess.run(command, env={**os.environ, "KUBECONFIG": str(lab.admin)}, check=False).returncode
    except OSError as error:
        raise LabError(f"{command[0]}: {error.strerror}") from None
    seconds, nodes = time.monotonic() - began, len(lab.state()["nodes"])
    if code:
        raise LabError(f"{command[0]} ended with exit code {code}")
    asked = sum(one.user == ADMINISTRATOR for one in requests.since(lab, start))
    return Cost(seconds / nodes, asked / nodes, None, asked)
