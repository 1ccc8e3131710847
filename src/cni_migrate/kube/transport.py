"""One HTTP request through kr8s: the only place that calls it and knows what httpx raises.

`Api.call_api` is always used with `raise_for_status=False`. Otherwise kr8s 0.20.15 answers a 401 or 403 by closing the
shared session and logging in again, up to three times, which cuts every other request and watch (read in its source).
Credentials and the User-Agent are therefore sent with each request, and `renew` is what logs in again.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import httpx
import socksio
from kr8s import APITimeoutError, ServerError
from kr8s.asyncio import Api

from cni_migrate.errors import ClusterError
from cni_migrate.kube.kubeconfig import Access

USER_AGENT = f"migrate/{importlib.metadata.version('cni-migrate')}"

Hook = Callable[[str, str, int, int], None]
"""Told of every request: method, path, status (0: no answer) and the bytes of the answer."""

PHASE: Final = 0.9
"""The part of the deadline that one phase of a request may take. So httpx notices first when a connection hangs, and
closes it; cancelled by the deadline itself in the middle of a TLS handshake, it would leave the socket open."""

_FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, APITimeoutError, ServerError, OSError, ssl.SSLError,
             socksio.SOCKSError)  # fmt: skip
"""All that a request through kr8s may end with, besides an answer. `TimeoutError` is an `OSError`."""


_UNCONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, socksio.SOCKSError)
"""What a request ends with that got no connection; with a proxy it was the proxy that gave none."""


_BY_ADMISSION: Final = re.compile(
    r'admission webhook "[^"]*" denied the request|ValidatingAdmissionPolicy \'[^\']*\' .*denied request'
)
"""How the API server tells that an admission webhook, or a policy, has said no (apiserver: webhook/errors, policy)."""


class Answer(NamedTuple):
    """What the API server answered.

    `json` is the decoded body, or its text when it is not declared as JSON (logs) or is none. `unsure` tells that an
    earlier try of the same request may have been carried out although nothing or an error came back.
    """

    status: int
    headers: Mapping[str, str]
    json: Any
    unsure: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def object(self) -> dict[str, Any]:
        """The body when it is a JSON object, else an empty one."""
        return self.json if isinstance(self.json, dict) else {}

    @property
    def text(self) -> str:
        """The body when it is plain text."""
        return self.json if isinstance(self.json, str) else ""

    @property
    def reason(self) -> str:
        """The machine-readable reason of a failure `Status`, or ''."""
        reason = self.object.get("reason")
        return reason if isinstance(reason, str) else ""

    @property
    def message(self) -> str:
        """The failure in the API server's words."""
        message = self.object.get("message")
        if isinstance(message, str) and message:
            return message
        if isinstance(self.json, str) and self.json.strip():
            return f"HTTP {self.status}: {self.json.strip()[:256]}"
        return f"HTTP {self.status}"

    @property
    def by_admission(self) -> bool:
        """Whether somebody's admission webhook or policy has refused the object: the status is whatever they chose.

        So a 429 is no overload, a 401 or 403 says nothing of credentials and rights, a 409 nothing of a uid.
        """
        return not self.ok and _BY_ADMISSION.search(self.message) is not None

    def refusal(self, doing: str) -> ClusterError:
        """The error for an answer that is none of those that were expected: what was being done, and what came back."""
        next_ = "mend what it says, then type the same command; a hiccup of the API server is over by then"
        return ClusterError(f"{doing}: {self.message}", next=next_)

    def cause(self, reason: str) -> str | None:
        """The message of the `Status` cause with this reason, or None."""
        details = self.object.get("details")
        for cause in (details.get("causes") or ()) if isinstance(details, dict) else ():
            if cause.get("reason") == reason:
                return str(cause.get("message") or self.message)
        return None

    @property
    def retry_after(self) -> float | None:
        """The seconds that the API server asks to wait, or None. It never sends the date form (RFC 9110 10.2.3)."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() else None


class NoAnswer(Exception):
    """The API server gave no usable answer; the text says why.

    `sent` tells whether the request may have reached it, `final` that trying again cannot help.
    """

    def __init__(self, why: str, *, sent: bool = True, final: bool = False) -> None:
        super().__init__(why)
        self.sent = sent
        self.final = final


class Wire:
    """Requests through one kr8s `Api`, each on its own: no retries here."""

    def __init__(self, api: Api, on_request: Hook | None = None) -> None:
        self._api = api
        self._on_request = on_request

    @property
    def _access(self) -> Access | None:
        """How the API server is reached; a client in process has nothing of the kind."""
        return getattr(self._api, "access", None)

    @property
    def context(self) -> str:
        """The kubeconfig's name for this cluster and user; empty in a pod, and in process."""
        return self._access.context if self._access is not None else ""

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._api.auth.server or "")

    async def send(
        self,
        method: str,
        path: str,
        *,
        timeout: float,  # noqa: ASYNC109 - the caller's deadline, applied below to the request as a whole
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """One request and its whole answer.

        Raises:
            NoAnswer: there was none, or a success in which the JSON object is missing that was asked for.
        """
        status = size = 0
        arguments = self._arguments(path, params, accept)
        if content is not None:
            arguments["content"] = content
            arguments["headers"].append((b"Content-Type", content_type.encode()))
        try:
            async with asyncio.timeout(timeout):
                async with self._api.call_api(method, timeout=PHASE * timeout, **arguments) as response:
                    status, size = response.status_code, len(response.content)
                    answer = Answer(status, _lowered(response.headers), _decoded(response, response.content))
        except _FAILURES as error:
            raise _no_answer(error, self._access) from error
        finally:
            self._told(method, path, status, size)
        if answer.ok and "json" in accept and not isinstance(answer.json, dict):
            # A proxy's login page, or half an answer. Read as an object it would be a list of nothing.
            raise NoAnswer(f"something else answers in its place: {answer.message}")
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        timeout: float,  # noqa: ASYNC109 - as for `send`
        silence: float,
        params: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[tuple[Answer, AsyncIterator[bytes]]]:
        """A GET whose answer is read line by line: the answer's head, and its lines.

        Args:
            path: what to read.
            timeout: how long the head may take.
            silence: how long there may be no line.
            params: the query.

        Raises:
            NoAnswer: there was none, the connection was cut, or nothing was heard for `silence` seconds.
        """
        status = size = 0

        async def lines(response: httpx.Response) -> AsyncGenerator[bytes]:
            # Not httpx's aiter_lines: it also splits at U+0085 and U+2028, which JSON texts may contain.
            nonlocal size
            chunks = response.aiter_bytes()
            rest: list[bytes] = []
            while True:
                async with asyncio.timeout(silence):
                    chunk = await anext(chunks, b"")
                if not chunk:
                    break
                size += len(chunk)
                *whole, tail = chunk.split(b"\n")
                for line in whole:
                    yield b"".join([*rest, line])
                    rest.clear()
                if tail:
                    rest.append(tail)
            if rest:
                yield b"".join(rest)

        limits = httpx.Timeout(PHASE * timeout, read=silence)
        try:
            async with contextlib.AsyncExitStack() as stack:
                call = self._api.call_api(
                    "GET", stream=True, timeout=limits, **self._arguments(path, params, "application/json")
                )
                async with asyncio.timeout(timeout):
                    response = await stack.enter_async_context(call)
                    status = response.status_code
                    body = _decoded(response, await response.aread()) if status != httpx.codes.OK else None
                found = lines(response)
                stack.push_async_callback(found.aclose)
                yield Answer(status, _lowered(response.headers), body), found
        except _FAILURES as error:
            raise _no_answer(error, self._access) from error
        finally:
            self._told("GET", path, status, size)

    async def renew(self) -> None:
        """Read the credentials again (file, exec plugin, service account) and use them from now on.

        Raises:
            NoAnswer: that failed.
        """
        try:
            renew = getattr(self._api, "renew", None)
            await (renew() if renew is not None else self._api.auth.reauthenticate())
        except Exception as error:  # an exec plugin may fail in any way
            raise NoAnswer(str(error), sent=False, final=True) from error

    def _arguments(self, path: str, params: Mapping[str, str] | None, accept: str) -> dict[str, Any]:
        base, _, url = path.rpartition("/")
        if not base:  # kr8s wants a base; the API server ignores the slash that this adds
            base, url = path, ""
        headers = [("User-Agent", USER_AGENT), ("Accept", accept)]
        if self._api.auth.token:
            headers.append(("Authorization", f"Bearer {self._api.auth.token.strip()}"))
        impersonation = self._access.headers if self._access is not None else ()
        return {
            "version": "", "base": base, "url": url, "params": dict(params or {}),
            "headers": [*((key.encode(), value.encode()) for key, value in headers), *impersonation],
            "raise_for_status": False,
        }  # fmt: skip

    def _told(self, method: str, path: str, status: int, size: int) -> None:
        if self._on_request is not None:
            self._on_request(method, path, status, size)


def _lowered(headers: httpx.Headers) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


def _decoded(response: httpx.Response, content: bytes) -> Any:
    if "json" in response.headers.get("content-type", ""):
        with contextlib.suppress(ValueError):
            return json.loads(content)
    return content.decode(errors="replace")


def _no_answer(error: BaseException, access: Access | None) -> NoAnswer:
    chain = list(_chain(error))
    untrusted = any(isinstance(one, ssl.SSLCertVerificationError) for one in chain)
    unconnected = any(isinstance(one, _UNCONNECTED) for one in chain)
    unsent = unconnected or any(isinstance(one, httpx.PoolTimeout) for one in chain)
    malformed = isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL))
    why = explain(error)
    if access is not None and access.proxy is not None:
        dead = unconnected and not untrusted
        why = f"the proxy {access.proxy} gives no connection: {why}" if dead else f"{why} (by way of {access.proxy})"
    return NoAnswer(why, sent=not (unsent or malformed), final=untrusted or malformed)


