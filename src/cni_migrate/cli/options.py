"""What can be typed with every command: which cluster, which configuration, and how much is said.

Light on purpose: this module and those of `commands` are all that start-up imports.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

CLUSTER = "Cluster and configuration"
OUTPUT = "Output"


class LogFormat(StrEnum):
    """How log lines on stderr look."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Form(StrEnum):
    """How a result on stdout looks."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options that every command on a cluster has."""

    context: Annotated[
        str, typer.Option(help="The context of the kubeconfig to use.", rich_help_panel=CLUSTER, show_default=False)
    ] = ""
    kubeconfig: Annotated[
        str,
        typer.Option(
            help="The kubeconfig file; default: KUBECONFIG, ~/.kube/config, then the pod's own service account.",
            rich_help_panel=CLUSTER,
            show_default=False,
        ),
    ] = ""
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Where the record and the lock are.",
            rich_help_panel=CLUSTER,
            show_default="cni-migrate",
        ),
    ] = ""
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar="MIGRATE_CONFIG",
            help="The configuration file.",
            rich_help_panel=CLUSTER,
            show_default=False,
        ),
    ] = None
    log_format: Annotated[
        LogFormat,
        typer.Option(
            envvar="MIGRATE_LOG_FORMAT",
            help="How log lines on stderr look; auto: for people on a terminal, JSON elsewhere.",
            rich_help_panel=OUTPUT,
        ),
    ] = LogFormat.AUTO
    log_file: Annotated[
        Path | None,
        typer.Option(
            envvar="MIGRATE_LOG_FILE",
            help="Append every event to this file, as JSON.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None
    debug: Annotated[
        bool, typer.Option("--debug", envvar="MIGRATE_DEBUG", help="Print the traceback of an unexpected error.",
                           rich_help_panel=OUTPUT)
    ] = False  # fmt: skip


def with_common(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Common`, collected in its first parameter `common`."""
    own = inspect.signature(function)
    shared = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(Common)
    ]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=kind) for name, p in own.parameters.items() if name != "common"]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        common = Common(**{field.name: given.pop(field.name) for field in fields(Common)})
        function(common, **given)

    command.__signature__ = own.replace(parameters=[*parameters, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*parameters, *shared)}
    return command


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]
Output = Annotated[Form, typer.Option("--output", "-o", help="How the result looks.", rich_help_panel=OUTPUT)]


def examples(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "Examples:\n\n" + "\n\n".join(lines)
