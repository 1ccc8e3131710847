"""The log: structlog on stderr (for people on a terminal, JSON elsewhere) and, if wanted, JSON in a file as well."""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, TextIO

import structlog

from cni_migrate.cli.options import Common, LogFormat
from cni_migrate.cli.ui.typeable import typeable
from cni_migrate.errors import UsageError

_STAMP = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")


class _Tee:
    """Writes each event to stderr in its form and to a file as JSON."""

    def __init__(self, as_json: bool, file: TextIO | None) -> None:
        self._json = structlog.processors.JSONRenderer(default=str)
        self._console = structlog.dev.ConsoleRenderer(colors=False, sort_keys=False)
        self._as_json = as_json
        self._file = file

    def __call__(self, logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        self._into_file(self._text(self._json(logger, name, _ordered(event))))
        if event.pop("quiet", False):
            raise structlog.DropEvent
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = typeable(value)
        if self._as_json:
            return self._text(self._json(logger, name, _ordered(event)))
        event["timestamp"] = str(event.pop("at", ""))[11:19]
        return self._text(self._console(logger, name, event))

    def _into_file(self, line: str) -> None:
        """Append a line; a disk that is full stops no migration, but the log there, and that is said."""
        if self._file is None:
            return
        try:
            self._file.write(f"{line}\n")
        except OSError as error:
            sys.stderr.write(f"the log file {self._file.name} is written no more: {error.strerror}\n")
            self._file = None

    @staticmethod
    def _text(rendered: str | bytes) -> str:
        return rendered if isinstance(rendered, str) else rendered.decode()


def _ordered(event: MutableMapping[str, Any]) -> dict[str, Any]:
    """When, how serious and what first."""
    head = {key: event[key] for key in ("at", "level", "event") if key in event}
    return head | {key: value for key, value in event.items() if key not in head and key != "quiet"}


@contextlib.contextmanager
def logging_to(common: Common) -> Iterator[bool]:
    """Configure the log for one command; yields whether its lines are JSON.

    Raises:
        UsageError: the log file cannot be written.
    """
    as_json = common.log_format is LogFormat.JSON or (common.log_format is LogFormat.AUTO and not sys.stderr.isatty())
    with contextlib.ExitStack() as stack:
        file = None
        if common.log_file is not None:
            try:
                # Without a buffer: a line that is not on the disk is known at once, and not met again on closing.
                raw = stack.enter_context(common.log_file.open("ab", buffering=0))
                file = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
            except OSError as error:
                what = f"--log-file {common.log_file}: {error.strerror}"
                raise UsageError(what, next="name another file, or omit --log-file") from None
        level = logging.DEBUG if common.debug else logging.INFO
        structlog.configure(
            processors=[structlog.processors.add_log_level, _STAMP, _Tee(as_json, file)],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
            cache_logger_on_first_use=False,
        )
        try:
            yield as_json
        finally:
            structlog.reset_defaults()
