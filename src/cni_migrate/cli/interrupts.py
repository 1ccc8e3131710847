"""Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) as a wish to stop, on every system."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def taken(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` in the running loop at Ctrl-C, SIGTERM and SIGHUP while inside.

    Loops on Windows take no signal handlers; Python's own then hand over to the loop (its proactor wakes up for them).
    """
    loop = asyncio.get_running_loop()
    numbers = _heeded()
    try:
        for number in numbers:
            loop.add_signal_handler(number, stop)
    except NotImplementedError:
        before = {number: signal.signal(number, _handed_over(loop, stop)) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _heeded() -> list[int]:
    """The signals that ask for an end; a terminal's end is none under `nohup`, and Windows has no such signal."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    return numbers


def _handed_over(loop: asyncio.AbstractEventLoop, stop: Callable[[], object]) -> Callable[[int, Any], None]:
    def handler(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(stop)

    return handler
