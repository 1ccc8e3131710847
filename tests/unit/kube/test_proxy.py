"""Which proxy is asked, by client-go's rules, and that it is named when it is dead."""

import asyncio
import contextlib
import gc
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.errors import ClusterUnreachable, ConfigError
from cni_migrate.kube.connect import connect
from cni_migrate.kube.proxy import proxy_for
from tests.unit.kube.fake_api import LoopClock
from tests.unit.kube.test_connect import VERSION, Server, kubeconfig

SERVER = "https://api.prod.example:6443"


@pytest.mark.parametrize(
    ("server", "environ", "used"),
    [
        (SERVER, {}, False),
        (SERVER, {"HTTPS_PROXY": "http://p:3128"}, True),
        (SERVER, {"https_proxy": "p:3128"}, True),
        (SERVER, {"HTTP_PROXY": "http://p:3128"}, False),
        (SERVER, {"ALL_PROXY": "socks5://p:1080"}, True),
        ("http://api.prod.example", {"HTTP_PROXY": "http://p:3128"}, True),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:3128"}, False),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://p:3128"}, False),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:3128"}, False),
    ],
)
def test_the_environment_names_a_proxy(server: str, environ: dict[str, str], used: bool) -> None:
    """By the scheme of the server; this machine needs none."""
    assert (proxy_for(server, "", "x", environ) is not None) == used


@pytest.mark.parametrize(
    ("server", "listed", "excluded"),
    [
        ("https://10.96.0.1:443", "10.0.0.0/8", True),
        ("https://10.96.0.1:443", "192.168.0.0/16, 10.96.0.0/12", True),
        ("https://11.96.0.1:443", "10.0.0.0/8", False),
        ("https://[fd00::5]:6443", "fd00::/8", True),
        ("https://[fd00::5]:6443", "10.0.0.0/8", False),
        ("https://10.96.0.1", "10.96.0.1", True),
        ("https://10.96.0.1", "10.96.0.1:443", True),
        ("https://10.96.0.1:6443", "10.96.0.1:443", False),
        ("https://[fd00::5]:6443", "[fd00::5]:6443", True),
        ("https://[fd00::5]:6443", "fd00::5", True),
        (SERVER, "prod.example", True),
        (SERVER, "PROD.example", True),
        (SERVER, "api.prod.example", True),
        (SERVER, ".prod.example", True),
        (SERVER, "*.prod.example", True),
        (SERVER, "prod.example:6443", True),
        (SERVER, "prod.example:443", False),
        (SERVER, "rod.example", False),
        ("https://prod.example", ".prod.example", False),
        (SERVER, "*", True),
        (SERVER, "", False),
        (SERVER, ",, /, 10.0.0.0/99", False),
    ],
)
def test_no_proxy(server: str, listed: str, excluded: bool) -> None:
    """Names and those below them, addresses, networks, ports, everything."""
    for name in ("NO_PROXY", "no_proxy"):
        environ = {"HTTPS_PROXY": "http://p:3128", name: listed}
        assert (proxy_for(server, "", "x", environ) is None) == excluded


def test_the_kubeconfig_s_proxy_is_always_used() -> None:
    """Also for this machine, whatever NO_PROXY says; its password is in no message."""
    found = proxy_for("https://127.0.0.1:6443", "socks5://jane:secret@p:1080", "context c", {"NO_PROXY": "*"})
    assert found is not None
    assert found.url == "socks5://jane:secret@p:1080"
    assert str(found) == "socks5://p:1080 (proxy-url of context c)"


@pytest.mark.parametrize("url", ["ftp://p", "socks4://p:1", "http://", "p:3128", "http://p:port", "http://p:99999"])
def test_what_is_no_proxy_is_refused(url: str) -> None:
    """Where it was named, and what is right."""
    with pytest.raises(ConfigError, match=r"proxy-url of context c is no URL of a proxy: expected SCHEME://HOST:PORT"):
        proxy_for(SERVER, url, "context c", {})


