"""The shape of the sources."""

import ast
import inspect
from pathlib import Path

import pytest

import cni_migrate
from cni_migrate import errors

MODULES = sorted(Path(cni_migrate.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_module_is_one_idea(module: Path) -> None:
    """Who gets to 400 lines has two."""
    assert len(module.read_text(encoding="utf-8").splitlines()) < 400


ENDS = {"Interrupted", "OutputGone", "OutputFailed"}
"""Nothing is wrong with what was typed, or nobody is there to read."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-3:]))
def test_an_error_says_what_to_type_next(module: Path) -> None:
    """Each one for operators; the simulator's are for its authors."""
    theirs = {name for name, one in vars(errors).items() if inspect.isclass(one)} - ENDS
    silent = [
        f"line {call.lineno}: {call.func.id}"
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in theirs
        if not any(keyword.arg == "next" for keyword in call.keywords)
    ]
    assert not silent
