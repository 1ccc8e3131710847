"""Whatever is shown fits 40, 80 and 120 columns: no line is longer, and no word is broken that has room in a line."""

import asyncio
import io
import os
import re
import shlex
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from cni_migrate.cli import checks
from cni_migrate.cli.options import Common
from cni_migrate.cli.ui import colours, confirmation, failing, output, plan_table, progress, status_table
from cni_migrate.cli.ui.fitting import Rows, indented, wrapped
from cni_migrate.cli.ui.typeable import name, one_command
from cni_migrate.core.decision.advance import Waiting
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Budget, Requests
from cni_migrate.core.model.record import Entry, Held, Record
from cni_migrate.core.preflight.registry import blocker, warning
from cni_migrate.core.reports.eta import Left
from cni_migrate.core.reports.plan import plan_view
from cni_migrate.core.reports.status import LeaseInfo, status_view
from cni_migrate.errors import MigrateError
from tests.unit.core.builders import (
    NOW,
    Seen,
    a_daemonset,
    a_node,
    a_plan,
    a_pod,
    a_record,
    after,
    an_agent,
    an_entry,
    seen,
    under_way,
)

WIDTHS = [40, 80, 120]
PLAN = a_plan("overlay")
WHY = (
    "node ip-10-0-12-7, step await_displaced: waited 300 s for the pods of Deployment shop/checkout to be Ready; seen "
    "last: shop/checkout-6d5f7c9b8-x2x4z on node worker-2: CrashLoopBackOff: back-off 5m0s restarting failed container"
)
NAMES = ["worker-1", "worker-2", "ip-10-0-12-7", "control-plane-1"]


def _console(width: int, *, colour: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, height=40, force_terminal=True, no_color=not colour, color_system="standard")  # fmt: skip


def _cluster() -> Seen:
    nodes = [a_node(name, labels={"topology.kubernetes.io/zone": "eu-central-1a"}) for name in NAMES]
    pods = [a_pod(f"checkout-6d5f7c9b8-x2x4{n}", node=name, labels={"app": "web"}) for n, name in enumerate(NAMES)]
    agents = [an_agent("canal", name) for name in NAMES]
    budget = Budget("default", "checkout", {"matchLabels": {"app": "web"}}, 0, False, 2, 2)
    found = seen(*nodes, *pods, *agents, a_daemonset("canal", containers=("kube-flannel",)))
    found.budgets = {("default", "checkout"): budget}
    return found


def _record() -> Record:
    entries = {
        "worker-1": an_entry("worker-1", NodeState.MIGRATED),
        "worker-2": under_way("worker-2", NodeState.CILIUM, NodeEvent.RELEASE, "recheck"),
        "ip-10-0-12-7": under_way("ip-10-0-12-7", NodeState.CILIUM, NodeEvent.RELEASE, "await_displaced", held=Held(why=WHY, next="x", since=NOW)),
        "control-plane-1": an_entry("control-plane-1", NodeState.DUAL),
    }  # fmt: skip
    record = a_record(PLAN, entries, phase=Phase.MIGRATING)
    lines = [Entry(at=NOW, what=f"node ip-10-0-12-7 is held: {WHY}")]
    return record.with_cluster(record.cluster.model_copy(update={"history": tuple(lines)}))


def _status_table(to: Console) -> None:
    view = status_view(PLAN, _record(), _cluster(), None, after(60))
    status_table.show(to, view, "table", after(60))


def _status(to: Console) -> None:
    lease = LeaseInfo(holder="me@laptop/1/2/3", acquired="2030-01-01T00:00:00Z", renewed=NOW, seconds=30)
    view = status_view(PLAN, _record(), _cluster(), lease, after(60))
    status_table.show(to, view, "table", after(60))
    status_table.show(to, view, "wide", after(60))


def _run(to: Console) -> None:
    waits = (
        Waiting("worker-2", "recheck", "connectivity of node worker-2", "clean probe rounds 1 of 3"),
        Waiting("control-plane-1", "evict_pods", "2 pods to leave node control-plane-1",
                "pod shop/db-0: PodDisruptionBudget shop/db allows 0 disruptions: it needs 2 healthy pods and has 2"),
        Waiting("", "sweep", "a full sweep", "worker-1/a has not reported yet"),
    )  # fmt: skip
    decision = Decision(_record(), (), (), waits, after(90), 0.0, durable=False, final=None)
    order = {name: place for place, name in enumerate(NAMES)}
    run = progress.Progress(NOW, after(130), decision, order, Left(300, "what the nodes took so far"))
    for line in progress.drawn(run, to.width, 40):
        to.print(line, soft_wrap=True)


