"""The data files that the program ships: `states/` and `templates/`.

In the wheel they are inside the package, in a checkout they are at its top level.
"""

from pathlib import Path
from typing import Any

import yaml

_PACKAGED = Path(__file__).parent / "_data"
_ROOT = _PACKAGED if _PACKAGED.exists() else Path(__file__).parents[2]


def read(folder: str, name: str) -> str:
    """The text of a data file, for example `read("states", "node.yaml")`."""
    return (_ROOT / folder / name).read_text(encoding="utf-8")


def names(folder: str) -> list[str]:
    """The names of a data folder's files, sorted; subfolders not included."""
    return sorted(path.name for path in (_ROOT / folder).iterdir() if path.is_file())


def documents(text: str) -> list[Any]:
    """The documents in a text of ours, in which no plain scalar means different things in YAML 1.1 and 1.2.

    By a parser in C where PyYAML has one: the one for operators' own files, which tells lines, takes ten times as long.
    """
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
