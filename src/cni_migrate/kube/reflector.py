"""List and watch of one kind: fills a store and keeps it current for as long as it runs.

The protocol is that of the "Kubernetes API Concepts" page: list in pages, watch from the list's version, go on from the
last version when the server ends the watch, list again when it has forgotten that version (410), when the watch breaks,
or when nothing has been heard for so long that the connection must be dead.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cni_migrate.errors import ClusterError, ClusterUnreachable, RightsMissing, Unauthorized
from cni_migrate.kube.request import Client, unreachable
from cni_migrate.kube.store import Entry, Store
from cni_migrate.kube.transport import Answer, NoAnswer
from cni_migrate.ports import Clock

PAGE: Final = 500
"""Objects per page, as client-go's pager has it."""

LIST_TIMEOUT: Final = 30.0
WATCH_SECONDS: Final = (240, 300)
"""After how long the server is asked to end a watch, which also spreads the watches of several kinds."""

SILENCE: Final = 150.0
"""A watch that has not even sent a bookmark for so long is dead (the watch cache sends about one a minute)."""

LOST_AFTER: Final = 60.0
"""For how long a kind may fail to list and watch before the cluster counts as unreachable."""


STEADY: Final = 20.0
"""What has worked for so many seconds is tried again without a long pause."""


CERTAIN: Final = 5
"""So many 404s one after the other, over some seconds, tell that a kind is served no more: a proxy's hiccup is over."""


class NotServed(Exception):
    """The API server does not serve this kind (any more)."""


class Lost(Exception):
    """The watch cannot go on: list again. `asked` are the seconds that the server wants to be left alone."""

    def __init__(self, why: str, asked: float = 0.0) -> None:
        super().__init__(why)
        self.asked = asked


@dataclass
class Health:
    """Since when each collection has been failing, by its path, and with what."""

    failing: dict[str, tuple[float, Exception]] = field(default_factory=dict)

    def ok(self, what: str) -> None:
        """It works."""
        if self.failing:
            self.failing.pop(what, None)

    def failed(self, what: str, error: Exception) -> None:
        """It does not work; the first failure's time counts, the last failure's words."""
        since = self.failing[what][0] if what in self.failing else asyncio.get_running_loop().time()
        self.failing[what] = since, error

    def check_rights(self) -> None:
        """Raise at once for what will not get better by waiting.

        Raises:
            Unauthorized: the credentials are not accepted.
            RightsMissing: something may not be listed or watched.
        """
        for _, error in self.failing.values():
            if isinstance(error, (RightsMissing, Unauthorized)):
                raise error

    def check(self, server: str) -> None:
        """Raise when a kind has been failing for too long.

        Raises:
            ClusterError: with the last error.
        """
        now = asyncio.get_running_loop().time()
        for what, (since, error) in self.failing.items():
            if now - since >= LOST_AFTER:
                if isinstance(error, ClusterError) and not isinstance(error, ClusterUnreachable):
                    raise error
                last = error.__cause__ or error
                why = f"for {now - since:.0f} s; last error: {last}"
                raise unreachable(server, f"lists and watches of {what.rpartition('/')[2]}", why)


