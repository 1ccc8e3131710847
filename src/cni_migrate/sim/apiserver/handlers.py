"""From a parsed request to its answer: one method per verb, and the paths that are no resources."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cni_migrate.sim.apiserver import (
    binding,
    discovery,
    eviction,
    exchanges,
    jsonvalue,
    openapi2,
    podlogs,
    podproxy,
    scale,
    selectors,
    status,
    tables,
    watching,
)
from cni_migrate.sim.apiserver.auth import Auth
from cni_migrate.sim.apiserver.exchanges import Exchange
from cni_migrate.sim.apiserver.machinery import Machinery
from cni_migrate.sim.apiserver.paging import Page
from cni_migrate.sim.apiserver.requests import Request, is_true
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Stored, json_head
from cni_migrate.sim.apiserver.wire import JSON
from cni_migrate.sim.client import ApiError, Object, PatchType

_PATCHES: dict[str, PatchType] = {
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/json-patch+json": "json",
}
REVIEWS = frozenset({"selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews", "tokenreviews"})
"""Resources that are only ever created, and kept nowhere."""

_WITH_NAME = ("get", "update", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. A stream has been sent already and has none."""

    code: int
    data: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


_PAGE_NOT_FOUND = Answer(404, b"404 page not found\n", "text/plain; charset=utf-8")


def answer_error(error: ApiError) -> Answer:
    """A refusal on the wire, with Retry-After when it says when to come back."""
    after = error.details.get("retryAfterSeconds")
    headers = {"Retry-After": str(after)} if after else {}
    return Answer(error.code, jsonvalue.encoded(status.body(error)), headers=headers)


def _json(value: Any, code: int = 200) -> Answer:
    return Answer(code, jsonvalue.encoded(value))


