"""How often a command that looks asks the API server: on a cluster far away, each request is a round trip."""

from collections import Counter
from collections.abc import Callable

import pytest

from cni_migrate.sim.apiserver.hooks import Answer, Call
from tests.cli.conftest import Served, Typed


@pytest.mark.parametrize(("command", "most"), [("preflight", 65), ("plan", 20), ("status", 12)])
def test_one_look_is_few_requests(
    on: Callable[[Served], Typed], served: Callable[..., Served], command: str, most: int
) -> None:
    """Nothing is watched, and Canal is looked for once."""
    there = served()
    asked: Counter[tuple[str, str]] = Counter()
    watched: list[str] = []

    def note(call: Call, answer: Answer | None) -> None:
        if answer is not None:
            return  # it was told of before
        asked[call.method, call.path] += 1
        if "watch=" in call.query:
            watched.append(call.path)

    there.sim.app.hooks.observers.append(note)
    assert on(there)(command).code == 0
    assert asked["GET", "/api/v1/namespaces/kube-system/configmaps/canal-config"] <= 1
    assert asked.total() <= most, asked.most_common()
    assert watched == []


def test_scenarios_are_told_whole(migrate: Typed) -> None:
    """Each in one sentence, to its end."""
    lines = migrate("sim", "scenarios").out.splitlines()[1:]
    assert len(lines) > 20
    assert [line for line in lines if not line.endswith(".")] == []
