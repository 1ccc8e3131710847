"""Makes the endpoints of a node be what its pods ask for, and says how that goes."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from .apiserver import Api, ApiError
from .endpoints import LABEL, canal_address, endpoint, endpoint_name
from .health import REPORT, state_file
from .identities import Identities
from .labels import security_labels
from .settings import Json, Settings
from .watches import Key, Watched, key_of

QUIET, VERIFY = 1.0, 300.0  # seconds between two looks, and between checks that identities still exist
APART = 0.01  # seconds between two writes, so that an agent that begins does not press the API server
LATE = 5.0  # seconds after which the watch has brought what was written
CILIUM_LINK = "cilium_host"  # while it is on the node, Cilium takes in what other nodes send to its endpoints
GONE = 10.0  # seconds after which a link that is gone has not only been made anew


class Controller:
    """Makes the endpoints of this node be what its pods ask for."""

    def __init__(self, settings: Settings, api: Callable[[], Api]) -> None:
        self.settings, self.api, self.wake = settings, api(), threading.Event()
        self.identities = Identities(self.api, settings)
        core, cilium = "/api/v1", "/apis/cilium.io/v2"
        self.pods = Watched(api(), f"{core}/pods", {"fieldSelector": f"spec.nodeName={settings.node}"}, self.wake.set)
        self.namespaces = Watched(api(), f"{core}/namespaces", {}, self.wake.set)
        self.own = Watched(
            api(), f"{cilium}/ciliumendpoints", {"labelSelector": f"{LABEL}={settings.mark}"}, self.wake.set
        )
        self.watched = (self.pods, self.namespaces, self.own)
        self.written: dict[Key, Json] = {}
        """What was written and has not come back by the watch yet."""
        self.times: dict[Key, float] = {}
        self.link_seen = -GONE
        self.counts = {"made": 0, "changed": 0, "removed": 0}
        self.since: dict[tuple[Key, str], float | None] = {}
        """When each pod's address was seen first; None for those that were there already when the agent began."""
        self.slowest, self.looked = 0.0, False
        self.on_canal = self.lacking = 0
        self.error = ""

    def reconcile(self) -> None:
        """Look at all pods once, and write what differs."""
        self.error = next((one.error for one in self.watched if one.error), "")
        if not all(one.synced for one in self.watched):
            self.lacking = -1
            return
        there = self.datapath()
        own = {**self.own.objects, **self.written}
        wanted: dict[Key, Json] = {}
        lacking, used, addresses = 0, set(), set()
        for pod in list(self.pods.objects.values()):
            address = canal_address(pod, self.settings)
            if not address:
                continue
            key = (pod["metadata"]["namespace"], endpoint_name(pod["metadata"]["name"]))
            addresses.add((key, address))
            self.since.setdefault((key, address), time.monotonic() if self.looked else None)
            if not there:
                lacking += 1
                self.error = f"there is no link {CILIUM_LINK} on the node"
                continue
            try:
                labels = security_labels(pod, self.namespaces.objects["", key[0]], self.settings)
                used.add(json.dumps(labels, sort_keys=True))
                wanted[key] = endpoint(pod, address, self.identities.number(labels), labels, self.settings)
                if self.made(own.get(key), wanted[key]):
                    self.took(key, address)
                else:
                    lacking += 1
            except (OSError, http.client.HTTPException, ApiError, LookupError) as error:
                wanted.setdefault(key, {})  # what is there stays
                # A namespace that is being deleted takes nothing new: a pod that hangs in its end there holds nobody.
                lacking += not pod["metadata"].get("deletionTimestamp")
                self.error = f"{key[0]}/{pod['metadata']['name']}: {error!r}"
        for key, found in own.items():
            if key not in wanted:
                self.remove(found)
        self.identities.keep(used)
        self.since = {known: at for known, at in self.since.items() if known in addresses}
        self.on_canal, self.lacking, self.looked = len(wanted), lacking, True

    def took(self, key: Key, address: str) -> None:
        """Remember how long a pod that has come since had an address and no endpoint, should it be the longest."""
        at = self.since[key, address]
        if at is not None:
            self.slowest = max(self.slowest, time.monotonic() - at)
            self.since[key, address] = None

    def datapath(self) -> bool:
        """Whether Cilium is on the node: without it, what other nodes send to an endpoint here would be lost.

        A link that is made anew is not gone.
        """
        if any(name == CILIUM_LINK for _, name in socket.if_nameindex()):
            self.link_seen = time.monotonic()
        return time.monotonic() - self.link_seen <= GONE

    def made(self, found: Json | None, wanted: Json) -> bool:
        """Make one endpoint be as wanted; whether it is."""
        key = key_of(wanted)
        path = f"/apis/cilium.io/v2/namespaces/{key[0]}/ciliumendpoints"
        if found is not None and _owner(found) != _owner(wanted):
            self.remove(found)  # an earlier pod's of this name
            found = None
        if found is None:
            try:
                self.note(key, self.api.request("POST", path, wanted), "made")
            except ApiError as error:
                if error.status != 409:
                    raise
                self.note(key, self.api.request("GET", f"{path}/{key[1]}"), "")
                self.wake.set()
                return False
            return True
        if found.get("status") == wanted["status"]:
            return True
        body = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}}
        try:
            self.note(key, self.api.request("PUT", f"{path}/{key[1]}", body), "changed")
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            self.written.pop(key, None)
            return False
        return True

    def remove(self, found: Json) -> None:
        """Delete exactly this endpoint."""
        namespace, name = key_of(found)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": found["metadata"]["uid"]}}
        try:
            self.api.request("DELETE", f"/apis/cilium.io/v2/namespaces/{namespace}/ciliumendpoints/{name}", body)
            self.counts["removed"] += 1
        except ApiError as error:
            if error.status not in (404, 409):
                self.error = f"{namespace}/{name}: {error}"
                return
        self.written.pop((namespace, name), None)
        if self.own.objects.get((namespace, name), {}).get("metadata", {}).get("uid") == found["metadata"]["uid"]:
            self.own.objects.pop((namespace, name), None)

    def note(self, key: Key, found: Json, what: str) -> None:
        """Remember what was written, until the watch brings it."""
        self.written[key], self.times[key] = found, time.monotonic()
        if what:
            self.counts[what] += 1
            time.sleep(APART)

    def seen(self) -> None:
        """Drop what the watch has brought meanwhile; what it does not bring has been deleted by somebody."""
        for key, found in list(self.written.items()):
            there = self.own.objects.get(key)
            if (there is not None and _version(there) >= _version(found)) or time.monotonic() - self.times[key] > LATE:
                del self.written[key]

    def report(self) -> Json:
        """How many pods are on Canal, how many of them lack an endpoint (-1: not known yet), and what was done."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")  # noqa: UP017 - Python 3.9
        found = {"at": at, "node": self.settings.node, "pods": self.on_canal, "lacking": self.lacking}
        found["slowest"] = round(self.slowest, 3)
        return {**found, **self.counts, "identities": self.identities.made, "error": self.error}

    def serve(self) -> None:
        """Look whenever something changes, and now and then."""
        for one in self.watched:
            one.start()
        last, reported, verified = "", 0.0, time.monotonic()
        while True:
            self.wake.wait(QUIET if self.lacking or self.error else REPORT / 6)
            self.wake.clear()
            self.seen()
            try:
                if time.monotonic() - verified > VERIFY:
                    verified = time.monotonic()
                    self.identities.verify()
                self.reconcile()
            except (OSError, http.client.HTTPException, ApiError) as error:
                self.error, self.lacking = repr(error), max(1, self.lacking)
            line = self.report()
            state_file().write_text(str(self.lacking), encoding="ascii")
            text = json.dumps({**line, "at": ""})
            if text != last or time.monotonic() - reported > REPORT:
                last, reported = text, time.monotonic()
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
            if self.error:
                time.sleep(0.5)


def _version(item: Json) -> int:
    return int(item["metadata"]["resourceVersion"])


def _owner(item: Json) -> str:
    return next((str(one["uid"]) for one in item["metadata"].get("ownerReferences") or () if one["kind"] == "Pod"), "")


def serve() -> None:
    """Reconcile for ever, as environment and configuration file say."""
    config = json.loads(Path(os.environ["IDENTITIES_CONFIG"]).read_text(encoding="utf-8"))
    settings = Settings(dict(os.environ), config)
    Controller(settings, lambda: Api(settings)).serve()
