"""Whole runs through the command line, on a served cluster: forward, stopped, resumed, back; and what is said."""

import contextlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.cli.loopback import free_port
from cni_migrate.sim.scenario import Scenario, load
from tests.cli.conftest import CONFIG_MAPS, DAEMONSETS, NAMESPACES, QUICK, Served, Typed

On = Callable[[Served], Typed]
Make = Callable[..., Served]

FLANNEL = load("calm").model_copy(update={"calico": False})
"""A calm cluster without Calico, beside which multus works."""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration with which gates are quick."""
    file = tmp_path / "quick.yaml"
    file.write_text(QUICK, encoding="utf-8")
    return str(file)


def _status(typed: Typed, *arguments: str) -> dict[str, Any]:
    ended = typed("status", "-o", "json", *arguments)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_before_anything(on: On, untouched: Served) -> None:
    """Looking writes nothing, and says that nothing was begun."""
    typed = on(untouched)
    before = untouched.writes
    assert _status(typed)["begun"] is False
    assert "There is no record of a migration" in typed("status").out
    assert typed("preflight").code == 0
    assert json.loads(typed("preflight", "-o", "json").out)["passed"] is True
    for strategy in ((), ("--strategy", "multus")):
        assert "Nothing was written" in typed("plan", *strategy).out
        dry = typed("run", "--dry-run", *strategy)
        assert dry.code == 0, dry.err
        assert "apply Namespace cni-migrate" in dry.out
    assert len(json.loads(typed("plan", "-o", "json").out)["nodes"]) == 3
    assert untouched.writes == before


@pytest.mark.parametrize(
    ("scenario", "strategy"), [("calm", "overlay"), (FLANNEL, "multus")], ids=["overlay", "multus"]
)
def test_a_migration_in_parts(
    on: On, served: Make, config: str, scenario: Scenario | str, strategy: str, tmp_path: Path
) -> None:
    """Attached, one node migrated, rolled back, then everything; the strategy need not be repeated."""
    cluster = served(scenario, nodes=3)
    typed = on(cluster)
    common = ("--config", config)

    first = typed("run", "--yes", "--strategy", strategy, "--until", "attaching", *common)
    assert first.code == 0, first.err
    assert "migrate run" in first.err.splitlines()[-1]
    assert _status(typed, *common)["summary"] == {"dual": 3}
    writes = cluster.writes
    checked = typed("preflight", *common)
    assert checked.code == 0, checked.err
    assert "is being migrated" in checked.out, "what the migration did itself is no finding"
    assert json.loads(typed("preflight", "-o", "json", *common).out)["findings"] == []
    assert cluster.writes == writes

    refused = typed("cleanup", "--yes", *common)
    assert refused.code == 4
    assert "not migrated" in refused.err

    chosen = typed("run", "--yes", "--nodes", "w1", *common)
    assert chosen.code == 0, chosen.err
    assert chosen.err.startswith("resuming: phase migrating, 0 of 3 nodes migrated")
    view = _status(typed, *common)
    assert {node["name"]: node["state"] for node in view["nodes"]}["w1"] == "migrated"
    assert (view["strategy"], view["driver"]) == (strategy, None)
    assert view["eta_seconds"] > 0

    writes = cluster.writes
    dry = typed("run", "--dry-run", *common)
    assert dry.code == 0, dry.err
    assert "2 nodes to go" in dry.out
    assert cluster.writes == writes

    back = typed("rollback-node", "w1", "--yes", *common)
    assert back.code == 0, back.err
    assert _status(typed, *common)["summary"] == {"dual": 3}
    assert typed("rollback-node", "w1", "--yes", *common).code == 2
    assert typed("rollback-node", "w9", "--yes", *common).code == 2

    log = tmp_path / "run.log"
    rest = typed("run", "--yes", "--log-file", str(log), *common)
    assert rest.code == 0, rest.err
    last = "done: the cluster runs on Cilium; hosts are clean, 2 objects of Canal left in the API"
    assert rest.out.splitlines()[-1] == last
    assert "audit: clean" not in rest.out
    for told in (
        "audit: hosts clean; 2 objects of Canal are left in the API: 1 ConfigMap, 1 ServiceAccount",
        "kubectl delete configmap -n kube-system canal-config",
        "kubectl delete serviceaccount -n kube-system canal",
        "  or: migrate cleanup ",
        "--remove-leftovers  (2 objects that nobody else uses)",
    ):
        assert told in rest.out
    assert {event["event"] for event in _events(rest.err)} == {"history", "step", "wait"}
    assert _events(log.read_text(encoding="utf-8")) == _events(rest.err)
    view = _status(typed, *common)
    assert (view["phase"], view["audit"], view["summary"], view["next"]) == ("done", [], {"migrated": 3}, None)
    assert typed("rollback", "--yes", *common).code == 4
    assert [one["object"] for one in view["left"]] == [
        "v1/ConfigMap/kube-system/canal-config", "v1/ServiceAccount/kube-system/canal",
    ]  # fmt: skip
    assert typed("cleanup", "--yes", *common).code == 0
    assert len(_status(typed, *common)["left"]) == 2

    for _ in range(2):
        removed = typed("cleanup", "--yes", "--remove-leftovers", *common)
        assert removed.code == 0, removed.err
        assert removed.out.splitlines()[-1] == "done: the cluster runs on Cilium; the audit is clean"
        assert "audit: clean" in removed.out
    view = _status(typed, *common)
    assert (view["left"], view["left_unread"]) == ([], "")
    assert any("removing 2 objects that Canal left, as" in line["what"] for line in view["history"])


def test_until_a_phase_and_up_to_the_point_of_no_return(
    on: On, served: Make, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed again `--until` does nothing; a run asks once more before clean-up; no keeps the way back open."""
    cluster = served(nodes=3)
    typed = on(cluster)
    common = ("--config", config)
    first = ("run", "--yes", "--strategy", "overlay", *common, "--until", "preparing")
    assert typed(*first).code == 0
    writes = cluster.writes
    again = typed(*first)
    assert (again.code, cluster.writes) == (0, writes)
    assert "preparing is complete already, the cluster is in phase attaching: nothing was done" in again.out

    plan = typed("plan", "--steps", *common)
    assert "(point of no return)" in plan.out
    back = f"`migrate rollback {' '.join(common)}` is possible"
    assert f"{back} until clean-up's step delete_canal" in plan.out

    monkeypatch.setattr("cni_migrate.cli.ui.confirmation.needs_terminal", lambda: None)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nn\n"))
    asked = typed("run", *common)
    assert asked.code == 0, asked.err
    assert re.search(
        r"Continue on context simulator \(.*\): clean-up removes Canal from \d+ nodes, and there is no way back",
        asked.err,
    )
    assert f"every node is migrated; Canal is still there, so {back}" in asked.out
    view = _status(typed, *common)
    assert (view["phase"], view["way_back"]) == ("migrating", True)
    shown = typed("status", *common).out
    assert f"{back} until clean-up's step delete_canal" in shown
    assert "of work left" not in shown, "nothing is left of what would be told"

    until = typed("run", "--yes", "--until", "migrating", *common)
    assert until.code == 0
    assert "stopped before clean-up" in until.out
    assert _status(typed, *common)["phase"] == "migrating"

    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\n"))
    assert typed("run", *common).code == 0
    view = _status(typed, *common)
    assert (view["phase"], view["way_back"], view["point_of_no_return"]) == ("done", False, "delete_canal")


