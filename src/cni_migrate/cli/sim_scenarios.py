"""`migrate sim scenarios`: the scenarios that are shipped."""

from pathlib import Path


def command() -> None:
    """List the scenarios that are shipped."""
    from cni_migrate.cli.ui import output
    from cni_migrate.sim.scenario import load

    folder = Path(__file__).parents[1] / "sim" / "scenarios"
    made = output.table("NAME", "ABOUT")
    for file in sorted(folder.glob("*.yaml")):
        made.add_row(file.stem, load(file.stem).description)
    output.show_table(output.out(), made)
