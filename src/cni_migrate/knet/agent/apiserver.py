"""The API server: a connection whose certificate is verified, lists and watches of the agents' own namespace."""

from __future__ import annotations

import json
import random
import ssl
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from .eventloop import READ, Loop, Steps
from .settings import Settings
from .sockets import connected, opened
from .wording import text_of

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NOT_YET = (BlockingIOError, ssl.SSLWantReadError)
PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_PARTIAL_CHAIN; Python has a name for it from 3.10 on


def trust(ca: Path) -> ssl.SSLContext:
    """Who vouches for the API server, taken as Kubernetes' own clients do (Go, crypto/x509).

    What `ca.crt` has is believed, also one that another authority has signed: Python believes it from 3.13 on only. And
    old authorities lack extensions that Python asks for from 3.13 on.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags = ssl.VerifyFlags((context.verify_flags | PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT)
    return context


class Secure:
    """A connection to the API server, whose certificate is verified; to be closed by who made it."""

    def __init__(self, settings: Settings, loop: Loop, within: float) -> None:
        self.settings, self.loop, self.until = settings, loop, monotonic() + within
        self.sock = opened(settings.api[0])

    def request(self, path: str, head: str = "") -> Steps:
        """Connect and ask; HTTP/1.0, so that the answer ends with the connection."""
        yield from connected(self.sock, self.settings.api, self.until)
        tls = trust(ACCOUNT / "ca.crt")
        name = self.settings.api[0]
        self.sock = sock = tls.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        while True:
            try:
                sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                yield sock, READ, self.until
        sock.send(f"GET {path} HTTP/1.0\r\nHost: {name}\r\n{head}\r\n".encode())

    def read(self, within: float) -> Steps:
        """What comes next, b'' at the end."""
        until = monotonic() + within
        while True:
            try:
                return self.sock.recv(65536)
            except NOT_YET:
                yield self.sock, READ, until
            except ssl.SSLEOFError:
                return b""

    def close(self) -> None:
        """Close it."""
        self.loop.close(self.sock)


class Namespace:
    """What the API server tells of the agents' own namespace."""

    def __init__(self, settings: Settings, loop: Loop) -> None:
        self.settings, self.loop = settings, loop

    def get(self, path: str) -> Steps:
        """One object."""
        text: list[bytes] = []
        yield from self._lines(path, text.append)
        return json.loads(b"".join(text))

    def listed(self, path: str, take: Callable[[dict[str, Any]], None]) -> Steps:
        """A list in pages, as thousands of pods at once would need much memory; its version."""
        more = ""
        while True:
            content = yield from self.get(f"{path}&limit=100{more}")
            for one in content["items"]:
                take(one)
            if not content["metadata"].get("continue"):
                return content["metadata"]["resourceVersion"]
            more = "&" + urllib.parse.urlencode({"continue": content["metadata"]["continue"]})

    def watched(self, path: str, version: str, changed: Callable[[str, dict[str, Any]], None]) -> Steps:
        """Tell what changes after this version, until the server asks for a new list."""
        lost = False

        def take(line: bytes) -> None:
            nonlocal version, lost
            event = json.loads(line)
            lost = lost or event["type"] == "ERROR"
            if lost:
                return
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                changed(event["type"], event["object"])

        while not lost:
            began = monotonic()
            seconds = random.randint(240, 360)
            query = f"&watch=true&timeoutSeconds={seconds}&allowWatchBookmarks=true&resourceVersion={version}"
            yield from self._lines(path + query, take, seconds + 30.0)
            if not lost:  # a server that ends watches at once is not asked in a circle
                yield None, 0, began + 1.0

    def _lines(self, path: str, take: Callable[[bytes], None], within: float = 10.0) -> Steps:
        """Give each line of an answer."""
        token = text_of(ACCOUNT / "token").strip()
        connection = Secure(self.settings, self.loop, 10.0)
        try:
            head = f"Authorization: Bearer {token}\r\n"
            yield from connection.request(f"/api/v1/namespaces/{self.settings.namespace}/{path}", head)
            rest = b""
            while b"\r\n\r\n" not in rest:
                part = yield from connection.read(10.0)
                rest += part
                if not part:
                    raise EOFError
            status, _, rest = rest.partition(b"\r\n\r\n")
            if b" 200 " not in status.split(b"\r\n")[0]:
                raise ValueError(f"the API server says {status.split(maxsplit=2)[1].decode('latin-1')}")
            parts = [rest]
            while True:
                if b"\n" in parts[-1]:
                    *lines, rest = b"".join(parts).split(b"\n")
                    parts = [rest]
                    for line in lines:
                        take(line)
                part = yield from connection.read(within)
                if not part:
                    break
                parts.append(part)
            if last := b"".join(parts):
                take(last)
        finally:
            connection.close()
