"""The entry point: runs the command that was typed and turns whatever goes wrong into words and an exit code."""

import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

from cni_migrate.cli.ui import streams, typeable
from cni_migrate.cli.version import version
from cni_migrate.errors import OutputFailed, OutputGone

_OBJECTS: Final = 400_000
"""New objects after which Python looks for garbage in cycles. With its 700 the reading of a large cluster, all of which
stays, was a third of looking through it again: `plan` of 5,000 nodes took 6.1 s instead of 4.3; and so are modules."""


def main() -> NoReturn:
    """`migrate`."""
    gc.set_threshold(_OBJECTS)
    # Else it looks through every installed package for plugins, and lets them change what our models accept.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    streams.occupy()
    code = run(sys.argv[1:])
    if code in (OutputGone.exit_code, OutputFailed.exit_code):
        streams.silence()
    gc.freeze()  # the interpreter's last look for garbage, in what goes with the process anyway, would take 50 ms
    sys.exit(code)


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
    with streams.guarded(), typeable.one_command():
        try:
            code = _run(arguments)
            sys.stdout.flush()
        except OutputGone as gone:
            return gone.exit_code
        except OutputFailed as lost:
            return _said(lost)
        return code


def _said(lost: OutputFailed) -> int:
    """Say why there is no result, if stderr is still there."""
    with contextlib.suppress(OutputGone):
        sys.stderr.write(f"error: {lost.message}\n")
        sys.stderr.flush()
    return lost.exit_code


def _called() -> str:
    """What was typed to get here: kubectl starts `kubectl-migrate` for `kubectl migrate`."""
    return "kubectl migrate" if Path(sys.argv[0]).stem == "kubectl-migrate" else "migrate"


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["version"]):
        sys.stdout.write(f"migrate {version()}\n")
        return 0
    from cni_migrate.cli.app import app

    try:
        app(hoisted(arguments), prog_name=_called())
    except (OutputGone, OutputFailed):
        raise
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
