"""What goes into an image that has to run where the nodes' userland is not mounted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import archive, userland
from tests.lab.archive import Image
from tests.lab.settings import LabError

SHELL = Image("localhost/lab/shell:1", ("sh",), userland=("sh", "ls"))

merged = pytest.mark.skipif(
    not (Path("/usr/bin/sh").exists() and shutil.which("ldd")),
    reason="needs a merged-/usr system with ldd, as the lab does",
)


def unpacked(image: Image, folder: Path) -> Path:
    """The files of an image, from its archive."""
    archive.write(image, folder / image.file_name)
    root = folder / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", image.file_name], cwd=folder, check=True)
    (layer,) = folder.glob("*/layer.tar")
    subprocess.run(["tar", "-xf", layer, "-C", root], check=True)
    return root


@merged
def test_a_program_brings_its_libraries_and_its_loader() -> None:
    """Without them nothing starts in an image that is otherwise empty."""
    names = {Path(name).name for name in userland.collect(["ls"]).files}
    assert {"ls", "libc.so.6"} <= names
    assert any(name.startswith(("ld-linux", "ld-2")) for name in names)


@merged
def test_every_library_is_there_or_a_link_that_ends_at_a_file() -> None:
    """What `ldd` tells is names, most of them links."""
    found = userland.collect(["sh", "ls"])
    for target in found.links.values():
        assert target.lstrip("/") in {*found.files, *found.links}


def test_links_are_followed_to_their_end(tmp_path: Path) -> None:
    """Alternatives: a program is a link to a link; a library in a folder that is a link has its real path."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "tool-2").write_text("")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "choice").symlink_to(tmp_path / "folder" / "tool-2")
    (tmp_path / "tool").symlink_to("choice")
    found = userland.collect([str(tmp_path / "tool")])
    base = str(tmp_path.resolve()).lstrip("/")
    assert found.links == {f"{base}/tool": f"/{base}/choice", f"{base}/choice": f"/{base}/real/tool-2"}
    assert set(found.files) == {f"{base}/real/tool-2"}


def test_folders_come_without_what_nobody_needs(tmp_path: Path) -> None:
    """A pattern may name folders: all that is in them, but for tests and what builds Python."""
    for name in ("lib/os.py", "lib/json/tool.py", "lib/test/big.py", "lib/config-3-x86/lib.a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = userland.collect([f"{tmp_path}/li*"])
    assert {Path(name).name for name in found.files} == {"os.py", "tool.py"}


@pytest.mark.parametrize("need", ["no-such-program", "/no/such/folder-*"])
def test_what_is_missing_is_named(need: str) -> None:
    """An image that lacks a program would fail on a cluster, much later."""
    with pytest.raises(LabError, match=need.replace("*", r"\*")):
        userland.collect([need])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for libraries."""

    def ldd(*argv: str | Path, check: bool) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, "\tlibodd.so.1 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n")

    monkeypatch.setattr(userland, "run", ldd)
    monkeypatch.setattr(userland, "_is_elf", lambda _path: True)
    with pytest.raises(LabError, match=r"libodd\.so\.1"):
        userland.libraries([Path("/usr/bin/odd")])


@merged
def test_the_archive_holds_the_userland_and_the_images_own(tmp_path: Path) -> None:
    """Its own files win over the machine's, and files keep their time: Python's compiled modules depend on it."""
    own = Image("localhost/lab/own:1", ("x",), {"usr/bin/ls": "#!/bin/sh\n"}, {"opt/x": "/usr/bin/ls"}, ("sh", "ls"))
    root = unpacked(userland.self_contained(own), tmp_path)
    assert (root / "usr/bin/ls").read_text() == "#!/bin/sh\n"
    assert (root / "opt/x").is_symlink()
    shell = Path("/usr/bin/sh").resolve()
    packed = root / str(shell).lstrip("/")
    assert packed.read_bytes() == shell.read_bytes()
    assert int(packed.stat().st_mtime) == int(shell.stat().st_mtime)


@merged
@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_a_packed_program_runs_with_nothing_but_its_image(tmp_path: Path) -> None:
    """The proof of the closure: the image's own root, and nothing of the machine's."""
    root = unpacked(userland.self_contained(SHELL), tmp_path)
    done = subprocess.run(
        ["chroot", root, "/bin/sh", "-c", "PATH=/usr/bin; ls /etc"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "passwd" in done.stdout.split()


def test_without_asking_an_image_holds_no_userland(tmp_path: Path) -> None:
    """On the lab's own nodes it is mounted, and a gigabyte per node is spared."""
    assert list((unpacked(SHELL, tmp_path) / "usr/bin").iterdir()) == []


@merged
def test_an_image_is_the_same_in_every_process() -> None:
    """Archives are kept under a digest of what is in them; the order of a set is another one in each process."""
    script = "from tests.lab.userland import collect; print([*collect(['ip', 'ls', 'sh']).files])"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(found) == 1
