"""What may stand in a scenario: the simulator's own API server would refuse the rest, or a machine could not be that.

By the rules of `apiserver.names`, so that a scenario is refused when it is read and not by a cluster that has begun.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from cni_migrate.sim.apiserver import names

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")

MOST_NODES: Final = 10_000
"""More nodes would be a slip: a simulated cluster of 5,000 takes gigabytes."""

MOST_SECONDS: Final = 366 * 86400.0


def seconds(value: object) -> object:
    """A duration in seconds: a number, or a text such as `1m30s`; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        return value
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _by(rule: Callable[[str], list[str]], *, optional: bool = False) -> Callable[[str], str]:
    def check(text: str) -> str:
        problems = rule(text) if text or not optional else []
        if problems:
            raise ValueError(f"{text[:60]!r}: {problems[0]}")
        return text

    return check


def _node(text: str) -> list[str]:
    long = "must be no more than 63 characters: the kubelet makes it the value of the label kubernetes.io/hostname"
    return [long] if len(text) > 63 else names.subdomain(text)


def _workload(text: str) -> list[str]:
    long = "must be no more than 52 characters: controllers add to it, and it is a label's value"
    return [long] if len(text) > 52 else names.label(text)


def _image(text: str) -> list[str]:
    return [] if text and text.isprintable() and " " not in text else ["must be an image, REGISTRY/NAME:TAG"]


def _pattern(text: str) -> list[str]:
    try:
        re.compile(text)
    except re.error as error:
        return [f"is no regular expression: {error}"]
    return []


def _cidr(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError as error:
        raise ValueError(f"expected an IPv4 network such as 10.244.0.0/16: {error}") from None


def _taint(taint: dict[str, str]) -> dict[str, str]:
    if unknown := sorted(set(taint) - {"key", "value", "effect"}):
        raise ValueError(f"a taint has key, value and effect, found {unknown[0]!r}")
    for problem in (*names.qualified(taint.get("key", "")), *names.label_value(taint.get("value", ""))):
        raise ValueError(f"taint {taint.get('key', '')!r}: {problem}")
    if taint.get("effect") not in _EFFECTS:
        raise ValueError(f"a taint's effect is one of {', '.join(_EFFECTS)}, found {taint.get('effect', '')!r}")
    return taint


def _manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    for key in ("apiVersion", "kind"):
        if not isinstance(manifest.get(key), str) or not manifest[key]:
            raise ValueError(f"a manifest has apiVersion, kind and metadata.name, found no {key}")
    return _named(manifest)


def _named(manifest: dict[str, Any]) -> dict[str, Any]:
    meta = manifest.get("metadata")
    if not isinstance(meta, Mapping) or not isinstance(meta.get("name"), str) or not meta["name"]:
        raise ValueError("a manifest has metadata.name, found none")
    return manifest


def _share(value: int | str) -> int | str:
    good = value >= 0 if isinstance(value, int) else re.fullmatch(r"\d{1,3}%", value) is not None
    if not good:
        raise ValueError(f"expected a number or a percentage such as 25%, found {value!r}")
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=MOST_SECONDS)]
NodeName = Annotated[str, AfterValidator(_by(_node))]
SomeNode = Annotated[str, AfterValidator(_by(_node, optional=True))]
Name = Annotated[str, AfterValidator(_by(names.subdomain))]
Namespace = Annotated[str, AfterValidator(_by(names.label))]
WorkloadName = Annotated[str, AfterValidator(_by(_workload))]
LabelKey = Annotated[str, AfterValidator(_by(names.qualified))]
SomeKey = Annotated[str, AfterValidator(_by(names.qualified, optional=True))]
LabelValue = Annotated[str, AfterValidator(_by(names.label_value))]
Image = Annotated[str, AfterValidator(_by(_image))]
Pattern = Annotated[str, AfterValidator(_by(_pattern))]
Cidr = Annotated[str, AfterValidator(_cidr)]
SomeCidr = Annotated[str, AfterValidator(lambda text: _cidr(text) if text else text)]
Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[int | str, AfterValidator(_share)]
Taint = Annotated[dict[str, str], AfterValidator(_taint)]
Manifest = Annotated[dict[str, Any], AfterValidator(_manifest)]
Named = Annotated[dict[str, Any], AfterValidator(_named)]
