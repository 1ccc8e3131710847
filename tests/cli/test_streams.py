"""Output that nobody reads, that is full or closed: every command ends quietly, with the code programs use for it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from cni_migrate.cli.main import run
from tests.cli.conftest import Served, Typed

MIGRATE = (sys.executable, "-m", "cni_migrate.cli.main")

WITHOUT = [
    ("version",), ("--version",), ("--help",), ("run", "--help"), ("config", "init"), ("config", "show"),
    ("config", "show", "-o", "json"), ("config", "schema"), ("manifests",), ("images",), ("sim", "scenarios"),
]  # fmt: skip
"""Commands that need no cluster."""

WITH = [
    ("preflight",), ("preflight", "-o", "json"), ("plan",), ("status",), ("status", "-o", "yaml"),
    ("run", "--yes", "--dry-run"),
]  # fmt: skip
"""Commands that look at one."""

DEVICE_FULL = Path("/dev/full")


@pytest.fixture
def unread() -> Iterator[IO[str]]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - a descriptor; it cannot be closed cleanly
    yield stream
    with contextlib.suppress(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("arguments", [*WITHOUT, *WITH], ids=" ".join)
@pytest.mark.usefixtures("quiet")
def test_nobody_reads(
    arguments: tuple[str, ...], unread: IO[str], untouched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`| head`: as if SIGPIPE had ended it, without a word."""
    monkeypatch.setenv("KUBECONFIG", str(untouched.kubeconfig))
    monkeypatch.setattr(sys, "stdout", unread)
    assert run(list(arguments)) == 141


@pytest.mark.parametrize("arguments", [*WITHOUT, *WITH], ids=" ".join)
@pytest.mark.parametrize("kind", ["full", "closed"])
@pytest.mark.usefixtures("quiet")
def test_the_result_cannot_be_written(
    arguments: tuple[str, ...],
    kind: str,
    untouched: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says why; no traceback, no bug."""
    monkeypatch.setenv("KUBECONFIG", str(untouched.kubeconfig))
    before = untouched.writes
    if kind == "closed":
        monkeypatch.setattr(sys, "stdout", None)
        assert run(list(arguments)) == 74
    else:
        full = DEVICE_FULL.open("w", encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", full)
        assert run(list(arguments)) == 74
        with contextlib.suppress(OSError):
            full.close()
    said = capsys.readouterr().err
    why = "Bad file descriptor" if kind == "closed" else "No space left on device"
    assert f"error: the result cannot be written to stdout: {why}" in said
    assert "bug" not in said
    assert "Traceback" not in said
    assert untouched.writes == before


@pytest.mark.parametrize(
    ("redirected", "code", "says"),
    [
        ("| true", 141, ""),
        ("2>&1 | true", 141, ""),
        (">/dev/full", 74, "No space left on device"),
        (">&-", 74, "Bad file descriptor"),
        (">&- 2>&-", 74, ""),
        (">&- 2>&- <&-", 74, ""),
        ("2>/dev/full >/dev/null", 0, ""),
        ("2>&- >/dev/null", 0, ""),
    ],
)
def test_as_a_program(redirected: str, code: int, says: str) -> None:
    """What a shell sees, the interpreter's own end included."""
    script = f'set -o pipefail; "$@" config schema {redirected}'
    ended = subprocess.run(["bash", "-c", script, "bash", *MIGRATE], capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == (1 if says else 0)


def test_a_full_disk_under_the_log_stops_nothing(migrate: Typed, untouched: Served) -> None:
    """It is said once, and the command goes on."""
    ended = migrate("preflight", "--debug", "--log-file", str(DEVICE_FULL), "--kubeconfig", str(untouched.kubeconfig))
    assert ended.code == 0
    assert ended.err.count("the log file /dev/full is written no more: No space left on device") == 1


def test_a_picture_on_a_terminal_that_knows_few_characters() -> None:
    """What its encoding lacks is replaced."""
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "MIGRATE_CANARY": "ü"}
    ended = subprocess.run([*MIGRATE, "config", "show"], capture_output=True, text=True, env=environ, check=False)
    assert ended.returncode == 2
    assert "'?'" in ended.stderr or "\\xfc" in ended.stderr
