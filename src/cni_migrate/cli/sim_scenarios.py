"""`migrate sim scenarios`: the scenarios that are shipped."""

from pathlib import Path


def command() -> None:
    """List the scenarios that are shipped."""
    from cni_migrate.cli.ui import output

    folder = Path(__file__).parents[1] / "sim" / "scenarios"
    made = output.table("NAME", "ABOUT")
    for file in sorted(folder.glob("*.yaml")):
        first = file.read_text(encoding="utf-8").splitlines()[0]
        made.add_row(file.stem, first.removeprefix("#").strip() if first.startswith("#") else "")
    output.show_table(output.out(), made)
