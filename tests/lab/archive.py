"""Container images as docker-archive files, written without any registry."""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

PATH = "/opt/lab/bin:/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FOLDERS = (
    *("dev", "etc", "etc/alternatives", "opt", "proc", "root", "run", "sys", "tmp", "var", "var/lib"),
    *("usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/share"),
)
"""The usual layout of a merged-/usr distribution. The node's own programs are mounted over usr/* by its containerd
(`node_config.userland`), so that an image holds only what it is for."""

SYMLINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "/run"}
_PASSWD = "root:x:0:0:root:/root:/bin/sh\n"


@dataclass(frozen=True)
class Image:
    """One image. `files` are {path in the image: path on the machine, or text}.

    `userland` is what it uses of the node's: it is not in the image, unless `userland.self_contained` puts it there.
    """

    tag: str
    entrypoint: tuple[str, ...]
    files: dict[str, Path | str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    userland: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """What its archive is called."""
        return self.tag.rpartition("/")[2].replace(":", "-") + ".tar"


def _entry(name: str, kind: bytes, mode: int, linkname: str = "", size: int = 0, changed: float = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.lstrip("/"))
    info.type, info.mode, info.linkname, info.size, info.mtime = kind, mode, linkname, size, int(changed)
    return info


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def put(name: str, data: bytes, mode: int, changed: float = 0) -> None:
            tar.addfile(_entry(name, tarfile.REGTYPE, mode, size=len(data), changed=changed), io.BytesIO(data))

        for folder in FOLDERS:
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
        for name, target in {**SYMLINKS, **image.links}.items():
            tar.addfile(_entry(name, tarfile.SYMTYPE, 0o777, target))
        put("etc/passwd", _PASSWD.encode(), 0o644)
        for name, source in image.files.items():
            if isinstance(source, str):
                put(name, source.encode(), 0o755)
            elif source.is_dir():
                for path in sorted(found for found in source.rglob("*") if found.is_file()):
                    put(f"{name}/{path.relative_to(source)}", path.read_bytes(), 0o644)
            else:
                # With its time: Python compiles a module again, at each start, when its source has another one.
                put(name, source.read_bytes(), 0o755, source.stat().st_mtime)
    return buffer.getvalue()


def write(image: Image, target: Path) -> None:
    """Write an image's archive; it is complete or not there."""
    layer = _layer(image)
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint,
            "Env": [f"{name}={value}" for name, value in ({"PATH": PATH} | image.environment).items()],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    config_data = json.dumps(config).encode()
    config_name = hashlib.sha256(config_data).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [image.tag], "Layers": [f"{digest}/layer.tar"]}]
    part = target.with_suffix(f".{os.getpid()}.part")  # two builds at once must not share it
    with tarfile.open(part, "w") as tar:
        parts = {
            config_name: config_data,
            f"{digest}/layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
        for name, data in parts.items():
            tar.addfile(_entry(name, tarfile.REGTYPE, 0o644, size=len(data)), io.BytesIO(data))
    part.rename(target)