_BY_CLOCK: Final = {9: "is not valid yet", 10: "has expired"}
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED: a wrong clock looks the same."""


def explain(error: BaseException) -> str:
    """Why a request got no answer, in words, from whatever lies at the bottom of the exception."""
    chain = list(_chain(error))
    for one in chain:
        match one:
            case ssl.SSLCertVerificationError() if getattr(one, "verify_code", 0) in _BY_CLOCK:
                now = datetime.now(UTC)
                return (
                    f"its TLS certificate {_BY_CLOCK[one.verify_code]} by this machine's clock, which says"
                    f" {now:%Y-%m-%d %H:%M} UTC: check the clock first, then the certificate"
                )
            case ssl.SSLCertVerificationError():
                return f"its TLS certificate is not trusted ({one.verify_message or one})"
            case ssl.SSLWantReadError() | ssl.SSLWantWriteError():
                continue  # no failure: the handshake was waiting when its time was up
            case ssl.SSLError():
                return f"TLS failed ({one.reason or one})"
            case socket.gaierror():
                return f"its name cannot be resolved ({one.strerror or one})"
            case ConnectionRefusedError():
                return "connection refused"
            case ConnectionResetError() | BrokenPipeError():
                return "the connection was cut"
            case _:
                continue
    if any(isinstance(one, (TimeoutError, httpx.TimeoutException, APITimeoutError)) for one in chain):
        return "no answer in time"
    if any(isinstance(one, (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)) for one in chain):
        return "the connection was cut"
    return str(error) or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what it came from, and the members of groups, outermost first."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            todo.extend(one.exceptions)
        todo.extend((one.__cause__, one.__context__))
