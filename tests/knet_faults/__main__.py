"""Makes every fault in turn among real agents, and tells what the gate says. `nox -s knet_faults -- --agents 20`.

Needs Linux, root and iproute2. Exit 1: a fault was missed or blamed wrongly, an alarm was false, or it cannot run here.
"""

import argparse
import signal
import sys

from tests.knet_faults.faults import DELAY, FAULTS, ROUNDS, find
from tests.knet_faults.mesh import CONFIG, Mesh
from tests.knet_faults.net import CannotBuild, has_netem, missing, sweep


def _say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run it all; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.knet_faults", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--agents", type=int, default=20, help="how many, two per node; at least 6")
    parser.add_argument("--quiet-seconds", type=float, default=60.0, help="how long undisturbed agents are watched")
    parser.add_argument("--only", default="", help="the faults whose names have this in them")
    parser.add_argument("--slow", action="store_true", help="only watch undisturbed agents, at their slow pace")
    options = parser.parse_args()
    if options.agents < 6:
        parser.error("fewer than 6 agents, on three nodes, show no pattern")
    if why := missing():
        sys.stderr.write(f"CANNOT RUN: {why}\n")
        return 1
    signal.signal(signal.SIGTERM, _end)
    if left := sweep():
        _say(f"swept what an earlier run left: {', '.join(left)}")
    try:
        if options.slow:
            return _watch(options.agents // 2, options.quiet_seconds)
        return _run(options.agents // 2, options.quiet_seconds, options.only)
    except CannotBuild as problem:
        sys.stderr.write(f"CANNOT RUN: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; everything is removed\n")
        return 1


def _watch(nodes: int, quiet: float) -> int:
    with Mesh(nodes, slow=True) as mesh:
        if rest := mesh.settle(60):
            sys.stderr.write(f"the agents do not get along: {rest}\n")
            return 1
        alarms = mesh.alarms(quiet)
        slow = sum(rounds[-1].interval > CONFIG.knet.interval for rounds in mesh.rounds().values() if rounds)
    _say(f"undisturbed for {quiet:.0f} s: {'; '.join(alarms) or 'no false alarm'}")
    _say(f"{slow} of {2 * nodes} agents are slow at the end")
    return 1 if alarms else 0


def _run(nodes: int, quiet: float, only: str) -> int:
    failed = 0
    netem = has_netem()
    with Mesh(nodes) as mesh:
        _say(f"{len(mesh.agents)} agents on {nodes} nodes")
        if rest := mesh.settle(60):
            sys.stderr.write(f"the agents do not get along before anything is broken: {rest}\n")
            return 1
        alarms = mesh.alarms(quiet)
        failed += len(alarms)
        _say(f"undisturbed for {quiet:.0f} s: {'; '.join(alarms) or 'no false alarm'}")
        width = max(len(fault.name) for fault in (*FAULTS, DELAY))
        _say(f"{'fault'.ljust(width)}  rounds  verdict  diagnosis")
        for fault in (*FAULTS, *([DELAY] if netem else [])):
            if only not in fault.name:
                continue
            found = find(mesh, fault)
            failed += bool(found.wrong)
            verdict = "WRONG" if found.wrong else "right"
            why = f" [{found.wrong}]" if found.wrong else ""
            _say(f"{found.fault.ljust(width)}  {found.rounds:6}  {verdict.ljust(7)}  {found.said or '-'}{why}")
        if not netem:
            _say(f"{DELAY.name.ljust(width)}       -  -        not made: this kernel has no netem (module sch_netem)")
    _say("every fault found and blamed rightly" if not failed else f"{failed} wrong (at most {ROUNDS} rounds allowed)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
