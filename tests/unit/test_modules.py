"""The shape of the sources."""

from pathlib import Path

import pytest

import cni_migrate

MODULES = sorted(Path(cni_migrate.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_module_is_one_idea(module: Path) -> None:
    """Who gets to 400 lines has two."""
    assert len(module.read_text(encoding="utf-8").splitlines()) < 400
