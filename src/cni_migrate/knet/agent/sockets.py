"""Sockets that wait for nothing: the loop says when one is ready."""

from __future__ import annotations

import contextlib
import re
import socket

from .eventloop import READ, WRITE, Steps

TROUBLE = (OSError, EOFError, ValueError)
ODD = (*TROUBLE, LookupError, TypeError, AttributeError)  # also what was said in good form may make no sense
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def opened(address: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket towards this address that waits for nothing. A TCP one ends with a reset, which keeps ports free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError:
        sock.close()
        raise
    return sock


def connected(sock: socket.socket, address: tuple[str, int], until: float) -> Steps:
    """Connect."""
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    yield sock, WRITE, until
    sock.send(b"")  # raises what went wrong, if anything


def exchanged(sock: socket.socket, data: bytes, until: float, address: tuple[str, int] | None = None) -> Steps:
    """Connect if there is an address, send an HTTP request; the answer's head and body."""
    if address:
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        yield sock, WRITE, until
    while data:
        with contextlib.suppress(BlockingIOError):
            data = data[sock.send(data) :]
        if data:
            yield sock, WRITE, until
    found, size = b"", 0
    while not size or len(found) < size:
        yield sock, READ, until
        part = sock.recv(65536)
        if not part:
            raise EOFError
        found += part
        if not size and (end := found.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(found, 0, end + 2)
            size = end + 4 + int(length[1] if length else 0)
    end = found.index(b"\r\n\r\n")
    return found[:end], found[end + 4 :]
