"""Which labels make an identity, as Cilium decides it (pkg/labelsfilter)."""

from __future__ import annotations

import re
from collections.abc import Iterable

Version = tuple[int, int]
"""Cilium's major and minor version."""

DEFAULT_LABELS = (
    r"reserved:.*", r"io\.kubernetes\.pod\.namespace", r"io\.cilium\.k8s\.namespace\.labels",
    r"app\.kubernetes\.io", r"!io\.kubernetes", r"!kubernetes\.io", r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index", r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid", r"!.*beta\.kubernetes\.io", r"!k8s\.io", r"!pod-template-generation",
    r"!pod-template-hash", r"!controller-revision-hash", r"!controller-uid", r"!annotation.*", r"!etcd_node",
)  # fmt: skip
"""pkg/labelsfilter/filter.go, as all of 1.15 to 1.20 have it."""

ADDED = (
    ((1, 16), r"io\.cilium\.k8s\.policy\.cluster"),
    ((1, 18), r"io\.cilium\.k8s\.policy\.serviceaccount"),
    ((1, 19), r"!topology\.kubernetes\.io"),
)
"""What later versions have besides, and from which one on.

The first two make a difference where the option `labels` says which labels are the only ones: from 1.19 on
NetworkPolicies ask for the cluster (`policy-default-local-cluster`), and a pod without it is no peer of theirs.
"""


class Filter:
    """Which labels make an identity: a version's defaults and those of Cilium's option `labels` (pkg/labelsfilter)."""

    def __init__(self, version: Version, more: Iterable[str] = ()) -> None:
        more = tuple(more)
        self.only = any(not _pattern(one).startswith("!") for one in more)
        added = [one for since, one in ADDED if version >= since]
        patterns = [_pattern(one) for one in (*DEFAULT_LABELS, *added, *more)]
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
