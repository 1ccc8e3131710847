"""Help, version, completion, and what start-up costs."""

import subprocess
import sys

import pytest

from cni_migrate.errors import EXIT_CODES
from tests.cli.conftest import Typed

COMMANDS = [
    ("run",), ("cleanup",), ("rollback-node",), ("rollback",), ("status",), ("plan",), ("preflight",), ("pause",),
    ("resume",), ("retry-node",), ("skip-node",), ("config", "init"), ("config", "show"), ("config", "schema"),
    ("manifests",), ("images",), ("demo",), ("sim",), ("knet", "deploy"), ("knet", "status"), ("knet", "matrix"),
    ("knet", "remove"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_examples(migrate: Typed, command: tuple[str, ...]) -> None:
    """And they begin with its own name."""
    ended = migrate(*command, "--help")
    assert ended.code == 0
    _, found, examples = ended.out.partition("Examples:")
    assert found
    assert f"migrate {' '.join(command)}" in examples.replace("kubectl", "") or command == ("cleanup",)


def test_the_exit_codes_are_in_the_help(migrate: Typed) -> None:
    """All of them."""
    text = migrate("--help").out
    assert all(f"{code} " in text for code in EXIT_CODES)


@pytest.mark.parametrize("arguments", [("--version",), ("version",)])
def test_version(migrate: Typed, arguments: tuple[str, ...]) -> None:
    """One line."""
    ended = migrate(*arguments)
    assert (ended.code, ended.out.split()[0]) == (0, "migrate")


@pytest.mark.parametrize("arguments", ["['--version']", "['run', '--help']"])
def test_start_up_imports_nothing_heavy(arguments: str) -> None:
    """What a command needs is imported when it runs; typer needs pydantic for parameters, and rich for help."""
    code = (
        f"import sys; from cni_migrate.cli.main import run; run({arguments});"
        "print([m for m in ('kr8s', 'httpx', 'jinja2', 'uvicorn', 'ruamel', 'structlog', 'transitions')"
        " if m in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "before", [("--context", "prod"), ("-n", "elsewhere"), ("--config=missing.yaml",), ("--debug",)]
)
def test_common_options_may_come_first(migrate: Typed, before: tuple[str, ...]) -> None:
    """As with kubectl, before or behind the command."""
    assert migrate(*before, "config", "show").code == migrate("config", "show", *before).code
