"""The documentation follows the code: generated pages are current, steps are explained, links lead somewhere."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cni_migrate import errors
from cni_migrate.core.decision.plan import make_plan  # noqa: F401 - registers the steps
from cni_migrate.core.steps.registry import ABOUT
from docs import generate

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
SEED_TESTS = ROOT / "tests" / "simulation" / "test_seed.py"
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_generated_pages_are_current() -> None:
    """What the code says now is what the pages say; `python docs/generate.py` writes them."""
    assert sorted(generate.stale()) == []


def test_every_step_says_what_happens_if_it_dies_there() -> None:
    """A step without its row, and a row without its step, fail."""
    words = YAML(typ="safe").load((ROOT / "docs" / "what-if.yaml").read_text(encoding="utf-8"))
    assert set(words["steps"]) == set(ABOUT)
    for name, row in words["steps"].items():
        assert set(row) == {"half", "resume"}, name
        assert all(row.values()), name


def test_every_step_says_what_it_does() -> None:
    """Its docstring's first line is what `plan`, `status` and the reference show."""
    for about in ABOUT.values():
        assert about.title.endswith((".", "(undo).")), about.name
        assert len(about.title) <= 120, about.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Relative links in Markdown name files that are there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_pages_named_by_messages_exist() -> None:
    """An error that says `see docs/...` tells the truth."""
    named = {found for path in SOURCES for found in re.findall(r"docs/[a-z/_-]+\.md", path.read_text(encoding="utf-8"))}
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_seed_table_names_tests_that_exist() -> None:
    """Each sentence of the seed has its test, and each test its sentence."""
    page = (ROOT / "docs" / "explanation" / "seed.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page))
    written = set(re.findall(r"^def (test_[a-z0-9_]+)", SEED_TESTS.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named == written - {"test_without_the_step_the_sentence_fails"}


def test_the_seed_table_names_steps_that_exist() -> None:
    """A step that was renamed is renamed there, too."""
    page = (ROOT / "docs" / "explanation" / "seed.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("| ") and line.count("|") == 4]
    words = {word for row in rows for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", row)}
    known = set(ABOUT) | {"every_node_dual"}
    assert words - known == set()


def test_every_exit_code_is_in_the_tree() -> None:
    """The drawing in `errors` and the table agree."""
    tree = errors.__doc__ or ""
    for number in errors.EXIT_CODES:
        assert number == 0 or re.search(rf"exit +{number}\b", tree), number
    drawn = set(re.findall(r"^ +([A-Z]\w+) +exit", tree, flags=re.MULTILINE))
    assert drawn == {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.MigrateError)
    }
