"""Which labels make an identity, as Cilium decides it (pkg/labelsfilter)."""

from __future__ import annotations

import re
from collections.abc import Iterable

DEFAULT_LABELS = (
    r"reserved:.*", r"io\.kubernetes\.pod\.namespace", r"io\.cilium\.k8s\.namespace\.labels",
    r"app\.kubernetes\.io", r"!io\.kubernetes", r"!kubernetes\.io", r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index", r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid", r"!.*beta\.kubernetes\.io", r"!k8s\.io", r"!pod-template-generation",
    r"!pod-template-hash", r"!controller-revision-hash", r"!controller-uid", r"!annotation.*", r"!etcd_node",
)  # fmt: skip
"""pkg/labelsfilter/filter.go, 1.15 and 1.20, which adds what makes no difference to the labels made here."""


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
