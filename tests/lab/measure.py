"""What a migration costs per node: by hand with kubectl, and by the tool with each strategy, on the same workloads."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab import by_hand, report, requests
from tests.lab.account import open_account
from tests.lab.cluster import Cluster
from tests.lab.driving import Lines, Operator, said, steps_of_nodes
from tests.lab.processes import say
from tests.lab.settings import LabError

WHO = ("by-hand", "overlay", "multus")


def timeline(lines: Lines) -> list[str]:
    """When each step of a node began, a line each."""
    return [f"{line['at'][11:22]}  {line['node']}  {line['of']:8} {line['step']}" for line in steps_of_nodes(lines)]


def measure(here: Cluster, who: str, options: Sequence[str] = ()) -> None:
    """Migrate the lab, which has to be a fresh one with its workloads, and print the figures.

    `options` are for the tool's `run`.
    """
    here.await_workloads()
    if who == "by-hand":
        if options:
            raise LabError("by hand there are no options")
        cost = by_hand.migrate(here)
    else:
        with TemporaryDirectory() as folder:
            operator = Operator(here.lab, Path(folder) / "log", who, open_account(here, who))
            start = requests.position(here.lab)
            done = operator.run(*options)
            if done.returncode:
                raise LabError(said(done))
            say("\n".join(timeline(operator.lines())))
            cost = report.cost(here.lab, operator.lines(), start)
            say(requests.table(requests.of_tool(here.lab, start)))
    say("who       drains/node  seconds/node  requests/node  requests in all")
    say(f"{who:9} {cost.drains:11g} {cost.seconds:13.1f} {cost.requests:14.1f} {cost.all_requests:16}")
