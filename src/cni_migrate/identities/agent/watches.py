"""Collections as they are now: listed once, then followed."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable

from .apiserver import Api, ApiError
from .settings import Json

Key = tuple[str, str]
"""Namespace and name."""


class Watched(threading.Thread):
    """A collection as it is now: listed once, then followed. `changed` is called after each change."""

    def __init__(self, api: Api, path: str, query: dict[str, str], changed: Callable[[], None]) -> None:
        super().__init__(daemon=True, name=path)
        self.api, self.path, self.query, self.changed = api, path, query, changed
        self.objects: dict[Key, Json] = {}
        self.synced, self.error = False, ""

    def run(self) -> None:
        """Follow for ever; whatever goes wrong, list anew after a moment."""
        pause = 0.2
        while True:
            try:
                self.follow()
                pause = 0.2
            except (OSError, http.client.HTTPException, ValueError, ApiError, LookupError) as error:
                self.error = f"{self.path}: {error!r}"
                self.changed()
                time.sleep(pause)
                pause = min(pause * 2, 10.0)

    def follow(self) -> None:
        """List, then take in events until the watch ends."""
        items, version = self.api.listed(self.path, self.query)
        self.objects = {key_of(item): item for item in items}
        self.synced, self.error = True, ""
        self.changed()
        while True:
            for event in self.api.watch(self.path, {**self.query, "resourceVersion": version}):
                found = event["object"]
                if event["type"] == "ERROR":
                    return  # the version is too old, for example: list anew
                version = found["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    self.objects.pop(key_of(found), None)
                else:
                    self.objects[key_of(found)] = found
                self.changed()


def key_of(item: Json) -> Key:
    """By what an object is known."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
