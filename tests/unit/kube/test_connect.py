"""Connecting: the first contact, its failures in words, and that nothing is left behind."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import stat
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kr8s import APITimeoutError
from kr8s.asyncio import Api
from structlog.testing import capture_logs

from cni_migrate.errors import ClusterError, ClusterUnreachable, ConfigError, MigrateError, Unauthorized
from cni_migrate.kube.connect import Session, connect
from cni_migrate.kube.transport import USER_AGENT, explain
from tests.unit.kube.fake_api import LoopClock

VERSION = {"gitVersion": "v1.34.4", "major": "1", "minor": "34+"}


class Server:
    """A tiny HTTP/1.1 server on loopback; keeps the heads of the requests."""

    def __init__(self, answer: Callable[[str], tuple[int, Any]], port: int = 0) -> None:
        self._answer = answer
        self._port = port
        self.heads: list[str] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
            self.heads.append(head)
            code, body = self._answer(head)
            text = body if isinstance(body, str) else json.dumps(body)
            kind = "text/html" if isinstance(body, str) else "application/json"
            lines = [f"HTTP/1.1 {code} X", f"Content-Type: {kind}", f"Content-Length: {len(text)}", "Connection: close"]
            writer.write("\r\n".join([*lines, "", text]).encode())
            await writer.drain()
            writer.close()


def test_a_server_in_trouble_is_given_time(tmp_path: Path) -> None:
    """Overloaded, cutting connections or starting: for as long as an API server takes to restart."""
    answers: list[tuple[int, Any]] = [(503, "starting"), (429, ""), (500, "etcd"), (200, VERSION)]
    with capture_logs() as logs:
        error, heads = attempt(tmp_path, lambda _: answers.pop(0))
    assert error is None
    assert len(heads) == 4
    (said,) = [one["event"] for one in logs if one["log_level"] == "warning"]
    assert "does not answer, trying for 30 s: HTTP 503: starting" in said


def test_a_server_that_comes_up_late(tmp_path: Path) -> None:
    """Nobody listens at first: that is what a restart looks like."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        async def later() -> None:
            await asyncio.sleep(0.4)
            async with Server(lambda _: (200, VERSION), port):
                await asyncio.sleep(5)

        task = asyncio.create_task(later())
        async with connect(clock=LoopClock(), kubeconfig=kubeconfig(tmp_path, f"http://127.0.0.1:{port}")):
            pass
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_somebody_else_is_impersonated(tmp_path: Path) -> None:
    """As client-go does it: a header for the user, one for each group and each value."""
    user = {
        "token": "t",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["ops", "system:masters"],
        "as-user-extra": {"example.com/Reason: x": ["drill", "ü"]},
    }
    error, heads = attempt(tmp_path, lambda _: (200, VERSION), **user)
    assert error is None
    lines = heads[0].splitlines()
    assert [line for line in lines if line.lower().startswith("impersonate")] == [
        "Impersonate-User: jane",
        "Impersonate-Uid: 7",
        "Impersonate-Group: ops",
        "Impersonate-Group: system:masters",
        "Impersonate-Extra-example.com%2FReason%3A%20x: drill",
        "Impersonate-Extra-example.com%2FReason%3A%20x: ü",
    ]


def kubeconfig(folder: Path, server: str, **user: Any) -> str:
    file = folder / "config"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps(config))
    return str(file)


def attempt(
    folder: Path, answer: Callable[[str], tuple[int, Any]], **user: Any
) -> tuple[MigrateError | None, list[str]]:
    """Connect to a server; the error, if any, and what the server was asked."""

    async def main() -> tuple[MigrateError | None, list[str]]:
        async with Server(answer) as server:
            try:
                async with connect(clock=LoopClock(), kubeconfig=kubeconfig(folder, server.url, **user)) as client:
                    assert client.server == server.url
            except MigrateError as error:
                return error, server.heads
            return None, server.heads

    return asyncio.run(main())


