"""`migrate config show`: the effective configuration, and where each value came from."""

from typing import Any

from cni_migrate.cli.options import Common, Form, Output, examples, with_common

EXAMPLES = examples("migrate config show -c migrate.yaml")


@with_common
def command(common: Common, output: Output = Form.TABLE) -> None:
    """Show the effective configuration and where each value came from."""
    from rich.text import Text

    from cni_migrate.cli.session import configured
    from cni_migrate.cli.ui import colours
    from cni_migrate.cli.ui import output as to
    from cni_migrate.configfile import variable
    from cni_migrate.configtemplate import value_text

    loaded = configured(common, {})
    data = loaded.config.model_dump(mode="json")
    if output is Form.JSON:
        to.as_json({"config": data, "origin": dict(loaded.origin)})
        return
    if output is Form.YAML:
        to.as_yaml(data)
        return
    made = to.table("KEY", "VALUE", "FROM", "VARIABLE")
    for key, source in loaded.origin.items():
        value: Any = data
        for part in key.split("."):
            value = value[part]
        style = "" if source == "default" else colours.HEAD
        made.add_row(
            Text(key, style=style), Text(value_text(value), style=style), source, variable(tuple(key.split(".")))
        )
    to.show_table(to.out(), made)
