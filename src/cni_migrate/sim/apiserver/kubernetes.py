"""Which Kubernetes the simulated API server is, and what newer ones say and default otherwise than 1.34.

Each rule was read in `k8s.io/kubernetes` and `k8s.io/apimachinery` 1.34.4, 1.35.6 and 1.37.2, and seen with
the first and the last: the conformance tests compare this server with both.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.client import Object

_INDEX = re.compile(r"^metadata\.ownerReferences\[\d+\]")


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """One version, as in `1.34.4` or `1.34.4+rke2r1`."""

    version: str = "1.34.4"

    @property
    def minor(self) -> int:
        """The minor one, as a number."""
        return int(self.version.split(".")[1])

    @property
    def about(self) -> Object:
        """What `/version` says."""
        return {
            "major": "1",
            "minor": str(self.minor),
            "gitVersion": f"v{self.version}",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "",
            "platform": "linux/amd64",
        }

    @property
    def review_field(self) -> str:
        """Which field an access review lacks that asks for nothing."""
        return "spec" if self.minor >= 37 else "spec.resourceAttributes"

    def worded(self, errors: Iterable[FieldError]) -> list[FieldError]:
        """What is wrong, in the words of this version. They are made in those of 1.34, with an owner's index."""
        return [self._length(self._owner(error)) for error in errors]

    def _length(self, error: FieldError) -> FieldError:
        """From 1.35 on label keys and values are judged by a package of their own (apimachinery, validate/content)."""
        if self.minor < 35 or error.field == "metadata.name":
            return error
        said = re.sub(r"(must be no more than \d+) characters", r"\1 bytes", error.detail)
        return replace(error, detail=said.replace("a qualified name must", "a valid label key must"))

    def _owner(self, error: FieldError) -> FieldError:
        """From 1.37 on an owner is named by its index, and what it lacks is required (ValidateOwnerReferences)."""
        if not _INDEX.match(error.field):
            return error
        if self.minor >= 37:
            return FieldError("Required", error.field, detail="must not be empty")
        return replace(error, field=_INDEX.sub("metadata.ownerReferences", error.field))

    def default(self, key: tuple[str, str], obj: Object) -> None:
        """Set what a newer version sets where nothing is said, on top of what all set."""
        if key == ("apps", "statefulsets") and self.minor >= 37:  # feature gate MaxUnavailableStatefulSet
            strategy = obj["spec"]["updateStrategy"]
            if strategy["type"] == "RollingUpdate":
                strategy["rollingUpdate"].setdefault("maxUnavailable", 1)


DEFAULT = Kubernetes()
