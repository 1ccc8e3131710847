"""Label selectors as they are typed."""

import pytest

from cni_migrate.cli.selectors import parse
from cni_migrate.errors import UsageError

LABELS = {"zone": "a", "role/gpu": "", "tier": "x"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("zone=a", True),
        ("zone==a", True),
        ("zone=b", False),
        ("zone!=b", True),
        ("zone!=a", False),
        ("colour!=red", True),
        ("role/gpu", True),
        ("!role/gpu", False),
        ("!colour", True),
        ("zone in (a,b)", True),
        ("zone in (b, c)", False),
        ("zone notin (b,c)", True),
        ("zone notin (a)", False),
        ("colour in (red)", False),
        ("zone=a,tier in (x,y),!colour", True),
        ("zone=a,tier in (y,z)", False),
        ("role/gpu=", True),
    ],
)
def test_what_matches(text: str, holds: bool) -> None:
    """As kubectl's -l reads them."""
    assert parse(text)(LABELS) is holds


@pytest.mark.parametrize("text", ["", "zone in a", "=a", "zone=a,", "zone in (a", "a b", "zone>1"])
def test_what_cannot_be_read(text: str) -> None:
    """It is refused and quoted."""
    with pytest.raises(UsageError, match="--selector"):
        parse(text)
