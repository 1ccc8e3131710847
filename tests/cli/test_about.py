"""What the program says about itself, and to which cluster it lets itself be pointed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Served, Typed


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete "), ("zsh", "#compdef migrate"), ("fish", "--command migrate")]
)
def test_shells_complete(migrate: Typed, shell: str, word: str) -> None:
    """Each shell gets a script of its own."""
    ended = migrate("completion", shell)
    assert ended.code == 0
    assert word in ended.out


def test_bash_takes_its_script(migrate: Typed, tmp_path: Path) -> None:
    """The script is one that bash can read."""
    script = tmp_path / "complete.bash"
    script.write_text(migrate("completion", "bash").out)
    subprocess.run(["bash", "-n", str(script)], check=True)


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


def test_a_plan_takes_what_a_run_takes(on: Callable[[Served], Typed], untouched: Served) -> None:
    """Chosen nodes, the last phase, and steps only when they are asked for."""
    typed = on(untouched)
    plain = typed("plan", "--strategy", "overlay", "--nodes", "w1")
    assert "not chosen" in plain.out
    assert "label_switched" not in plain.out
    assert "label_switched" in typed("plan", "--strategy", "overlay", "--steps").out
    assert typed("plan", "--nodes", "nobody").code == 2