def _plan(to: Console) -> None:
    plan_table.show(to, plan_view(PLAN, Goal(), None, _cluster(), NOW, "test"), steps=True)


def _preflight(to: Console) -> None:
    found = [
        blocker("BUDGET_CLOSED", "no eviction is allowed now by 1 PodDisruptionBudget: a drain would be held",
                "add a replica or make the pods healthy, or loosen the budget", ["shop/db (2 healthy, 2 needed)"]),
        warning("NODES_CORDONED", "1 node cordoned by somebody else: not touched, and clean-up waits for them",
                "uncordon them, or remove them from the cluster", ["ip-10-0-12-7"]),
    ]  # fmt: skip
    checks.show(to, found)


SCREENS = {"status": _status, "run": _run, "plan": _plan, "preflight": _preflight}


def _shown(show: Callable[[Console], None], width: int, *, colour: bool = False) -> str:
    to = _console(width, colour=colour)
    show(to)
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_it_fits(name: str, width: int) -> None:
    """Every line; and every word of what is shown without a width is there, whole."""
    text = _plain(_shown(SCREENS[name], width))
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    words = set(re.findall(r"[\w./-]{3,}", _plain(_shown(SCREENS[name], 1000))))
    here = set(re.findall(r"[\w./-]{3,}", text))
    missing = {word for word in words - here if len(word) <= width - 4 and not word.isupper()}
    assert not missing - {word for word in missing if word.lower() in {one.lower() for one in here}}


@pytest.mark.parametrize("name", SCREENS)
def test_where_there_is_room_it_is_a_table(name: str) -> None:
    """At 120 columns a node and what is said of it are in one line."""
    text = _plain(_shown(SCREENS[name], 120))
    if name in ("status", "run"):
        assert re.search(r"^worker-1 +migrated", text, re.MULTILINE)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_tells_progress_time_and_what_is_waited_for(width: int) -> None:
    """Nodes that are done, elapsed and remaining time with how it is known, rounds, and budgets."""
    said = " ".join(_plain(_shown(_run, width)).split())
    for words in ("1 of 4 nodes migrated", "25%", "elapsed 2m10s", "by what the nodes took so far",
                  "clean probe rounds 1 of 3", "PodDisruptionBudget shop/db allows 0 disruptions"):  # fmt: skip
        assert words in said


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("step", ["", "sweep"])
def test_a_run_tells_what_all_nodes_wait_for(step: str, width: int) -> None:
    """A pause, or nodes that cannot be touched, are no node's own wait, nor that of a step."""
    waits = (
        Waiting("", "sweep", "a full sweep", "worker-1/a has not reported yet"),
        Waiting("", "", "`migrate resume`", "paused since noon"),
        Waiting("", "", "nodes that cannot be touched", "node worker-2 is NotReady"),
    )
    record = _record()
    record = record.with_cluster(record.cluster.model_copy(update={"step": step}))
    decision = Decision(record, (), (), waits, after(90), 0.0, durable=False, final=None)
    run = progress.Progress(NOW, after(130), decision, {}, Left(300, "what the nodes took so far"))
    said = " ".join(" ".join(line.plain for line in progress.drawn(run, width, 40)).split())
    for words in ("waits for `migrate resume`: paused since noon", "node worker-2 is NotReady", "has not reported yet"):
        assert said.count(words) == 1
    assert "time left not known now" in said, "nobody can tell how long a pause lasts"


def test_a_screen_that_is_low_shows_what_matters_now() -> None:
    """Held, then under way; how many more there are; and always the sum."""
    decision = Decision(_record(), (), (), (Waiting("worker-2", "recheck", "x", ""),), after(90), 0.0, durable=False, final=None)  # fmt: skip
    run = progress.Progress(NOW, after(10), decision, {}, None)
    lines = [line.plain for line in progress.drawn(run, 400, 7)]
    assert len(lines) <= 7
    assert lines[1].startswith("ip-10-0-12-7")
    assert lines[2].startswith("and 3 more") or lines[2].startswith("worker-2")
    assert any("of 4 nodes migrated" in line for line in lines)


