"""What things cost: printed, never asserted. `nox -s bench`, or `python -m tests.bench [startup] [cost] [scale] [knet] [looks]`.

startup   `migrate --version` against `python -c "import typer"`
cost      API requests and bytes per node, 3 and 10 nodes, both strategies
scale     a 100- and a 1,000-node migration: real seconds and memory (5 % of the nodes at once)
knet      probes and log bytes of the agents against the original's all-pairs scheme; one real agent with 100 peers
looks     preflight on 12 and 1,000 nodes, plan and status on 5,000 with 5 pods each: real seconds and memory
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

from tests.bench.case import Measured
from tests.bench.knet import agent_use, scheme
from tests.bench.looks import looks
from tests.bench.startup import RUNS, startup

PARTS = ("startup", "cost", "scale", "knet", "looks")


def _say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _row(cells: Iterable[object], widths: Sequence[int]) -> str:
    return "  ".join(str(cell).rjust(width) for cell, width in zip(cells, widths, strict=True))


def _case(nodes: int, strategy: str, max_unavailable: str = "1") -> Measured | None:
    """One migration in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.case", "--nodes", str(nodes), "--strategy", strategy]
    done = subprocess.run([*command, "--max-unavailable", max_unavailable], capture_output=True, text=True, check=False)
    if done.returncode:
        _say(f"{strategy}, {nodes} nodes: failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return None
    return Measured(**json.loads(done.stdout))


def _startup() -> None:
    found = startup()
    _say(f"start-up, median of {RUNS} runs")
    _say(f"  migrate --version         {found.migrate:6.0f} ms")
    _say(f'  python -c "import typer"  {found.typer:6.0f} ms')
    _say(f"  migrate --help            {found.help:6.0f} ms")
    _say(f"  ratio                     {found.ratio:6.2f}      (aim < 2)")


def _cost(sizes: Sequence[int], strategies: Sequence[str], *, detail: bool) -> None:
    head = (
        "strategy",
        "nodes",
        "requests",
        "aim",
        "writes",
        "logs",
        "events",
        "evicted",
        "blocked",
        "kB sent",
        "kB received",
        "outcome",
    )
    widths = (8, 5, 8, 5, 6, 6, 6, 7, 7, 8, 11, 18)
    _say("cost per node: API requests (log reads and Events counted; aim 40, and 3 per evicted pod, of Events under 3)")
    _say(_row(head, widths))
    for strategy in strategies:
        for nodes in sizes:
            if (m := _case(nodes, strategy)) is None:
                continue
            per = [
                f"{value / nodes:.1f}"
                for value in (m.requests, m.aim * nodes, m.writes, m.log_reads, m.events, m.evicted, m.blocked)
            ]
            sent, received = (f"{value / nodes / 1000:.0f}" for value in (m.bytes_sent, m.bytes_received))
            _say(_row((strategy, nodes, *per, sent, received, m.outcome), widths))
            if detail:
                for name, number in m.by_kind.items():
                    _say(f"{number / nodes:24.1f}  {name}")


def _scale(sizes: Sequence[int], strategies: Sequence[str], max_unavailable: str) -> None:
    head = ("strategy", "nodes", "real s", "virtual s", "MiB", "turns", "requests/node", "outcome")
    widths = (8, 5, 7, 9, 6, 7, 13, 20)
    _say(f"scale on virtual time, max_unavailable {max_unavailable} (aim: 1,000 nodes in 120 real seconds)")
    _say(_row(head, widths))
    for nodes in sizes:
        for strategy in strategies:
            if (m := _case(nodes, strategy, max_unavailable)) is None:
                continue
            cells = (strategy, nodes, m.real_seconds, m.virtual_seconds, m.memory_mib, m.turns)
            _say(_row((*cells, f"{m.requests / nodes:.1f}", m.outcome), widths))
            if m.why:
                _say(f"  {m.why}")


def _knet(sizes: Sequence[int], peers: int) -> None:
    head = ("nodes", "peers", "probes/round", "per agent", "B/line", "kB logged", "read at a gate", "original")
    widths = (6, 6, 12, 9, 7, 9, 14, 12)
    _say("the agents' rounds: what one costs; the original's check asks 4 N² times")
    _say(_row(head, widths))
    for size in sizes:
        s = scheme(size)
        per, logged = s.probes / (2 * size), 2 * size * s.line / 1000
        cells = (size, f"{s.peers:.1f}", f"{s.probes:,}", f"{per:.0f}", s.line, f"{logged:,.0f}", s.read)
        _say(_row((*cells, f"{s.original:,}"), widths))
    _say(f"one real agent with {peers} peers that probe it too (aim: 2 % of a core when calm, 40 MiB)")
    for use in agent_use(peers, fast_s=20, slow_s=40):
        _say(
            f"  a round every {use.interval:g} s: {use.percent:5.1f} % of a core, {use.mib:.0f} MiB, p99 {use.p99_ms} ms"
        )


AIMS = {("preflight", 12): "1.5 s", ("preflight", 1000): "6 s", ("plan", 5000): "10 s, 400 MiB",
        ("status", 5000): "10 s, 400 MiB"}  # fmt: skip


def _looks() -> None:
    _say("a look at a large cluster: `-o json` against a simulator on this machine, 5 pods per node")
    widths = (9, 5, 6, 7, 9, 5, 4, 14)
    _say(_row(("command", "nodes", "pods", "real s", "own cpu s", "MiB", "code", "aim"), widths))
    for nodes, commands in ((12, ("preflight", "plan", "status")), (1000, ("preflight",)), (5000, ("plan", "status"))):
        for look in looks(nodes, 5, commands):
            figures = (f"{look.seconds:.1f}", f"{look.cpu_seconds:.1f}", f"{look.mib:.0f}", look.code)
            _say(_row((look.command, nodes, look.pods, *figures, AIMS.get((look.command, nodes), "")), widths))


def main() -> None:
    """Print what was asked for; everything by default."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--strategy", action="append", choices=["multus", "overlay"])
    parser.add_argument("--cost-nodes", default="3,10", help="sizes for the costs")
    parser.add_argument("--scale-nodes", default="100,1000", help="sizes for the scale")
    parser.add_argument("--knet-nodes", default="100,1000,5000", help="sizes for the agents' rounds")
    parser.add_argument("--knet-peers", type=int, default=100, help="peers of the one real agent")
    parser.add_argument("--max-unavailable", default="5%", help="for the scale")
    parser.add_argument("--detail", action="store_true", help="the costs by method and resource")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    strategies = options.strategy or ["multus", "overlay"]
    for part in options.parts or PARTS:
        if part == "startup":
            _startup()
        elif part == "cost":
            _cost([int(size) for size in options.cost_nodes.split(",")], strategies, detail=options.detail)
        elif part == "looks":
            _looks()
        elif part == "knet":
            _knet([int(size) for size in options.knet_nodes.split(",")], options.knet_peers)
        else:
            _scale([int(size) for size in options.scale_nodes.split(",")], strategies, options.max_unavailable)
        _say()


if __name__ == "__main__":
    main()
