"""Writes down what Cilium's own charts say, for the tests to compare: `python -m tests.charts [1.20.2 …]`.

Needs Go, and `helm` on PATH or Go's module proxy to build it. Without arguments, the versions that are written down
already are done again.
"""

import sys

from ruamel.yaml import YAML

from tests.charts.charts import RECORDED, flowing, record


def main() -> None:
    """Write a file per version."""
    writer = YAML()
    writer.width = 4096
    for version in sys.argv[1:] or sorted(file.stem for file in RECORDED.glob("*.yaml")):
        RECORDED.mkdir(exist_ok=True)
        with (RECORDED / f"{version}.yaml").open("w") as file:
            file.write(f"# Made by `python -m tests.charts {version}`.\n")
            writer.dump(flowing(record(version)), file)
        sys.stdout.write(f"{version}\n")


if __name__ == "__main__":
    main()
