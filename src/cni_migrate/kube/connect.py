"""Making the one client of a run, and saying in words why that fails.

kr8s is given a session of ours (`_create_session` is private to it: `tests/unit/kube/test_connect.py` fails when that
changes): TLS from memory instead of temporary files that stay behind with the private key in them, the system's CAs
when none is configured, and an old session is left to finish its requests when the credentials are renewed. kr8s's own
version check, which warns, is not run: the version is logged.
"""

import contextlib
import json
import logging
import os
import random
import ssl
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import structlog
from kr8s.asyncio import Api

from cni_migrate.errors import ClusterError, ClusterUnreachable, ConfigError, Unauthorized
from cni_migrate.kube.kubeconfig import Access, load
from cni_migrate.kube.request import Client
from cni_migrate.kube.transport import Answer, Hook, NoAnswer
from cni_migrate.ports import Clock

TESTED: Final = ((1, 28), (1, 37))
"""What is not logged: the versions of Kubernetes that kr8s supports, up to 1.35, and those that the conformance tests
ran on, up to 1.37."""

GREETING: Final = 30.0
"""Seconds for which the first contact is tried: an API server that restarts, or a load balancer that takes it out,
needs up to twenty."""

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def connect(
    *,
    clock: Clock,
    kubeconfig: str | None = None,
    context: str | None = None,
    rng: random.Random | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - of each request
    on_request: Hook | None = None,
    environ: Mapping[str, str] = os.environ,
    patience: float | None = None,
) -> AsyncGenerator[Client]:
    """A client of the configured cluster, which has answered once.

    Args:
        clock: the time.
        kubeconfig: a file; default: KUBECONFIG, ~/.kube/config, or the pod's own credentials.
        context: default: the current one.
        rng: for the jitter of retries.
        timeout: seconds for one request.
        on_request: told of every request.
        environ: the environment.
        patience: seconds for which the first contact is tried; default: `GREETING`.

    Raises:
        UsageError: the file or the context that was named is not there.
        ConfigError: a kubeconfig is damaged.
        ClusterUnreachable: no cluster is configured, or it does not answer.
        Unauthorized: it does not accept the credentials.
        RightsMissing: it answers nothing to this user.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log a line per request
    session = Session(lambda known: load(kubeconfig, known or context, environ=environ), timeout)
    try:
        await session.open()
        client = Client(session, clock, rng, timeout=timeout, on_request=on_request)
        await _greet(client, session, GREETING if patience is None else patience)
        yield client
    finally:
        await session.close()


async def _greet(client: Client, session: "Session", patience: float) -> None:
    where = f"{client.server} ({session.access.origin})"
    try:
        answer = await _first_answer(client, where, patience)
    except ClusterUnreachable as error:
        proxy = session.access.proxy
        raise ClusterUnreachable(
            f"the API server {where} cannot be reached: {error.__cause__ or error}",
            next="check that the cluster is up and the context is the right one (`kubectl config get-contexts`)"
            + (f"; the way there is by the proxy {proxy}" if proxy else ""),
        ) from error
    version = answer.object.get("gitVersion")
    if not answer.ok or not isinstance(version, str):
        raise ClusterError(
            f"{where} does not answer like a Kubernetes API server: {answer.message}",
            next="check the server in the kubeconfig (`kubectl config view --minify`)",
        )
    log.debug("connected", server=client.server, origin=session.access.origin, kubernetes=version)
    numbers = _minor(answer.object)
    if numbers is not None and not TESTED[0] <= numbers <= TESTED[1]:
        log.warning("this version of Kubernetes was not tested with", kubernetes=version)


async def _first_answer(client: Client, where: str, patience: float) -> Answer:
    """The first answer that is none of a server or a network in trouble: they often are for a few seconds only."""
    try:
        answer = await client.request("GET", "/version", accept="*/*", deadline=0)
        if answer.status < 500 and answer.status != 429:
            return answer
        why = answer.message
    except ClusterUnreachable as error:
        if not patience or (isinstance(error.__cause__, NoAnswer) and error.__cause__.final):
            raise
        why = str(error.__cause__ or error)
    log.warning(f"the API server {where} does not answer, trying for {patience:.0f} s: {why}")
    return await client.request("GET", "/version", accept="*/*", deadline=patience)


def _minor(version: Mapping[str, Any]) -> tuple[int, int] | None:
    """The version as numbers; some vendors write the minor one as `34+`."""
    try:
        return int(version["major"]), int(str(version["minor"]).rstrip("+"))
    except (KeyError, ValueError):
        return None


class Session(Api):
    """kr8s's client with our credentials and our session."""

    def __init__(self, find: Callable[[str], Access], timeout: float) -> None:
        """A client that is not open yet; `find` reads the credentials, and again whenever they are refused.

        It is told the context that was in use, '' at first: another one may be current by then, which is another
        cluster.
        """
        self._find = find
        self.access: Access = find("")
        self._config = dict(self.access.config)
        super().__init__(bypass_factory=True, kubeconfig=self._config, namespace="default")
        self.timeout = timeout
        self._old: list[httpx.AsyncClient] = []

    async def open(self) -> None:
        """Get the credentials ready and make the session.

        Raises:
            ConfigError: the certificates are no good.
            Unauthorized: the exec plugin gives no credentials.
        """
        try:
            await self.auth.reauthenticate()
        except Exception as error:  # an exec plugin may fail in any way
            raise Unauthorized(
                f"{self.access.origin}: no credentials: {_said(error)}", next="log in to the cluster, then try again"
            ) from error
        await self._create_session()

    async def renew(self) -> None:
        """Read the credentials again and use them for all further requests; those under way go on."""
        self.access = self._find(self.access.context)
        self._config.clear()  # kr8s holds the same dict and reads it anew
        self._config.update(self.access.config)
        await self.open()

    async def close(self) -> None:
        """Close all connections."""
        sessions = [*self._old, *([self._session] if self._session is not None else [])]
        self._old, self._session = [], None
        for one in sessions:
            with contextlib.suppress(RuntimeError, OSError):
                await one.aclose()

    async def _create_session(self) -> None:
        if self._session is not None:
            self._old.append(self._session)
        try:
            files = _plugin_files(self.auth.client_cert_file, self.auth.client_key_file)
            verify = _tls(self.access, *files, over_tls=self.auth.server.startswith("https:"))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{self.access.origin}: its certificates cannot be used: {_said(error)}", next="correct the kubeconfig"
            ) from error
        self.auth.client_cert_file = self.auth.client_key_file = None
        self._session = httpx.AsyncClient(
            base_url=self.auth.server,
            verify=verify,
            timeout=self._timeout,
            proxy=self.access.proxy.url if self.access.proxy is not None else None,
            trust_env=False,  # which proxy is asked is decided in `proxy`
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=60),
        )
        while len(self._old) > 2:
            await self._old.pop(0).aclose()


