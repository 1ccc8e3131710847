"""Writes the pages that follow from the code: `python docs/generate.py`; with `--check` it exits 1 when one is stale.

Each page is a function that answers its Markdown; `PAGES` says where it goes.
"""

import argparse
import enum
import inspect
import sys
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from ruamel.yaml import YAML

from cni_migrate import cilium_versions, errors, resources
from cni_migrate.cli.app import TREE, app
from cni_migrate.cli.ui.output import yaml_text
from cni_migrate.config import PROFILES, Config
from cni_migrate.configfile import leaves, variable
from cni_migrate.core.decision.plan import make_plan  # noqa: F401 - registers the steps
from cni_migrate.core.model import guards
from cni_migrate.core.model.lifecycle import Lifecycle, NodeEvent, NodeState, Phase, PhaseEvent, StrategyTable
from cni_migrate.core.preflight.catalogue import ABOUT as PREFLIGHT
from cni_migrate.core.reports.status import StatusView
from cni_migrate.core.steps.registry import ABOUT, ahead
from cni_migrate.sim import scenario
from cni_migrate.wiring import manifests_for

DOCS = Path(__file__).parent
MARK = "<!-- Made by `python docs/generate.py`: change the code, not this page. -->\n\n"
STRATEGIES = [
    StrategyTable.load(name, resources.read("states", f"{folder}/{name}.yaml"))
    for folder, name in (("strategies", "multus"), ("strategies", "overlay"), ("sources", "existing"))
]
NODE = Lifecycle(resources.read("states", "node.yaml"), NodeState, NodeEvent)
CLUSTER = Lifecycle(resources.read("states", "cluster.yaml"), Phase, PhaseEvent)
DEADLINES = {"none": "no deadline"} | {
    kind: f"`deadlines.{kind}`" for kind in typing.cast(type[BaseModel], type(Config().deadlines)).model_fields
}


# --- Markdown --------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; text in cells may hold anything but line breaks."""
    first, *lines = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in (head, *rows))
    return f"{first}|{'---|' * len(head)}\n{''.join(lines)}\n"


def listed(every: Iterable[tuple[str, str]]) -> str:
    """A Markdown list of what is named and told."""
    return "".join(f"- {name}: {about}\n" if about else f"- {name}\n" for name, about in every) + "\n"


def code(text: object) -> str:
    """Text as code, or nothing."""
    return f"`{text}`" if str(text) else ""


def paragraphs(text: str | None) -> str:
    """A docstring or help text as Markdown: one line per paragraph's sentence, as it was written."""
    return inspect.cleandoc(text or "").strip() + "\n\n" if text else ""


def shown(value: object) -> str:
    """A default value as one would write it in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    if value is None or value in ("", (), [], {}):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- the command line ------------------------------------------------------------------------------------------------

Command = tuple[str, Callable[..., Any], str, str, str]
"""Its words, its function, its help, its examples, its panel."""


def commands(group: typer.Typer, words: str) -> Iterator[Command]:
    """Every command below a group that is not hidden."""
    for info in group.registered_commands:
        if info.callback is not None and not info.hidden:
            name = info.name or info.callback.__name__.replace("_", "-").strip("-")
            yield _command(f"{words} {name}", info.callback, info)
    for sub in group.registered_groups:
        inner = sub.typer_instance
        assert inner is not None
        name = f"{words} {sub.name or inner.info.name}"
        callback = inner.registered_callback
        if callback is not None and callback.callback is not None and callback.invoke_without_command is True:
            yield _command(name, callback.callback, callback)
        yield from commands(inner, name)


def _command(words: str, function: Callable[..., Any], info: Any) -> Command:
    text = info.help if isinstance(info.help, str) else function.__doc__
    epilog = info.epilog if isinstance(info.epilog, str) else ""
    panel = info.rich_help_panel if isinstance(info.rich_help_panel, str) else ""
    return words, function, text or "", epilog, panel


def options(function: Callable[..., Any]) -> Iterator[tuple[str, str, str, bool]]:
    """A command's parameters: how it is typed, its default, its help, whether it is an argument."""
    signature = inspect.signature(function)
    for name, hint in typing.get_type_hints(function, include_extras=True).items():
        kind, *notes = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
        info = next((n for n in notes if hasattr(n, "param_decls")), None)
        if info is None or info.hidden:
            continue
        default = signature.parameters[name].default
        default = "" if default in (inspect.Parameter.empty, ...) else shown(default)
        if isinstance(info.show_default, str):
            default = info.show_default
        elif info.show_default is False or default == "false":
            default = ""
        if type(info).__name__ == "ArgumentInfo":
            yield name.upper(), default, info.help or "", True
            continue
        long = "--" + name.strip("_").replace("_", "-")
        first = info.default  # typer's first positional parameter, also when it is a declaration
        written = (first, *(info.param_decls or ())) if isinstance(first, str) else info.param_decls or ()
        decls = [d for d in written if d.startswith("-")] or ([f"{long}/--no-{long[2:]}"] if kind is bool else [long])
        envvar = f" Also `{info.envvar}` in the environment." if info.envvar else ""
        yield ", ".join(decls) + _value(kind, name), default, (info.help or "") + envvar, False


