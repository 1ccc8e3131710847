"""Everything that `migrate` says when it cannot go on, in one tree.

    MigrateError                exit  1   a bug, unless a subclass says otherwise
      UsageError                exit  2   what was typed does not fit
        ConfigError             exit  2   the configuration is wrong
      PreflightFailed           exit  3   the cluster is not fit for a migration
      Halted                    exit  4   stopped, resumable: a node is held, or the goal cannot be reached now
      LockHeld                  exit  5   another `migrate` works on this cluster
        LockLost                exit  5   ... it took the lock over while this one ran
      GateFailed                exit  6   connectivity is broken
      RecordError               exit  7   the record cannot be used
        RecordCorrupt           exit  7   ... it is not what `migrate` writes
        RecordNewer             exit  7   ... it was written by a newer version
        RecordMismatch          exit  7   ... it belongs to another strategy or configuration
      ClusterError              exit  8   the API server
        ClusterUnreachable      exit  8   ... does not answer
        Unauthorized            exit  8   ... does not accept the credentials
        RightsMissing           exit  8   ... does not allow it
        Conflict                exit  8   ... has another version of the object (handled inside, normally)
      OutputFailed              exit 74   stdout is closed, or its disk is full
      Interrupted               exit 130  Ctrl-C
      OutputGone                exit 141  the program that read the output has ended (`| head`)

Each error has a message (what was being done to what, what was seen last) and `next`: what to type now.
"""

from typing import ClassVar


class MigrateError(Exception):
    """The root: a message for humans, what to type next, and an exit code."""

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "a bug: please report it with the log"

    def __init__(self, message: str, *, next: str = "") -> None:  # noqa: A002 - it is the word the screen shows
        super().__init__(message)
        self.message = message
        self.next = next


class UsageError(MigrateError):
    """What was typed does not fit."""

    exit_code = 2
    meaning = "usage: what was typed or configured does not fit"


class ConfigError(UsageError):
    """The configuration is wrong; the message names the file, the line and the key."""


class PreflightFailed(MigrateError):
    """The cluster is not fit for a migration; the message lists the failed checks."""

    exit_code = 3
    meaning = "preflight failed: nothing was changed"


class Halted(MigrateError):
    """Stopped in an orderly way, resumable: a node is held, or the goal cannot be reached now."""

    exit_code = 4
    meaning = "halted: the record is safe, what `next` names goes on from here"


class LockHeld(MigrateError):
    """Another `migrate` works on this cluster."""

    exit_code = 5
    meaning = "another `migrate` holds the lock"


class LockLost(LockHeld):
    """Another `migrate` took the lock over while this one ran."""


class GateFailed(MigrateError):
    """Connectivity is broken; the message names the pairs."""

    exit_code = 6
    meaning = "a connectivity gate failed"


class RecordError(MigrateError):
    """The record cannot be used; it is left as it is."""

    exit_code = 7
    meaning = "the record in the cluster cannot be used"


class RecordCorrupt(RecordError):
    """The record is not what `migrate` writes."""


class RecordNewer(RecordError):
    """The record was written by a newer version."""


class RecordMismatch(RecordError):
    """The record belongs to another strategy or configuration."""


class ClusterError(MigrateError):
    """The API server did not do what was asked."""

    exit_code = 8
    meaning = "the API server cannot be reached or refuses"


class ClusterUnreachable(ClusterError):
    """The API server does not answer, or no cluster is configured."""


class Unauthorized(ClusterError):
    """The API server does not accept the credentials."""


class RightsMissing(ClusterError):
    """The API server does not allow it."""


class Conflict(ClusterError):
    """The object has another version than the one that was read."""


class Interrupted(MigrateError):
    """Ctrl-C: the current step was finished and recorded."""

    exit_code = 130
    meaning = "interrupted: the record is safe, what `next` names goes on from here"


class OutputFailed(MigrateError):
    """stdout is closed, or its disk is full. The code is EX_IOERR of sysexits.h."""

    exit_code = 74
    meaning = "the result cannot be written to stdout; a migration under way goes on with `migrate run`"


class OutputGone(MigrateError):
    """The program that read the output has ended. The code is the one of a death by SIGPIPE."""

    exit_code = 141
    meaning = "nobody reads the output any more, as after `| head`; a migration under way goes on with `migrate run`"


_ROOTS: tuple[type[MigrateError], ...] = (
    MigrateError,
    UsageError,
    PreflightFailed,
    Halted,
    LockHeld,
    GateFailed,
    RecordError,
    ClusterError,
    OutputFailed,
    Interrupted,
    OutputGone,
)

EXIT_CODES: dict[int, str] = {0: "done", **{kind.exit_code: kind.meaning for kind in _ROOTS}}
"""Exit code to meaning, for the reference page and `--help`."""
