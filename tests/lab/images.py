"""Which images the lab has. Those the tool's configuration asks for have their official names."""

import hashlib
from pathlib import Path

from ruamel.yaml import YAML

from cni_migrate.config import Config
from tests.lab import archive, build, userland
from tests.lab.archive import Image
from tests.lab.processes import say
from tests.lab.settings import CILIUM, CONFIGURATION, COREDNS, FLANNEL, HERE, KUBE_ROUTER, MULTUS, Lab

PAUSE = "localhost/lab/pause:1"
PROBER = "localhost/lab/prober:1"
USERLAND = "localhost/lab/userland:1"

_IPTABLES = (
    "iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore",
    "iptables-nft", "iptables-nft-save", "iptables-nft-restore",
    "iptables-legacy", "iptables-legacy-save", "iptables-legacy-restore",
    "ip6tables-nft", "ip6tables-nft-save", "ip6tables-nft-restore",
    "ip6tables-legacy", "ip6tables-legacy-save", "ip6tables-legacy-restore",
    "/usr/lib/*/xtables",
)  # fmt: skip
_TOOLS = (
    "cat", "chroot", "env", "grep", "ls", "mv", "rm", "rmdir", "sed", "sh", "sleep", "sort", "tee", "test", "tr", "wc",
    "ip", *_IPTABLES,
    "python3", "/usr/lib/python3.[0-9]*",
)  # fmt: skip
"""What templates/host-task.sh, the agents and multus_conf.py use."""

_CILIUM = (
    "basename", "bash", "cat", "cp", "find", "grep", "ln", "ls", "mkdir", "mount", "mv", "nsenter", "rm", "sh", "sleep",
    "bpftool", "clang-19", "ip", "ipset", "llc-19", *_IPTABLES,
)  # fmt: skip
"""What the agent, its scripts and its init container use."""


def _script(name: str) -> str:
    return (HERE / name).read_text()


def _images(programs: dict[str, Path]) -> list[Image]:
    source = build.cilium_source()
    return [
        Image(PAUSE, ("/pause",), {"pause": programs["pause"]}),
        Image(PROBER, ("/prober",), {"prober": programs["prober"]}),
        # Nothing but the node's programs.
        Image(USERLAND, ("/bin/sleep", "infinity"), userland=_TOOLS),
        Image(
            f"docker.io/flannel/flannel:v{FLANNEL}",
            ("/opt/bin/flanneld",),
            {"opt/bin/flanneld": programs["flanneld"], "flannel": programs["flannel"]},
            userland=("cp", "mv", "sh", *_IPTABLES),
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
            userland=("sh", "ipset", "python3", "/usr/lib/python3.[0-9]*", *_IPTABLES),
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
                "opt/lab/bin/cilium-agent": _script("images/cilium-agent.sh"),
                "opt/lab/real/cilium-agent": programs["cilium-agent"],
                "opt/lab/bin/cilium-dbg": programs["cilium-dbg"],
                "opt/lab/bin/clang": _script("images/clang.sh"),
                "opt/cni/bin/cilium-cni": programs["cilium-cni"],
                "install-plugin.sh": source / "plugins/cilium-cni/install-plugin.sh",
                "cni-uninstall.sh": source / "plugins/cilium-cni/cni-uninstall.sh",
                "cni/loopback": Path("/usr/lib/cni/loopback"),
                "var/lib/cilium/bpf": source / "bpf",
            },
            {"opt/lab/bin/llc": "/usr/bin/llc-19", "opt/lab/bin/cilium": "cilium-dbg"},
            _CILIUM,
        ),
    ]


def requested() -> set[str]:
    """The tags of the images that the tool's configuration asks for."""
    config = Config.model_validate(YAML(typ="safe", pure=True).load(CONFIGURATION.read_text()))
    cilium, multus, others = config.cilium, config.multus, {config.knet.image, config.host_task.image}
    return {cilium.image, cilium.operator_image, multus.image, *others}


def export(programs: dict[str, Path], folder: Path) -> None:
    """Write what the tool needs on another cluster: its images, with the userland that is the nodes' own here."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = requested()
    for image in _images(programs):
        if image.tag in wanted:
            target = folder / image.file_name
            archive.write(userland.self_contained(image), target)
            say(f"{target}  {image.tag}, {target.stat().st_size / 1e6:.0f} MB")


def _folder(lab: Lab, images: list[Image]) -> Path:
    """Where the archives are kept: by what they hold (programs are in folders that are named by a digest)."""
    packer = Path(archive.__file__).read_bytes()
    return lab.cache / ("images-" + hashlib.sha256(repr(images).encode() + packer).hexdigest()[:16])


def pack(lab: Lab, programs: dict[str, Path], *, contained: bool = False) -> Path:
    """Write the archives that are missing, with the userland they need inside if `contained`; the folder they are in."""
    images = _images(programs)
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
