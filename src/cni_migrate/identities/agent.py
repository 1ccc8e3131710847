"""Gives the pods of its node that are on Canal's network an endpoint and an identity in Cilium, and keeps them true.

One file, standard library only, Python 3.9 or newer: it runs from a ConfigMap in a stock Python image, on each node.
Cilium enforces policies by identities, which it learns from CiliumEndpoints; its agents make these for Cilium's pods
only. With one for each of Canal's pods, policies hold between the two networks. Nobody needs to drive for that.

`serve` watches and writes, `ready` and `alive` tell the kubelet how that goes. docs/explanation/policies.md says why,
docs/reference/identities.md what it prints. Where a rule is Cilium's own, the source is named.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
STATE = "identities-state"  # the file, in the temporary folder, by which `ready` and `alive` know
LABEL = "cni-migrate.io/identities"
SUFFIX = ".cni-migrate"
POD_IP = "cni.projectcalico.org/podIP"  # Calico's plugin writes it before the kubelet reports the address
HEARTBEAT = "io.cilium.heartbeat"  # the operator marks identities by it that it will delete
FIRST, LAST = 256, 65535  # pkg/identity/numericidentity.go: what is below is reserved
PAGE = 500
QUIET, REPORT, VERIFY = 1.0, 60.0, 300.0  # seconds between two looks, reports, and checks that identities still exist
DEAF = 330  # seconds without an event after which a watch is begun anew; the server ends it sooner
APART = 0.01  # seconds between two writes, so that an agent that begins does not press the API server
LATE = 5.0  # seconds after which the watch has brought what was written
CILIUM_LINK = "cilium_host"  # while it is on the node, Cilium takes in what other nodes send to its endpoints
GONE = 10.0  # seconds after which a link that is gone has not only been made anew
TRIES = 32  # numbers that are tried for one identity

DEFAULT_LABELS = (
    r"reserved:.*", r"io\.kubernetes\.pod\.namespace", r"io\.cilium\.k8s\.namespace\.labels",
    r"app\.kubernetes\.io", r"!io\.kubernetes", r"!kubernetes\.io", r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index", r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid", r"!.*beta\.kubernetes\.io", r"!k8s\.io", r"!pod-template-generation",
    r"!pod-template-hash", r"!controller-revision-hash", r"!controller-uid", r"!annotation.*", r"!etcd_node",
)  # fmt: skip
"""pkg/labelsfilter/filter.go, 1.15 and 1.20, which adds what makes no difference to the labels made here."""


class Settings:
    """What the agent is told by its environment and its configuration file."""

    def __init__(self, env: dict[str, str], config: Json) -> None:
        self.node, self.address = env.get("NODE_NAME", ""), env.get("NODE_IP", "")
        self.host, self.port = env.get("KUBERNETES_SERVICE_HOST", ""), int(env.get("KUBERNETES_SERVICE_PORT", "443"))
        self.canal = ipaddress.ip_network(config["canal_cidr"])
        self.cilium = ipaddress.ip_network(config["cilium_cidr"])  # it may be a part of what flannel takes for its own
        self.cluster, self.cluster_id = str(config.get("cluster", "default")), int(config.get("cluster_id", 0))
        self.filter = Filter(str(config.get("labels", "")).split())

    @property
    def mark(self) -> str:
        """The label's value on what belongs to this node: its name may be longer than a label."""
        return hashlib.sha256(self.node.encode()).hexdigest()[:16]


class Filter:
    """Which labels make an identity: Cilium's defaults and those of its option `labels` (pkg/labelsfilter)."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        more = tuple(more)
        self.only = any(not _pattern(one).startswith("!") for one in more)
        patterns = [_pattern(one) for one in (*DEFAULT_LABELS, *more)]
        self.rules = [(one.startswith("!"), re.compile(one.removeprefix("!"))) for one in patterns if one]

    def __call__(self, key: str) -> bool:
        """Whether the label is taken: the longest inclusion against the shortest exclusion."""
        included = ignored = 0
        for ignore, pattern in self.rules:
            found = pattern.match(key)
            if found is None:
                continue
            if not ignore:
                included = max(included, found.end())
            elif not ignored or found.end() < ignored:
                ignored = found.end()
        return (not self.only and not ignored) or included > ignored


def _pattern(text: str) -> str:
    """A prefix without its source: all labels here are Kubernetes'; what is said of another source matches nothing."""
    source, colon, rest = text.partition(":")
    if not colon:
        return text
    return rest if source in ("", "k8s") else ""


