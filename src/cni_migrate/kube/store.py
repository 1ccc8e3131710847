"""What is known of one kind of object: a map that only ever moves forward.

Three sources write to a store: lists, watch events, and the answers to own writes. They arrive in any order, so each is
compared by resourceVersion (opaque in the API's contract, but an ever-growing integer in every server that exists, and
declared comparable from Kubernetes 1.35 on). Where it is no integer, the latest to arrive wins.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Generic, NamedTuple, TypeVar

from cni_migrate.core.model.objects import Pod

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Json = Mapping[str, Any]


class Entry(NamedTuple, Generic[V]):
    """A view with the identity and version of the object that it shows."""

    uid: str
    version: int | None
    view: V


def version_of(text: Any) -> int | None:
    """A resourceVersion as a number, or None when it is not one."""
    return int(text) if isinstance(text, str) and text.isdecimal() else None


def by_name(meta: Json) -> str:
    """The key of a kind without namespaces."""
    return str(meta["name"])


def by_namespace(meta: Json) -> tuple[str, str]:
    """The key of a kind that lives in namespaces."""
    return str(meta.get("namespace", "")), str(meta["name"])


class Store(Generic[K, V]):
    """The objects of one kind by key."""

    def __init__(
        self,
        view: Callable[[Json], V],
        key: Callable[[Json], K],
        changed: Callable[[], None],
        same: Callable[[V, V], bool] | None = None,
    ) -> None:
        """An empty store.

        Args:
            view: makes a view of an object.
            key: takes the key from an object's metadata.
            changed: called after each change that matters.
            same: whether going from one view to the other does not matter.
        """
        self.views: Final[dict[K, V]] = {}
        self._entries: dict[K, Entry[V]] = {}
        self._view = view
        self._key = key
        self._changed = changed
        self._same = same or (lambda old, new: old == new)
        self._reached: int | None = None
        self._deleted: dict[str, int] = {}
        self._ticks = 0

    def entry(self, raw: Json) -> tuple[K, Entry[V]]:
        """An object as this store holds it, so that a list's JSON need not be kept until its last page."""
        meta = raw["metadata"]
        version = version_of(meta.get("resourceVersion"))
        return self._key(meta), Entry(str(meta.get("uid", "")), version, self._view(raw))

    def tick(self) -> int:
        """A point in this store's own time, to be taken before a list is asked for."""
        self._ticks += 1
        return self._ticks

    def refill(self, listed: Iterable[tuple[K, Entry[V]]], version: str, since: int) -> None:
        """Take over a whole list of `version`, asked for at `since`; what is newer here stays.

        A list older than what was seen before comes from a server that was restored from a backup: it is the truth.
        """
        reached = version_of(version)
        if reached is not None and self._reached is not None and reached < self._reached:
            self.clear()
        self._deleted = {uid: at for uid, at in self._deleted.items() if at > since}
        found = dict(listed)
        for key in [key for key in self._entries if key not in found]:
            known = self._entries[key].version
            if known is None or reached is None or known <= reached:
                self._remove(key)
        for key, entry in found.items():
            self._store(key, entry)
        self._reached = reached

    def seen(self, raw: Json) -> None:
        """Take over an ADDED or MODIFIED event."""
        key, entry = self.entry(raw)
        self.reach(raw["metadata"].get("resourceVersion"))
        self._store(key, entry)

    def gone(self, raw: Json) -> None:
        """Take over a DELETED event."""
        meta = raw["metadata"]
        self.reach(meta.get("resourceVersion"))
        uid = str(meta.get("uid", ""))
        self._deleted.pop(uid, None)
        known = self._entries.get(self._key(meta))
        if known is not None and (not uid or known.uid == uid):
            self._remove(self._key(meta))

    def fold(self, raw: Json) -> None:
        """Take over the answer to an own write, unless the watch is past it already."""
        key, entry = self.entry(raw)
        if key not in self._entries and None not in (entry.version, self._reached):
            assert entry.version is not None
            assert self._reached is not None
            if entry.version <= self._reached:
                return
        self._store(key, entry)

    def forget(self, key: K, uid: str) -> None:
        """The object with this uid was deleted by us: it is not shown any more, whatever older events say."""
        known = self._entries.get(key)
        uid = uid or (known.uid if known else "")
        if uid:
            self._deleted[uid] = self.tick()
        if known is not None and (not uid or known.uid == uid):
            self._remove(key)

    def clear(self) -> None:
        """Everything is gone: the kind is not served any more."""
        self._deleted.clear()
        self._reached = None
        for key in list(self._entries):
            self._remove(key)

    def reach(self, version: Any) -> None:
        """The watch has come to this version (bookmarks tell)."""
        number = version_of(version)
        if number is not None and (self._reached is None or number > self._reached):
            self._reached = number

    def _store(self, key: K, entry: Entry[V]) -> None:
        known = self._entries.get(key)
        if entry.uid in self._deleted:
            return
        if known is not None and known.version is not None and entry.version is not None:  # noqa: SIM102 - reads better
            if entry.version <= known.version:
                return
        view = self._adjusted(entry)
        self._entries[key] = entry if view is entry.view else entry._replace(view=view)
        self.views[key] = view
        old = known.view if known is not None else None
        self._index(key, old, view)
        if old is None or not self._same(old, view):
            self._changed()

    def _remove(self, key: K) -> None:
        known = self._entries.pop(key)
        del self.views[key]
        self._index(key, known.view, None)
        self._changed()

    def _adjusted(self, entry: Entry[V]) -> V:
        return entry.view

    def _index(self, key: K, old: V | None, new: V | None) -> None:
        """Keep indexes; nothing here."""


