"""Label and field selectors: parsed once, asked often.

Grammar and messages follow `k8s.io/apimachinery/pkg/labels` and `.../fields`. Which fields can be selected differs
per resource; any other is refused with 400, as the real server does.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cni_migrate.sim.apiserver import status
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.client import Object

Operator = Literal["=", "!=", "in", "notin", "exists", "!"]
_TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<missing>[^\s,=!()]+)"
    r"|(?P<key>[^\s,=!()<>]+)(?:\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,=!()<>]*)"
    r"|\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comma-separated part of a selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it. An absent key meets `!=` and `notin`."""
        match self.operator:
            case "exists":
                return self.key in labels
            case "!":
                return self.key not in labels
            case "=" | "in":
                return labels.get(self.key) in self.values
            case "!=" | "notin":
                return labels.get(self.key) not in self.values


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that must all hold; none match everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, obj: Object) -> bool:
        """Whether the object's labels meet every requirement."""
        labels = obj["metadata"].get("labels") or {}
        return all(requirement.matches(labels) for requirement in self.requirements)

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def parse_labels(text: str) -> LabelSelector:
    """A `labelSelector` parameter; 400 when it does not parse."""
    found: list[Requirement] = []
    position = 0
    text = text.strip()
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None:
            raise status.bad_request(f"unable to parse requirement: found '{text[position:]}', expected: identifier")
        found.append(_requirement(term))
        position = term.end()
    return LabelSelector(tuple(found))


def _requirement(term: re.Match[str]) -> Requirement:
    if term["absent"]:
        return Requirement(term["missing"], "!")
    if term["op"]:
        return Requirement(term["key"], "!=" if term["op"] == "!=" else "=", frozenset({term["value"]}))
    if term["set"]:
        values = frozenset(value.strip() for value in term["values"].split(","))
        return Requirement(term["key"], "in" if term["set"] == "in" else "notin", values)
    return Requirement(term["key"], "exists")


def label_selector(selector: Mapping[str, Any] | None) -> LabelSelector | None:
    """A `metav1.LabelSelector` in an object: None matches nothing, `{}` everything."""
    if selector is None:
        return None
    found = [Requirement(key, "=", frozenset({value})) for key, value in (selector.get("matchLabels") or {}).items()]
    operators: dict[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    for expression in selector.get("matchExpressions") or ():
        values = frozenset(expression.get("values") or ())
        found.append(Requirement(expression["key"], operators[expression["operator"]], values))
    return LabelSelector(tuple(found))


Getter = Callable[[Object], str]


def _path(*steps: str) -> Getter:
    def get(obj: Object) -> str:
        value: Any = obj
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    return get


def _event_source(obj: Object) -> str:
    source: str = (obj.get("source") or {}).get("component", "") or obj.get("reportingComponent", "")
    return source


_METADATA: dict[str, Getter] = {"metadata.name": _path("metadata", "name")}
_NAMESPACED: dict[str, Getter] = {**_METADATA, "metadata.namespace": _path("metadata", "namespace")}
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FIELDS: dict[tuple[str, str], dict[str, Getter]] = {
    ("", "pods"): {
        "spec.nodeName": _path("spec", "nodeName"),
        "spec.restartPolicy": _path("spec", "restartPolicy"),
        "spec.schedulerName": _path("spec", "schedulerName"),
        "spec.serviceAccountName": _path("spec", "serviceAccountName"),
        "spec.hostNetwork": lambda obj: "true" if obj["spec"].get("hostNetwork") else "false",
        "status.phase": _path("status", "phase"),
        "status.podIP": _path("status", "podIP"),
        "status.nominatedNodeName": _path("status", "nominatedNodeName"),
    },
    ("", "nodes"): {"spec.unschedulable": lambda obj: "true" if obj.get("spec", {}).get("unschedulable") else "false"},
    ("", "namespaces"): {"status.phase": _path("status", "phase")},
    ("", "secrets"): {"type": _path("type")},
    ("", "services"): {"spec.clusterIP": _path("spec", "clusterIP"), "spec.type": _path("spec", "type")},
    ("", "events"): {
        **{f"involvedObject.{field}": _path("involvedObject", field) for field in _INVOLVED},
        "reason": _path("reason"),
        "reportingComponent": _path("reportingComponent"),
        "source": _event_source,
        "type": _path("type"),
    },
    ("apps", "replicasets"): {"status.replicas": lambda obj: str(obj.get("status", {}).get("replicas", 0))},
    ("batch", "jobs"): {"status.successful": lambda obj: str(obj.get("status", {}).get("succeeded", 0))},
}


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Terms that must all hold."""

    terms: tuple[tuple[str, Getter, bool, str], ...] = ()

    def matches(self, obj: Object) -> bool:
        """Whether the object's fields meet every term."""
        return all((get(obj) == value) is equal for _, get, equal, value in self.terms)

    def exact(self, field: str) -> str | None:
        """The value a field must have, when the selector fixes it: lets an index answer."""
        return next((value for name, _, equal, value in self.terms if name == field and equal), None)


def parse_fields(resource: Resource, text: str) -> FieldSelector:
    """A `fieldSelector` parameter; 400 for a field that cannot be selected."""
    served = _NAMESPACED if resource.namespaced else _METADATA
    known = {**served, **_FIELDS.get(resource.key, {})}
    terms = []
    for part in filter(None, text.split(",")):
        name, operator, value = re.match(r"([^=!]*)(==|=|!=|)(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        if not operator:
            raise status.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if name not in known:
            raise status.bad_request(_unknown_field(resource, name))
        terms.append((name, known[name], operator != "!=", value))
    return FieldSelector(tuple(terms))


def _unknown_field(resource: Resource, name: str) -> str:
    if resource.key in _FIELDS or resource.custom:
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


@dataclass(frozen=True, slots=True)
class Selector:
    """Both selectors of a list or watch."""

    labels: LabelSelector = LabelSelector()
    fields: FieldSelector = FieldSelector()

    def matches(self, obj: Object) -> bool:
        """Whether the object is selected."""
        return self.labels.matches(obj) and self.fields.matches(obj)

    @property
    def selects_all(self) -> bool:
        """Whether there is nothing to test."""
        return not self.labels.requirements and not self.fields.terms


def parse(resource: Resource, labels: str, fields: str) -> Selector:
    """Both selectors from their parameters."""
    return Selector(parse_labels(labels), parse_fields(resource, fields))
