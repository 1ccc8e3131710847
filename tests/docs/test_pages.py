"""The tutorial and every how-to do what they say: each command is typed on a simulated cluster, each output compared.

What cannot be typed here says why in the page, and what is not typed is told at the end of the run (`-rA`).
`python -m tests.docs PAGE` shows everything that happens.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.docs import pages, reader, terminal
from tests.docs.pages import Block, Spoken

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs" / "tutorial").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")])

LEFT_OUT = {
    "needs Docker and a registry": 11,
    "needs Cilium's chart, which no package has": 3,
    "needs the lab": 4,
    "the simulator's nodes run no image with this program; tests/real and tests/lab/test_job.py do": 2,
    "installs programs: CI's section `wheel` does it": 4,
    "CI's section `demo` does it": 1,
}
"""Why commands of pages cannot be typed here, and how many: another reason, or one more, is a decision."""


def say(text: str) -> None:
    """Put a line into what the run shows of a test."""
    sys.stdout.write(f"{text}\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path) -> None:
    """Every command ends as the page says and prints what the page shows."""
    found = reader.read(page)
    for command, why in found.not_run:
        say(f"not run ({why}): {command}")
    say(f"{page.name}: {len(found.typed)} commands typed, {len(found.not_run)} not")
    assert not found.wrong, "\n".join(found.wrong)


def test_little_is_left_out() -> None:
    """What nobody types here has one of the known reasons, and stays as little as it is."""
    assert Counter(why for page in PAGES for _, why in reader.left_out(page)) == LEFT_OUT


def test_what_ci_is_said_to_do_is_a_section_of_it() -> None:
    """A reason that names a section of CI names one that is run."""
    sections = set(
        re.findall(r"^all=\((.*)\)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)[0].split()
    )
    assert (
        {name for why in LEFT_OUT for name in re.findall(r"CI's section `(\w+)`", why)} == {"wheel", "demo"} <= sections
    )


def test_blocks_are_read_with_what_is_said_about_them() -> None:
    """Comments belong to the next fence, and several of them add up."""
    page = (
        "a\n<!-- test: {code: 4} -->\n<!-- test: {until: x} -->\n```sh\nb\n```\n\n- c\n\n  ```text\n  d\n    e\n  ```\n"
    )
    assert pages.blocks(page) == [
        Block(4, "sh", "b\n", {"code": 4, "until": "x"}),
        Block(10, "text", "d\n  e\n", {}),
    ]


@pytest.mark.parametrize("comment", ["{cdoe: 4}", "[code]", "code"])
def test_a_comment_that_says_nothing_is_refused(comment: str) -> None:
    """A slip in a comment must not turn a check off."""
    with pytest.raises(pages.BadPageError, match="only the keys"):
        pages.blocks(f"<!-- test: {comment} -->\n```sh\n```\n")


def test_what_is_typed_is_told_from_what_is_shown() -> None:
    """A prompt begins a command; `> ` goes on with it; the rest is output."""
    text = "$ a \\\n> b\nout\n> in\n$ c\n"
    assert list(pages.spoken(text)) == [Spoken("a \\\nb", ("out", "> in")), Spoken("c", ())]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a \\\n  b\nc\n", ["a \\\n  b", "c"]),
        ("for i in 1 2; do\n  a\ndone\nb", ["for i in 1 2; do\n  a\ndone", "b"]),
        ("cat > x <<END\n$ a\nEND\nb\n", ["cat > x <<END\n$ a\nEND", "b"]),
        ("# only words\n\na  # and a command\n", ["a  # and a command"]),
    ],
)
def test_commands_are_told_apart(text: str, commands: list[str]) -> None:
    """One line each, unless the shell wants more of it."""
    assert terminal.commands(text) == commands


@pytest.mark.parametrize(
    ("shown", "printed", "whole", "same"),
    [
        (["a", "b"], ["a", "b"], True, True),
        (["a"], ["a", "b"], True, False),
        (["a", "..."], ["a", "b", "c"], True, True),
        (["a", "...", "c"], ["a", "b"], True, False),
        (["b"], ["a", "b", "c"], False, True),
        (["a", "c"], ["a", "b", "c"], False, False),
        (["b", "a"], ["a", "b"], False, False),
        (["a   b"], ["a b"], True, True),
        (["w1  13s  04:54:41"], ["w1 2m3s 11:00:00"], True, True),
        (["pod web-673166a63a-ctpxw"], ["pod web-7d9c5b8f6-zzzzz"], True, True),
        (["pod web"], ["pod cart"], True, False),
        (["3 nodes"], ["4 nodes"], True, False),
        (["Restart the …"], ["Restart the agent."], True, True),
        (["Restart a …"], ["Restart the agent."], True, False),
    ],
)
def test_what_is_shown_is_compared_but_for_what_always_differs(
    shown: list[str], printed: list[str], whole: bool, same: bool
) -> None:
    """Times and names of pods may differ; words, numbers and order may not."""
    assert (pages.differs(shown, printed, whole=whole) == "") is same