def security_labels(pod: Json, namespace: Json, settings: Settings) -> dict[str, str]:
    """The labels of a pod's identity (pkg/k8s/utils/utils.go, SanitizePodLabels; then the filter)."""
    meta = pod["metadata"]
    found = {k: v for k, v in (meta.get("labels") or {}).items() if not k.startswith("io.cilium.k8s")}
    for key, value in (namespace["metadata"].get("labels") or {}).items():
        found[f"io.cilium.k8s.namespace.labels.{key}"] = value
    found["io.kubernetes.pod.namespace"] = meta["namespace"]
    if account := pod["spec"].get("serviceAccountName"):
        found["io.cilium.k8s.policy.serviceaccount"] = account
    found["io.cilium.k8s.policy.cluster"] = settings.cluster
    return {f"k8s:{key}": value for key, value in sorted(found.items()) if settings.filter(key)}


def canal_address(pod: Json, settings: Settings) -> str:
    """The pod's address if it is Canal's and in use, or ''."""
    status, meta = pod.get("status") or {}, pod["metadata"]
    if pod["spec"].get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return ""
    told = (meta.get("annotations") or {}).get(POD_IP)
    if told == "" and meta.get("deletionTimestamp"):
        return ""  # Calico's plugin has taken the network down: the address may be another pod's soon
    for address in (status.get("podIP"), (told or "").partition("/")[0]):
        with contextlib.suppress(ValueError):
            found = ipaddress.ip_address(address or "")
            if found in settings.canal and found not in settings.cilium:
                return str(found)
    return ""


def endpoint_name(pod: str) -> str:
    """The name of a pod's endpoint of ours: the agents name theirs like the pod, and take over what has that name."""
    return pod + SUFFIX if len(pod) + len(SUFFIX) <= 253 else hashlib.sha256(pod.encode()).hexdigest()[:40] + SUFFIX


def endpoint(pod: Json, address: str, identity: int, labels: dict[str, str], settings: Settings) -> Json:
    """The CiliumEndpoint of a pod that has no Cilium interface."""
    meta = pod["metadata"]
    ports = [
        {"name": port["name"], "port": port["containerPort"], "protocol": port.get("protocol", "TCP")}
        for container in pod["spec"].get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name")
    ]
    status: Json = {
        "id": 0,
        "state": "ready",
        "encryption": {},
        "external-identifiers": {"k8s-namespace": meta["namespace"], "k8s-pod-name": meta["name"]},
        "identity": {"id": identity, "labels": [f"{key}={value}" for key, value in labels.items()]},
        "networking": {"addressing": [{"ipv4": address}], "node": settings.address},
    }
    if ports:
        status["named-ports"] = ports
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {
            "name": endpoint_name(meta["name"]),
            "namespace": meta["namespace"],
            "labels": {LABEL: settings.mark},
            "ownerReferences": [owner],
        },
        "status": status,
    }


def number_of(labels: dict[str, str], attempt: int, settings: Settings) -> int:
    """The number to try for an identity: the same on all nodes, so that they do not make one each."""
    text = json.dumps([sorted(labels.items()), attempt])
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return settings.cluster_id << 16 | FIRST + drawn % (LAST - FIRST + 1)


def identity(number: int, labels: dict[str, str]) -> Json:
    """A CiliumIdentity (pkg/k8s/identitybackend/identity.go): namespace labels are too long to be labels of its own."""
    shown = {k[4:]: v for k, v in labels.items() if not k.startswith("k8s:io.cilium.k8s.namespace.labels")}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {"name": str(number), "labels": {**shown, LABEL: "made"}},
        "security-labels": labels,
    }


