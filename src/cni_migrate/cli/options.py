"""What can be typed with every command: which cluster, which configuration, and how much is said.

Light on purpose: start-up imports this module and those of all commands, and they import what they need when they run.
"""

import functools
import inspect
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cni_migrate.cli.ui import typeable

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
    """Give a command the options of `Common`, and those of any other dataclass that it has as a parameter.

    What was typed of them comes collected: `common: Common`, `drain: DrainOptions`.
    """
    own = inspect.signature(function)
    bundles: dict[str, Any] = {name: p.annotation for name, p in own.parameters.items() if is_dataclass(p.annotation)}
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        if name not in bundles:
            parameters.append(parameter.replace(kind=kind))
        elif name != "common":
            parameters += _parameters(bundles[name])
    parameters += _parameters(bundles["common"])

    @functools.wraps(function)
    def command(**given: Any) -> None:
        made = {
            name: bundle(**{field.name: given.pop(field.name) for field in fields(bundle)})
            for name, bundle in bundles.items()
        }
        typeable.name(made["common"], given.get("strategy"))
        function(**made, **given)

    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameters(bundle: Any) -> list[inspect.Parameter]:
    """The fields of a dataclass as parameters."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(one.name, kind, default=one.default, annotation=one.type) for one in fields(bundle)]


def typed_again(given: Iterable[tuple[str, str | None]]) -> str:
    """Options with their values as they come behind a command; without a value they were not typed."""
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given if value)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; required without a terminal.")]
Output = Annotated[Form, typer.Option("--output", "-o", help="How the result looks.", rich_help_panel=OUTPUT)]


def examples(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "Examples:\n\n" + "\n\n".join(lines)


class StrategyName(StrEnum):
    """How a node gets both networks."""

    MULTUS = "multus"
    OVERLAY = "overlay"


class Until(StrEnum):
    """After which phase a run may stop."""

    PREPARING = "preparing"
    ATTACHING = "attaching"
    MIGRATING = "migrating"


Ignore = Annotated[
    str,
    typer.Option(
        help="Kinds of probes that do not count, comma-separated: policy_deny if nothing enforces NetworkPolicies.",
        show_default=False,
    ),
]

OnStrategy = Annotated[
    StrategyName | None, typer.Option(help="How a node gets both networks.", show_default="from the configuration")
]

OnNodes = Annotated[str | None, typer.Option(help="Migrate only these nodes, comma-separated.", show_default=False)]

OnSelector = Annotated[
    str | None,
    typer.Option(
        "--selector", "-l", help="Migrate only nodes with these labels: k=v,k2,!k3,k in (a,b).", show_default=False
    ),
]

UpTo = Annotated[Until | None, typer.Option(help="Stop when this phase is complete.", show_default=False)]

AtOnce = Annotated[
    str,
    typer.Option(help="How many nodes may be out of service at once: a number or a percentage.", show_default="1"),
]

NodeArgument = Annotated[str, typer.Argument(help="The node.", show_default=False)]


class ProgressForm(StrEnum):
    """How a run is shown while it goes on."""

    AUTO = "auto"
    PLAIN = "plain"
    JSON = "json"


ShowProgress = Annotated[
    ProgressForm,
    typer.Option(
        "--progress",
        envvar="MIGRATE_PROGRESS",
        help="How progress is shown on stderr; auto: redrawn in place on a terminal, JSON lines elsewhere; "
        "plain: readable lines without a terminal.",
        rich_help_panel=OUTPUT,
    ),
]

Takeover = Annotated[bool, typer.Option("--takeover", help="Take the lock even if its holder may be alive.")]

AcceptGate = Annotated[
    list[str] | None,
    typer.Option("--accept-failing-gate", metavar="NODE", show_default=False,
                 help="Go on although connectivity of this node is not proven; repeatable. "
                      "Who said so, and what was failing, is recorded."),
]  # fmt: skip

RemoveLeftovers = Annotated[
    bool | None,
    typer.Option("--remove-leftovers", show_default=False,
                 help="At the end, also delete what Canal left in the API, unless somebody else owns or uses it."),
]  # fmt: skip

Waive = Annotated[
    list[str] | None,
    typer.Option("--waive", metavar="ID[:OBJECT]", show_default=False,
                 help="Go on despite this finding of preflight, for all objects or for one; repeatable. "
                      "Who said so, and when, is recorded."),
]  # fmt: skip
