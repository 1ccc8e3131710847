"""`migrate resume`: a pause is taken back."""

from cni_migrate.cli.options import Common, examples, with_common

EXAMPLES = examples("migrate resume")


@with_common
def command(common: Common) -> None:
    """End a pause: further nodes may begin again."""
    from cni_migrate.cli import requests

    def change(data: dict[str, str], _: str, __: object) -> str:
        return "not paused any more" if data.pop("paused", None) else "it was not paused"

    requests.request(common, change)
