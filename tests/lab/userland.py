"""What an image needs of this machine's userland, for nodes that mount nothing of theirs into containers."""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from tests.lab.archive import Image
from tests.lab.processes import run
from tests.lab.settings import LabError

PATH = "/usr/sbin:/usr/bin"
"""Where programs are taken from: the parts of the machine that the lab's own nodes share with containers."""

LEFT_OUT = ("config-*", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "tkinter")
"""Folders that are not taken along: half of Python's standard library is for building, teaching and testing it."""

IPTABLES = (
    "iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore",
    "iptables-nft", "iptables-nft-save", "iptables-nft-restore",
    "iptables-legacy", "iptables-legacy-save", "iptables-legacy-restore",
    "ip6tables-nft", "ip6tables-nft-save", "ip6tables-nft-restore",
    "ip6tables-legacy", "ip6tables-legacy-save", "ip6tables-legacy-restore",
    "/usr/lib/*/xtables",
)  # fmt: skip

_LIBRARY = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)


@dataclass
class Userland:
    """Files and links as `archive.Image` has them, each under its path on a merged-/usr system."""

    files: dict[str, Path | str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Take a file, with every link on the way to it (alternatives are links to links)."""
        path = path.parent.resolve() / path.name
        name = str(path).lstrip("/")
        if name in self.files or name in self.links:
            return
        if path.is_symlink():
            target = path.parent / path.readlink()
            target = target.parent.resolve() / target.name
            self.links[name] = str(target)  # absolute: folders that are links themselves are not in the image
            self.add(target)
        else:
            self.files[name] = path


def collect(needs: Iterable[str]) -> Userland:
    """The closure of programs, by name, and of what they load while they run, by path or pattern of paths."""
    found = Userland()
    for need in needs:
        for path in _matches(need):
            found.add(path)
    # In one order always: images are kept under a digest of what is in them.
    for library in sorted(libraries(path for path in list(found.files.values()) if isinstance(path, Path))):
        found.add(library)
    return found


def self_contained(image: Image) -> Image:
    """The image with the userland it needs inside."""
    found = collect(image.userland)
    return replace(image, files={**found.files, **image.files}, links={**found.links, **image.links})


def libraries(paths: Iterable[Path]) -> set[Path]:
    """The shared libraries that these programs and libraries are linked to, directly or not, and the loader."""
    linked = [path for path in paths if _is_elf(path)]
    if not linked:
        return set()
    # What the caller's environment puts before the system's libraries is not for images. It fails when one is static.
    said = run("env", "-u", "LD_LIBRARY_PATH", "-u", "LD_PRELOAD", "ldd", *linked, check=False).stdout
    if missing := re.findall(r"(\S+) => not found", said):
        raise LabError(f"libraries are not installed: {', '.join(sorted(set(missing)))}")
    return {Path(found) for found in _LIBRARY.findall(said)}


def _matches(need: str) -> Iterator[Path]:
    if not need.startswith("/"):
        program = shutil.which(need, path=PATH)
        if not program:
            raise LabError(f"an image needs the program {need}, which is not in {PATH}")
        yield Path(program)
        return
    matches = sorted(Path("/").glob(need.lstrip("/")))
    if not matches:
        raise LabError(f"an image needs {need}, which is not on this machine")
    for path in matches:
        if path.is_dir():
            yield from _inside(path)
        else:
            yield path


def _inside(folder: Path) -> Iterator[Path]:
    """The files in a folder, without those that are left out."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif not any(fnmatch(path.name, pattern) for pattern in LEFT_OUT):
            yield from _inside(path)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
