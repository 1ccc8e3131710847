"""Which images a cluster's pods ask their nodes for, while something goes on."""

import subprocess
from types import TracebackType
from typing import Self

from tests.lab.cluster import Cluster

_COLUMNS = "custom-columns=N:.spec.nodeName,I:.spec.initContainers[*].image,C:.spec.containers[*].image"


class Asked:
    """Every image of every pod that has got a node meanwhile; those of pods that were there before are in `before`."""

    def __init__(self, here: Cluster) -> None:
        self._here = here
        self._file = here.lab.logs / "asked.txt"
        self.before: set[str] = set()

    def __enter__(self) -> Self:
        kubectl = self._here.control_plane.kubectl
        self.before = _images(kubectl("get", "pods", "-A", "--no-headers", "-o", _COLUMNS).stdout)
        program = str(self._here.control_plane.binaries["kubectl"])
        argv = [program, f"--kubeconfig={self._here.lab.admin}", "get", "pods", "-A", "--watch", "--no-headers"]
        with self._file.open("wb") as out:
            self._child = subprocess.Popen([*argv, "-o", _COLUMNS], stdout=out, stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watched = self._child.poll() is None
        self._child.terminate()
        self._child.wait(10)

    def new(self) -> set[str]:
        """Those that no pod had before."""
        assert self.watched, "the watch has ended before what it was to look at"
        return _images(self._file.read_text()) - self.before


def _images(table: str) -> set[str]:
    rows = (line.split() for line in table.splitlines())
    return {
        image
        for node, *columns in rows
        if node != "<none>"
        for column in columns
        for image in column.split(",")
        if image != "<none>"
    }