def test_events_are_told_once(on: On, served: Make, config: str) -> None:
    """No line of history twice, no step twice in a row, and a gate's figures."""
    ended = on(served(nodes=3))("run", "--yes", "--strategy", "overlay", "--config", config)
    assert ended.code == 0, ended.err
    events = _events(ended.err)
    history = [(event["what"], event["noted"]) for event in events if event["event"] == "history"]
    assert len(history) == len(set(history))
    steps = [(e["node"], e["state"], e.get("step")) for e in events if e["event"] == "step" and "node" in e]
    assert all(one != other for one, other in itertools.pairwise(steps))
    assert any(event.get("gate", {}).get("sent", 0) > 0 for event in events)
    assert all(set(event) >= {"at", "level", "event"} for event in events)


def test_progress_for_people_without_a_terminal(on: On, served: Make, config: str) -> None:
    """Lines with the time of day, none of them JSON; JSON when that is asked for."""
    typed = on(served(nodes=3))
    ended = typed("run", "--yes", "--nodes", "w1", "--progress", "plain", "--config", config)
    assert ended.code == 0, ended.err
    assert _events(ended.err) == []
    assert re.search(r"^\d\d:\d\d:\d\d  node w1: release done, migrated, ", ended.err, re.MULTILINE), ended.err
    ended = typed("run", "--yes", "--nodes", "w2", "--progress", "json", "--config", config)
    assert any(event["event"] == "wait" for event in _events(ended.err))