class Socks:
    """A SOCKS5 server on loopback that connects to where it is asked."""

    def __init__(self, *, refuse: bool = False) -> None:
        self._refuse = refuse
        self.asked: list[tuple[str, int]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Socks":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"socks5://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            writer.write(b"\x05\x00")
            *_, kind = await reader.readexactly(4)
            if kind == 1:
                host = socket.inet_ntoa(await reader.readexactly(4))
            else:
                host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            (port,) = struct.unpack(">H", await reader.readexactly(2))
            self.asked.append((host, port))
            writer.write(b"\x05" + (b"\x05" if self._refuse else b"\x00") + b"\x00\x01\x00\x00\x00\x00\x00\x00")
            if not self._refuse:
                inner, outer = await asyncio.open_connection(host, port)
                task = asyncio.create_task(_pipe(reader, outer))
                self._tasks.add(task)
                await _pipe(inner, writer)
                outer.close()
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def through(folder: Path, proxy: str, server: str, **options: Any) -> None:
    """Connect with a kubeconfig that names a proxy."""
    file = Path(kubeconfig(folder, server))
    file.write_text(file.read_text().replace('"server"', f'"proxy-url": "{proxy}", "server"'))

    async def main() -> None:
        async with connect(clock=LoopClock(), kubeconfig=str(file), patience=0, **options):
            pass

    asyncio.run(main())


def test_a_socks_proxy_is_used(tmp_path: Path) -> None:
    """The name is resolved by the proxy, and the API server answers through it."""

    async def main() -> list[tuple[str, int]]:
        async with Server(lambda _: (200, VERSION)) as server, Socks() as socks:
            await asyncio.to_thread(through, tmp_path, socks.url, server.url)
            return socks.asked

    ((host, _),) = asyncio.run(main())
    assert host == "127.0.0.1"


def free() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
@pytest.mark.parametrize("server", ["http://10.0.0.1:7443", "https://10.0.0.1:7443"])
def test_a_dead_proxy_is_named(tmp_path: Path, scheme: str, server: str) -> None:
    """It is the proxy that does not answer, and its kubeconfig is named."""
    proxy = f"{scheme}://127.0.0.1:{free()}"
    with pytest.raises(ClusterUnreachable) as caught:
        through(tmp_path, proxy, server)
    assert f"the proxy {proxy} (proxy-url of context x of kubeconfig {tmp_path}/config) gives no connection: " in str(
        caught.value
    )
    assert "connection refused" in str(caught.value)


def test_a_proxy_of_the_environment_is_named_by_its_variable(tmp_path: Path) -> None:
    """So one knows what to unset."""

    async def main() -> None:
        file = kubeconfig(tmp_path, "https://10.0.0.1:7443")
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{free()}"}
        async with connect(clock=LoopClock(), kubeconfig=file, environ=environ, patience=0):
            pass

    with pytest.raises(ClusterUnreachable, match=r"\(HTTPS_PROXY\) gives no connection: connection refused"):
        asyncio.run(main())


# httpcore leaves the connection to a SOCKS proxy that refuses to the garbage collector (1.0.9, `socks_proxy.py`).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_proxy_that_refuses_is_named(tmp_path: Path) -> None:
    """A SOCKS proxy that cannot reach the server, and an HTTP proxy that says no."""

    async def main() -> list[str]:
        said = []
        async with Socks(refuse=True) as socks, Server(lambda _: (403, "no")) as other:
            for proxy in (socks.url, other.url):
                with pytest.raises(ClusterUnreachable) as caught:
                    await asyncio.to_thread(through, tmp_path, proxy, "https://10.0.0.1:7443", timeout=1)
                said.append(caught.value.message)
        return said

    messages = asyncio.run(main())
    gc.collect()
    for message in messages:
        assert "the proxy " in message
        assert "gives no connection" in message