class Handlers:
    """Answers requests on the machinery."""

    def __init__(self, machinery: Machinery, auth: Auth, dice: random.Random) -> None:
        self._machinery = machinery
        self._auth = auth
        self._dice = dice
        self.logs: podlogs.LogSource | None = None
        self.pages: podproxy.PageSource | None = None

    async def handle(self, exchange: Exchange) -> Answer | None:
        """The answer, or None when it has been streamed."""
        try:
            return await self._dispatch(exchange)
        except ApiError as error:
            return answer_error(error)

    async def _dispatch(self, exchange: Exchange) -> Answer | None:
        request = exchange.request
        user = self._auth.user_of(exchange.wire.headers.get("authorization", ""))
        if not request.resource:
            return self._path(request, exchange.accept)
        accepted = [part.strip() for part in exchange.accept.split(",")]
        if "as=PartialObjectMetadata" in exchange.accept and "application/json" not in accepted:
            raise status.not_emulated("PartialObjectMetadata answers")
        if not self._machinery.catalog.serves(request.group, request.version):
            return _PAGE_NOT_FOUND
        self._auth.check(user, request)
        resource = self._machinery.catalog.find(request.group, request.version, request.resource)
        if resource.kind.plural in REVIEWS:
            return self._review(resource, user, exchange)
        if resource.namespaced and not request.namespace and request.verb not in ("list", "watch"):
            raise status.no_such_path() if request.name else status.method_not_allowed()
        if not resource.namespaced and request.namespace and resource.key != ("", "namespaces"):
            raise status.no_such_path()
        if request.subresource not in ("", "status"):
            return await self._subresource(resource, exchange)
        if request.subresource and request.subresource not in resource.subresources:
            raise status.no_such_path()
        if request.verb == "watch":
            await self._watch(resource, exchange)
            return None
        verbs: dict[str, Callable[[Resource, Exchange], Answer]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        if request.verb not in resource.verbs or (request.verb in _WITH_NAME) != bool(request.name):
            raise status.method_not_allowed()
        return verbs[request.verb](resource, exchange)

    # Paths that are no resources

    def _path(self, request: Request, accept: str) -> Answer:
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        catalog, path = self._machinery.catalog, request.path
        parts = path.strip("/").split("/")
        if parts[0] in ("livez", "readyz", "healthz"):
            return Answer(200, b"ok", "text/plain; charset=utf-8")
        if path == "/openapi/v2":
            if openapi2.ASKED not in accept:
                raise status.not_emulated("OpenAPI v2 but in protobuf")
            return Answer(200, openapi2.document(catalog, self._machinery.kubernetes), openapi2.ANSWERED)
        fixed: dict[str, Callable[[], Object]] = {
            "/version": lambda: self._machinery.kubernetes.about,
            "/api": lambda: discovery.CORE,
            "/apis": lambda: discovery.group_list(catalog),
            "/openapi/v3": lambda: discovery.openapi_index(catalog),
        }
        found: Object | None = fixed[path]() if path in fixed else None
        if parts[0] == "api" and len(parts) == 2:
            found = discovery.resource_list(catalog, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = discovery.group(catalog, parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resource_list(catalog, parts[1], parts[2])
        elif parts[:2] == ["openapi", "v3"] and len(parts) > 3:
            group, version = (parts[3], parts[4]) if len(parts) > 4 else ("", parts[3])
            found = discovery.openapi_document(catalog, group, version, self._machinery.kubernetes)
        return _PAGE_NOT_FOUND if found is None else _json(found)

    def _review(self, resource: Resource, user: str, exchange: Exchange) -> Answer:
        if exchange.request.verb != "create":
            raise status.method_not_allowed()
        body = exchanges.decoded_body(exchange)
        if resource.kind.plural == "selfsubjectaccessreviews":
            return _json(self._auth.review_access(user, body), 201)
        if resource.kind.plural == "selfsubjectrulesreviews":
            return _json(self._auth.review_rules(user, body), 201)
        if resource.kind.plural == "tokenreviews":
            return _json(self._auth.review_token(body), 201)
        return _json(self._auth.review_self(user), 201)

    # Verbs

    def _get(self, resource: Resource, exchange: Exchange) -> Answer:
        request = exchange.request
        stored = self._machinery.get(resource, self._namespace(resource, request) or "", request.name)
        if tables.wanted(exchange.accept):
            return _json(tables.table(resource, [stored.object], self._machinery.store.now(), stored.version))
        return _object(resource, stored)

    def _list(self, resource: Resource, exchange: Exchange) -> Answer:
        query = exchanges.list_query(exchange.query)
        page = self._machinery.list(resource, self._namespace(resource, exchange.request), query)
        if tables.wanted(exchange.accept):
            objects = [item.object for item in page.items]
            table = tables.table(resource, objects, self._machinery.store.now(), page.version)
            if page.token:
                table["metadata"] |= {"continue": page.token}
            return _json(table)
        return Answer(200, _list_json(resource, page))

    def _create(self, resource: Resource, exchange: Exchange) -> Answer:
        body = exchanges.object_of(resource, exchange)
        namespace = self._namespace(resource, exchange.request) or ""
        return _object(
            resource, self._machinery.create(resource, namespace, body, exchanges.write_options(exchange)), 201
        )

    def _update(self, resource: Resource, exchange: Exchange) -> Answer:
        request, body = exchange.request, exchanges.object_of(resource, exchange)
        namespace = self._namespace(resource, request) or ""
        stored, created = self._machinery.update(
            resource, namespace, request.name, body, request.subresource, exchanges.write_options(exchange)
        )
        return _object(resource, stored, 201 if created else 200)

    def _patch(self, resource: Resource, exchange: Exchange) -> Answer:
        request = exchange.request
        patch, how = _patch_in(exchange)
        stored = self._machinery.patch(
            resource,
            self._namespace(resource, request) or "",
            request.name,
            patch,
            how,
            request.subresource,
            exchanges.write_options(exchange),
        )
        return _object(resource, stored)

    def _delete(self, resource: Resource, exchange: Exchange) -> Answer:
        request = exchange.request
        if request.subresource:
            raise status.method_not_allowed()
        stored, gone = self._machinery.delete(
            resource,
            self._namespace(resource, request) or "",
            request.name,
            exchanges.delete_options(exchange),
            exchanges.write_options(exchange),
        )
        if gone and not resource.echoes_deleted:
            details = {"name": stored.name, "kind": resource.kind.plural, "uid": stored.uid}
            if resource.kind.group:
                details["group"] = resource.kind.group
            return _json(status.success(200, details))
        return _object(resource, stored)

    def _delete_collection(self, resource: Resource, exchange: Exchange) -> Answer:
        namespace = self._namespace(resource, exchange.request)
        found = self._machinery.delete_collection(
            resource,
            namespace,
            exchanges.list_query(exchange.query),
            exchanges.delete_options(exchange),
            exchanges.write_options(exchange),
        )
        return Answer(200, _list_json(resource, Page(found, self._machinery.store.version)))

    async def _watch(self, resource: Resource, exchange: Exchange) -> None:
        query, store = exchange.query, self._machinery.store
        request = exchange.request
        if "sendInitialEvents" in query:
            raise status.not_emulated("watches with sendInitialEvents")
        fields = query.get("fieldSelector", "")
        if request.name:
            fields = ",".join(filter(None, (fields, f"metadata.name={request.name}")))
        seconds = query.get("timeoutSeconds", "")
        options = watching.Options(
            self._namespace(resource, request),
            selectors.parse(resource, query.get("labelSelector", ""), fields),
            query.get("resourceVersion", ""),
            is_true(query, "allowWatchBookmarks"),
            float(seconds) if seconds.isdecimal() and int(seconds) else None,
        )
        head = json_head(resource.kind)

        def plain(stored: Stored) -> bytes:
            return head + stored.tail()

        def tabular(stored: Stored) -> bytes:
            return jsonvalue.encoded(tables.table(resource, [stored.object], store.now(), stored.version))

        render = tabular if tables.wanted(exchange.accept) else plain
        watch = watching.Watch(store, resource, options, render, exchange.faults, self._dice)
        first = watch.open()
        await exchange.wire.start(200, JSON)
        async with exchange.wire.when_client_leaves(watch.stop):
            await exchange.wire.chunk(b"".join(first))
            try:
                async for data in watch.lines():
                    await exchange.wire.chunk(data)
            except watching.Cut:
                await exchange.wire.cut()
        await exchange.wire.chunk(b"", more=False)

    # Subresources

    async def _subresource(self, resource: Resource, exchange: Exchange) -> Answer | None:
        request = exchange.request
        name = request.subresource
        if resource.key == ("", "pods") and name in ("attach", "exec", "portforward"):
            raise status.not_emulated(f"pods/{name}")
        if name not in resource.subresources:
            raise status.no_such_path()
        if resource.key == ("", "pods") and name in ("eviction", "binding"):
            if request.method != "POST":
                raise status.method_not_allowed()
            asked = (request.namespace, request.name, exchanges.decoded_body(exchange))
            dry_run = exchanges.dry_run(exchange.query)
            if name == "binding":
                return _json(binding.bind(self._machinery, *asked, dry_run), 201)
            return _json(await eviction.evict_with_retries(self._machinery, *asked, dry_run), 201)
        if resource.key == ("", "pods") and name == "log" and request.method == "GET":
            return await self._log(resource, exchange)
        if resource.key == ("", "pods") and name == "proxy" and request.method == "GET":

            def pod(name: str) -> Object:
                return self._machinery.get(resource, request.namespace, name).object

            text, kind = await podproxy.page(pod, request.name, request.trail, exchange.query, self.pages)
            return Answer(200, text.encode(), kind)
        if name == "scale":
            return _json(self._scale(resource, exchange))
        raise status.not_emulated(f"{resource.qualified}/{name}")

    def _scale(self, resource: Resource, exchange: Exchange) -> Object:
        request, machinery = exchange.request, self._machinery
        where = request.namespace, request.name
        match request.method:
            case "GET":
                return scale.scale(machinery.get(resource, *where))
            case "PUT":
                body = exchanges.decoded_body(exchange)
                return scale.replaced(machinery, resource, where, body, exchanges.write_options(exchange))
            case "PATCH":
                patch = _patch_in(exchange)
                return scale.patched(machinery, resource, where, patch, exchanges.write_options(exchange))
            case _:
                raise status.method_not_allowed()

    async def _log(self, resource: Resource, exchange: Exchange) -> Answer | None:
        request, wire = exchange.request, exchange.wire
        pod = self._machinery.get(resource, request.namespace, request.name).object
        options = podlogs.options_of(exchange.query, self._machinery.store.now(), request.name)
        container = podlogs.container_of(pod, options)
        node = pod["spec"].get("nodeName")
        if not node:
            return Answer(204, b"", "text/plain")
        if self._machinery.store.get(self._machinery.catalog.find("", "v1", "nodes"), "", node) is None:
            raise status.not_found(resource, node)  # the real server, too, calls the node a pod here
        if self.logs is None:
            raise podlogs.unreachable(pod, container)
        if not options.follow:
            lines = await self.logs(pod, container, options.previous)
            return Answer(200, podlogs.rendered(lines, options), "text/plain")

        def current() -> Object | None:
            stored = self._machinery.store.get(resource, request.namespace, request.name)
            return stored.object if stored is not None and stored.uid == pod["metadata"]["uid"] else None

        await wire.start(200, "text/plain")
        async for data in podlogs.follow(self.logs, current, container, options):
            await wire.chunk(data)
        await wire.chunk(b"", more=False)
        return None

    def _namespace(self, resource: Resource, request: Request) -> str | None:
        return (request.namespace or None) if resource.namespaced else None


def _patch_in(exchange: Exchange) -> tuple[Any, PatchType]:
    """A patch and its kind; 415 for one that is unknown."""
    content_type = exchange.content_type
    if content_type.startswith("application/apply-patch"):
        raise status.not_emulated("server-side apply")
    if content_type not in _PATCHES:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    return exchanges.decoded(exchange.body, "error decoding patch: "), _PATCHES[content_type]


def _object(resource: Resource, stored: Stored, code: int = 200) -> Answer:
    return Answer(code, json_head(resource.kind) + stored.tail())


def _list_json(resource: Resource, page: Page) -> bytes:
    """A list. Items of built-in kinds do not repeat kind and apiVersion, those of custom resources do."""
    meta: Object = {"resourceVersion": str(page.version)}
    if page.token:
        meta["continue"] = page.token
    if page.remaining is not None:
        meta["remainingItemCount"] = page.remaining
    kind = resource.kind
    head = f'{{"kind":"{kind.kind}List","apiVersion":"{kind.api_version}","metadata":'.encode()
    start = json_head(kind) if resource.custom else b"{"
    items = b",".join(start + item.tail() for item in page.items)
    return head + jsonvalue.encoded(meta) + b',"items":[' + items + b"]}"
