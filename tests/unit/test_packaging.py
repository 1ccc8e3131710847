"""The wheel holds what the program reads at run time, and the program finds it there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cni_migrate.core.decision.plan import TABLES
from cni_migrate.core.render.manifests import TEMPLATES

ROOT = Path(__file__).parents[2]
NEEDED = (
    "cni_migrate/py.typed",
    "cni_migrate/knet/agent/__main__.py",
    "cni_migrate/identities/agent/__main__.py",
    "cni_migrate/sim/scenarios/calm.yaml",
    *(f"cni_migrate/_data/states/{name}" for name in TABLES),
    *(f"cni_migrate/_data/templates/{name}" for name in TEMPLATES),
)
READ_EVERYTHING = """
import sys
from pathlib import Path
import cni_migrate
assert Path(cni_migrate.__file__).is_relative_to(sys.argv[1]), cni_migrate.__file__
from cni_migrate import resources
from cni_migrate.config import Config
from cni_migrate.core.render.manifests import TEMPLATES, Payload, Manifests
from cni_migrate.core.decision.plan import TABLES, make_plan
texts = {name: resources.read("templates", name) for name in TEMPLATES}
tables = {name: resources.read("states", name) for name in TABLES}
for strategy in ("multus", "overlay"):
    config = Config(strategy=strategy)
    manifests = Manifests(texts, config, Payload(canal_image="x", agent={"x.py": "y"}))
    make_plan(config, manifests, tables)
    assert manifests.cilium() and manifests.knet() and manifests.rbac()
assert "node.yaml" in resources.names("states")
print("read everything")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout without network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_all_data_files(wheel: Path) -> None:
    """Tables, templates, the agent, the scenarios, and the mark that says that it is typed."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert set(NEEDED) - names == set()


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    """Exactly the package's files in the checkout, and the two data folders; no tests, no docs."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name and ".data/" not in name}
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "cni_migrate").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    data = {
        f"cni_migrate/_data/{path.relative_to(ROOT).as_posix()}"
        for folder in ("states", "templates")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == wanted | data


def test_the_wheel_brings_the_manual_page(wheel: Path) -> None:
    """`man migrate` and `man kubectl-migrate` find it below share/man; nothing else goes there."""
    with zipfile.ZipFile(wheel) as archive:
        pages = {
            name.partition(".data/")[2]: archive.read(name).decode() for name in archive.namelist() if ".data/" in name
        }
    assert set(pages) == {"data/share/man/man1/migrate.1", "data/share/man/man1/kubectl-migrate.1"}
    page = pages["data/share/man/man1/migrate.1"]
    assert page == (ROOT / "docs" / "man" / "migrate.1").read_text(encoding="utf-8")
    assert pages["data/share/man/man1/kubectl-migrate.1"] == ".so man1/migrate.1\n"
    for section in ("NAME", "SYNOPSIS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT"):
        assert f"\n.SH {section}\n" in page


def test_the_program_reads_its_files_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, away from the checkout: every table is read, every template rendered."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-c", READ_EVERYTHING, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (0, "read everything\n"), done.stderr


def test_the_wheel_declares_its_command_and_its_python(wheel: Path) -> None:
    """`migrate` is installed, Python 3.11 or newer is asked for, the licence is inside."""
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.rpartition("/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        assert "migrate = cni_migrate.cli.main:main" in archive.read(texts["entry_points.txt"]).decode()
        metadata = archive.read(texts["METADATA"]).decode()
    assert "Requires-Python: >=3.11" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert "LICENSE" in texts
