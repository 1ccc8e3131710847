"""Lists: selection, resourceVersion semantics, and pages of one snapshot with tokens that expire.

Tokens are opaque to clients. A snapshot lives for five minutes, like etcd's history, or until `Store.compact`; after
that the answer is 410 with a token that goes on from the present state.
"""

import base64
import binascii
import json
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta

from cni_migrate.sim.apiserver import selectors, status
from cni_migrate.sim.apiserver.options import Query
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Store, Stored

Items = list[Stored]
KEPT_FOR = timedelta(minutes=5)
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its objects, the list's resourceVersion, and how to go on."""

    items: list[Stored]
    version: int
    token: str = ""
    remaining: int | None = None


class Pager:
    """Answers lists; keeps what a token needs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshots: dict[tuple[tuple[str, str], str | None, int], tuple[datetime, list[Stored]]] = {}

    def list(self, resource: Resource, namespace: str | None, query: Query) -> Page:
        """The selected objects. Every list is as new as the store, which `resourceVersion=0` allows too."""
        selector = selectors.parse(resource, query.labels, query.fields)
        if query.token:
            start, version = _decoded(query.token)
            found = self._at(resource, namespace, version, start)
            version = self._store.version if version < 0 else version
        else:
            if query.match == "Exact" and query.version != str(self._store.version):
                raise status.not_emulated("lists at an exact older version (resourceVersionMatch=Exact)")
            self._check_version(query.version)
            start, version = "", self._store.version
            found = self._store.select(resource, namespace, selector.fields.exact("spec.nodeName") or None)
        chosen = found if selector.selects_all else [item for item in found if selector.matches(item.object)]
        if start:
            chosen = chosen[bisect_right(chosen, start, key=_key) :]
        if not query.limit or len(chosen) <= query.limit:
            return Page(chosen, version)
        self._keep(resource, namespace, version)
        page = chosen[: query.limit]
        remaining = len(chosen) - query.limit if selector.selects_all else None
        return Page(page, version, _encoded(page[-1].key, version), remaining)

    def _check_version(self, text: str) -> None:
        if not text or text == "0":
            return
        if not text.isdecimal():
            raise status.bad_request(f"invalid resource version: {status.bad_version(text)}")
        if int(text) > self._store.version:
            raise status.too_large_version(int(text), self._store.version)

    def _keep(self, resource: Resource, namespace: str | None, version: int) -> None:
        now = self._store.now()
        self._snapshots = {key: kept for key, kept in self._snapshots.items() if now - kept[0] < KEPT_FOR}
        key = (resource.key, namespace, version)
        if version == self._store.version and key not in self._snapshots:
            self._snapshots[key] = (now, self._store.select(resource, namespace))

    def _at(self, resource: Resource, namespace: str | None, version: int, start: str) -> Items:
        if version < 0:
            return self._store.select(resource, namespace)
        kept = self._snapshots.get((resource.key, namespace, version))
        forgotten = self._store.table(resource).forgotten > version
        if kept is None or forgotten or self._store.now() - kept[0] >= KEPT_FOR:
            raise status.ListExpiredError(_EXPIRED, _encoded(start, -1))
        return kept[1]


def _key(item: Stored) -> str:
    return item.key


def _encoded(start: str, version: int) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(token: str) -> tuple[str, int]:
    try:
        value = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return str(value["start"]), int(value["rv"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise status.bad_request("invalid continue token: continue key is not valid: illegal base64 data") from None
