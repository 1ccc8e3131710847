"""What may be waived, by which name; and that every finding is declared and in the reference."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_migrate.core import preflight
from cni_migrate.core.preflight.catalogue import ABOUT
from cni_migrate.core.preflight.findings import Facts, Severity, blockers, findings
from cni_migrate.core.preflight.waiving import check_waivers, names, told, unused
from cni_migrate.errors import UsageError
from tests.unit.core.builders import a_node, a_pod
from tests.unit.core.preflight.test_preflight import BLOCKED, WARNED, _facts, _with

MODULES = [
    path
    for path in sorted(Path(preflight.__path__[0]).glob("*.py"))
    if path.stem not in ("catalogue", "waiving", "registry")
]
PAGE = Path(__file__).parents[4] / "docs" / "reference" / "preflight.md"


def _ids() -> set[str]:
    """Every text of the checks' code that has the form of an id."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    texts = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"[A-Z][A-Z0-9_]{3,}", text)}


def _two_bare(*waive: str) -> Facts:
    pods = (a_pod("alone", controller=None), a_pod("other", controller=None))
    return _facts(_with(*pods), sections={"preflight": {"waive": list(waive)}})


def test_every_id_is_declared_and_on_the_page() -> None:
    """What the code can yield is what is declared, and the reference has each once, by its first severity."""
    assert len(_ids()) > 40
    assert _ids() == set(ABOUT)
    told, never = PAGE.read_text(encoding="utf-8").split("## What cannot be waived")
    parts = dict(zip(("blocker", "warning", "info"), told.split("\n## ")[1:], strict=True))
    for severity, part in parts.items():
        rows = re.findall(r"^- `([A-Z0-9_]+)`(?: \(or \w+\))?: ", part, flags=re.MULTILINE)
        assert rows == [one.id for one in ABOUT.values() if one.severities[0] == severity]
    rows = re.findall(r"`([A-Z0-9_]+)`", never)
    assert sorted(rows) == sorted(one.id for one in ABOUT.values() if one.never and one.severities != ("info",))


@pytest.mark.parametrize("facts", [row[1] for row in [*BLOCKED, *WARNED]], ids=[row[0] for row in [*BLOCKED, *WARNED]])
def test_findings_are_what_is_declared(facts: Callable[[], Facts]) -> None:
    """Every severity that is found is declared, and a remedy that speaks of waiving is of a check that can be."""
    for finding in findings(facts()):
        assert finding.severity in ABOUT[finding.id].severities, finding
        if "waive" in finding.to_do:
            assert f"--waive {finding.id}" in finding.to_do
            assert ABOUT[finding.id].waivable


@pytest.mark.parametrize(("facts", "check_id"), [row[1:3] for row in BLOCKED], ids=[row[0] for row in BLOCKED])
def test_a_blocker_is_waived_by_its_id(facts: Callable[[], Facts], check_id: str) -> None:
    """It is shown as waived and stops nothing; what is certain to break stops all the same."""
    made = facts()
    config = made.config.model_copy(
        update={"preflight": made.config.preflight.model_copy(update={"waive": [check_id]})}
    )
    found = findings(Facts(**{**vars(made), "config": config}))
    mine = [finding for finding in found if finding.id == check_id and finding.severity is Severity.BLOCKER]
    assert mine
    assert {finding.waived for finding in mine} == {ABOUT[check_id].waivable}
    assert (check_id in {finding.id for finding in blockers(found)}) is not ABOUT[check_id].waivable


@pytest.mark.parametrize(
    ("waive", "stops", "goes"),
    [
        ((), ("default/alone on w1", "default/other on w1"), ()),
        (("BARE_PODS",), (), ("default/alone on w1", "default/other on w1")),
        (("BARE_PODS:default/alone",), ("default/other on w1",), ("default/alone on w1",)),
        (("BARE_PODS:default/alone on w1",), ("default/other on w1",), ("default/alone on w1",)),
        (("BARE_PODS:default/alone", "BARE_PODS:default/other"), (), ("default/alone on w1", "default/other on w1")),
        (("BARE_PODS:default/al",), ("default/alone on w1", "default/other on w1"), ()),
        (("BARE_PODS:alone",), ("default/alone on w1", "default/other on w1"), ()),
        (("EMPTYDIR_PODS",), ("default/alone on w1", "default/other on w1"), ()),
    ],
)
def test_objects_are_waived_one_by_one(waive: tuple[str, ...], stops: tuple[str, ...], goes: tuple[str, ...]) -> None:
    """What is left still stops; a part of a name is no name."""
    found = [finding for finding in findings(_two_bare(*waive)) if finding.id == "BARE_PODS"]
    assert tuple(one for finding in found if not finding.waived for one in finding.objects) == stops
    assert tuple(one for finding in found if finding.waived for one in finding.objects) == goes


@pytest.mark.parametrize(
    ("thing", "listed", "is_it"),
    [
        ("shop/db", "shop/db (0 healthy, 1 needed)", True),
        ("shop/db", "shop/db-0 on w1", False),
        ("shop/db-0", "shop/db-0: one, two", True),
        ("w2", "w2: s390x", True),
        ("w2", "w2.example: s390x", False),
        ("w2", "node w2: podCIDR fd00::/64", True),
        ("shop/web", "Service shop/web", True),
        ("Service shop/web", "Service shop/web", True),
        ("w.", "w2", False),
        ("deny", "GlobalNetworkPolicy deny", True),
    ],
)
def test_names_of_objects(thing: str, listed: str, *, is_it: bool) -> None:
    """The name in front is enough, with or without its kind."""
    assert names(thing, listed) is is_it


@pytest.mark.parametrize(
    ("waiver", "says"),
    [
        ("BARE_POD", "did you mean BARE_PODS?"),
        ("bare-pods", "did you mean BARE_PODS?"),
        ("dual_stack:shop/web", "did you mean DUAL_STACK?"),
        ("42", "--waive: there is no preflight check '42'"),
        ("", "there is no preflight check ''"),
        ("BARE_PODS:", "names no object"),
        ("RIGHTS", "cannot be waived: the API server would refuse"),
        ("CIDR_OVERLAP:w1", "cannot be waived: an address"),
        ("VERSION", "cannot be waived: it is for information"),
    ],
)
def test_what_cannot_be_waived_is_a_usage_error(waiver: str, says: str) -> None:
    """It names where it was written, and the nearest id or the reason."""
    with pytest.raises(UsageError) as refused:
        check_waivers(["DUAL_STACK", waiver], "--waive")
    assert says in str(refused.value)
    assert str(refused.value).startswith("--waive: ")
    assert refused.value.next


def test_waivers_that_nothing_was_found_for_are_named() -> None:
    """A slip in an object's name is seen; what was waived is told with its objects."""
    waivers = ("BARE_PODS:default/alone", "BARE_PODS:default/alnoe", "DUAL_STACK")
    found = findings(_two_bare(*waivers))
    assert unused(waivers, found) == ["BARE_PODS:default/alnoe", "DUAL_STACK"]
    assert told(found) == ("BARE_PODS: nothing would recreate 2 pods (default/alone on w1)",)
    many = findings(_facts(_with(*(a_node(f"x{n}", arch="s390x") for n in range(30))),
                           sections={"preflight": {"waive": ["ARCHITECTURE"]}}))  # fmt: skip
    assert "and 10 more" in told(many)[0]
