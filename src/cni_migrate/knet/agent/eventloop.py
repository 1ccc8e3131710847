"""What waits: one epoll for all sockets, calls at a time, and tasks that go on when what they wait for has come."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

GRID = 0.05  # seconds by which a deadline may be late
READ, WRITE = select.EPOLLIN, select.EPOLLOUT

Steps = Generator[tuple[Any, int, float], None, Any]
"""What takes a while: yields the socket it waits for (or None: it sleeps), the events, and until when."""


class Loop:
    """What waits: sockets with their handlers, calls at a time, and tasks."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.calls: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.closing: list[socket.socket] = []

    def watch(self, sock: socket.socket, events: int, handler: Callable[[], None]) -> None:
        """Call the handler whenever one of the events comes: this handler alone."""
        number = sock.fileno()
        (self.epoll.modify if number in self.handlers else self.epoll.register)(number, events)
        self.handlers[number] = handler

    def close(self, sock: socket.socket) -> None:
        """Close a socket, after the events at hand: its number must not mean another one among them."""
        self.handlers.pop(sock.fileno(), None)
        self.closing.append(sock)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at this time (monotonic)."""
        heapq.heappush(self.calls, (when, next(self.order), call))

    def run_once(self) -> None:
        """Wait for the next event or call, and do what is due."""
        for sock in self.closing:
            sock.close()
        self.closing.clear()
        found = self.epoll.poll(max(0.0, self.calls[0][0] - monotonic()) if self.calls else 1.0)
        # What is due later than this has not been looked for: an agent that gets no processor blames nobody for it.
        now = monotonic()
        for number, _ in found:
            handler = self.handlers.get(number)
            if handler:
                handler()
        while self.calls and self.calls[0][0] <= now:
            heapq.heappop(self.calls)[2]()


class Task:
    """Steps on the loop. When an event has not come in time, they are thrown a TimeoutError."""

    __slots__ = ("events", "loop", "sock", "steps", "until")

    def __init__(self, loop: Loop, steps: Steps) -> None:
        self.loop, self.steps, self.sock, self.events, self.until = loop, steps, None, 0, 0.0
        self.go()

    def go(self, problem: BaseException | None = None) -> None:
        """Take the next step."""
        try:
            sock, events, until = self.steps.throw(problem) if problem else next(self.steps)
        except StopIteration:
            self.until = float("inf")
            return
        if sock is not None and (sock is not self.sock or events != self.events):
            self.loop.watch(sock, events, self.go)
        self.sock, self.events = sock, events
        if until != self.until:
            self.until = until
            # Deadlines are on a grid, so that many are looked at together.
            self.loop.at(until if sock is None else until + GRID - until % GRID, self._due)

    def _due(self) -> None:
        if monotonic() >= self.until:  # otherwise it waits for something else by now
            self.until = 0.0
            self.go(None if self.sock is None else TimeoutError())

    def wake(self, when: float = 0.0) -> None:
        """End its sleep at this time, if it sleeps longer."""
        if self.sock is None and when < self.until:
            self.until = when
            self.loop.at(when, self._due)
