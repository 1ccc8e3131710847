"""`migrate pause`: no further node begins."""

from cni_migrate.cli.options import Common, examples, with_common

EXAMPLES = examples("migrate pause")


@with_common
def command(common: Common) -> None:
    """Begin no further node; those under way are finished."""
    from cni_migrate.cli import requests

    def change(data: dict[str, str], now: str) -> str:
        since = data.setdefault("paused", now)
        return f"paused since {since}: nodes under way are finished, no further one begins"

    requests.request(common, change, next="migrate resume")