def test_the_whole_cluster_goes_back(on: On, served: Make, config: str, tmp_path: Path) -> None:
    """As it was found; the record is closed and kept, and a run may begin anew with another strategy and network."""
    cluster = served(FLANNEL, nodes=3)
    typed = on(cluster)
    before = cluster.read(DAEMONSETS, "canal", "kube-system")["spec"]["template"]["spec"]
    common = ("--config", config)
    assert typed("run", "--yes", "--nodes", "w1", *common).code == 0
    back = typed("rollback", "--yes", *common)
    assert back.code == 0, back.err
    assert "the cluster is as it was found" in back.out
    assert cluster.read(DAEMONSETS, "canal", "kube-system")["spec"]["template"]["spec"] == before
    view = _status(typed, *common)
    assert (view["begun"], view["phase"], view["strategy"]) == (False, "preflight", "overlay")
    assert view["rolled_back"]
    assert cluster.read(CONFIG_MAPS, view["closed_record"], "cni-migrate")["data"]["cluster"]
    said = typed("status", *common)
    assert "The migration with overlay was rolled back" in said.out
    assert view["closed_record"] in said.out
    writes = cluster.writes
    for again in (("rollback", "--yes"), ("rollback",), ("rollback-node", "w1", "--yes")):
        ended = typed(*again, *common)
        assert ended.code == 0, ended.err
        assert "was rolled back at" in ended.out
        assert "the cluster is as it was found" in ended.out
        assert view["closed_record"] in ended.out
    for late in (("cleanup", "--yes"), ("pause",), ("skip-node", "w1"), ("rollback-node", "w9", "--yes")):
        assert typed(*late, *common).code == 2
    assert cluster.writes == writes
    other = tmp_path / "other.yaml"
    other.write_text(f"{QUICK}cilium: {{pod_cidr: 10.99.0.0/16}}\n", encoding="utf-8")
    anew = typed("run", "--yes", "--until", "preparing", "--strategy", "multus", "--config", str(other))
    assert anew.code == 0, anew.err
    assert _status(typed, "--config", str(other))["strategy"] == "multus"


def test_a_budget_that_allows_nothing(on: On, served: Make) -> None:
    """Preflight names it, before anything is touched."""
    cluster = served("pdb-deadlock")
    ended = on(cluster)("run", "--yes")
    assert ended.code == 3
    assert "BUDGET_CLOSED" in ended.err
    assert cluster.writes == 0


def test_a_held_node(on: On, served: Make, tmp_path: Path) -> None:
    """Exit code 4; the node, why, and what to type; retry-node, skip-node and rollback-node accept it."""
    config = tmp_path / "short.yaml"
    config.write_text(f"{QUICK}deadlines: {{agent: 8}}\n", encoding="utf-8")
    cluster = served("never-ready")
    typed = on(cluster)
    common = ("--config", str(config))
    ended = typed("run", "--yes", "--nodes", "w2,w3", *common)
    assert ended.code == 4, ended.err
    assert "w2" in ended.err
    assert "--nodes w2,w3" in ended.err.splitlines()[-1], "what was left out stays out"
    assert "next: " in ended.err.splitlines()[-1]
    assert "HELD" in ended.out
    view = _status(typed, *common)
    (held,) = [node for node in view["nodes"] if node["held"]]
    assert held["name"] == "w2"
    assert "waited 8 s" in held["held"]
    # Of this node: on a busy machine another wait may have been tried again on the way, and that is told.
    (row,) = [line for line in ended.out.splitlines() if line.startswith("w2 ") and "HELD" in line]
    assert "waited" not in row, "why is told once, below"
    assert held["held"] not in ended.out
    assert view["next"] == held["next"]

    assert typed("retry-node", "w2", *common).code == 0
    assert typed("skip-node", "w2", *common).code == 0
    assert typed("pause", *common).code == 0
    data = cluster.read(CONFIG_MAPS, "cni-migrate-requests", "cni-migrate")["data"]
    assert set(data) == {"paused", "retry.w2", "skip.w2"}
    assert _status(typed, *common)["paused"] == data["paused"]
    assert "paused since" in typed("pause", *common).out
    assert typed("resume", *common).code == 0
    assert typed("skip-node", "w2", "--undo", *common).code == 0
    data = cluster.read(CONFIG_MAPS, "cni-migrate-requests", "cni-migrate")["data"]
    assert set(data) == {"retry.w2"}
    assert typed("retry-node", "w9", *common).code == 2