def test_the_first_contact_names_the_tool(tmp_path: Path) -> None:
    error, heads = attempt(tmp_path, lambda _: (200, VERSION), token="secret")
    assert error is None
    assert len(heads) == 1
    assert f"user-agent: {USER_AGENT}" in heads[0].lower()
    assert "authorization: bearer secret" in heads[0].lower()


def test_an_untested_version_is_logged_not_warned_about(tmp_path: Path) -> None:
    with capture_logs() as logs:
        error, _ = attempt(tmp_path, lambda _: (200, {"gitVersion": "v1.99.0", "major": "1", "minor": "99"}))
    assert error is None
    assert [one["kubernetes"] for one in logs if one["log_level"] == "warning"] == ["v1.99.0"]


def test_a_vendors_version_is_fine(tmp_path: Path) -> None:
    with capture_logs() as logs:
        error, _ = attempt(tmp_path, lambda _: (200, {"gitVersion": "vendor-7", "major": "", "minor": ""}))
    assert error is None
    assert not [one for one in logs if one["log_level"] == "warning"]


def test_expired_credentials(tmp_path: Path) -> None:
    refused = {"kind": "Status", "reason": "Unauthorized", "message": "Unauthorized", "code": 401}
    error, heads = attempt(tmp_path, lambda _: (401, refused), token="old")
    assert isinstance(error, Unauthorized)
    assert "does not accept the credentials" in error.message
    assert error.next
    assert len(heads) == 2


def test_credentials_are_read_again_when_they_are_refused(tmp_path: Path) -> None:
    """Somebody may have logged in meanwhile; the token of a pod is replaced every hour."""
    token = tmp_path / "token"
    token.write_text("old")

    def answer(head: str) -> tuple[int, Any]:
        if "bearer new" in head.lower():
            return 200, VERSION
        token.write_text("new")
        return 401, {}

    error, heads = attempt(tmp_path, answer, tokenFile=str(token))
    assert error is None
    assert len(heads) == 2


def test_a_context_that_became_current_meanwhile_is_not_followed(tmp_path: Path) -> None:
    """`kubectl config use-context` in another window: with the next token the driver went on on another cluster."""
    file = tmp_path / "config"

    def answer(head: str) -> tuple[int, Any]:
        if "bearer new" in head.lower():
            return 200, VERSION
        found = json.loads(file.read_text())
        found["clusters"].append({"name": "other", "cluster": {"server": "http://127.0.0.1:9"}})
        found["contexts"].append({"name": "y", "context": {"cluster": "other", "user": "u"}})
        found |= {"current-context": "y", "users": [{"name": "u", "user": {"token": "new"}}]}
        file.write_text(json.dumps(found))
        return 401, {}

    error, heads = attempt(tmp_path, answer, token="old")
    assert error is None
    assert len(heads) == 2


def test_a_server_that_is_no_api_server(tmp_path: Path) -> None:
    error, _ = attempt(tmp_path, lambda _: (200, "<html>It works!</html>"))
    assert isinstance(error, ClusterError)
    assert "does not answer like a Kubernetes API server" in error.message


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{free.getsockname()[1]}"

    async def main() -> None:
        async with connect(clock=LoopClock(), kubeconfig=kubeconfig(tmp_path, url), patience=0):
            pass

    with pytest.raises(ClusterUnreachable) as caught:
        asyncio.run(main())
    assert f"{url} (context x of kubeconfig {tmp_path}/config) cannot be reached: connection refused" in str(
        caught.value
    )


def test_a_server_that_does_not_speak_tls(tmp_path: Path) -> None:
    async def main() -> None:
        async with Server(lambda _: (200, VERSION)) as server:
            url = server.url.replace("http:", "https:")
            async with connect(clock=LoopClock(), kubeconfig=kubeconfig(tmp_path, url), timeout=2.0, patience=0):
                pass

    with pytest.raises(ClusterUnreachable, match="cannot be reached: no answer in time"):
        asyncio.run(main())


