"""The configuration: one pydantic tree. Flags outrank the environment, that the file, that a profile's defaults.

Unknown keys are refused everywhere. What must not change once a migration has begun is in `Config.identity()`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from cni_migrate import consistency, validation
from cni_migrate.configsections import (
    Canal,
    Cilium,
    Deadlines,
    Drain,
    Gate,
    HostTask,
    Job,
    Knet,
    Labels,
    Multus,
    Name,
    Namespace,
    NodeName,
    Preflight,
    Registry,
    Safety,
    Seconds,
    Section,
)
from cni_migrate.strategies import Traits, traits, with_trait

Strategy = Literal["multus", "overlay"]
ProfileName = Literal["modern", "seed"]

PROFILES: dict[ProfileName, dict[str, Any]] = {
    "modern": {},
    "seed": {
        "strategy": "multus",
        "cilium": {
            "version": "1.7.2",
            "tunnel_protocol": "geneve",
            "tunnel_port": 6081,
            "primary_file": "00-cilium.conflist",
            "extra_file": "99-cilium.conflist",
        },
        "multus": {"image": "nfvpe/multus:v3.4.1"},
        "knet": {"image": "docker.io/library/python:3.12-alpine"},
    },
}
"""What a profile changes of the defaults. `seed` has the names and versions of the procedure this tool grew from."""


IMAGES: tuple[tuple[str, str], ...] = (
    ("cilium", "image"), ("cilium", "operator_image"), ("multus", "image"), ("knet", "image"),
)  # fmt: skip
"""The images that have a default of their own."""


def cilium_images(version: str) -> dict[str, str]:
    """Cilium's images of a version. The operator was one image before 1.8, when Docker Hub was where they were."""
    number = version.removeprefix("v")
    if tuple(int(part) for part in number.split(".")[:2]) < (1, 8):
        found = {"image": "docker.io/cilium/cilium", "operator_image": "docker.io/cilium/operator"}
    else:
        found = {"image": "quay.io/cilium/cilium", "operator_image": "quay.io/cilium/operator-generic"}
    return {key: f"{repository}:v{number}" for key, repository in found.items()}


