"""Watches: from where they start, what they show of each change, bookmarks, and how they end.

Semantics of `k8s.io/apiserver/pkg/storage/cacher`: with a selector, an object that begins to match is ADDED and one
that ceases to match is DELETED; without a resourceVersion (or with 0) the watch starts with what there is; a version
that is too old is an ERROR event in a 200 stream.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from cni_migrate.sim.apiserver import jsonvalue, status
from cni_migrate.sim.apiserver.hooks import Fault
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.selectors import Selector
from cni_migrate.sim.apiserver.store import Event, Store, Stored, Subscription, json_head
from cni_migrate.sim.client import ApiError

BOOKMARK_EVERY = 60.0
BOOKMARK_BEFORE_END = 2.0
SHORTEST = 1800.0
"""A watch without `timeoutSeconds` ends after this many seconds at least, twice as many at most."""

Render = Callable[[Stored], bytes]


@dataclass(frozen=True, slots=True)
class Options:
    """What a watch asks for."""

    namespace: str | None
    selector: Selector
    version: str = ""
    bookmarks: bool = False
    seconds: float | None = None


class Cut(Exception):
    """A fault says that the connection breaks here."""


def line(change: str, payload: bytes) -> bytes:
    """One watch event as it goes over the wire."""
    return b'{"type":"' + change.encode() + b'","object":' + payload + b"}\n"


def error_line(error: ApiError) -> bytes:
    """An in-stream error."""
    return line("ERROR", jsonvalue.encoded(status.body(error)))


def seen_through(selector: Selector, event: Event) -> tuple[str, Stored] | None:
    """The change as a watcher with this selector sees it; None when it does not."""
    if selector.selects_all:
        return event.change, event.after
    after = selector.matches(event.after.object)
    before = event.before is not None and selector.matches(event.before.object)
    if event.change == "DELETED":
        return ("DELETED", event.after) if before else None
    if after:
        return ("MODIFIED" if before else "ADDED"), event.after
    if not before or event.before is None:
        return None
    last = event.before.object
    meta = {**last["metadata"], "resourceVersion": str(event.version)}
    return "DELETED", Stored({**last, "metadata": meta}, event.version)


class Watch:
    """One running watch."""

    def __init__(
        self,
        store: Store,
        resource: Resource,
        options: Options,
        render: Render,
        faults: list[Fault],
        dice: random.Random,
    ) -> None:
        self._store = store
        self._resource = resource
        self._options = options
        self._render = render
        self._faults = faults
        self._stopped = False
        seconds = options.seconds if options.seconds is not None else SHORTEST * (1 + dice.random())
        self._end = store.clock.seconds() + seconds
        self._bookmark = self._next_bookmark()
        self._subscription: Subscription | None = None
        self._known = 0
        self._sent = 0
        self._started = store.clock.seconds()

    def stop(self) -> None:
        """The client has gone."""
        self._stopped = True
        if self._subscription is not None:
            self._subscription.wake()

    def open(self) -> list[bytes]:
        """Subscribe; answer what is sent at once. Without a version that is what exists now."""
        version = self._options.version
        fresh = version in ("", "0")
        try:
            start = self._store.version if fresh else int(version)
        except ValueError:
            raise ApiError(500, "", status.bad_version(version)) from None
        self._known = self._store.table(self._resource).latest
        try:
            self._subscription = self._store.subscribe(self._resource, start, self._options.namespace)
        except ApiError as error:
            self._stopped = True
            return [error_line(error)]
        if not fresh:
            return []
        present = self._store.select(self._resource, self._options.namespace)
        chosen = [item for item in present if self._options.selector.matches(item.object)]
        self._sent += len(chosen)
        return [line("ADDED", self._render(item)) for item in chosen]

    async def lines(self) -> AsyncIterator[bytes]:
        """Events as they come, until the time is over, the client has gone or a fault strikes. `Cut` breaks it off."""
        subscription = self._subscription
        if subscription is None:
            return
        try:
            while not self._stopped:
                for data in self._drained(subscription):
                    yield data
                    if (last := self._struck()) is not None:
                        yield last
                        return
                if (last := self._struck()) is not None:
                    yield last
                    return
                now = self._store.clock.seconds()
                if subscription.ended or now >= self._end:
                    return
                if self._options.bookmarks and now >= self._bookmark:
                    self._bookmark = self._next_bookmark()
                    if self._has_news(now):
                        yield self._bookmark_line()
                await subscription.wait(self._next_alarm() - now)
        finally:
            subscription.close()

    def _drained(self, subscription: Subscription) -> Iterator[bytes]:
        while subscription.pending and not self._stopped:
            seen = seen_through(self._options.selector, subscription.pending.popleft())
            if seen is not None:
                self._sent += 1
                yield line(seen[0], self._render(seen[1]))

    def _next_alarm(self) -> float:
        alarms = [self._end]
        if self._options.bookmarks:
            alarms.append(self._bookmark)
        alarms += [self._started + fault.seconds for fault in self._faults if fault.seconds is not None]
        return min(alarms)

    def _struck(self) -> bytes | None:
        """What a fault does to the watch now: its last bytes, or `Cut`; None when nothing strikes."""
        for fault in self._faults:
            enough = fault.events is not None and self._sent >= fault.events
            late = fault.seconds is not None and self._store.clock.seconds() >= self._started + fault.seconds
            if enough or late or (fault.events is None and fault.seconds is None):
                if fault.watch == "cut":
                    raise Cut
                oldest = self._store.version
                return error_line(status.expired(max(0, oldest - 1), oldest)) if fault.watch == "expire" else b""
        return None

    def _next_bookmark(self) -> float:
        """In a minute, or two seconds before the end when that is earlier."""
        now = self._store.clock.seconds()
        last = self._end - BOOKMARK_BEFORE_END
        return now + BOOKMARK_EVERY if now >= last else min(now + BOOKMARK_EVERY, last)

    def _has_news(self, now: float) -> bool:
        """Whether a bookmark has a version to tell.

        The real one has none before the kind has changed while the watch was open, or etcd has told how far it is:
        without any change the first was seen after two minutes (1.34.4, four kinds), then one every minute.
        """
        changed = self._store.table(self._resource).latest > self._known
        return changed or now - self._started >= 2 * BOOKMARK_EVERY

    def _bookmark_line(self) -> bytes:
        kind = self._resource.kind
        meta = {"resourceVersion": str(self._store.version)}
        body = json_head(kind) + jsonvalue.encoded({"metadata": meta})[1:]
        return line("BOOKMARK", body)
