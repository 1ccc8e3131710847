"""CiliumIdentities: found by their labels, or made."""

from __future__ import annotations

import contextlib
import hashlib
import json

from .apiserver import Api, ApiError
from .endpoints import LABEL
from .settings import Json, Settings

HEARTBEAT = "io.cilium.heartbeat"  # the operator marks identities by it that it will delete
FIRST = 256  # pkg/identity/numericidentity.go: what is below is reserved
TRIES = 32  # numbers that are tried for one identity


def number_of(labels: dict[str, str], attempt: int, settings: Settings) -> int:
    """The number to try for an identity: the same on all nodes, so that they do not make one each."""
    text = json.dumps([sorted(labels.items()), attempt])
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return settings.cluster_id << settings.bits | FIRST + drawn % ((1 << settings.bits) - FIRST)


def identity(number: int, labels: dict[str, str]) -> Json:
    """A CiliumIdentity. Of its labels it shows but the namespace, as Cilium's own from 1.18 on: others may be too long.

    An account's name has up to 253 characters, a label's value 63 (pkg/k8s/identitybackend/identity.go).
    """
    shown = {"io.kubernetes.pod.namespace": labels.get("k8s:io.kubernetes.pod.namespace", "")}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {"name": str(number), "labels": {**shown, LABEL: "made"}},
        "security-labels": labels,
    }


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
