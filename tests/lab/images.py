"""Which images the lab has. Those the tool's configuration asks for have their official names."""

import hashlib
from pathlib import Path

from tests.lab import archive, configuration, userland
from tests.lab.archive import Image
from tests.lab.cilium import Release
from tests.lab.processes import say
from tests.lab.settings import COREDNS, FLANNEL, HERE, KUBE_ROUTER, MULTUS, Lab
from tests.lab.userland import IPTABLES

PAUSE = "localhost/lab/pause:1"
PROBER = "localhost/lab/prober:1"
USERLAND = "localhost/lab/userland:1"

_TOOLS = (
    "cat", "chroot", "env", "grep", "ln", "ls", "mv", "rm", "rmdir", "sed", "sh", "sleep", "sort", "tee", "test", "tr", "wc",
    "ip", *IPTABLES,
    "python3", "/usr/lib/python3.[0-9]*",
)  # fmt: skip
"""What templates/host-task.sh, the agents and multus_conf.py use."""


def _script(name: str) -> str:
    return (HERE / name).read_text()


def _images(programs: dict[str, Path], release: Release) -> list[Image]:
    return [
        Image(PAUSE, ("/pause",), {"pause": programs["pause"]}),
        Image(PROBER, ("/prober",), {"prober": programs["prober"]}),
        # Nothing but the node's programs.
        Image(USERLAND, ("/bin/sleep", "infinity"), userland=_TOOLS),
        Image(
            f"docker.io/flannel/flannel:v{FLANNEL}",
            ("/opt/bin/flanneld",),
            {"opt/bin/flanneld": programs["flanneld"], "flannel": programs["flannel"]},
            userland=("cp", "mv", "sh", *IPTABLES),
        ),
        Image(
            f"docker.io/cloudnativelabs/kube-router:v{KUBE_ROUTER}",
            ("calico-node",),
            {
                "opt/lab/bin/calico-node": _script("canal/calico-node.sh"),
                "opt/lab/bin/install-cni": _script("canal/install_cni.py"),
                "opt/lab/bin/kube-router": programs["kube-router"],
                "opt/cni/bin/calico": _script("canal/calico.py"),
            },
            userland=("sh", "ipset", "python3", "/usr/lib/python3.[0-9]*", *IPTABLES),
        ),
        Image(
            f"ghcr.io/k8snetworkplumbingwg/multus-cni:v{MULTUS}",
            ("/thin_entrypoint",),
            {
                "usr/src/multus-cni/bin/multus": programs["multus"],
                "usr/src/multus-cni/bin/passthru": programs["passthru-cni"],
                "install_multus": programs["install_multus"],
            },
        ),
        Image(f"registry.k8s.io/coredns/coredns:v{COREDNS}", ("/coredns",), {"coredns": programs["coredns"]}),
        *release.images(programs),
    ]


def requested(version: str) -> set[str]:
    """The tags of the images that the tool's configuration for a lab with this Cilium asks for."""
    config = configuration.config(version)
    cilium, multus, others = config.cilium, config.multus, {config.knet.image, config.host_task.image}
    return {cilium.image, cilium.operator_image, multus.image, *others}


def export(programs: dict[str, Path], release: Release, folder: Path) -> None:
    """Write what the tool needs on another cluster: its configuration, and its images with the userland inside."""
    folder.mkdir(parents=True, exist_ok=True)
    say(str(configuration.write(folder, release.version)))
    wanted = requested(release.version)
    for image in _images(programs, release):
        if image.tag in wanted:
            target = folder / image.file_name
            archive.write(userland.self_contained(image), target)
            say(f"{target}  {image.tag}, {target.stat().st_size / 1e6:.0f} MB")


def _folder(lab: Lab, images: list[Image]) -> Path:
    """Where the archives are kept: by what they hold (programs are in folders that are named by a digest)."""
    packer = Path(archive.__file__).read_bytes()
    return lab.cache / ("images-" + hashlib.sha256(repr(images).encode() + packer).hexdigest()[:16])


def pack(lab: Lab, programs: dict[str, Path], release: Release, *, contained: bool = False) -> Path:
    """Write the archives that are missing, with the userland they need inside if `contained`; the folder they are in."""
    images = _images(programs, release)
    if contained:
        images = [userland.self_contained(image) for image in images]
    folder = _folder(lab, images)
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        target = folder / image.file_name
        if not target.exists():
            say(f"packing {image.tag}")
            archive.write(image, target)
    return folder
