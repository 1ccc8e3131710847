"""Which images the lab has. Those the tool's configuration asks for have their official names."""

import hashlib
from pathlib import Path

from tests.lab import archive, build
from tests.lab.archive import Image
from tests.lab.processes import say
from tests.lab.settings import CILIUM, COREDNS, FLANNEL, HERE, MULTUS, Lab

PAUSE = "localhost/lab/pause:1"
PROBER = "localhost/lab/prober:1"
USERLAND = "localhost/lab/userland:1"


def _script(name: str) -> str:
    return (HERE / "images" / name).read_text()


def _images(programs: dict[str, Path]) -> list[Image]:
    source = build.cilium_source()
    return [
        Image(PAUSE, ("/pause",), {"pause": programs["pause"]}),
        Image(PROBER, ("/prober",), {"prober": programs["prober"]}),
        # Python and a shell: those of the node.
        Image(USERLAND, ("/bin/sleep", "infinity")),
        Image(
            f"docker.io/flannel/flannel:v{FLANNEL}",
            ("/opt/bin/flanneld",),
            {"opt/bin/flanneld": programs["flanneld"], "flannel": programs["flannel"]},
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
        Image(
            f"quay.io/cilium/operator-generic:v{CILIUM}",
            ("cilium-operator-generic",),
            {"opt/lab/bin/cilium-operator-generic": programs["cilium-operator"]},
        ),
        Image(
            f"quay.io/cilium/cilium:v{CILIUM}",
            ("cilium-agent",),
            {
                "opt/lab/bin/cilium-agent": _script("cilium-agent.sh"),
                "opt/lab/real/cilium-agent": programs["cilium-agent"],
                "opt/lab/bin/cilium-dbg": programs["cilium-dbg"],
                "opt/lab/bin/clang": _script("clang.sh"),
                "opt/cni/bin/cilium-cni": programs["cilium-cni"],
                "install-plugin.sh": source / "plugins/cilium-cni/install-plugin.sh",
                "cni-uninstall.sh": source / "plugins/cilium-cni/cni-uninstall.sh",
                "cni/loopback": Path("/usr/lib/cni/loopback"),
                "var/lib/cilium/bpf": source / "bpf",
            },
            {"opt/lab/bin/llc": "/usr/bin/llc-19", "opt/lab/bin/cilium": "cilium-dbg"},
        ),
    ]


def _folder(lab: Lab, images: list[Image]) -> Path:
    """Where the archives are kept: by what they hold (programs are in folders that are named by a digest)."""
    packer = Path(archive.__file__).read_bytes()
    return lab.cache / ("images-" + hashlib.sha256(repr(images).encode() + packer).hexdigest()[:16])


def pack(lab: Lab, programs: dict[str, Path]) -> Path:
    """Write the archives that are missing; the folder they are in."""
    images = _images(programs)
    folder = _folder(lab, images)
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        target = folder / image.file_name
        if not target.exists():
            say(f"packing {image.tag}")
            archive.write(image, target)
    return folder
