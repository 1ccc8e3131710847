"""Commands on the agents by themselves: knet deploy, status, matrix, remove. They need no migration."""

from enum import StrEnum
from typing import Annotated

import typer

from cni_migrate.cli.options import OUTPUT, Common, Form, Output, Yes, examples, with_common

PANEL = "Look"

knet_app = typer.Typer(help="Prove connectivity with agents on every node, without a migration.", no_args_is_help=True)


class PictureForm(StrEnum):
    """How the picture looks."""

    TABLE = "table"
    JSON = "json"
    SVG = "svg"


Ignore = Annotated[
    str,
    typer.Option(
        help="Kinds of probes that do not count, comma separated: policy_deny where nothing enforces NetworkPolicies.",
        show_default=False,
    ),
]


@with_common
def deploy(
    common: Common,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be applied and write nothing.")] = False,
) -> None:
    """Put two agents on every node and wait until they are Ready.

    They are the ones that a migration uses. Can be typed again at any time: what is as it should be stays as it is.
    """
    from cni_migrate.cli import deploying

    deploying.deploy(common, dry_run=dry_run)


@with_common
def status(common: Common, ignore: Ignore = "", output: Output = Form.TABLE) -> None:
    """Show each agent's last round and whether connectivity is proven.

    Exit code 6 when it is not. While a migration is under way, what it has in its hands is left out.
    """
    from cni_migrate.cli import meshing

    meshing.status(common, ignore=ignore, form=output.value)


@with_common
def matrix(
    common: Common,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw it anew at every change.")] = False,
    ignore: Ignore = "",
    output: Annotated[
        PictureForm, typer.Option("--output", "-o", help="How the result looks.", rich_help_panel=OUTPUT)
    ] = PictureForm.TABLE,
) -> None:
    """Draw who reaches whom: rows are the nodes that probe, columns those that are probed."""
    from cni_migrate.cli import meshing

    meshing.picture(common, ignore=ignore, form=output.value, watch=watch)


@with_common
def remove(common: Common, yes: Yes = False) -> None:
    """Delete the agents and all that was deployed with them.

    Only what carries the label of this program is deleted. Refuses while a migration is under way.
    """
    from cni_migrate.cli import deploying

    deploying.remove(common, yes=yes)


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    knet_app.command("deploy", epilog=examples("migrate knet deploy", "migrate knet deploy --dry-run"))(deploy)
    knet_app.command(
        "status",
        epilog=examples(
            "migrate knet status",
            "migrate knet status --ignore policy_deny",
            "migrate knet status -o json | jq '.agents[] | select(.lost > 0)'",
        ),
    )(status)
    knet_app.command(
        "matrix",
        epilog=examples("migrate knet matrix", "migrate knet matrix --watch", "migrate knet matrix -o svg > mesh.svg"),
    )(matrix)
    knet_app.command("remove", epilog=examples("migrate knet remove --yes"))(remove)
    app.add_typer(knet_app, name="knet", rich_help_panel=PANEL)