def _value(kind: Any, name: str) -> str:
    """What follows an option: its choices, or a word for it."""
    kinds = [k for k in typing.get_args(kind) if k is not type(None)] or [kind]
    if isinstance(kinds[0], type) and issubclass(kinds[0], enum.Enum):
        return " " + "|".join(str(choice.value) for choice in kinds[0])
    if kinds[0] is bool:
        return ""
    return " " + {"Path": "FILE", "int": "N", "float": "N"}.get(
        getattr(kinds[0], "__name__", ""), name.strip("_").upper().replace("_", "-")
    )


def cli() -> str:
    """Every command with its options and examples."""
    found = sorted(commands(app, "migrate"), key=lambda command: command[0])
    text = "# Command line\n\n"
    text += paragraphs(app.info.help if isinstance(app.info.help, str) else "")
    text += "".join(f"- {panel}: {_linked(commands)}\n" for panel, commands in TREE.items()) + "\n"
    text += "Type `migrate COMMAND [ARGUMENT] [OPTIONS]`. What is not given comes from the"
    text += " [configuration](configuration.md).\nAll commands have the same [exit codes](exit-codes.md).\n\n"
    from docs import manpage

    every = {words: list(options(function)) for words, function, _, _, _ in found}
    shared = manpage.shared(list(every.values()))
    uses = Counter(one for given in every.values() for one in given if one not in shared and not one[3])
    several = sorted(one for one, times in uses.items() if times > 1)
    drain = [one for one in several if _long(one) in DRAIN]
    text += "## Options of most commands\n\n" + _option_table(shared)
    text += "## Options of a drain\n\nThey mean what they mean to `kubectl drain`.\n\n" + _option_table(drain)
    text += "## Options of several commands\n\n" + _option_table(one for one in several if one not in drain)
    for words, _, about, epilog, _ in found:
        own = [one for one in every[words] if one not in shared and one not in several]
        more = [code(_long(one)) for one in every[words] if one in several and one not in drain]
        more += ["[those of a drain](#options-of-a-drain)"] if drain[0] in every[words] else []
        text += f"## `{words}`\n\n{paragraphs(about)}"
        text += _option_table(own) if own else ""
        text += f"Also {', '.join(more)}.\n\n" if more else ""
        if examples := [one for one in typed(epilog) if one != words]:
            text += "```sh\n" + "\n".join(examples) + "\n```\n\n"
    return text


DRAIN = {f"--{name.replace('_', '-')}" for name in type(Config().drain).model_fields} | {"--timeout"}


def _long(option: tuple[str, str, str, bool]) -> str:
    return option[0].split(" ")[0].rstrip(",")


def _linked(commands: Mapping[str, Any]) -> str:
    """The commands of one panel of the help; those of a group follow it."""
    found = []
    for name, one in commands.items():
        below = [f"{name} {sub.name}" for sub in one.registered_commands] if isinstance(one, typer.Typer) else []
        found += ([] if below and not one.registered_callback else [name]) + below
    return ", ".join(f"[`{name}`](#migrate-{name.replace(' ', '-')})" for name in found)


def _option_table(every: Iterable[tuple[str, str, str, bool]]) -> str:
    return listed(
        (code(typed), about + (f" Default: {code(given)}." if given else "")) for typed, given, about, _ in every
    )


def typed(epilog: str) -> list[str]:
    """The examples in what stands below a command's help."""
    return [line.strip() for line in epilog.splitlines() if line.strip().startswith(("migrate", "kubectl", "source"))]


