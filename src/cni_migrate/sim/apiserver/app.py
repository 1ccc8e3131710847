"""The API server as one ASGI callable."""

import asyncio
import random
from collections.abc import Sequence

from cni_migrate.sim.apiserver import bootstrap, controllers
from cni_migrate.sim.apiserver.auth import Auth, Rule
from cni_migrate.sim.apiserver.exchanges import Exchange
from cni_migrate.sim.apiserver.handlers import REVIEWS, Handlers
from cni_migrate.sim.apiserver.hooks import Answer, Call, Fault, Hooks
from cni_migrate.sim.apiserver.kubernetes import DEFAULT, Kubernetes
from cni_migrate.sim.apiserver.local import LocalClient
from cni_migrate.sim.apiserver.machinery import Machinery
from cni_migrate.sim.apiserver.podlogs import LogSource
from cni_migrate.sim.apiserver.podproxy import PageSource
from cni_migrate.sim.apiserver.requests import Request, parse, query_of
from cni_migrate.sim.apiserver.resources import Catalog
from cni_migrate.sim.apiserver.store import Store
from cni_migrate.sim.apiserver.wire import Gone, Receive, Scope, Send, Wire

_WRITES = {"POST", "PUT", "PATCH", "DELETE"}


class ApiServer:
    """A simulated Kubernetes API server: an ASGI application on a store.

    Make it inside the running event loop. `hooks` are the tests' handles, `auth` holds tokens and rules and may be
    changed at any time, `logs` and `pages` are set by whoever plays the kubelets and
    the programs in pods. `taint_delay` is how long, in seconds of loop
    time, a node's taints lag behind its state; with 0 they follow within the request: no real cluster is that quick.
    `kubernetes` is which version it is.
    """

    def __init__(
        self,
        store: Store,
        *,
        tokens: dict[str, str] | None = None,
        rules: dict[str, Sequence[Rule]] | None = None,
        taint_delay: float = 0.0,
        kubernetes: Kubernetes = DEFAULT,
    ) -> None:
        self.store = store
        self.catalog = Catalog()
        self.machinery = Machinery(store, self.catalog, kubernetes)
        self.hooks = Hooks()
        self.auth = Auth(tokens, rules, incomplete=kubernetes.review_field)
        self._handlers = Handlers(self.machinery, self.auth, random.Random(0))
        controllers.install(self.machinery, taint_delay)
        bootstrap.furnish(self.machinery)

    @property
    def logs(self) -> LogSource | None:
        """Where `pods/log` comes from."""
        return self._handlers.logs

    @logs.setter
    def logs(self, source: LogSource | None) -> None:
        self._handlers.logs = source

    @property
    def pages(self) -> PageSource | None:
        """Where `pods/proxy` comes from."""
        return self._handlers.pages

    @pages.setter
    def pages(self, source: PageSource | None) -> None:
        self._handlers.pages = source

    def client(self, manager: str = "simulator") -> LocalClient:
        """A client in this process for the simulated world."""
        return LocalClient(self.machinery, manager)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        wire = Wire(scope, receive, send)
        try:
            body = await wire.body()
        except Gone:
            return
        query = query_of(scope.get("query_string", b""))
        request = parse(scope["method"], scope["path"], query)
        call, faults = self._arrived(scope, wire, request, "dryRun" in query, body)
        exchange = Exchange(wire, request, query, body, [fault for fault in faults if fault.watch])
        try:
            await self._serve(exchange, call, [fault for fault in faults if not fault.watch])
        except Gone:
            pass
        finally:
            self.hooks.count(request.method, request.counted_as, len(body), wire.size)
            for observer in self.hooks.observers:
                observer(call, Answer(wire.code, wire.size))

    def _arrived(
        self, scope: Scope, wire: Wire, request: Request, dry_run: bool, body: bytes
    ) -> tuple[Call, list[Fault]]:
        """Number the request and find the faults that hit it."""
        hooks = self.hooks
        hooks.requests += 1
        call = Call(
            number=hooks.requests,
            write=None,
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b"").decode(),
            content_type=wire.headers.get("content-type", ""),
            user_agent=wire.headers.get("user-agent", ""),
            body=body,
        )
        faults = [fault for fault in hooks.faults if fault.strikes(call)]
        answered = any(fault.code or fault.cut == "before" for fault in faults)
        if request.method in _WRITES and request.resource not in REVIEWS and not dry_run and not answered:
            hooks.writes += 1
            call = call.numbered(hooks.writes)
        for observer in hooks.observers:
            observer(call, None)
        return call, faults

    async def _serve(self, exchange: Exchange, call: Call, faults: Sequence[Fault]) -> None:
        """Let the faults strike, else carry the request out."""
        wire = exchange.wire
        for fault in faults:
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.cut == "before":
                await wire.cut()
            if fault.code:
                data, content_type = fault.payload()
                await wire.answer(fault.code, data, content_type, fault.headers)
                return
        lost = any(fault.cut == "after" for fault in faults)
        if call.write is not None and self.hooks.before_write is not None:
            self.hooks.before_write(call.write)
        answer = await self._handlers.handle(exchange)
        if call.write is not None and self.hooks.after_write is not None:
            self.hooks.after_write(call.write)
        if lost:
            await wire.cut()
        if answer is not None:
            await wire.answer(answer.code, answer.data, answer.content_type, answer.headers)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
