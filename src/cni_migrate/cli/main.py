"""The entry point: runs the command that was typed and turns whatever goes wrong into words and an exit code."""

import os
import sys
from typing import NoReturn

from cni_migrate.cli.version import version


def main() -> NoReturn:
    """`migrate`."""
    sys.exit(run(sys.argv[1:]))


VALUES = frozenset(
    {"--context", "--kubeconfig", "--namespace", "-n", "--config", "-c", "--log-format", "--log-file"}
)  # fmt: skip
"""The options of `options.Common` that take a value."""


def hoisted(arguments: list[str]) -> list[str]:
    """The arguments with common options that come before the command put behind it: kubectl takes them there too."""
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word in VALUES:
            at += 2
        elif word == "--debug" or word.partition("=")[0] in VALUES:
            at += 1
        else:
            break
    return [*arguments[at:], *arguments[:at]] if at < len(arguments) else arguments


def run(arguments: list[str]) -> int:
    """Run one command; answers the exit code (`errors.EXIT_CODES`)."""
    if arguments in (["--version"], ["version"]):
        sys.stdout.write(f"migrate {version()}\n")
        return 0
    from cni_migrate.cli.app import app

    try:
        app(hoisted(arguments), prog_name="migrate")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort: nothing ends in a bare traceback
        from cni_migrate.cli.ui.failing import failed

        return failed(error, debug="--debug" in arguments or bool(os.environ.get("MIGRATE_DEBUG")))
    return 0


if __name__ == "__main__":
    main()