@pytest.mark.parametrize("width", [1, 8, 20, 40])
def test_no_line_is_longer(width: int) -> None:
    """Words that are longer than a line are broken behind a joint where there is one."""
    text = "pod shop/checkout-6d5f7c9b8-x2x4z is ContainerCreating: no CNI file in /etc/cni/net.d"
    lines = [line.plain for line in wrapped(text, width)]
    assert max(map(len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_hold_is_said_once() -> None:
    """By the node, not again in the history."""
    assert " ".join(_plain(_shown(_status_table, 120)).split()).count("waited 300 s for") == 1


def test_a_table_that_is_redrawn_keeps_its_form() -> None:
    """Whatever its last column holds at the moment."""
    forms = set()
    for words in ("", "something that is waited for, and takes its time"):
        rows = Rows(["NODE", "STATE", "WAITS FOR"])
        rows.add_row("worker-1", "draining", words)
        forms.add(rows.fitted(40, steady=True).head[0].plain)
    assert forms == {"NODE      STATE"}


def test_further_lines_are_indented() -> None:
    """Behind a label."""
    lines = [line.plain for line in indented("one two three four", 14, "do: ", by=4)]
    assert lines == ["do: one two", "    three four"]


def test_what_was_typed_takes_no_words_away() -> None:
    """A command gets longer by it, and the lines are broken behind that."""
    said = "possible by `migrate rollback` until clean-up's step delete_canal"
    with one_command():
        name(Common(config=Path("config.yaml")))
        for width in (24, 40, 60):
            lines = [line.plain.strip() for line in indented(said, width)]
            whole = " ".join(line.removesuffix(" \\") for line in lines)
            assert whole == said.replace("rollback", "rollback --config config.yaml")


def test_names_of_pods_are_not_broken_in_findings() -> None:
    """On 40 columns as well: there is no blank in them, and they are to be copied."""
    to = _console(40)
    pod = "edge/ingress-1f4174affb-j2ncb"
    checks.show(to, [warning("HOST_PORTS", "ports close", "a NodePort", (f"{pod} on w1",))])
    assert isinstance(to.file, io.StringIO)
    assert f"  - {pod} on w1\n" in re.sub(r"\x1b\[[0-9;]*m", "", to.file.getvalue())


@pytest.mark.parametrize(("width", "lines"), [(40, 3), (200, 1)])
def test_an_error_fits_and_what_to_type_can_be_copied(
    width: int, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No word is cut by the terminal's edge, and a shell takes the command's lines for one."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    order = "migrate run --waive BUDGET_CLOSED:bank/ledger --nodes ip-10-0-12-7"
    failing.failed(MigrateError("one word, " * 8 + "end", next=order), debug=False)
    said, told = capsys.readouterr().err.split("next: ")
    assert len(said.splitlines()) == lines
    assert all(len(line) <= width for line in (said + "next: " + told).splitlines())
    assert " ".join(said.split()) == "error: " + "one word, " * 8 + "end"
    assert shlex.split(told.replace("\\\n", "")) == order.split()


COMMANDS = (
    "migrate run --config prod.yaml --kubeconfig /home/me/.kube/prod --nodes worker-1,worker-2",
    "migrate run --selector 'topology.kubernetes.io/zone in (eu-1a, eu-1b)' --until migrating",
    "kubectl -n kube-system delete configmap/canal-config serviceaccount/canal clusterrole/flannel",
    "migrate status",
)


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("form", ["next: {}", "next: {}, which says what to do", "next: migrate plan  (it writes nothing), then {}", "  {}  # it is kept", "next: mend what is named, then `{}` again"])  # fmt: skip
def test_commands_can_be_copied_whatever_the_width(form: str, command: str, width: int) -> None:
    """A shell reads from the lines what it would read from one; no line is longer unless one of its words is."""
    lines = [line.plain for line in indented(form.format(command), width, by=4)]
    joined = [" ".join(line.split()) for line in "\n".join(lines).replace(" \\\n", " ").splitlines()]
    assert any(command in line for line in joined)
    longest = max(map(len, re.findall(r"(?:'[^']*'|\S)+", command)))
    assert all(len(line) <= max(width, longest + 8) for line in lines)


def test_a_command_that_has_room_in_a_line_is_whole() -> None:
    """It is not broken because it stands behind other words."""
    lines = [line.plain for line in indented("point of no return: `migrate rollback -c m.yaml` is possible", 40)]
    assert lines == ["point of no return:", "  `migrate rollback -c m.yaml` is", "  possible"]


def test_where_no_shell_joins_lines_a_command_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backslash means something else on Windows."""
    monkeypatch.setattr(os, "name", "nt")
    assert COMMANDS[0] in [line.plain.strip() for line in indented(f"next: {COMMANDS[0]}", 40)]


def test_a_question_fits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its numbers are not cut in two by the terminal's edge, and the cursor stands behind it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    monkeypatch.setenv("COLUMNS", "40")
    question = "Continue on context prod-eu (https://api.prod.example:6443): 12 nodes to go, 86 pods will move?"
    assert asyncio.run(confirmation.asked(question))
    asked = capsys.readouterr().err
    assert all(len(line) <= 40 for line in asked.splitlines())
    assert " ".join(asked.split()) == f"{question} [y/N]"
    assert asked.endswith("[y/N] ")


def test_rows_have_as_many_cells_as_headers() -> None:
    """A cell too few would be shown under another header."""
    with pytest.raises(ValueError, match="2 cells under 1"):
        Rows(["A"]).add_row("a", "b")


def test_each_colour_means_one_thing() -> None:
    """They differ from each other, and nothing else in the commands names a colour."""
    meanings = [
        colours.GOOD,
        colours.BAD,
        colours.CAUTION,
        colours.UNDER_WAY,
        colours.NEXT,
        colours.QUIET,
        colours.HEAD,
    ]
    assert len(set(meanings)) == len(meanings)
    folder = Path(output.__file__).parent.parent
    named = re.compile(r"\"(?:bold |dim )?(?:red|green|yellow|cyan|magenta|blue|dim|bold)\"")
    found = [str(file.name) for file in folder.rglob("*.py") if file.name not in ("colours.py", "svg.py") and named.search(file.read_text())]  # fmt: skip
    assert found == []


@pytest.mark.parametrize("name", SCREENS)
def test_no_color(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR turns every colour off (no-color.org), also on a terminal."""

    class Terminal(io.StringIO):
        """A stream that says it is a terminal."""

        def isatty(self) -> bool:
            """It says so."""
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    for value, coloured in (("1", False), ("", True)):
        monkeypatch.setenv("NO_COLOR", value)
        to = output.console(Terminal())
        SCREENS[name](to)
        assert bool(re.search(r"\x1b\[(?:\d+;)*3\d", to.file.getvalue())) is coloured  # type: ignore[attr-defined]


@pytest.mark.parametrize(("paused", "told"), [("", "all nodes migrated in about"), ("noon", "of work left until all")])
def test_a_pause_promises_no_end(paused: str, told: str) -> None:
    """Though somebody drives."""
    took = {"attach": 1.0, "drain": 20.0, "switch": 30.0, "release": 10.0}
    record = a_record(PLAN, {"w1": an_entry("w1", NodeState.MIGRATED, took=took), "w2": an_entry("w2", NodeState.DUAL)})
    lease = LeaseInfo(holder="me@laptop/1/2/3", acquired="2030-01-01T00:00:00Z", renewed=NOW, seconds=30)
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(paused_since=paused))
    to = _console(120)
    status_table.show(to, status_view(PLAN, record, found, lease, NOW), "table", NOW)
    assert isinstance(to.file, io.StringIO)
    assert told in to.file.getvalue()


@pytest.mark.parametrize(
    ("later", "told"), [(60, r"m\d\d:\d\d:\d\d  node w1"), (86400, r"m2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d  node w1")]
)
def test_what_was_on_another_day_is_told_with_the_day(later: int, told: str) -> None:
    """A migration may take days, and its rollback be looked at weeks later."""
    record = a_record(PLAN, {"w1": an_entry("w1")}, history=(Entry(at=NOW, what="node w1: canal -> dual"),))
    to = _console(120)
    status_table.show(to, status_view(PLAN, record, seen(a_node("w1")), None, after(later)), "table", after(later))
    assert isinstance(to.file, io.StringIO)
    assert re.search(told, to.file.getvalue())


def test_time_goes_by() -> None:
    """What is not known is said so."""
    decision = Decision(_record(), (), (), (Waiting("worker-2", "recheck", "x", ""),), after(90), 0.0, durable=False, final=None)  # fmt: skip
    run = progress.Progress(NOW, NOW + timedelta(hours=1), decision, {}, None)
    assert progress.times(run) == "elapsed 1h, time left not known now"
