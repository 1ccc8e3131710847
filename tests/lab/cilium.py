"""The releases of Cilium that the lab has: how each is built, what its images hold, and its chart."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.controlplane.build import go_tool
from tests.lab.archive import Image
from tests.lab.build import GoBuild
from tests.lab.processes import run
from tests.lab.settings import HERE, Lab, LabError
from tests.lab.userland import IPTABLES

MODULE = "github.com/cilium/cilium"
ON_PATH = "opt/lab/bin"
"""Where a program is found in an image: the usual folders are the node's own."""

BY_PATH = ("cilium-mount", "cilium-sysctlfix")
"""What the chart starts as /usr/bin/NAME. That folder is the node's, so the nodes have links there, into the image."""

_USERLAND = (
    "basename", "bash", "cat", "cp", "find", "grep", "ln", "ls", "mkdir", "mount", "mv", "nsenter", "rm", "sh", "sleep",
    "bpftool", "clang-19", "ip", "ipset", "llc-19", *IPTABLES,
)  # fmt: skip
"""What the agent, its scripts and its init containers use."""


@dataclass(frozen=True)
class Release:
    """One version of Cilium."""

    version: str
    build: GoBuild
    agent: Mapping[str, str]
    """The programs in the agent's image, and what the build calls each."""

    operator: str
    """What the build calls the operator."""

    relay: str | None = None
    """What the build calls Hubble's relay, where there is one."""

    shims: Mapping[str, str] = field(default_factory=dict)
    """Scripts in images/ that are started in the place of a program."""

    def source(self) -> Path:
        """The unpacked module: BPF programs, scripts and the chart."""
        where = HERE / "go" / self.build.module
        run(go_tool(), "mod", "download", MODULE, cwd=where)
        return Path(run(go_tool(), "list", "-m", "-f", "{{.Dir}}", MODULE, cwd=where).stdout.strip())

    def images(self, programs: Mapping[str, Path]) -> list[Image]:
        """Its images, under their official names."""
        found = [
            Image(
                f"quay.io/cilium/operator-generic:v{self.version}",
                ("cilium-operator-generic",),
                {f"{ON_PATH}/cilium-operator-generic": programs[self.operator]},
            ),
            self._agent(programs),
        ]
        if self.relay:
            tag = f"quay.io/cilium/hubble-relay:v{self.version}"
            # As in Cilium's images: its root is read-only, and /tmp is not.
            environment = {"GOPS_CONFIG_DIR": "/tmp"}
            files = {f"{ON_PATH}/hubble-relay": programs[self.relay]}
            found.append(Image(tag, ("hubble-relay",), dict(files), environment=environment))
        return found

    def _agent(self, programs: Mapping[str, Path]) -> Image:
        source = self.source()
        files: dict[str, Path | str] = {f"{ON_PATH}/{name}": programs[built] for name, built in self.agent.items()}
        for name, script in self.shims.items():
            if program := files.get(f"{ON_PATH}/{name}"):
                files[f"opt/lab/real/{name}"] = program
            files[f"{ON_PATH}/{name}"] = (HERE / "images" / script).read_text()
        links = {"llc": "/usr/bin/llc-19", "clang": "/usr/bin/clang-19", "cilium": "cilium-dbg"}
        return Image(
            f"quay.io/cilium/cilium:v{self.version}",
            ("cilium-agent",),
            files
            | {
                "opt/cni/bin/cilium-cni": programs["cilium-cni"],
                "install-plugin.sh": source / "plugins/cilium-cni/install-plugin.sh",
                "cni-uninstall.sh": source / "plugins/cilium-cni/cni-uninstall.sh",
                "init-container.sh": source / "images/cilium/init-container.sh",
                "cni/loopback": Path("/usr/lib/cni/loopback"),
                "var/lib/cilium/bpf": source / "bpf",
            },
            {f"{ON_PATH}/{name}": target for name, target in links.items() if name not in self.shims}
            | {f"usr/bin/{name}": f"/{ON_PATH}/{name}" for name in BY_PATH if name in self.agent},
            _USERLAND,
            {"HUBBLE_SERVER": "unix:///var/run/cilium/hubble.sock"},
        )


def _stamp(version: str) -> str:
    """The agent reads "version revision date" out of this string."""
    return f"-s -w -X '{MODULE}/pkg/version.ciliumVersion={version} module 1970-01-01T00:00:00+00:00'"


_TAGS = "ipam_provider_operator"
"""The operator's "generic" flavour."""

RELEASES = {
    release.version: release
    for release in (
        Release(
            "1.20.2",
            # The upstream commands as they are, each under the name of its package.
            GoBuild(
                "cilium-1.20",
                "cilium-1.20",
                (
                    "daemon", "operator", "cilium-cni", "cilium-dbg", "responder", "hubble", "hubble-relay", "mount",
                    "sysctlfix",
                ),
                packages=("tool",),
                tags=_TAGS,
                ldflags=_stamp("1.20.2"),
            ),
            {
                "cilium-agent": "daemon",
                "cilium-dbg": "cilium-dbg",
                "cilium-health-responder": "responder",
                "cilium-mount": "mount",
                "cilium-sysctlfix": "sysctlfix",
                "hubble": "hubble",
            },
            operator="operator",
            relay="hubble-relay",
        ),
        Release(
            "1.15.19",
            GoBuild(
                "cilium-1.15",
                "cilium-1.15",
                ("cilium-agent", "cilium-operator", "cilium-cni", "cilium-dbg"),
                tags=_TAGS,
                ldflags=_stamp("1.15.19"),
            ),
            {"cilium-agent": "cilium-agent", "cilium-dbg": "cilium-dbg"},
            operator="cilium-operator",
            shims={"cilium-agent": "cilium-agent.sh", "clang": "clang.sh"},
        ),
    )
}  # fmt: skip
"""By version, the newest first."""


def release(version: str) -> Release:
    """The release of a version; raises when the lab has none."""
    if version not in RELEASES:
        raise LabError(f"the lab has no Cilium {version}: choose one of {', '.join(RELEASES)}")
    return RELEASES[version]


def chart(lab: Lab, version: str) -> Path:
    """The official chart of a release, in a folder of the cache that may be written to."""
    place = lab.cache / "charts" / version / "cilium"
    if not (place / "Chart.yaml").exists():
        part = place.with_name("cilium.part")
        shutil.rmtree(part, ignore_errors=True)
        # The module cache is read-only.
        shutil.copytree(release(version).source() / "install/kubernetes/cilium", part, copy_function=shutil.copyfile)
        for folder in (part, *part.rglob("*/")):
            folder.chmod(0o755)
        part.rename(place)
    return place