class Reflector:
    """Keeps one store filled from one collection."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        store: Store[Any, Any],
        path: str,
        health: Health,
        *,
        selector: Mapping[str, str] | None = None,
        watching: bool = True,
        optional: bool = False,
    ) -> None:
        """A reflector of the collection at `path`; `selector` is added to each query. One look needs no `watching`.

        `optional` tells a kind that need not be served. Of others a 404 is trouble that may pass: a proxy on the way
        answers so, or an API server before 1.23 that is just coming up.
        """
        self._client = client
        self._clock = clock
        self._store = store
        self.path: Final = path
        self._health = health
        self._selector = dict(selector or {})
        self._watching = watching
        self._optional = optional
        self._missing = 0
        self._backoff = client.backoff(first=0.2, most=10.0)
        self.what: Final = path.rpartition("/")[2]
        self.synced: Final = asyncio.Event()

    async def run(self) -> None:
        """List and watch until cancelled; or only list, once that has succeeded.

        Raises:
            NotServed: the server does not know the kind, which is optional.
        """
        loop = asyncio.get_running_loop()
        while True:
            asked, begun = 0.0, loop.time()
            try:
                version = await self._list()
                self.synced.set()
                self._health.ok(self.path)
                if not self._watching:
                    return
                await self._watch(version)
            except Lost as lost:
                asked = lost.asked
            except (NoAnswer, ClusterError) as error:
                self._health.failed(self.path, error)
            if loop.time() - begun > STEADY:
                self._backoff.reset()
            await self._clock.sleep(self._backoff.pause(asked))

    async def _list(self) -> str:
        """Read the whole collection into the store; its version."""
        since = self._store.tick()
        found: list[tuple[Any, Entry[Any]]] = []
        query = {**self._selector, "limit": str(PAGE)}
        while True:
            answer = await self._client.request("GET", self.path, params=query, deadline=0, timeout=LIST_TIMEOUT)
            if answer.status == 410 and "continue" in query:
                # The first page is too old to be continued: once more, in one piece.
                since, query = self._store.tick(), self._selector
                found.clear()
                continue
            self._expect_success(answer)
            if "items" not in answer.object:
                raise NoAnswer(f"what it answers is no list of {self.what}")
            items = answer.object["items"] or ()
            found.extend(self._store.entry(item) for item in items)
            meta = answer.object.get("metadata") or {}
            if not meta.get("continue"):
                self._store.refill(found, str(meta.get("resourceVersion", "")), since)
                return str(meta.get("resourceVersion", ""))
            query = {**self._selector, "limit": str(PAGE), "continue": meta["continue"]}

    async def _watch(self, version: str) -> None:
        """Follow the collection from `version` until that is not possible any more."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            version = await self._watch_once(version)
            if loop.time() - begun < STEADY:
                await self._clock.sleep(self._backoff.pause())

    async def _watch_once(self, version: str) -> str:
        """One watch request, to its orderly end; the version reached."""
        seconds = self._client.between(*WATCH_SECONDS)
        query = {
            **self._selector, "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }  # fmt: skip
        async with self._client.stream(self.path, params=query, silence=SILENCE) as (answer, lines):
            self._expect_success(answer)
            self._health.ok(self.path)
            async with contextlib.aclosing(_events(lines)) as events:
                async for kind, raw in events:
                    version = self._take(kind, raw) or version
                    self._health.ok(self.path)
                    self._backoff.reset()
        return version

    def _take(self, kind: str, raw: Mapping[str, Any]) -> str:
        """One event into the store; the version that it brings."""
        match kind:
            case "ADDED" | "MODIFIED":
                self._store.seen(raw)
            case "DELETED":
                self._store.gone(raw)
            case "BOOKMARK":
                self._store.reach(raw["metadata"].get("resourceVersion"))
            case "ERROR" if raw.get("code") == 410:
                raise Lost(str(raw.get("message", "expired")))
            case _:
                raise NoAnswer(f"the watch failed: {raw.get('message') or raw.get('reason') or kind}")
        return str(raw["metadata"].get("resourceVersion", ""))

    def _expect_success(self, answer: Answer) -> None:
        self._missing = self._missing + 1 if answer.status == 404 else 0
        if self._optional and self._missing and (self._missing >= CERTAIN or not self.synced.is_set()):
            raise NotServed(self.path)
        if answer.status == 410:
            raise Lost(answer.message)
        if not answer.ok and answer.retry_after:
            self._health.failed(self.path, NoAnswer(answer.message))
            raise Lost(answer.message, answer.retry_after)
        if not answer.ok:
            raise NoAnswer(answer.message)


async def _events(lines: AsyncIterator[bytes]) -> AsyncGenerator[tuple[str, Mapping[str, Any]]]:
    """The watch events in a stream of JSON lines."""
    async for line in lines:
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            yield str(event["type"]), event["object"]
        except (ValueError, KeyError, TypeError) as error:
            raise NoAnswer(f"the watch sent what is no event ({error})") from error
