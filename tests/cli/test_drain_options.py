"""The drain's options as they are typed: what they set, and what is refused."""

import json
from collections.abc import Callable

import pytest
import typer

from cni_migrate.cli.drain_options import DrainOptions, seconds
from tests.cli.conftest import Served, Typed

On = Callable[[Served], Typed]


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("0s", 0), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("1.5s", 1.5)]
)
def test_durations(text: str, expected: float) -> None:
    """As kubectl takes them."""
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "15", "m", "1d", "-5s", "15 m"])
def test_what_is_no_duration(text: str) -> None:
    """It is refused, with what would be one."""
    with pytest.raises(typer.BadParameter, match="15m"):
        seconds(text)


def test_the_time_is_that_of_the_drains_deadline() -> None:
    """What was not typed is left to the configuration."""
    keys = DrainOptions(timeout="20m", grace_period=5).keys()
    assert {key: value for key, value in keys.items() if value is not None} == {
        "deadlines.drain": 1200,
        "drain.grace_period": 5,
    }


def test_plan_counts_with_them(on: On, untouched: Served) -> None:
    """Each pod has its verdict by the flags that were typed; all of these pods move."""
    typed = on(untouched)
    ended = typed("plan", "-o", "json", "--strategy", "overlay", "--disable-eviction", "app=web", "--pod-selector", "app!=cart")  # fmt: skip
    assert ended.code == 0, ended.err
    verdicts = {
        pod["pod"].rpartition("-")[0].rpartition("-")[0]: pod["verdict"]
        for node in json.loads(ended.out)["nodes"]
        for pod in node["pods"]
    }
    assert verdicts["shop/web"] == "delete"
    assert verdicts["shop/cart"] == "last"
    assert verdicts["kube-system/coredns"] == "evict"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--timeout", "soon"), "such as 90s"),
        (("--timeout", "200h"), "--timeout: key `deadlines.drain`"),
        (("--grace-period", "-2"), "-1"),
        (("--pod-selector", "app in db"), "expected k=v"),
        (("--disable-eviction", "true"), "labels of the pods"),
    ],
)
@pytest.mark.parametrize("command", [("plan",), ("run", "--yes"), ("rollback", "--yes"), ("rollback-node", "w1", "--yes"), ("preflight",)])  # fmt: skip
def test_what_is_refused(
    on: On, untouched: Served, command: tuple[str, ...], flags: tuple[str, str], says: str
) -> None:
    """By every command that has them, before anything is written."""
    before = untouched.writes
    ended = on(untouched)(*command, *flags)
    assert ended.code == 2, ended.err
    assert says in " ".join(ended.err.replace("│", " ").split())
    assert untouched.writes == before
