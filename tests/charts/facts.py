"""What of a rendered Cilium is compared: its rights, its pods' form, its configuration; and what its programs know."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Objects = Sequence[Mapping[str, Any]]

UNSET = {"bool": "false", "string": "", "strings": "", "map": "", "duration": "0s", "stringToString": ""}
"""A flag's default where its page says none, by the flag's type; 0 for every number."""


def one(objects: Objects, kind: str, name: str) -> Mapping[str, Any]:
    """The object of that name, which is there once."""
    (found,) = [item for item in objects if item and item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def config(objects: Objects) -> dict[str, str]:
    """The data of `cilium-config`."""
    return {key: str(text) for key, text in one(objects, "ConfigMap", "cilium-config")["data"].items()}


def granted(rules: Iterable[Mapping[str, Any]]) -> set[str]:
    """All that rules grant, each as `group/resource verb` or `group/resource/name verb`; the core group is `core`."""
    found = set()
    for rule in rules:
        for group, resource, name, verb in itertools.product(
            rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""]), rule["verbs"]
        ):
            found.add(f"{group or 'core'}/{resource}{'/' if name else ''}{name} {verb}")
    return found


def rights(objects: Objects, role: str) -> set[str]:
    """What a ClusterRole grants."""
    return granted(one(objects, "ClusterRole", role)["rules"])


def by_resource(rights: Iterable[str]) -> dict[str, str]:
    """The verbs by what they are for, each a text: for reading."""
    found: dict[str, list[str]] = {}
    for right in sorted(rights):
        what, _, verb = right.partition(" ")
        found.setdefault(what, []).append(verb)
    return {what: " ".join(verbs) for what, verbs in found.items()}


def by_verb(resources: Mapping[str, str]) -> set[str]:
    """The same as `rights` has it."""
    return {f"{what} {verb}" for what, verbs in resources.items() for verb in verbs.split()}


def _pod(objects: Objects, kind: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = one(objects, kind, name)["spec"]["template"]["spec"]
    return found


def mounts(objects: Objects) -> dict[str, str]:
    """Where the agent has which of the node's folders, and how mounts get there: path in it to `path propagation`."""
    pod = _pod(objects, "DaemonSet", "cilium")
    paths = {item["name"]: item["hostPath"]["path"] for item in pod["volumes"] if "hostPath" in item}
    (agent,) = [item for item in pod["containers"] if item["name"] == "cilium-agent"]
    return {
        item["mountPath"]: f"{paths[item['name']]} {item.get('mountPropagation', '')}".strip()
        for item in agent["volumeMounts"]
        if item["name"] in paths
    }


def init_containers(objects: Objects) -> list[str]:
    """The names of the agent's init containers."""
    return [item["name"] for item in _pod(objects, "DaemonSet", "cilium")["initContainers"]]


def arguments(objects: Objects) -> list[str]:
    """Those of the agent and the operator."""
    agent = _pod(objects, "DaemonSet", "cilium")["containers"][0]
    operator = _pod(objects, "Deployment", "cilium-operator")["containers"][0]
    return [*agent["args"], *operator["args"]]


def flags(source: Path) -> dict[str, set[str]]:
    """What the agent and the operator take, with each one's default: `Documentation/cmdref`, and the hidden ones.

    A flag that both have may have two defaults.
    """
    found: dict[str, set[str]] = {}
    for program in ("cilium-agent", "cilium-operator-generic"):
        for line in (source / f"Documentation/cmdref/{program}.md").read_text().splitlines():
            if match := re.match(r"\s+(?:-\w, )?--([a-z0-9-]+)(?: (\w+))?\s{2,}(.*)$", line):
                default = re.search(r"\(default ([^()]*)\)$", match[3])
                unset = UNSET.get(match[2] or "bool", "0")
                found.setdefault(match[1], set()).add(default[1].strip('"') if default else unset)
    options = dict(re.findall(r'\b(\w+) += +"([a-z0-9-]+)"', (source / "pkg/option/config.go").read_text()))
    defaults = (source / "pkg/defaults/defaults.go").read_text()
    for file in _sources(source):
        text = file.read_text()
        for flag in set(re.findall(r'Mark(?:Hidden|Deprecated)\(("[a-z0-9-]+"|option\.\w+)', text)):
            key = options.get(flag.removeprefix("option.")) if flag.startswith("option.") else flag.strip('"')
            said = re.search(rf"flags\.\w+\({flag}, ([\w.]+)", text)
            if key and said:
                found.setdefault(key, set()).add(_valued(said[1], text, defaults))
    return found


def _sources(source: Path) -> Iterable[Path]:
    for folder in ("pkg", "operator", "daemon"):
        yield from (file for file in (source / folder).rglob("*.go") if not file.name.endswith("_test.go"))


def _valued(word: str, text: str, defaults: str) -> str:
    """A default that is written as a constant of `pkg/defaults`, or as a field that the same file gives a value."""
    name = word.rpartition(".")[2]
    found = re.search(rf"\b{name} = (\w+)", defaults) if word.startswith("defaults.") else None
    found = found or (re.search(rf"\b{name}:\s+(\w+)", text) if "." in word else None)
    return found[1] if found else word
