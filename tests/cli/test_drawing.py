"""The picture of the mesh: readable for a few nodes and for a hundred, and as an SVG without colour."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from cni_migrate.cli.ui import output
from cni_migrate.cli.ui.drawing import drawn, word
from cni_migrate.cli.ui.svg import svg
from cni_migrate.core.connectivity.matrix import Cell, Matrix

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

SVG = "{http://www.w3.org/2000/svg}"


def a_matrix(
    count: int,
    cells: Mapping[tuple[str, str], Cell] | None = None,
    services: Mapping[str, tuple[str, ...]] | None = None,
    reach: int | None = None,
) -> Matrix:
    """So many nodes that reach each other, or only their next ones."""
    nodes = tuple(f"n{number:03}" for number in range(count))
    near = {
        (a, b): Cell("ok")
        for one, a in enumerate(nodes)
        for other, b in enumerate(nodes)
        if reach is None or (other - one) % count <= reach
    }
    return Matrix(nodes, {**near, **(cells or {})}, services or {})


def text(matrix: Matrix, width: int = 100, **options: Any) -> list[str]:
    to = Console(file=StringIO(), width=width, **options)
    for part in drawn(matrix, width):
        output.show_table(to, part) if not isinstance(part, str) and hasattr(part, "columns") else to.print(part)
    assert isinstance(to.file, StringIO)
    return to.file.getvalue().splitlines()


WORDS: dict[str, Cell] = {
    "ok": Cell("ok"),
    "silent": Cell("silent"),
    "-": Cell("unknown"),
    "udp": Cell("failing", ("udp",)),
    "http+2": Cell("failing", ("http", "udp", "tcp")),
}


@pytest.mark.parametrize(("said", "cell"), WORDS.items(), ids=WORDS)
def test_a_cell_in_a_word(said: str, cell: Cell) -> None:
    """Readable without colours."""
    assert word(cell) == said


def test_six_nodes_one_by_one() -> None:
    """Rows and columns by number; below it, what the words mean and each failing row in full."""
    cells = {
        ("n000", "n001"): Cell("failing", ("http", "tcp")),
        ("n000", "n002"): Cell("failing", ("http", "tcp")),
        ("n003", "n001"): Cell("silent"),
    }
    lines = text(a_matrix(6, cells, {"n005": ("dns",)}), width=80)
    assert lines[0].split() == ["FROM", "\\", "TO", "1", "2", "3", "4", "5", "6", "SERVICES"]
    assert lines[1].split() == ["1", "n000", "ok", "http+1", "http+1", "ok", "ok", "ok", "ok"]
    assert lines[4].split() == ["4", "n003", "ok", "silent", "ok", "ok", "ok", "ok", "ok"]
    assert lines[6].split()[-1] == "dns"
    assert "from n000: http, tcp to n001, n002" in lines
    assert any(line.startswith("silent") and "1 direction" in line for line in lines)
    assert not any(line.startswith("-") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_narrow_terminal_gets_rows_only() -> None:
    """What would not fit is told, never cut."""
    cells = {("n000", f"n{number:03}"): Cell("failing", ("policy_allow",)) for number in range(1, 12)}
    wide, narrow = text(a_matrix(12, cells), width=250), text(a_matrix(12, cells), width=100)
    assert wide[0].split()[:4] == ["FROM", "\\", "TO", "1"]
    assert narrow[0].split()[:3] == ["FROM", "OK", "FAILING"]
    assert narrow[1].split()[:4] == ["n000", "1", "11", "0"]


def test_a_hundred_nodes_are_summed_up() -> None:
    """Only the rows that are not well, then the whole in two lines."""
    cells = {
        ("n007", "n008"): Cell("failing", ("udp",)),
        ("n007", "n009"): Cell("failing", ("http", "udp", "tcp")),
        ("n050", "n051"): Cell("silent"),
    }
    lines = text(a_matrix(100, cells, {"n060": ("api",)}, reach=2), width=120)
    assert [line.split()[:5] for line in lines[1:4]] == [
        ["n007", "1", "2", "0", "ok"], ["n050", "2", "0", "1", "ok"], ["n060", "3", "0", "0", "api"],
    ]  # fmt: skip
    assert lines[1].endswith("udp to n008; http, udp, tcp to n009")
    assert lines[-2] == "100 nodes, 97 of them well; 300 directions probed: 297 ok, 2 failing, 1 silent"
    assert lines[-1] == "9700 directions not probed: each agent has some peers only"


def test_nothing_to_tell_is_short() -> None:
    """A large mesh that is well takes two lines."""
    assert len(text(a_matrix(100, reach=2))) == 2


def test_more_than_can_be_read_is_counted() -> None:
    """Every row fails."""
    nodes = [f"n{number:03}" for number in range(100)]
    cells = {(a, b): Cell("failing", ("http",)) for a in nodes for b in nodes}
    lines = text(a_matrix(100, cells), width=120)
    assert "and 60 more rows that are not well: -o json has all" in lines
    assert lines[1].endswith("http to n000, n001, n002, n003, n004 and 95 more")


def test_colours_only_when_wanted() -> None:
    """The same words with and without."""
    cells = {("n000", "n001"): Cell("failing", ("udp",))}
    plain = text(a_matrix(3, cells), force_terminal=True, no_color=True)
    coloured = text(a_matrix(3, cells), force_terminal=True, color_system="standard")
    assert any("\x1b[1;31m" in line for line in coloured)
    assert not any("31m" in line for line in plain)


def test_the_svg_can_be_read_without_colours() -> None:
    """A title, a description, each known cell with a title of its own and a shape for its state."""
    cells = {
        ("n000", "n001"): Cell("failing", ("http", "udp")),
        ("n001", "n000"): Cell("silent"),
        ("n002", "n000"): Cell("unknown"),
    }
    document = svg(a_matrix(3, cells, {"n002": ("dns",)}), "broken: <n000> & n001", NOON)
    assert not any(word in document for word in ("href", "url(", "<script"))  # nothing is fetched or run
    root = ET.fromstring(document)
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "broken: <n000> & n001"
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert any("2026-01-01 12:00:00 UTC" in text for text in texts)
    assert {"ok", "failing", "silent"} <= {text.partition(":")[0] for text in texts}
    said = root.findtext(f"{SVG}desc") or ""
    assert "3 nodes" in said
    assert "6 ok, 1 failing, 1 silent, 1 unknown" in said
    drawn = {group.findtext(f"{SVG}title"): group for group in root.iter(f"{SVG}g")}
    assert "n000 to n001: failing: http, udp" in drawn
    assert "n001 to n000: silent" in drawn
    assert not any("n002 to n000" in (title or "") for title in drawn)
    shapes = {group.get("class"): group[-1].tag.removeprefix(SVG) for group in root.iter(f"{SVG}g")}
    assert shapes == {"ok": "circle", "failing": "path", "silent": "rect"}
    assert "dns" in [element.text for element in root.iter(f"{SVG}text")]


def test_the_svg_of_a_sparse_mesh_is_small() -> None:
    """What nobody probes costs nothing."""
    text = svg(a_matrix(500, reach=4), "well", NOON)
    assert len(text) < 500 * 5 * 160 + 500 * 400
    ET.fromstring(text)