def test_a_plugin_gives_the_token(tmp_path: Path) -> None:
    script = tmp_path / "login"
    script.write_text('#!/bin/sh\necho "{\\"status\\": {\\"token\\": \\"from-plugin\\"}}"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    plugin = {"command": str(script), "apiVersion": "client.authentication.k8s.io/v1", "env": None}
    error, heads = attempt(tmp_path, lambda _: (200, VERSION), exec=plugin)
    assert error is None
    assert "bearer from-plugin" in heads[0].lower()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("/bin/false", "non-zero code 1"),
        ("/does/not/exist", "/does/not/exist: No such file or directory"),
        ("/bin/echo", "the exec plugin printed no JSON, and an ExecCredential is expected"),
    ],
)
def test_a_plugin_that_fails(tmp_path: Path, command: str, says: str) -> None:
    plugin = {"command": command, "apiVersion": "client.authentication.k8s.io/v1"}
    error, heads = attempt(tmp_path, lambda _: (200, VERSION), exec=plugin)
    assert isinstance(error, Unauthorized)
    assert "context x" in error.message
    assert says in error.message
    assert not heads


def pair() -> tuple[str, str]:
    """A certificate and its key, as a kubeconfig holds them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return base64.b64encode(certificate.public_bytes(pem)).decode(), base64.b64encode(private).decode()


def test_no_private_key_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kr8s leaves three files behind at each authentication."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    certificate, key = pair()
    user = {"client-certificate-data": certificate, "client-key-data": key}
    error, _ = attempt(tmp_path, lambda _: (200, VERSION), **user)
    assert error is None
    assert list(folder.iterdir()) == []


def test_a_plugins_certificate_is_not_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    certificate, key = (base64.b64decode(one).decode() for one in pair())
    answer = {"status": {"clientCertificateData": certificate, "clientKeyData": key}}
    (tmp_path / "answer").write_text(json.dumps(answer))
    plugin = {"command": "cat", "args": [str(tmp_path / "answer")], "apiVersion": "client.authentication.k8s.io/v1"}
    error, _ = attempt(tmp_path, lambda _: (200, VERSION), exec=plugin)
    assert error is None
    assert list(folder.iterdir()) == []


def test_certificates_that_are_none(tmp_path: Path) -> None:
    rubbish = base64.b64encode(b"rubbish").decode()
    error, _ = attempt(
        tmp_path, lambda _: (200, VERSION), **{"client-certificate-data": rubbish, "client-key-data": rubbish}
    )
    assert isinstance(error, ConfigError)
    assert "its certificates cannot be used" in error.message


def test_kr8s_still_makes_its_session_where_we_make_it() -> None:
    """`Session` overrides these; a new version of kr8s may name them otherwise."""
    assert asyncio.iscoroutinefunction(Api._create_session)
    assert {"_session", "_timeout"} <= set(Api._create_session.__code__.co_names)
    assert Session._create_session is not Api._create_session


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caused(httpx.ConnectError("x"), ConnectionRefusedError(111, "refused")), "connection refused"),
        (
            caused(httpx.ConnectError("x"), OSError("All connection attempts failed")),
            "x",
        ),
        (
            caused(
                httpx.ConnectError("x"), ExceptionGroup("many", [ConnectionRefusedError(), ConnectionRefusedError()])
            ),
            "connection refused",
        ),
        (
            caused(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known")),
            "its name cannot be resolved (Name or service not known)",
        ),
        (caused(httpx.ConnectError("x"), untrusted()), "its TLS certificate is not trusted (self-signed certificate)"),
        (httpx.ConnectTimeout("x"), "no answer in time"),
        (APITimeoutError("x"), "no answer in time"),
        (TimeoutError(), "no answer in time"),
        (httpx.RemoteProtocolError("x"), "the connection was cut"),
        (httpx.ReadError("x"), "the connection was cut"),
        (httpx.DecodingError(""), "DecodingError"),
    ],
)
def test_causes_in_words(error: BaseException, words: str) -> None:
    assert explain(error) == words
