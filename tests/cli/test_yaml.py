"""What is printed as YAML is, read again, what was printed: manifests are there to be applied."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from cni_migrate.cli.ui.output import yaml_text
from cni_migrate.config import Config
from cni_migrate.core.decision.plan import make_plan  # noqa: F401 - registers the steps
from cni_migrate.wiring import manifests_for
from tests.cli.conftest import Typed


def _read(text: str) -> list[Any]:
    return [one for one in YAML(typ="safe", pure=True).load_all(text) if one is not None]


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_manifests_are_printed_to_the_letter(migrate: Typed, strategy: str) -> None:
    """The scripts in them above all: a line that is folded at a backslash reads another way afterwards."""
    made = manifests_for(Config.model_validate({"strategy": strategy}), None)
    wanted = {
        "knet": made.knet(),
        "cilium": made.cilium(),
        **({"multus": made.multus()} if strategy == "multus" else {}),
    }
    for part, objects in wanted.items():
        found = _read(migrate("manifests", part, "--strategy", strategy).out)
        for one in objects:
            assert one in found, one["metadata"]["name"]


def test_scripts_can_be_read_as_printed(migrate: Typed) -> None:
    """Line by line, as they are in their files, not as one string with escapes."""
    printed = migrate("manifests", "knet").out
    assert '\n    """The knet-stress agent: probes its peers' in printed
    assert "\\n" not in printed.split("__init__.py: ", 1)[1].splitlines()[1]


TEXTS = st.text(st.sampled_from("ab \\\"'\r\n\t:#-|>{}%é\x85\u2028"), max_size=200) | st.text(max_size=200)


@given(st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)))
def test_any_text_survives(data: Any) -> None:
    """However long, whatever is in it."""
    assert _read(yaml_text({"data": data})) == [{"data": data}]