def _tls(access: Access, certificate: bytes | None, key: bytes | None, *, over_tls: bool) -> ssl.SSLContext:
    """The TLS settings; Python can load a client's certificate from a file only, so there is one for a moment.

    The system's authorities, some hundred, are only read for a server that they vouch for. An authority is believed as
    kubectl believes it (Go, crypto/x509): also one that another has signed, which Python does from 3.13 on only, and
    without extensions that Python asks for from 3.13 on.
    """
    unread = access.insecure or not over_tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if unread else ssl.create_default_context(cadata=access.ca)
    context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = certificate or access.certificate, key or access.key
    if certificate is not None and key is not None:
        with tempfile.TemporaryDirectory(prefix="migrate-") as folder:
            pair = Path(folder) / "pair.pem"
            pair.write_bytes(certificate.rstrip() + b"\n" + key)
            context.load_cert_chain(pair)
    return context


def _plugin_files(*files: Any) -> tuple[bytes | None, ...]:
    """The certificate and key that an exec plugin gave: kr8s wrote them to temporary files, which are removed."""
    found: list[bytes | None] = []
    for file in files:
        found.append(Path(file).read_bytes() if file else None)
        if file:
            Path(file).unlink()
    return tuple(found)


def _said(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "the exec plugin printed no JSON, and an ExecCredential is expected"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return text or type(error).__name__
