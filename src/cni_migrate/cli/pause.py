"""`migrate pause`: no further node begins, nor clean-up."""

from typing import TYPE_CHECKING

from cni_migrate.cli.options import Common, examples, with_common
from cni_migrate.errors import UsageError

if TYPE_CHECKING:
    from cni_migrate.core.model.record import Record

EXAMPLES = examples("migrate pause")


@with_common
def command(common: Common) -> None:
    """Begin no further node, nor clean-up; nodes under way are finished."""
    from cni_migrate.cli import requests

    def change(data: dict[str, str], now: str, record: "Record") -> str:
        since = data["paused"] = data.get("paused") or now  # an empty one, as left by hand, pauses nobody
        more = "" if record.cluster.direction == "back" else ", nor does clean-up"
        return f"paused since {since}: nodes under way are finished, no further one begins{more}"

    def check(record: "Record") -> None:
        if not record.cluster.pausable:
            raise UsageError(
                "every node is migrated, and clean-up begins none: a pause would stop nothing",
                next="Ctrl-C where `migrate run` works: it goes on later from there",
            )

    requests.request(common, change, check=check, next="migrate resume")
