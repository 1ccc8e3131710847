"""What agents say to each other: requests, and the heads of their answers."""

from __future__ import annotations

import re

LARGE = 8192  # bytes each way: more than any MTU, so full-sized packets go both ways
OPEN = b"open "  # what the guarded port says to everybody, and by whose it was, in a line
NONCE = 12  # bytes at the beginning of a datagram; the rest is the network and the sender's name
HELLO_REQUEST = b"GET /hello HTTP/1.1\r\nHost: knet\r\n\r\n"
HELLO_LAST = b"GET /hello HTTP/1.1\r\nHost: knet\r\nConnection: close\r\n\r\n"
LARGE_REQUEST = b"POST /large HTTP/1.1\r\nHost: knet\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE
HERE = re.compile(rb"\r\nx-knet-here: *(\S+) (\S+)\r\n", re.IGNORECASE)
KUBELET = re.compile(rb"\r\nuser-agent: *kube-probe/", re.IGNORECASE)  # pkg/probe/http/request.go
LAST = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


def told(head: bytes, what: str) -> str:
    """What an agent's answer tells of it in its head, or ''."""
    found = re.search(rf"\r\nX-Knet-{what}: (.*?)\r\n", head.decode("latin-1") + "\r\n")
    return found[1] if found else ""


def check(head: bytes) -> None:
    """The answer is a success.

    Raises:
        ValueError: it is not.
    """
    status = head[9:12].decode("latin-1")
    if status != "200":
        raise ValueError(f"status {status}")


def answer_of(status: str, text: str, kind: str = "text/plain") -> bytes:
    """An HTTP answer."""
    body = text.encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