def man() -> str:
    """The manual page of the command line."""
    from docs import manpage  # here: as a program this file has its own folder on the path, not the project's

    about = app.info.help if isinstance(app.info.help, str) else ""
    found = sorted(commands(app, "migrate"), key=lambda command: command[0])
    told = [(words, text, list(options(function)), typed(epilog)) for words, function, text, epilog, _ in found]
    environment = [
        ("KUBECONFIG", "The kubeconfig file, where `--kubeconfig` is not given."),
        ("MIGRATE_KEY", "A key of the configuration: `cilium.pod_cidr` is `MIGRATE_CILIUM_POD_CIDR`."),
        ("NO_COLOR", "If set, nothing is coloured."),
    ]
    return manpage.page(about, told, dict(sorted(errors.EXIT_CODES.items())), environment)


def base() -> dict[str, str]:
    """The kustomize base that runs `migrate` as a Job: `migrate manifests rbac` and `job` with every default."""
    made = manifests_for(Config.model_validate({"job": {"image": "cni-migrate"}}), None)
    parts = {"rbac.yaml": [*made.namespaces(), *made.rbac()], "job.yaml": made.job("{}\n")}
    texts = {name: "".join(f"---\n{yaml_text(one)}" for one in objects) for name, objects in parts.items()}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(parts),
    }
    return texts | {"kustomization.yaml": yaml_text(kustomization)}


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON Schema's type in words, bounds included; with `?` behind it where null is allowed."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(map(_type, kinds))) + ("" if kinds == schema["anyOf"] else "?")
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"] if one)
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(schema['additionalProperties'])}"
    return f"{kind} {_bounds(schema)}".strip()


def _bounds(schema: Mapping[str, Any]) -> str:
    """What a number may be, such as `1..65535`, `≥0`, `>0`."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{least:g}..{most:.8g}"
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return " ".join(f"{sign}{schema[key]:.8g}" for key, sign in signs if key in schema)


DEFAULTS = "Each has its default and bounds, or its type where there is no default; without either it is a text.\n"


def _default(schema: Mapping[str, Any], default: object) -> str:
    """A field's default with its bounds or the other choices, which tell its type; where there is none, the type."""
    given, kind = code(shown(default)), _type(schema).replace("?", "")
    if not given:
        return "" if kind == "string" else kind
    if "enum" in schema:
        return f"{given} or " + ", ".join(f"`{one}`" for one in schema["enum"] if one and code(one) != given)
    return f"{given}, {', '.join(map(_bounds, schema.get('anyOf', [schema])))}".strip(" ,")


def _fields(schema: Mapping[str, Any], *, defaults: bool) -> str:
    """The fields of one model, with their defaults or, where nobody writes them, their types."""
    found = []
    for name, field in schema.get("properties", {}).items():
        kind = _default(field, field.get("default", "")) if defaults else _type(field)
        found.append(
            (f"{code(name)} ({kind})" if kind else code(name), field.get("description", "").replace("\n", " "))
        )
    return listed(found)


def _models(schema: Mapping[str, Any], level: str, *, defaults: bool) -> str:
    """A model and, below it, each one that it refers to."""
    text = _fields(schema, defaults=defaults)
    for name, part in sorted(schema.get("$defs", {}).items()):
        text += f"{level} {name}\n\n{paragraphs(part.get('description'))}"
        if "properties" in part:
            text += _fields(part, defaults=defaults)
        elif "enum" in part:
            text += ", ".join(f"`{one}`" for one in part["enum"]) + "\n\n"
    return text


