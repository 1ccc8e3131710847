"""A terminal that only prints (`TERM=dumb`: an editor's shell, a serial console): nothing is drawn in place, all is said."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect

from tests.cli.conftest import QUICK, Served

Make = Callable[..., Served]


def _typed(cluster: Served, *arguments: str) -> "pexpect.spawn[str]":
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MIGRATE_")}
    return pexpect.spawn(
        sys.executable,
        ["-m", "cni_migrate.cli.main", *arguments, "--kubeconfig", str(cluster.kubeconfig)],
        env={**environ, "TERM": "dumb"},
        encoding="utf-8",
        timeout=120,
        dimensions=(24, 80),
    )


def _until(child: "pexpect.spawn[str]", *words: str, stop: bool = False) -> str:
    """Wait for these words, then for the end; answers what came last. No codes are among all that is printed."""
    said = ""
    try:
        for word in words:
            child.expect_exact(word)
            said += child.before or ""
        if stop:
            child.sendintr()
        child.expect(pexpect.EOF)
        assert "\x1b" not in said + (child.before or "")
        return child.before or ""
    finally:
        child.close(force=True)


def test_a_run_is_told_in_lines_and_a_watch_in_snapshots(served: Make, tmp_path: Path) -> None:
    """As where there is no terminal: what happens line by line, a status and a matrix one after another."""
    file = tmp_path / "quick.yaml"
    file.write_text(f"strategy: overlay\n{QUICK}", encoding="utf-8")
    cluster = served(nodes=3)
    config = ("--config", str(file))
    _until(_typed(cluster, "status", "--watch", *config), "There is no record of a migration", stop=True)
    _until(_typed(cluster, "run", "--yes", "--until", "preparing", *config), "phase preparing", "phase attaching")
    _until(_typed(cluster, "status", "--watch", *config), "w1", "w2", stop=True)
    _until(_typed(cluster, "knet", "matrix", "--watch", *config), "w1", "w2", stop=True)


def test_who_interrupts_a_question_is_told_that_nothing_was_changed(served: Make) -> None:
    """In a line of its own, at once; and nothing was."""
    cluster = served(nodes=3)
    writes = cluster.writes
    child = _typed(cluster, "run")
    last = _until(child, "[y/N] ", stop=True)
    assert last.endswith("\r\nstopped: nothing was changed\r\n")
    assert child.exitstatus == 130
    assert cluster.writes == writes
