"""The data files that the program ships: `states/` and `templates/`.

In the wheel they are inside the package, in a checkout they are at its top level.
"""

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_data"
_ROOT = _PACKAGED if _PACKAGED.exists() else Path(__file__).parents[2]


def read(folder: str, name: str) -> str:
    """The text of a data file, for example `read("states", "node.yaml")`."""
    return (_ROOT / folder / name).read_text(encoding="utf-8")


def names(folder: str) -> list[str]:
    """The names of a data folder's files, sorted; subfolders not included."""
    return sorted(path.name for path in (_ROOT / folder).iterdir() if path.is_file())
