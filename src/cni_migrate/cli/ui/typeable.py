"""Commands as they are printed: what is shown can be typed as it stands, and means this cluster and configuration.

Messages come from everywhere, and some are kept in the record for others to read; so they name bare commands. What was
typed to choose the configuration and the cluster is put behind each command here, where it becomes part of a line. What
the environment or a default says needs no naming: the next command reads it, too.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.text import Text

    from cni_migrate.cli.options import Common

ON_A_STRATEGY: Final = ("run", "plan", "preflight", "manifests", "images")
"""The commands that can be told a strategy."""

VERBS: Final = (
    *ON_A_STRATEGY, "cleanup", "rollback-node", "rollback", "status", "pause", "resume", "retry-node", "skip-node",
    "knet deploy", "knet status", "knet matrix", "knet remove", "config init", "config show",
)  # fmt: skip
"""The commands that have the options of `Common`."""

KUBECTL: Final = (
    "-n", "annotate", "apply", "auth", "config", "cordon", "delete", "describe", "drain", "edit", "get", "label",
    "logs", "patch", "replace", "rollout", "scale", "taint", "uncordon",
)  # fmt: skip
"""What follows in commands of kubectl; its options may stand before it."""

_REST: Final = r"(?P<rest>[^`,;|>(\n]*)"
_MIGRATE: Final = re.compile(
    rf"(?<![\w./-])migrate (?P<verb>{'|'.join(sorted(VERBS, key=len, reverse=True))})(?![\w-]){_REST}"
)
_KUBECTL: Final = re.compile(rf"(?<![\w./-])(?P<verb>kubectl)(?= (?:{'|'.join(KUBECTL)}) ){_REST}")
_HELM: Final = re.compile(rf"(?<![\w./-])(?P<verb>helm (?:upgrade|install))(?= [A-Z-]){_REST}")

_named: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("named", default=())
"""The options of the command that runs, and their values."""


def name(common: "Common", strategy: str | None = None) -> None:
    """From now on printed commands carry these, as far as they were typed."""
    config = "" if common.config is None else str(common.config)
    given = {
        "--config": "" if config == os.environ.get("MIGRATE_CONFIG") else config,
        "--kubeconfig": common.kubeconfig,
        "--context": common.context,
        "--namespace": common.namespace,
        "--strategy": strategy or "",
    }
    _named.set(tuple((option, value) for option, value in given.items() if value))


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """What is named inside is forgotten behind it."""
    before = _named.set(())
    try:
        yield
    finally:
        _named.reset(before)


def typeable(text: str) -> str:
    """The text with what was typed behind each command in it; said again it stays the same."""
    for at, options in reversed(_missing(text)):
        text = f"{text[:at]}{options}{text[at:]}"
    return text


def typeable_text(text: "Text") -> "Text":
    """The same with styles."""
    from rich.text import Text

    for at, options in reversed(_missing(text.plain)):
        text = Text.assemble(text[:at], options, text[at:], style=text.style, no_wrap=text.no_wrap)
    return text


def typeable_data(data: Any) -> Any:
    """A document for programs, in which what to type next can be typed, too; all else is as it was."""
    if not _named.get():
        return data
    if isinstance(data, Mapping):
        return {
            key: typeable(value) if key == "next" and isinstance(value, str) else typeable_data(value)
            for key, value in data.items()
        }
    return [typeable_data(one) for one in data] if isinstance(data, list) else data


def _missing(text: str) -> list[tuple[int, str]]:
    """Where options are to be put in, and which."""
    named = dict(_named.get())
    if not named:
        return []
    context = named.get("--context", "")
    cluster = {"--kubeconfig": named.get("--kubeconfig", ""), "--context": context}
    tools = (
        (_MIGRATE, named),
        (_KUBECTL, cluster),
        (_HELM, {"--kubeconfig": cluster["--kubeconfig"], "--kube-context": context}),
    )
    return sorted(
        (command.end("verb"), options)
        for pattern, given in tools
        for command in pattern.finditer(text)
        if (options := _options(command, given))
    )


def _options(command: re.Match[str], given: Mapping[str, str]) -> str:
    """What a command that is printed lacks of what was given."""
    return "".join(
        f" {option} {shlex.quote(value)}"
        for option, value in given.items()
        if value
        and f"{option} " not in f"{command['rest']} "
        and (option != "--strategy" or command["verb"] in ON_A_STRATEGY)
    )
