"""`migrate version`, and which version this is."""

import typer


def version() -> str:
    """The version of the installed package."""
    from importlib.metadata import version as installed

    return installed("cni-migrate")


def command() -> None:
    """Show the version."""
    typer.echo(f"migrate {version()}")
