"""`migrate config schema`: the JSON Schema of the configuration."""

from cni_migrate.cli.options import examples

EXAMPLES = examples("migrate config schema > migrate.schema.json")


def command() -> None:
    """Print the JSON Schema of the configuration."""
    from cni_migrate.cli.ui import output
    from cni_migrate.config import Config

    output.as_json(Config.model_json_schema())