def images_filled(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration's data with the images that nobody named. What is wrong in it is left for the model to refuse."""
    sections = {name: given.get(name, {}) for name, _ in IMAGES}
    if not all(isinstance(section, Mapping) for section in sections.values()):
        return given
    try:
        release = validation.release(str(sections["cilium"].get("version", Cilium.model_fields["version"].default)))
        registry = validation.optional(validation.registry)(str(given.get("registry", "")).strip())
    except ValueError:
        return given
    named = str(given.get("profile"))
    profile = next((changes for name, changes in PROFILES.items() if name == named), {})
    filled = {name: dict(section) for name, section in sections.items()}
    defaults = {
        "cilium": cilium_images(release),
        "multus": {"image": Multus.model_fields["image"].default},
        "knet": {"image": Knet.model_fields["image"].default},
    }
    for name, key in IMAGES:
        usual = profile.get(name, {}).get(key) or defaults[name][key]
        if filled[name].get(key, usual) == usual:
            filled[name][key] = validation.mirrored(usual, registry) if registry else usual
    return {**given, **filled}


class Config(Section):
    """Everything that can be configured."""

    profile: ProfileName = Field(default="modern", description="which defaults the rest starts from")
    strategy: Strategy = Field(
        default="overlay",
        description="how a node gets both networks; a migration keeps the one it began with",
    )
    namespace: Namespace = Field(default="cni-migrate", description="namespace of the record, the lock and host tasks")
    registry: Registry = Field(
        default="",
        description="where the images are pulled from instead of their own registries, as HOST[:PORT][/PATH];"
        " images that are configured one by one, and those of a Cilium of your own, stay as they are",
    )
    pull_secrets: list[Name] = Field(
        default_factory=list,
        description="secrets with which every image of the tool's is pulled; each must be in the namespaces of"
        " Cilium, Multus, the agents and the tool. A chart or manifests of your own name theirs themselves",
    )
    max_unavailable: str = Field(
        default="1", pattern=r"^([1-9][0-9]{0,4}|[1-9][0-9]?%|100%)$",
        description="how many nodes may be out of service at once: a number or a percentage",
    )  # fmt: skip
    soak_seconds: Seconds = Field(default=0, ge=0, description="pause after each migrated node")
    canary: NodeName = Field(default="", description="the node that goes first; default: the first worker by name")
    own_node: NodeName = Field(default="", description="the node this program runs on: it goes last")
    auto_rollback: bool = Field(default=False, description="roll a node back automatically when it is held")
    lease_seconds: int = Field(default=30, ge=5, le=3600, description="how long the lock outlives its holder")
    canal: Canal = Canal()
    cilium: Cilium = Cilium()
    multus: Multus = Multus()
    labels: Labels = Labels()
    knet: Knet = Knet()
    gate: Gate = Gate()
    drain: Drain = Drain()
    safety: Safety = Safety()
    preflight: Preflight = Preflight()
    deadlines: Deadlines = Deadlines()
    host_task: HostTask = HostTask()
    job: Job = Job()

    @model_validator(mode="before")
    @classmethod
    def _with_images(cls, given: Any) -> Any:
        """Fill in what follows from other keys: the images, and the strategy that alone goes with `existing`."""
        if not isinstance(given, Mapping):
            return given
        cilium = given.get("cilium")
        if isinstance(cilium, Mapping) and cilium.get("source") == "existing":
            given = {"strategy": with_trait("node_config"), **given}
        return images_filled(given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        consistency.check(self)
        return self

    @property
    def traits(self) -> Traits:
        """What is particular about the strategy."""
        return traits(self.strategy)

    def identity(self) -> dict[str, Any]:
        """What must not change between the start of a migration and its end."""
        usual = {"more_daemonsets", "network_name", "network", "vni"}
        canal = self.canal.model_dump(include={"namespace", "daemonset", "cni_file", "pod_cidr", "tunnel_port"})
        folders = self.host_task.model_dump(include={"cni_folder", "bin_folder"}, exclude_defaults=True)
        taint = self.drain.model_dump(include={"taint_effect"}, exclude_defaults=True)
        return {
            "strategy": self.strategy,
            # What is as everywhere is left out, so that records from before these keys fit.
            "canal": canal | self.canal.model_dump(include=usual, exclude_defaults=True),
            **({"host_task": folders} if folders else {}),
            "cilium": self.cilium.model_dump(
                include={
                    "source", "namespace", "image", "operator_image", "pod_cidr", "mask_size", "tunnel_protocol",
                    "tunnel_port", "primary_file", "extra_file",
                }
            ) | self._agreed(),
            "multus": self.multus.model_dump(include={"namespace", "image", "cni_file"}),
            "labels": self.labels.model_dump(),
            **({"drain": taint} if taint else {}),
            "knet": {"namespace": self.knet.namespace},
        }  # fmt: skip

    def _agreed(self) -> dict[str, Any]:
        """What all nodes have to agree on, as far as it is not as usual."""
        cilium = self.cilium
        said = cilium.agreed if cilium.source != "builtin" else consistency.agreed(cilium.extra_config)
        own = {key: value for key, value in said.items() if value != consistency.AGREED[key][0]}
        return {"agreed": own} if own else {}

    def changed_since(self, identity: Mapping[str, Any]) -> list[str]:
        """Each key that differs from a recorded `identity()`, with its old and its new value."""
        before, now = (dict(_named(one)) for one in (identity, self.identity()))
        return [
            f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]

    def digest(self) -> str:
        """A digest of `identity()`, kept in the record."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _named(identity: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The values of an identity by the names that operators know, with what `_agreed` has left out as usual."""
    recorded = identity.get("cilium")
    cilium = dict(recorded) if isinstance(recorded, Mapping) else {}
    agreed = consistency.agreed(cilium.pop("agreed", {}))
    yield from _leaves({**identity, "cilium": cilium}, "")
    for key, value in agreed.items():
        yield f"{key} of cilium-config (helm value {consistency.AGREED[key][1]})", value


def _leaves(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
