"""`migrate resume`: a pause is taken back."""

from cni_migrate.cli.options import Common, examples, with_common

EXAMPLES = examples("migrate resume")


@with_common
def command(common: Common) -> None:
    """Take a pause back."""
    from cni_migrate.cli import requests

    def change(data: dict[str, str], _: str) -> str:
        return "not paused any more" if data.pop("paused", None) else "it was not paused"

    requests.request(common, change)
