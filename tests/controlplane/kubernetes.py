"""Which versions of Kubernetes are built here, and with what.

Each has a module file of its own beside the others; the programs' sources are the same. A new one: `go mod tidy
-modfile=X.Y.mod` in go/ and in the lab's go/node/, with the version and a `replace` for each of its staging modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_STAMP = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """One version."""

    version: str
    """As in `1.34.4`."""

    modfile: str
    """The module file's name; the checksums are beside it."""

    @property
    def minor(self) -> str:
        """As in `1.34`."""
        return self.version.rpartition(".")[0]

    @property
    def ldflags(self) -> str:
        """What makes programs say which version they are."""
        major, _, minor = self.minor.partition(".")
        return (
            f"-s -w -X {_STAMP}.gitVersion=v{self.version} -X {_STAMP}.gitMajor={major} -X {_STAMP}.gitMinor={minor} "
            f"-X {_STAMP}.gitTreeState=clean"
        )


DEFAULT = Kubernetes("1.34.4", "go.mod")
NEWEST = Kubernetes("1.37.2", "1.37.mod")
RELEASES: Mapping[str, Kubernetes] = {release.version: release for release in (DEFAULT, NEWEST)}


class UnknownKubernetesError(Exception):
    """A version that is not built here."""


def release(version: str) -> Kubernetes:
    """The one of this version.

    Raises:
        UnknownKubernetesError: there is none; the message names those there are.
    """
    if found := RELEASES.get(version):
        return found
    raise UnknownKubernetesError(f"no Kubernetes {version}: choose one of {', '.join(RELEASES)}")