PodKey = tuple[str, str]


class PodStore(Store[PodKey, Pod]):
    """The pods, also by node and by controller; and of each controller those that are not Ready.

    A pod whose eviction or deletion was accepted is shown as `deleting` from that moment on, until an event says so
    itself: no decision sees it untouched, even if older events are still on their way.
    """

    def __init__(self, view: Callable[[Json], Pod], changed: Callable[[], None]) -> None:
        super().__init__(view, by_namespace, changed)
        self._leaving: set[str] = set()
        self._on: dict[str, dict[PodKey, Pod]] = {}
        self._of: dict[str, dict[PodKey, Pod]] = {}
        self._unready: dict[str, dict[PodKey, Pod]] = {}
        self._none: Final[dict[PodKey, Pod]] = {}

    def on(self, node: str) -> Collection[Pod]:
        """The pods bound to a node; '' has those that are bound to none."""
        return self._on.get(node, self._none).values()

    def of(self, controller_uid: str) -> Collection[Pod]:
        """The pods that an owner controls."""
        return self._of.get(controller_uid, self._none).values()

    def unready(self, controller_uid: str) -> Collection[Pod]:
        """The pods that an owner controls and that are neither Ready nor being deleted."""
        return self._unready.get(controller_uid, self._none).values()

    def leaving(self, key: PodKey, uid: str) -> None:
        """Its eviction or deletion was accepted."""
        known = self._entries.get(key)
        if known is None or known.uid != uid or known.view.deleting:
            return
        self._leaving.add(uid)
        view = self._adjusted(known)
        self._entries[key] = known._replace(view=view)
        self.views[key] = view
        self._index(key, known.view, view)
        self._changed()

    def _adjusted(self, entry: Entry[Pod]) -> Pod:
        if entry.uid not in self._leaving:
            return entry.view
        if entry.view.deleting:
            self._leaving.discard(entry.uid)
            return entry.view
        return replace(entry.view, deleting=True, ready=False)

    def _index(self, key: PodKey, old: Pod | None, new: Pod | None) -> None:
        if old is not None:
            _drop(self._on, old.node, key)
            if old.controller is not None:
                _drop(self._of, old.controller[2], key)
                _drop(self._unready, old.controller[2], key)
            if new is None or new.uid != old.uid:
                self._leaving.discard(old.uid)
        if new is not None:
            self._on.setdefault(new.node, {})[key] = new
            if new.controller is not None:
                self._of.setdefault(new.controller[2], {})[key] = new
                if not new.ready and not new.deleting:
                    self._unready.setdefault(new.controller[2], {})[key] = new


def _drop(index: dict[str, dict[PodKey, Pod]], name: str, key: PodKey) -> None:
    group = index.get(name)
    if group is not None:
        group.pop(key, None)
        if not group:
            del index[name]
