"""What is printed can be typed: commands name the configuration and the cluster that were named on the command line."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from typer.main import get_command

from cni_migrate.cli.app import app
from cni_migrate.cli.options import Common
from cni_migrate.cli.ui import typeable
from cni_migrate.cli.ui.typeable import ON_A_STRATEGY, VERBS
from tests.cli.conftest import QUICK, Ended, Served, Typed

Make = Callable[..., Served]


@pytest.fixture(autouse=True)
def _nothing_typed() -> Iterator[None]:
    """Whatever runs before and after."""
    with typeable.one_command():
        yield


NAMED = Common(config=Path("my own.yaml"), context="prod")
OPTIONS = "--config 'my own.yaml' --context prod"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("migrate run", f"migrate run {OPTIONS}"),
        ("mend it, then `migrate run`: it goes on", f"mend it, then `migrate run {OPTIONS}`: it goes on"),
        ("migrate plan, then migrate run", f"migrate plan {OPTIONS}, then migrate run {OPTIONS}"),
        ("migrate rollback-node w1 --to canal", f"migrate rollback-node {OPTIONS} w1 --to canal"),
        ("migrate knet matrix  (who reaches whom)", f"migrate knet matrix {OPTIONS}  (who reaches whom)"),
        ("migrate preflight --config other.yaml", "migrate preflight --context prod --config other.yaml"),
        ("migrate sim scenarios", "migrate sim scenarios"),
        ("kubectl get nodes", "kubectl --context prod get nodes"),
        (
            "kubectl get crd -o name | xargs kubectl delete  (if nobody needs them)",
            "kubectl --context prod get crd -o name | xargs kubectl --context prod delete  (if nobody needs them)",
        ),
        ("kubectl -n a get pods, then", "kubectl --context prod -n a get pods, then"),
        ("as kubectl does, `kubectl migrate`", "as kubectl does, `kubectl migrate`"),
        ("helm upgrade RELEASE CHART", "helm upgrade --kube-context prod RELEASE CHART"),
        ("wait for its owner's `helm upgrade`", "wait for its owner's `helm upgrade`"),
        ("another `migrate` may be at work", "another `migrate` may be at work"),
        ("cni-migrate run, a/migrate run, migrate runs", "cni-migrate run, a/migrate run, migrate runs"),
    ],
)
def test_a_command_gets_what_was_typed(said: str, shown: str) -> None:
    """Wherever it stands in a line, once, and with its styles; where nothing was typed it stays as it is."""
    assert typeable.typeable(said) == said
    typeable.name(NAMED)
    assert typeable.typeable(said) == shown
    assert typeable.typeable(shown) == shown
    styled = typeable.typeable_text(Text.assemble((said[:9], "bold"), said[9:]))
    assert styled.plain == shown
    assert any(span.style == "bold" for span in styled.spans)
    assert typeable.typeable_data([{"next": said, "why": said}]) == [{"next": shown, "why": said}]


def test_a_strategy_goes_with_commands_that_take_one() -> None:
    """Of the two that were said, the one in the message counts."""
    typeable.name(Common(), "multus")
    assert typeable.typeable("migrate run, or migrate rollback") == "migrate run --strategy multus, or migrate rollback"
    assert typeable.typeable("migrate run --strategy overlay") == "migrate run --strategy overlay"


def test_what_the_environment_says_needs_no_naming(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command reads it, too."""
    monkeypatch.setenv("MIGRATE_CONFIG", "m.yaml")
    typeable.name(Common(config=Path("m.yaml")))
    assert typeable.typeable("migrate run") == "migrate run"


def _commands(one: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each command of the tree, and its options."""
    below = getattr(one, "commands", {})
    for name, command in below.items():
        yield from _commands(command, (*path, name))
    if not below:
        yield " ".join(path), {option for parameter in one.params for option in parameter.opts}


def test_it_is_forgotten_with_its_command(migrate: Typed) -> None:
    """Nothing of one command gets into the lines of another."""
    migrate("config", "show", "--context", "prod")
    assert typeable.typeable("migrate run") == "migrate run"


def test_the_commands_are_those_of_the_tree() -> None:
    """Who adds one with these options is told here."""
    options = dict(_commands(get_command(app)))
    common = {command for command, has in options.items() if "--kubeconfig" in has}
    assert common == set(VERBS)
    assert {command for command in common if "--strategy" in options[command]} == set(ON_A_STRATEGY)


def _printed(ended: Ended) -> list[list[str]]:
    """The commands of the last `next:` line, as a shell would read them."""
    (*_, last) = [line for line in (ended.out + ended.err).splitlines() if line.startswith("next: ")]
    return [shlex.split(one)[1:] for one in re.findall(r"migrate [^`,;(]+", last)]


def test_what_is_printed_is_typed(migrate: Typed, served: Make, tmp_path: Path) -> None:
    """From preflight to the end of a rollback, by nothing but what `next:` says.

    The options choose what no default would: another context than the current one, which is dead, and a record
    elsewhere.
    """
    cluster = served()
    kubeconfig = tmp_path / "two contexts"
    kubeconfig.write_text(json.dumps(_contexts(cluster.url)), encoding="utf-8")
    config = tmp_path / "migrate.yaml"
    config.write_text(f"{QUICK}namespace: elsewhere\n", encoding="utf-8")
    named = ("--kubeconfig", str(kubeconfig), "--context", "sim", "--config", str(config))

    def typed(*words: str, code: int = 0) -> list[list[str]]:
        ended = migrate(*words)
        assert ended.code == code, ended.err
        return _printed(ended)

    plan, run = typed("preflight", *named)
    (same,) = typed(*plan)
    assert same == run
    (same,) = typed("plan", *named, "--nodes", "w1", "--until", "preparing")
    assert same == [*run, "--nodes", "w1", "--until", "preparing"]
    (on,) = typed(*same, "--yes")
    assert on == run
    (resume,) = typed("pause", *named)
    (on,) = typed(*resume)
    assert on == run
    (look,) = typed("retry-node", "w1", *named, code=2)
    assert migrate(*look).out.splitlines()[-1].startswith(f"next: migrate run --config {config} ")
    (status,) = typed("rollback-node", "w9", "--yes", *named, code=2)
    assert migrate(*status, "-o", "json").code == 0
    assert migrate("rollback", "--yes", *run[1:]).code == 0
    assert typed("status", *named) == [["preflight", *run[1:]]]


def _contexts(url: str) -> dict[str, Any]:
    """A kubeconfig of two contexts, of which the current one leads nowhere."""
    there = {"sim": url, "dead": "http://127.0.0.1:9"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in there.items()],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in there],
        "current-context": "dead",
    }
