"""stdout and stderr that may be closed, full, or read by a program that has gone (`| head`).

What cannot be written to stdout ends the command with the code that programs use for it; of stderr only a reader that
has gone ends it: a full disk under a log stops no migration. click turns a broken pipe into exit code 1 and rich into
another; so both are given streams that raise errors of ours instead of `OSError`.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from cni_migrate.errors import OutputFailed, OutputGone

_GONE = (errno.EPIPE, errno.ESHUTDOWN, errno.ECONNRESET)


class _Stream:
    """A text stream that raises `OutputGone` and `OutputFailed`; everything else is the stream's own."""

    def __init__(self, inner: Any, *, result: bool) -> None:
        self._inner = inner
        self._result = result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, text: str) -> int:
        """Write, as any text stream."""
        return self._guarded(lambda: int(self._inner.write(text))) or 0

    def writelines(self, lines: Any) -> None:
        """Write, as any text stream."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, as any text stream."""
        self._guarded(self._inner.flush)

    def isatty(self) -> bool:
        """Whether it is a terminal; a closed stream is none."""
        with contextlib.suppress(ValueError):
            return bool(self._inner.isatty())
        return False

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (OSError, ValueError) as error:  # ValueError: it was closed by this program
            number = error.errno if isinstance(error, OSError) else errno.EBADF
            if number in _GONE:
                raise OutputGone("nobody reads the output any more") from error
            if not self._result:
                return None
            why = os.strerror(number or errno.EIO)
            raise OutputFailed(f"the result cannot be written to stdout: {why}") from error


class _Closed:
    """What stands for a stream that was closed before the program began (`>&-`)."""

    encoding = "utf-8"
    errors = "replace"
    closed = False

    def write(self, text: str) -> int:
        """Fail as the system would."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """No."""
        return False


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Use guarded streams while inside."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):  # a terminal may know fewer characters than a picture has
            stream.reconfigure(errors="replace")
    sys.stdout = _Stream(sys.stdout or _Closed(), result=True)
    sys.stderr = _Stream(sys.stderr or _Closed(), result=False)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def occupy() -> None:
    """Open what was closed of the first three descriptors: a connection that got one of them would be written into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def silence() -> None:
    """Let nothing be written when the interpreter flushes at its end what could not be written before."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                os.dup2(devnull, stream.fileno())
