"""The API server: requests, whole lists and watches."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from .settings import Json, Settings

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 500
PATIENCE = 10  # seconds to connect, and for an answer
DEAF = 330  # seconds without an event after which a watch is begun anew; the server ends it sooner
ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Half a minute: who only listens hears nothing of a server whose machine has died (tcp(7))."""
PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_PARTIAL_CHAIN; Python has a name for it from 3.10 on


class ApiError(Exception):
    """The API server refused something."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message[:200]}")
        self.status = status


def trust(ca: Path) -> ssl.SSLContext:
    """Who vouches for the API server, taken as Kubernetes' own clients do (Go, crypto/x509).

    What `ca.crt` has is believed, also one that another authority has signed: Python believes it from 3.13 on only. And
    old authorities lack extensions that Python asks for from 3.13 on.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags = ssl.VerifyFlags((context.verify_flags | PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT)
    return context


class Api:
    """Requests to the API server over one connection; not for two threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection: http.client.HTTPConnection | None = None

    def _connected(self, deaf: float) -> http.client.HTTPConnection:
        """A connection that is given up when nothing has come for so many seconds, or its server has died."""
        context = trust(ACCOUNT / "ca.crt")
        made = http.client.HTTPSConnection(self.settings.host, self.settings.port, timeout=PATIENCE, context=context)
        made.connect()
        made.sock.settimeout(deaf)
        made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ALIVE.items():
            made.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return made

    def _head(self) -> dict[str, str]:
        token = (ACCOUNT / "token").read_text(encoding="ascii").strip()  # the kubelet renews it
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}

    def request(self, method: str, path: str, body: Json | None = None, *, patch: bool = False) -> Json:
        """One request; a connection that the server has closed meanwhile is made anew, once."""
        data = None if body is None else json.dumps(body)
        head = self._head()
        if patch:
            head["Content-Type"] = "application/merge-patch+json"
        used = self.connection is not None
        try:
            status, text = self._exchanged(method, path, data, head)
        except (OSError, http.client.HTTPException):
            if not used:
                raise
            status, text = self._exchanged(method, path, data, head)
        try:
            found: Json = json.loads(text or b"{}")
        except ValueError:
            found = {"message": text[:200].decode("utf-8", "replace")}
        if status >= 300:
            raise ApiError(status, str(found.get("message", "")))
        return found

    def _exchanged(self, method: str, path: str, data: str | None, head: dict[str, str]) -> tuple[int, bytes]:
        if self.connection is None:
            self.connection = self._connected(PATIENCE)
        try:
            self.connection.request(method, path, data, head)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def listed(self, path: str, query: dict[str, str]) -> tuple[list[Json], str]:
        """A whole list, page by page, and its resourceVersion."""
        found: list[Json] = []
        more = ""
        while True:
            asked = {**query, "limit": str(PAGE), **({"continue": more} if more else {})}
            page = self.request("GET", f"{path}?{urllib.parse.urlencode(asked)}")
            found += page.get("items") or []
            meta = page.get("metadata") or {}
            more = meta.get("continue", "")
            if not more:
                return found, str(meta.get("resourceVersion", ""))

    def watch(self, path: str, query: dict[str, str]) -> Iterator[Json]:
        """The events of a collection, until the server ends the watch."""
        connection = self._connected(DEAF)
        try:
            asked = {**query, "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
            connection.request("GET", f"{path}?{urllib.parse.urlencode(asked)}", None, self._head())
            answer = connection.getresponse()
            if answer.status != 200:
                raise ApiError(answer.status, answer.read().decode("utf-8", "replace"))
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()