@contextlib.contextmanager
def _start(cluster: Served, config: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """A process of the program, which ends with the block at the latest: also when the test has failed."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MIGRATE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "cni_migrate.cli.main", *arguments, "--config", config],
        env={**environ, "KUBECONFIG": str(cluster.kubeconfig)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _until(process: "subprocess.Popen[str]", what: str) -> str:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if what in line:
            return seen
    raise AssertionError(f"ended without {what!r}: {seen[-2000:]}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "the terminal is gone"])
def test_the_first_interrupt_finishes_the_step(on: On, served: Make, config: str, number: signal.Signals) -> None:
    """Exit code 130, the record is safe, and the same command goes on."""
    cluster = served(nodes=3, speed=10)
    with _start(cluster, config, "run", "--yes", "--strategy", "overlay") as process:
        _until(process, '"what": "phase attaching"')
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "s, at a safe point" in err
    assert "phase " in out
    assert on(cluster)("run", "--yes", "--config", config).code == 0


@pytest.mark.parametrize("times", [1, 2])
def test_who_interrupts_is_told_which_nodes_are_out_of_service(on: On, served: Make, config: str, times: int) -> None:
    """In the middle of a drain: the end of the run names the node, and so does the status."""
    cluster = served(nodes=3, speed=3)
    with _start(cluster, config, "run", "--yes", "--strategy", "overlay", "--timeout", "15m") as process:
        _until(process, '"step": "restart_cilium"')
        process.send_signal(signal.SIGINT)
        if times == 2:
            _until(process, "press again")
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "; w1 is still cordoned" in err
    shown = on(cluster)("status")
    assert "w1 is still cordoned; nobody is at work on it" in shown.out
    assert "next: migrate run --timeout 15m" in shown.out, "whoever looks from elsewhere is told all of it"
    nodes = {node["name"]: node["out_of_service"] for node in _status(on(cluster))["nodes"]}
    assert nodes == {"w1": True, "w2": False, "cp1": False}


def test_the_second_interrupt_stops_at_once(served: Make, config: str) -> None:
    """In the middle of a wait."""
    cluster = served(nodes=3, speed=0.5)
    with _start(cluster, config, "run", "--yes", "--strategy", "overlay") as process:
        _until(process, '"step": "await_knet"')
        process.send_signal(signal.SIGTERM)
        _until(process, "press again")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted at once" in err


def test_two_runners(on: On, served: Make, config: str) -> None:
    """One works, the other says who holds the lock and since when."""
    cluster = served(nodes=3, speed=1)
    with _start(cluster, config, "run", "--yes", "--strategy", "overlay") as process:
        _until(process, '"step": "await_knet"')
        file = cluster.kubeconfig.with_name("lease.yaml")
        file.write_text(f"{QUICK}lease_seconds: 5\n", encoding="utf-8")
        view = _status(on(cluster))
        assert view["driver"]["alive"] is True
        assert str(process.pid) in view["driver"]["holder"]
        ended = on(cluster)("run", "--yes", "--strategy", "overlay", "--config", str(file))
        process.kill()
        process.communicate()
    assert ended.code == 5, ended.err
    assert f"process {process.pid}" in ended.err
    assert "--takeover" in ended.err
    assert _status(on(cluster))["driver"]["alive"] is False


def test_a_stopped_runner_that_wakes_up_later_changes_nothing(on: On, served: Make, config: str) -> None:
    """Stopped for longer than its lock lives, it finds another's record: one recorded effect may be repeated, no more."""
    cluster = served(nodes=3, speed=10)
    file = cluster.kubeconfig.with_name("lease.yaml")
    file.write_text(f"{QUICK}lease_seconds: 5\n", encoding="utf-8")
    with _start(cluster, str(file), "run", "--yes", "--strategy", "overlay") as process:
        _until(process, '"step": "restart_cilium"')
        process.send_signal(signal.SIGSTOP)
        try:
            ended = on(cluster)("run", "--yes", "--strategy", "overlay", "--config", str(file))
            assert ended.code == 0, ended.err
            before = cluster.writes
        finally:
            process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
        assert cluster.writes - before <= 1
    assert process.returncode == 5, err
    assert "next: migrate status" in err
    view = _status(on(cluster))
    assert view["phase"] == "done"
    assert {node["state"] for node in view["nodes"]} == {"migrated"}


@pytest.mark.parametrize("label", ["team: network", "cni-migrate.io/stage: final"])
def test_the_operators_own_manifests(on: On, served: Make, tmp_path: Path, label: str) -> None:
    """Cilium from a file: other keys on the way, in the end what the file says, with nothing of the transit left.

    The tool's own that were kept as a file are taken as they are, too: the run waited for them to be final.
    """
    rendered = tmp_path / "cilium.yaml"
    cluster = served(nodes=3)
    typed = on(cluster)
    wanted = typed("manifests", "cilium-final")
    assert wanted.code == 0, wanted.err
    rendered.write_text(wanted.out.replace("cni-migrate.io/stage: final", label), encoding="utf-8")
    config = tmp_path / "migrate.yaml"
    config.write_text(f"{QUICK}strategy: overlay\ncilium: {{source: manifests, manifests: cilium.yaml}}\n")
    common = ("--config", str(config))

    half = typed("run", "--yes", "--until", "attaching", *common)
    assert half.code == 0, half.err
    daemonset = cluster.read(DAEMONSETS, "cilium", "kube-system")
    assert daemonset["spec"]["updateStrategy"]["type"] == "OnDelete"
    assert daemonset["spec"]["template"]["metadata"]["labels"]["cni-migrate.io/stage"] == "transit"
    assert cluster.read(CONFIG_MAPS, "cilium-config", "kube-system")["data"]["custom-cni-conf"] == "true"

    whole = typed("run", "--yes", *common)
    assert whole.code == 0, whole.err
    daemonset = cluster.read(DAEMONSETS, "cilium", "kube-system")
    assert daemonset["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    key, _, value = label.partition(": ")
    labels = daemonset["spec"]["template"]["metadata"]["labels"]
    assert labels[key] == value
    assert labels.get("cni-migrate.io/stage", "final") == "final"
    assert cluster.read(CONFIG_MAPS, "cilium-config", "kube-system")["data"]["custom-cni-conf"] == "false"


def test_manifests_that_are_no_cilium(on: On, untouched: Served, tmp_path: Path) -> None:
    """Another program's manifests are refused with exit code 2 before the cluster is asked."""
    (tmp_path / "other.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n")
    config = tmp_path / "migrate.yaml"
    config.write_text("strategy: overlay\ncilium: {source: manifests, manifests: other.yaml}\n")
    before = untouched.writes
    ended = on(untouched)("run", "--yes", "--config", str(config))
    assert ended.code == 2
    assert "there is no DaemonSet with a container cilium-agent" in ended.err
    assert untouched.writes == before


def test_a_record_that_was_deleted_with_its_namespace(on: On, served: Make, config: str) -> None:
    """No second migration is begun over the first: it would cut off the node that is on Cilium already."""
    there = served("calm")
    typed = on(there)
    assert typed("run", "--yes", "--nodes", "w1", "--config", config).code == 0
    there.do(lambda: there.sim.app.client("somebody").delete(NAMESPACES, "cni-migrate"))
    before = there.writes
    ended = typed("run", "--yes", "--config", config)
    assert (ended.code, "RECORD_LOST" in ended.err, "w1: " in ended.err) == (3, True, True), ended.err
    assert there.writes == before
    assert "There is no record of a migration" in typed("status").out


def test_who_has_given_the_lock_back_does_not_tell_that_it_is_held(on: On, served: Make, config: str) -> None:
    """The process may stay, to ask about clean-up: it drives nothing then."""
    port = free_port()
    ended = on(served(nodes=3))("run", "--yes", "--until", "preparing", "--metrics-port", str(port), "--config", config)
    assert ended.code == 0, ended.err
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        told = answer.read().decode()
    assert "cni_migrate_lock_held 0.0" in told
    assert 'cni_migrate_phase{phase="attaching"} 1.0' in told
