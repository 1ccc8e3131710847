"""What can be typed with every command: which cluster, which configuration, and how much is said.

Light on purpose: start-up imports this module and those of all commands, and they import what they need when they run.
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
DRAIN = "Drain, as kubectl's"


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
        help="Kinds of probes that do not count, comma separated: policy_deny where nothing enforces NetworkPolicies.",
        show_default=False,
    ),
]

OnStrategy = Annotated[
    StrategyName | None, typer.Option(help="How a node gets both networks.", show_default="from the configuration")
]

OnNodes = Annotated[str, typer.Option(help="Migrate only these nodes, comma separated.", show_default=False)]

OnSelector = Annotated[
    str,
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

Takeover = Annotated[bool, typer.Option("--takeover", help="Take the lock although its holder may be alive.")]

AcceptGate = Annotated[
    list[str] | None,
    typer.Option("--accept-failing-gate", metavar="NODE", show_default=False,
                 help="Go on although connectivity of this node is not proven; may be given again for another node. "
                      "Who said so and what was failing is recorded."),
]  # fmt: skip  # fmt: skip

Waive = Annotated[
    list[str] | None,
    typer.Option("--waive", metavar="ID[:OBJECT]", show_default=False,
                 help="Go on although preflight finds this, for all or for one object; may be given again. "
                      "Who said so and when is recorded."),
]  # fmt: skip  # fmt: skip

EmptyDir = Annotated[
    bool | None,
    typer.Option("--delete-emptydir-data", help="Evict pods although they lose their emptyDir data.",
                 rich_help_panel=DRAIN, show_default=False),
]  # fmt: skip  # fmt: skip

Force = Annotated[
    bool | None,
    typer.Option("--force", help="Evict pods that nothing will recreate.", rich_help_panel=DRAIN, show_default=False),
]

NoEviction = Annotated[
    bool | None,
    typer.Option("--disable-eviction", help="Delete instead of evicting: bypasses disruption budgets.",
                 rich_help_panel=DRAIN, show_default=False),
]  # fmt: skip  # fmt: skip


def drain_flags(
    delete_emptydir_data: bool | None, force: bool | None, disable_eviction: bool | None
) -> dict[str, object]:
    """The keys of the configuration that the drain's flags set."""
    return {
        "drain.delete_emptydir_data": delete_emptydir_data,
        "drain.force": force,
        "drain.disable_eviction": disable_eviction,
    }
