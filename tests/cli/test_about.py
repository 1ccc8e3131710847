"""What the program says about itself, and to which cluster it lets itself be pointed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Served, Typed


@pytest.mark.parametrize(
    ("shell", "first"), [("bash", "_migrate_completion() {"), ("zsh", "#compdef migrate"), ("fish", "complete ")]
)
def test_shells_complete(migrate: Typed, shell: str, first: str) -> None:
    """Each shell gets a script of its own; zsh takes one by its first line."""
    ended = migrate("completion", shell)
    assert ended.code == 0
    assert ended.out.startswith(first)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ro", ["rollback", "rollback-node"]),
        ("run --disable-ev", ["--disable-eviction"]),
        ("run --until prep", ["preparing"]),
        ("sim --scenario pdb", ["pdb-deadlock"]),
    ],
)
def test_bash_completes(migrate: Typed, tmp_path: Path, typed: str, completed: list[str]) -> None:
    """Bash takes the script, and completes commands, options, values and scenarios with it."""
    script = tmp_path / "complete.bash"
    script.write_text(migrate("completion", "bash").out)
    words = ["migrate", *typed.split()]
    press = (
        f"PATH={Path(sys.executable).parent}:$PATH; . {script}; COMP_WORDS=({' '.join(words)}); "
        f"COMP_CWORD={len(words) - 1}; _migrate_completion migrate {words[-1]}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    said = subprocess.run(["bash", "--norc", "-c", press], capture_output=True, text=True, check=True).stdout
    assert sorted(said.split()) == completed


def test_kubectl_finds_it_as_a_plugin() -> None:
    """`kubectl migrate` starts `kubectl-migrate`, whose help says so."""
    program = Path(sys.executable).with_name("kubectl-migrate")
    said = subprocess.run([program, "status", "--help"], capture_output=True, text=True, check=True).stdout
    assert "kubectl migrate status" in said


def test_another_context_is_refused(on: Callable[[Served], Typed], untouched: Served, tmp_path: Path) -> None:
    """A configuration for one cluster is not let loose on another: exit code 2, nothing done."""
    config = tmp_path / "prod.yaml"
    config.write_text("safety: {expect_context: prod-eu}\n")
    before = untouched.writes
    for command in (("run", "--yes"), ("status",), ("plan",), ("rollback", "--yes"), ("pause",)):
        ended = on(untouched)(*command, "--config", str(config))
        assert ended.code == 2, command
        assert "this is context simulator" in ended.err
        assert "prod-eu" in ended.err
    assert untouched.writes == before


def test_the_expected_context_is_served(on: Callable[[Served], Typed], untouched: Served, tmp_path: Path) -> None:
    """The right one is named with its server and the numbers."""
    config = tmp_path / "sim.yaml"
    config.write_text("safety: {expect_context: simulator}\n")
    ended = on(untouched)("plan", "--strategy", "overlay", "--config", str(config))
    assert ended.code == 0, ended.err
    assert "context simulator (http://127.0.0.1:" in ended.out
    assert "3 nodes to go" in ended.out
    assert "pods will move, about" in ended.out
    status = on(untouched)("status")
    assert status.out.startswith("context simulator (http://127.0.0.1:")
    assert "context" not in json.loads(on(untouched)("status", "-o", "json").out)


def test_a_plan_takes_what_a_run_takes(on: Callable[[Served], Typed], untouched: Served) -> None:
    """Chosen nodes, the last phase, and steps only when they are asked for."""
    typed = on(untouched)
    plain = typed("plan", "--strategy", "overlay", "--nodes", "w1")
    assert "not chosen" in plain.out
    assert "label_switched" not in plain.out
    assert "label_switched" in typed("plan", "--strategy", "overlay", "--steps").out
    assert typed("plan", "--nodes", "nobody").code == 2
