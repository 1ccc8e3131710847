"""Ctrl-C ends a command the first time, whatever becomes of the first cancellation."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import pytest

from cni_migrate.cli import interrupts, session


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a process of one's own: workers of the test runner ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_cancellation_that_is_lost_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "INSIST", 0.01)
    ended: list[str] = []

    async def loses_one() -> None:
        asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGINT)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("tidied up")

    with pytest.raises(KeyboardInterrupt):
        session.run_async(loses_one())
    assert ended == ["tidied up"]


def test_what_it_gives_and_raises_is_passed_on() -> None:
    async def gives() -> int:
        return 3

    async def fails() -> None:
        raise ValueError("no")

    assert session.run_async(gives()) == 3
    with pytest.raises(ValueError, match="no"):
        session.run_async(fails())


@pytest.mark.parametrize(("before", "heard"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)], ids=["shell", "nohup"])
def test_the_end_of_the_terminal_is_a_wish_to_stop_but_not_under_nohup(before: signal.Handlers, heard: bool) -> None:
    """Who closes a laptop leaves no lock behind; who typed nohup wanted it to go on."""
    found = signal.signal(signal.SIGHUP, before)
    stopped = asyncio.Event()

    async def hang_up() -> None:
        with interrupts.taken(stopped.set):
            signal.raise_signal(signal.SIGHUP)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), 5.0 if heard else 0.05)

    try:
        asyncio.run(hang_up())
        assert stopped.is_set() is heard
        assert signal.getsignal(signal.SIGHUP) == before
    finally:
        signal.signal(signal.SIGHUP, found)
