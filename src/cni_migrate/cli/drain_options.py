"""The drain's options, named and meant as kubectl's (kubernetes.io: `kubectl drain`); where not, their help says so."""

import re
import shlex
from dataclasses import dataclass, fields
from typing import Annotated

import typer

PANEL = "Drain, as kubectl's"

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True, kw_only=True)
class DrainOptions:
    """The options of every command that drains nodes. None: as the configuration has it."""

    delete_emptydir_data: Annotated[
        bool | None,
        typer.Option("--delete-emptydir-data", help="Evict pods even though their emptyDir data is lost.",
                     rich_help_panel=PANEL, show_default=False),
    ] = None  # fmt: skip
    force: Annotated[
        bool | None,
        typer.Option("--force", help="Evict pods that nothing will recreate.", rich_help_panel=PANEL,
                     show_default=False),
    ] = None  # fmt: skip
    grace_period: Annotated[
        int | None,
        typer.Option("--grace-period", metavar="SECONDS", min=-1, rich_help_panel=PANEL, show_default=False,
                     help="How long each pod gets to terminate; -1: its own grace period; 0 counts as 1."),
    ] = None  # fmt: skip
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", rich_help_panel=PANEL, show_default=False,
                     help="How long a drain may take before its node is held, such as 15m; 0: as long as it takes."),
    ] = None  # fmt: skip
    skip_wait_for_delete_timeout: Annotated[
        int | None,
        typer.Option("--skip-wait-for-delete-timeout", metavar="SECONDS", min=0, rich_help_panel=PANEL,
                     show_default=False,
                     help="Do not wait for pods that are overdue by more than this; 0: wait for all."),
    ] = None  # fmt: skip
    pod_selector: Annotated[
        str | None,
        typer.Option("--pod-selector", metavar="LABELS", rich_help_panel=PANEL, show_default=False,
                     help="Evict only pods with these labels. The others change networks all the same: they are "
                          "deleted last, once the node is tainted."),
    ] = None  # fmt: skip
    disable_eviction: Annotated[
        str | None,
        typer.Option("--disable-eviction", metavar="LABELS", rich_help_panel=PANEL, show_default=False,
                     help="Delete pods with these labels instead of evicting them, ignoring their disruption budgets."),
    ] = None  # fmt: skip

    @property
    def words(self) -> str:
        """What was typed, to be typed again: what comes behind a command."""
        given = {f"--{one.name.replace('_', '-')}": getattr(self, one.name) for one in fields(self)}
        return "".join(
            f" {option}" if value is True else f" {option} {shlex.quote(str(value))}"
            for option, value in given.items()
            if value is not None and value is not False
        )

    def keys(self) -> dict[str, object]:
        """The keys of the configuration that were typed.

        Raises:
            BadParameter: the timeout is no duration.
        """
        return {
            "drain.delete_emptydir_data": self.delete_emptydir_data,
            "drain.force": self.force,
            "drain.grace_period": self.grace_period,
            "drain.skip_wait_for_delete_timeout": self.skip_wait_for_delete_timeout,
            "drain.pod_selector": self.pod_selector,
            "drain.disable_eviction": self.disable_eviction,
            "deadlines.drain": None if self.timeout is None else seconds(self.timeout),
        }


NO_DRAIN_OPTIONS = DrainOptions()
"""Nothing typed."""


def seconds(text: str) -> float:
    """A duration as kubectl takes it: `90s`, `15m`, `1h30m`, `0`.

    Raises:
        BadParameter: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if text.strip() == "0":
        return 0.0
    if found is None or not any(found.groups()):
        said = f"expected a duration such as 90s, 15m or 1h30m; found {text!r}"
        raise typer.BadParameter(said, param_hint="--timeout")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest
