"""Helm on a lab, as the operator has it whose chart Cilium comes from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab import build, configuration
from tests.lab.cluster import Cluster
from tests.lab.processes import run

NAME = "cilium"
NAMESPACE = "kube-system"
_KINDS = "ds,deploy,cm,svc,sa,role,rolebinding"


class Release:
    """The release that the chart makes on a lab."""

    def __init__(self, here: Cluster, chart: Path, values: Sequence[Path] = configuration.VALUES) -> None:
        self._here = here
        self._chart = chart
        self._values = [part for path in values for part in ("--values", str(path))]
        self.helm = build.build_programs(here.lab, [build.HELM])["helm"]

    def ask(self, command: str) -> Any:
        """What `helm COMMAND` answers about it."""
        return json.loads(self._run(*command.split(), NAME, "-o", "json"))

    def revisions(self) -> list[str]:
        """What Helm keeps in the cluster, a Secret a revision, pending and failed ones, too; nothing: there is no release."""
        told = self._here.control_plane.kubectl("get", "secrets", "-A", "-l", "owner=helm", "-o", "name").stdout
        return told.split()

    def install(self, *values: Path) -> None:
        """`helm install`, with more values than the lab's own."""
        more = [part for path in values for part in ("--values", str(path))]
        self._run("install", NAME, str(self._chart), *self._values, *more)

    def change(self, values: Path) -> None:
        """`helm upgrade` with further values, the ones before kept."""
        self._run("upgrade", NAME, str(self._chart), "--reuse-values", "--values", str(values))

    def upgrade(self) -> None:
        """`helm upgrade` with the values it has been installed with."""
        self._run("upgrade", NAME, str(self._chart), *self._values)

    def objects(self) -> dict[str, Any]:
        """What the objects of it say, by kind and name, without what changes by itself."""
        kubectl = self._here.control_plane.kubectl
        told = kubectl("get", _KINDS, "-n", NAMESPACE, "-l", "app.kubernetes.io/managed-by=Helm", "-o", "json").stdout
        return {
            f"{one['kind']}/{one['metadata']['name']}": (
                one["metadata"].get("generation"), one.get("data"), one.get("rules"), one.get("spec"),
            )
            for one in json.loads(told)["items"]
        }  # fmt: skip

    def _run(self, *words: str) -> str:
        admin = str(self._here.lab.admin)
        return run(self.helm, *words, "--namespace", NAMESPACE, "--kubeconfig", admin).stdout
