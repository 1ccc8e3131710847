"""Reads what pods request and what nodes have: Kubernetes' quantities, and how the scheduler adds a pod's up."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from cni_migrate.core.model.objects import ONE_POD, Amount

Json = Mapping[str, Any]

_FACTORS: Final = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
"""The suffixes of a quantity (kubernetes.io: "Quantity")."""


@lru_cache(maxsize=4096)
def quantity(text: str) -> float:
    """A quantity as a number; what cannot be read is nothing."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    suffix = text[len(number) :]
    if suffix not in _FACTORS:  # 12e6
        number, suffix = text, ""
    try:
        return float(number) * _FACTORS[suffix]
    except ValueError:
        return 0.0


@lru_cache(maxsize=4096)
def _amount(cpu: str, memory: str, pods: int) -> Amount:
    return Amount(round(quantity(cpu) * 1000), round(quantity(memory)), pods)


def _of(listed: Json | None, pods: int = 0) -> Amount:
    found = listed or {}
    return _amount(str(found.get("cpu", "0")), str(found.get("memory", "0")), pods)


def allocatable(status: Json) -> Amount | None:
    """What a node has for pods; None when it does not say."""
    found = status.get("allocatable")
    if not found:
        return None
    return _of(found, round(quantity(str(found.get("pods", "110")))))


def needs(spec: Json) -> Amount:
    """What the scheduler sets aside for a pod.

    The sum over its containers, or what its init containers need one after another beside those that stay, if that is
    more; and its overhead (kubernetes.io: "Sidecar Containers", resource sharing). Requests of the whole pod outrank
    them.
    """
    stay, most = Amount(), Amount()
    for one in spec.get("initContainers") or ():
        asked = _requested(one)
        if one.get("restartPolicy") == "Always":
            stay = stay + asked
            most = _larger(most, stay)
        else:
            most = _larger(most, stay + asked)
    containers = spec.get("containers") or ()
    run = _sum((_requested(one) for one in containers), stay)
    total = _larger(most, run)
    whole = (spec.get("resources") or {}).get("requests")
    if whole:
        asked = _of(whole)
        total = Amount(asked.cpu if "cpu" in whole else total.cpu, asked.memory if "memory" in whole else total.memory)
    return _shared(total + _of(spec.get("overhead")) + ONE_POD)


@lru_cache(maxsize=4096)
def _shared(amount: Amount) -> Amount:
    """The same object for the same amount: thousands of pods have few different ones."""
    return amount


def _requested(container: Json) -> Amount:
    return _of((container.get("resources") or {}).get("requests"))


def _sum(amounts: Iterable[Amount], start: Amount) -> Amount:
    for one in amounts:
        start = start + one
    return start


def _larger(one: Amount, other: Amount) -> Amount:
    return Amount(max(one.cpu, other.cpu), max(one.memory, other.memory))