class ApiError(Exception):
    """The API server refused something."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message[:200]}")
        self.status = status


class Api:
    """Requests to the API server over one connection; not for two threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection: http.client.HTTPConnection | None = None

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        return http.client.HTTPSConnection(self.settings.host, self.settings.port, timeout=timeout, context=context)

    def _head(self) -> dict[str, str]:
        token = (ACCOUNT / "token").read_text(encoding="ascii").strip()  # the kubelet renews it
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}

    def request(self, method: str, path: str, body: Json | None = None, *, patch: bool = False) -> Json:
        """One request; a connection that the server has closed meanwhile is made anew, once."""
        data = None if body is None else json.dumps(body)
        head = self._head()
        if patch:
            head["Content-Type"] = "application/merge-patch+json"
        used = self.connection is not None
        try:
            status, text = self._exchanged(method, path, data, head)
        except (OSError, http.client.HTTPException):
            if not used:
                raise
            status, text = self._exchanged(method, path, data, head)
        try:
            found: Json = json.loads(text or b"{}")
        except ValueError:
            found = {"message": text[:200].decode("utf-8", "replace")}
        if status >= 300:
            raise ApiError(status, str(found.get("message", "")))
        return found

    def _exchanged(self, method: str, path: str, data: str | None, head: dict[str, str]) -> tuple[int, bytes]:
        if self.connection is None:
            self.connection = self._connected(10)
        try:
            self.connection.request(method, path, data, head)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def listed(self, path: str, query: dict[str, str]) -> tuple[list[Json], str]:
        """A whole list, page by page, and its resourceVersion."""
        found: list[Json] = []
        more = ""
        while True:
            asked = {**query, "limit": str(PAGE), **({"continue": more} if more else {})}
            page = self.request("GET", f"{path}?{urllib.parse.urlencode(asked)}")
            found += page.get("items") or []
            meta = page.get("metadata") or {}
            more = meta.get("continue", "")
            if not more:
                return found, str(meta.get("resourceVersion", ""))

    def watch(self, path: str, query: dict[str, str]) -> Iterator[Json]:
        """The events of a collection, until the server ends the watch."""
        connection = self._connected(DEAF)
        try:
            asked = {**query, "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
            connection.request("GET", f"{path}?{urllib.parse.urlencode(asked)}", None, self._head())
            answer = connection.getresponse()
            if answer.status != 200:
                raise ApiError(answer.status, answer.read().decode("utf-8", "replace"))
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()


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
        self.objects = {_key(item): item for item in items}
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
                    self.objects.pop(_key(found), None)
                else:
                    self.objects[_key(found)] = found
                self.changed()


def _key(item: Json) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class Identities:
    """The numbers of identities by their labels; one that is missing is made."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self.api, self.settings = api, settings
        self.known: dict[str, int] = {}
        self.made = 0

    def number(self, labels: dict[str, str]) -> int:
        """The number of the identity with exactly these labels."""
        key = json.dumps(labels, sort_keys=True)
        if key not in self.known:
            self.known[key] = self._found(labels) or self._created(labels)
        return self.known[key]

    def _found(self, labels: dict[str, str]) -> int:
        """The oldest one, as an agent chooses (pkg/k8s/identitybackend/identity.go, get)."""
        query = {"labelSelector": f"io.kubernetes.pod.namespace={labels.get('k8s:io.kubernetes.pod.namespace', '')}"}
        items, _ = self.api.listed("/apis/cilium.io/v2/ciliumidentities", query)
        same = [item for item in items if item.get("security-labels") == labels and item["metadata"]["name"].isdigit()]
        if not same:
            return 0
        chosen = min(same, key=lambda item: item["metadata"].get("creationTimestamp", ""))
        self._unmark(chosen)
        return int(chosen["metadata"]["name"])

    def _unmark(self, item: Json) -> None:
        """Take the operator's mark off, as an agent does (AcquireReference), or it would delete it soon."""
        meta = item["metadata"]
        if HEARTBEAT in (meta.get("annotations") or {}):
            body = {"metadata": {"annotations": {HEARTBEAT: None}, "resourceVersion": meta["resourceVersion"]}}
            self.api.request("PATCH", f"/apis/cilium.io/v2/ciliumidentities/{meta['name']}", body, patch=True)

    def _created(self, labels: dict[str, str]) -> int:
        for attempt in range(TRIES):
            number = number_of(labels, attempt, self.settings)
            try:
                self.api.request("POST", "/apis/cilium.io/v2/ciliumidentities", identity(number, labels))
            except ApiError as error:
                if error.status != 409:
                    raise
            else:
                self.made += 1
                return number
            with contextlib.suppress(ApiError):
                there = self.api.request("GET", f"/apis/cilium.io/v2/ciliumidentities/{number}")
                if there.get("security-labels") == labels:
                    self._unmark(there)
                    return number
        raise ApiError(409, f"no free identity in {TRIES} tries")

    def verify(self) -> None:
        """Forget those that are not there any more: they are found or made anew."""
        for key, number in list(self.known.items()):
            try:
                self.api.request("GET", f"/apis/cilium.io/v2/ciliumidentities/{number}")
            except ApiError as error:
                if error.status == 404:
                    del self.known[key]

    def keep(self, used: set[str]) -> None:
        """Forget what no pod has any more: the operator may delete it."""
        for key in [key for key in self.known if key not in used]:
            del self.known[key]


class Keeper:
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
        self.on_canal = self.lacking = 0
        self.error = ""

    def turn(self) -> None:
        """Look at all pods once, and write what differs."""
        self.error = next((one.error for one in self.watched if one.error), "")
        if not all(one.synced for one in self.watched):
            self.lacking = -1
            return
        there = self.datapath()
        own = {**self.own.objects, **self.written}
        wanted: dict[Key, Json] = {}
        lacking, used = 0, set()
        for pod in list(self.pods.objects.values()):
            address = canal_address(pod, self.settings)
            if not address:
                continue
            if not there:
                lacking += 1
                self.error = f"there is no link {CILIUM_LINK} on the node"
                continue
            key = (pod["metadata"]["namespace"], endpoint_name(pod["metadata"]["name"]))
            try:
                labels = security_labels(pod, self.namespaces.objects["", key[0]], self.settings)
                used.add(json.dumps(labels, sort_keys=True))
                wanted[key] = endpoint(pod, address, self.identities.number(labels), labels, self.settings)
                if not self.made(own.get(key), wanted[key]):
                    lacking += 1
            except (OSError, http.client.HTTPException, ApiError, LookupError) as error:
                wanted.setdefault(key, {})  # what is there stays
                lacking += 1
                self.error = f"{key[0]}/{pod['metadata']['name']}: {error!r}"
        for key, found in own.items():
            if key not in wanted:
                self.remove(found)
        self.identities.keep(used)
        self.on_canal, self.lacking = len(wanted), lacking

    def datapath(self) -> bool:
        """Whether Cilium is on the node: without it, what other nodes send to an endpoint here would be lost.

        A link that is made anew is not gone.
        """
        if any(name == CILIUM_LINK for _, name in socket.if_nameindex()):
            self.link_seen = time.monotonic()
        return time.monotonic() - self.link_seen <= GONE

    def made(self, found: Json | None, wanted: Json) -> bool:
        """Make one endpoint be as wanted; whether it is."""
        key = _key(wanted)
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
        namespace, name = _key(found)
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
                self.turn()
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


def state_file() -> Path:
    """Where the agent notes how many pods lack an endpoint; its age tells whether it lives."""
    return Path(os.environ.get("TMPDIR", "/tmp")) / STATE  # noqa: S108 - a folder of the pod alone


def healthy(what: str) -> bool:
    """Whether the agent lives, or (`ready`) every pod has its endpoint, too."""
    try:
        path = state_file()
        if time.time() - path.stat().st_mtime > 3 * REPORT:
            return False
        return what == "alive" or path.read_text(encoding="ascii") == "0"
    except OSError:
        return False


def main(argv: list[str]) -> int:
    """Run as `agent.py serve|ready|alive`."""
    if argv[1:] in (["ready"], ["alive"]):
        return 0 if healthy(argv[1]) else 1
    if argv[1:] != ["serve"]:
        sys.stderr.write("usage: agent.py serve|ready|alive\n")
        return 2
    config = json.loads(Path(os.environ["IDENTITIES_CONFIG"]).read_text(encoding="utf-8"))
    settings = Settings(dict(os.environ), config)
    Keeper(settings, lambda: Api(settings)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
