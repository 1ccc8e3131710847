"""Strategies and steps are known by what they declare, not by their names."""

import ast
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from cni_migrate import resources, strategies
from cni_migrate.config import Strategy
from cni_migrate.core.steps.registry import ABOUT

SOURCES = [
    path for path in sorted(Path(strategies.__file__).parent.rglob("*.py")) if not {"sim", "_data"} & set(path.parts)
]
STEPS = [path for path in SOURCES if "steps" not in path.parts]


def test_every_strategy_has_its_file_and_every_file_is_a_strategy() -> None:
    """What can be configured is what is declared."""
    assert sorted(get_args(Strategy)) == sorted(strategies.NAMES)


@pytest.mark.parametrize("name", strategies.NAMES)
def test_a_strategy_declares_every_trait(name: str) -> None:
    """One that is missing, or unknown, is refused when the file is read."""
    assert set(strategies.declared(name)["traits"]) == set(strategies.Traits.__dataclass_fields__)
    assert strategies.traits(name).seconds_per_node > 0


def test_a_trait_finds_its_strategy_or_says_that_there_is_none() -> None:
    """For what is proposed to an operator."""
    assert strategies.with_trait("node_config") == "overlay"
    assert strategies.with_trait("multus") == "multus"
    with pytest.raises(AttributeError):
        strategies.with_trait("unheard_of")


def _compared(tree: ast.AST, of: str) -> list[tuple[int, str]]:
    """Where something called `of` is compared with a text: line and text."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = any(
                (isinstance(s, ast.Attribute) and s.attr == of) or (isinstance(s, ast.Name) and s.id == of)
                for s in sides
            )
            texts = [c.value for s in sides for c in ast.walk(s) if isinstance(c, ast.Constant) and c.value]
            found += [(node.lineno, str(text)) for text in texts if named]
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith"
        if called and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            value = node.func.value
            if (isinstance(value, ast.Attribute) and value.attr == of) or (
                isinstance(value, ast.Name) and value.id == of
            ):
                found.append((node.lineno, "startswith"))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_nobody_knows_a_strategy_by_its_name(path: Path) -> None:
    """Who treats strategies differently asks for a trait."""
    assert _compared(ast.parse(path.read_text(encoding="utf-8")), "strategy") == []


@pytest.mark.parametrize("path", STEPS, ids=lambda path: "/".join(path.parts[-2:]))
def test_nobody_else_knows_a_step_by_its_name(path: Path) -> None:
    """What others need to know of a step is an attribute of its declaration."""
    assert _compared(ast.parse(path.read_text(encoding="utf-8")), "step") == []


@pytest.mark.parametrize("path", STEPS, ids=lambda path: "/".join(path.parts[-2:]))
def test_nobody_else_says_a_steps_name(path: Path) -> None:
    """Neither in a table nor in a set. Names of one word are words of other things, too: an event, a list, an effect."""
    said = {one.value for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(one, ast.Constant)}
    assert said & {name for name in ABOUT if "_" in name} == set()


def test_the_test_of_names_finds_one() -> None:
    """So that it cannot be green for the wrong reason."""
    bad = "x = config.strategy == 'overlay'\nif cluster.step in ('remove_knet', ''): pass\nstep.startswith('apply_')"
    assert _compared(ast.parse(bad), "strategy") == [(1, "overlay")]
    assert _compared(ast.parse(bad), "step") == [(2, "remove_knet"), (3, "startswith")]


def test_what_a_plan_can_tell_is_declared() -> None:
    """Steps that only wait, look or run on a host cannot be foreseen."""
    foreseen = {name for name, about in ABOUT.items() if about.foreseeable}
    assert {"cordon", "evict_pods", "apply_cilium", "label_dual", "select_canal"} <= foreseen
    assert not [name for name in foreseen if name.startswith(("await_", "check_", "audit"))]
    assert [name for name, about in ABOUT.items() if about.evicts] == ["evict_pods"]


@pytest.mark.parametrize("name", ["node.yaml", "cluster.yaml", *(f"strategies/{one}.yaml" for one in strategies.NAMES)])
def test_states_mean_the_same_in_either_yaml(name: str) -> None:
    """They are read by a parser in C, as YAML 1.1; what other tools read, as YAML 1.2, is the same."""
    text = resources.read("states", name)
    assert resources.documents(text) == [YAML(typ="safe", pure=True).load(text)]