def _schema_at(schema: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    for name in path:
        if "$ref" in schema:
            schema = _resolve(schema)
        schema = schema["properties"][name]
    return schema


_CONFIG = Config.model_json_schema()


def _resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _CONFIG["$defs"][schema["$ref"].rpartition("/")[2]]
    return found


def configuration() -> str:
    """Every key of the configuration."""
    default = Config()
    fixed = set(_flat(default.identity()))
    text = (
        "# Configuration\n\n"
        "One YAML file, given by `--config` or `MIGRATE_CONFIG`; `migrate config init` writes one with every key.\n"
        "A flag outranks the environment, which outranks the file, which outranks the profile's defaults.\n"
        "Unknown keys and wrong types are refused with file, line and key.\n"
        "Keys marked with 🔒 must not change between the start of a migration and its end.\n" + DEFAULTS + "\n"
    )
    sections: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for path, field in leaves():
        value: Any = default
        for name in path:
            value = getattr(value, name)
        key = ".".join(path)
        lock = " 🔒" if key in fixed else ""
        about = (field.description or "").replace("\n", " ")
        if path[0] == "labels":  # of each a key and a value; what it is for stands with the two
            about = _about_section(path[:-1]) if path[-1] == "key" else ""
            path = path[:-1]
        kind = _default(_schema_at(_CONFIG, key.split(".")), value)
        told = f"{code(key)}{lock} ({kind})" if kind else f"{code(key)}{lock}"
        sections.setdefault(path[:-1], []).append((told, about))
    for section, rows in sections.items():
        title = f"`{'.'.join(section)}`" if section else "At the top"
        about = _about_section(section) if section else ""
        text += f"## {title}\n\n{f'{about}{chr(10)}{chr(10)}' if about else ''}{listed(rows)}"
    text += "## Environment\n\nEach key has a variable: "
    text += f"`cilium.pod_cidr` is `{variable(('cilium', 'pod_cidr'))}`.\nLists and maps are given as JSON.\n\n"
    text += "## Profiles\n\n`profile: modern` changes nothing; the other profiles change these defaults:\n\n"
    for profile, changes in PROFILES.items():
        if changes:
            changed = [[code(key), code(value)] for key, value in _flat(changes).items()]
            text += f"### `{profile}`\n\n" + table(["key", "default"], changed)
    return text


def _about_section(path: Sequence[str]) -> str:
    schema = _schema_at(_CONFIG, path)
    own = str(schema.get("description", ""))
    return own or str(_resolve(schema).get("description", "")) if "$ref" in schema else own


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}{key}.")
        else:
            found[path + key] = value
    return found


def status_json() -> str:
    """The schema of `migrate status -o json`."""
    return (
        "# `migrate status -o json`\n\n"
        "What the status command prints for programs, also as `-o yaml`.\n"
        "Under the same `schema` number fields are added, never renamed or removed. `?`: may be null.\n\n"
        + _models(StatusView.model_json_schema(by_alias=True), "##", defaults=False)
    )


def scenarios() -> str:
    """The scenarios that are shipped, and what one can write."""
    rows = [(code(name), scenario.load(name).description.strip().replace("\n", " ")) for name in scenario.names()]
    return (
        "# Scenarios\n\n"
        "A scenario is a YAML file: the cluster a simulation starts with, and what happens to it.\n"
        "`migrate sim --scenario NAME` or `--scenario FILE` serves it.\n"
        "Durations are seconds, or texts such as `500ms` and `2m`.\n" + DEFAULTS + "\n"
        "## Shipped\n\n" + listed(rows) + "## The file\n\n" + _models(scenario.schema(), "###", defaults=True)
    )


# --- the machine -----------------------------------------------------------------------------------------------------


def states() -> str:
    """The tables of `states/`, drawn and in words."""
    text = (
        "# States, events and steps\n\n"
        "The edges are data in `states/`; the steps of each event are named in `states/strategies/`.\n"
        "Each step looks at the cluster and answers: done, wait, do, or refuse.\n"
        "[What each of them does](#the-steps) is at the end.\n\n"
        "## A node\n\n```mermaid\n" + NODE.mermaid() + "```\n\n"
    )
    text += listed((code(state), about) for state, about in NODE.meanings.items())
    text += "## The cluster\n\n```mermaid\n" + CLUSTER.mermaid() + "```\n\n"
    text += listed((code(phase), about) for phase, about in CLUSTER.meanings.items())
    text += "## Guards\n\nAn event begins only when no node stands against its guard.\n\n"
    edges = [*NODE.edges.items(), *CLUSTER.edges.items()]
    named: dict[str, list[str]] = {}
    for event, (_, _, guard) in edges:
        if guard:
            named.setdefault(guard, []).append(code(event))
    text += listed((f"{code(guard)} ({', '.join(events)})", _against(guard)) for guard, events in named.items())
    text += "## The steps of each event\n\n"
    text += "A node is out of service from `cordon` to `untaint`; in `adopt` a new one takes no pods before `release`."
    text += "\n(≥ `STEP`): its host task may run from that step on.\n\n"
    text += _lists([(event, s.name, s.events[event]) for event in NodeEvent for s in STRATEGIES if event in s.events])
    text += "## The cluster's lists\n\n"
    lists = dict.fromkeys(name for strategy in STRATEGIES for name in strategy.phases)
    text += _lists([(name, s.name, s.phases[name]) for name in lists for s in STRATEGIES if name in s.phases])
    text += "## The steps\n\nA step that is late holds its node.\n\n"
    for kind, deadline in DEADLINES.items():
        if told := [(code(about.name), about.title) for about in _in_use() if about.deadline == kind]:
            text += f"### With {deadline}\n\n" + listed(told)
    return text


def _lists(every: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    """The steps of each list in their order, by strategy; what several strategies have alike is told once."""
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, strategy, steps in every:
        alike.setdefault((name, tuple(steps)), []).append(strategy)
    rows = []
    for (name, steps), strategies in alike.items():
        told = ", ".join(code(step) + _beside(steps, step) for step in steps)
        rows.append((f"{code(name)} ({'all' if len(strategies) == len(STRATEGIES) else ', '.join(strategies)})", told))
    return listed(rows)


def _in_use() -> list[Any]:
    """Each step that a strategy has, once, by name."""
    lists = [steps for strategy in STRATEGIES for steps in (*strategy.events.values(), *strategy.phases.values())]
    return [ABOUT[name] for name in sorted({step for steps in lists for step in steps})]


def _against(guard: str) -> str:
    functions = {name: function.__doc__ or "" for name, function in guards._FACTS.items()}  # noqa: SLF001
    return functions[guard]


def _beside(steps: Sequence[str], step: str) -> str:
    """Since which step its host task may run already."""
    earlier = [one for at, one in enumerate(steps) if ahead(steps[at:]) == step]
    return f" (≥ {code(earlier[0])})" if earlier else ""


def exit_codes() -> str:
    """The exit codes."""
    return (
        "# Exit codes\n\n"
        "Whatever the code, the record in the cluster can be gone on from; the message says what to type next.\n\n"
        + table(["code", "meaning"], [[str(number), about] for number, about in sorted(errors.EXIT_CODES.items())])
    )


def preflight() -> str:
    """Every finding of preflight, from the checks' declarations."""
    text = ""
    for severity, title in (("blocker", "Blockers"), ("warning", "Warnings"), ("info", "For information")):
        told = [
            (
                code(one.id) + "".join(f" (or {also})" for also in one.severities[1:]),
                f"{one.meaning} {one.remedy}".strip(),
            )
            for one in PREFLIGHT.values()
            if one.severities[0] == severity
        ]
        text += f"## {title}\n\n" + listed(told)
    never: dict[str, list[str]] = {}
    for one in PREFLIGHT.values():
        if one.never and one.severities != ("info",):
            never.setdefault(one.never, []).append(code(one.id))
    text += "## What cannot be waived\n\n"
    text += listed((", ".join(ids), why) for why, ids in never.items())
    return (
        "# Preflight\n\n"
        "What `migrate preflight`, and `migrate run` before its first change, can find, and what to do.\n"
        "A blocker stops a run (exit code 3), a warning is your choice, an info is worth knowing.\n\n"
        "What is a judgement can be waived by name, for everything found or for one object:\n\n"
        "```sh\nmigrate run --waive DUAL_STACK --waive BUDGET_CLOSED:shop/db\n```\n\n"
        "or for good in the configuration, so that a Job keeps it:\n\n"
        "```yaml\npreflight:\n  waive: [DUAL_STACK, BUDGET_CLOSED:shop/db]\n```\n\n"
        "An object is what the finding lists: the name in front is enough.\n"
        "What is waived is still shown, as waived, and the record's history has it with who and when.\n"
        "An unknown id, and [one that cannot be waived](#what-cannot-be-waived), is refused (exit code 2).\n"
        "Waiving changes nothing else: a budget still closed, or a pod that nothing recreates, holds the drain.\n\n"
        + text
    )


def death() -> str:
    """What happens if the program dies in front of, within or behind each step."""
    words: Any = YAML(typ="safe").load((DOCS / "what-if.yaml").read_text(encoding="utf-8"))
    if difference := set(words["steps"]) ^ set(ABOUT):
        raise SystemExit(f"docs/what-if.yaml and the steps differ: {', '.join(sorted(difference))}")
    text = paragraphs(words["page"]["intro"])
    alike: dict[tuple[str, str], list[str]] = {}
    for one in _in_use():
        told = words["steps"][one.name]
        alike.setdefault((told["half"], told["resume"]), []).append(code(one.name))
    text += "## Each step\n\n"
    text += "What may be half done → what a resumed run does.\n\n"
    text += listed((", ".join(steps), f"{half} → {resume}") for (half, resume), steps in alike.items())
    return text + paragraphs(words["page"]["workloads"])


# --- Cilium ----------------------------------------------------------------------------------------------------------


def versions_of_cilium() -> str:
    """What differs between the versions of Cilium that can be installed."""
    every = sorted(cilium_versions.KUBERNETES)
    named = [f"{major}.{minor}" for major, minor in every]
    text = (
        "# Versions of Cilium\n\n"
        f"`cilium.version` is one of {cilium_versions.known()}; the profile `seed` has 1.7.2, which was run on the"
        " simulator only. Others are refused when the configuration is read.\n\n"
        "All of it was read in Cilium's sources of 1.15.19, 1.16.0, 1.17.2, 1.18.2, 1.19.0 and 1.20.2.\n"
        "The lab ran 1.15.19 and 1.20.2 ([real clusters](../explanation/real-clusters.md)).\n"
        "Rights and definitions differ, too: `migrate manifests cilium-final` prints those of the version.\n\n"
        "## Kubernetes and CiliumNodeConfig\n\n"
        "The versions of Kubernetes are those of Cilium's page *Kubernetes Compatibility* of each version"
        " (`Documentation/network/kubernetes/compatibility.rst`); another one is the finding `CILIUM_KUBERNETES`.\n\n"
    )
    rows = [
        [name, ", ".join(cilium_versions.KUBERNETES[one]), code(cilium_versions.node_config(one)),
         "a DaemonSet of its own" if cilium_versions.ENVOY.holds(one) else "in the agent"]
        for name, one in zip(named, every, strict=True)
    ]  # fmt: skip
    text += table(
        ["Cilium", "tested with Kubernetes", "CiliumNodeConfig", "Envoy in the chart, where nothing is said"], rows
    )
    text += "## Keys of `cilium-config`\n\nThe chart's choices where the programs' default is another.\n\n"
    rows = [[code(key), code(value), _span(span)] for key, value, span in cilium_versions.CHOICES]
    text += table(["key", "value", "where"], rows)
    text += "## The same in all\n\nInit containers of the chart's agent: " + ", ".join(map(code, cilium_versions.INIT))
    return text + ". The programs' arguments.\n"


def _span(span: cilium_versions.Span) -> str:
    """From which version to which."""
    every = [f"{major}.{minor}" for major, minor in sorted(cilium_versions.KUBERNETES) if span.holds((major, minor))]
    if len(every) == len(cilium_versions.KUBERNETES):
        return "all"
    return every[0] if len(every) == 1 else f"{every[0]} to {every[-1]}"


PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli,
    "reference/configuration.md": configuration,
    "reference/states.md": states,
    "reference/exit-codes.md": exit_codes,
    "reference/preflight.md": preflight,
    "reference/status-json.md": status_json,
    "reference/scenarios.md": scenarios,
    "reference/cilium-versions.md": versions_of_cilium,
    "explanation/what-if-it-dies-here.md": death,
    "man/migrate.1": man,
    "../deploy/base/kustomization.yaml": lambda: base()["kustomization.yaml"],
    "../deploy/base/rbac.yaml": lambda: base()["rbac.yaml"],
    "../deploy/base/job.yaml": lambda: base()["job.yaml"],
}
MARKS = {".md": MARK, ".yaml": "# Made by `python docs/generate.py`: change the code, not this file.\n"}


def stale() -> dict[str, str]:
    """The pages whose file differs from what the code says, with what it should hold."""
    found = {}
    for name, page in PAGES.items():
        text = MARKS.get(Path(name).suffix, "") + page().rstrip() + "\n"
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            found[name] = text
    return found


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    found = stale()
    for name, text in found.items():
        if not check:
            (DOCS / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"docs/{name}: {'stale: run `python docs/generate.py`' if check else 'written'}\n")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.path.insert(0, str(DOCS.parent))
    sys.exit(main())
