# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.5.1"]
# ///
"""The project's checks. `nox --list` says what there is; arguments after `--` go to the tool.

nox                     lint, tests on this Python, docs; needs no root
nox -s test -- -k drain
nox -s tests-3.13       one Python of those the package declares
nox -s coverage         how much of the core its own tests reach; may not fall
nox -s minimums         with the oldest versions that pyproject.toml allows
nox -s bench            what things cost; figures, no verdict
nox -s knet_faults      real agents in network namespaces, every fault in turn; as root, with iproute2
nox -s constraints      what the image is made of, pinned anew
nox -s conformance      the simulator beside the newest Kubernetes, where `nox` has the default one; needs Go 1.26
nox -s charts           Cilium's official charts, each moved to on the simulator by the real helm; needs Go
nox -s lab              real migrations of a real cluster on this machine; as root, see tests/lab/README.md
"""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["lint", "test", "docs"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = bool(os.environ.get("CI"))
nox.options.reuse_venv = "yes"

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)

SIDE_BY_SIDE = ["tests/unit", "tests/simulation"]
"""Tests that share nothing: as many at once as there are processors."""

BY_THE_CLOCK = ["tests/conformance", "tests/cli", "tests/docs", "tests/real"]
"""Tests that share a control plane, or wait for real seconds: two files at once, however many processors there are,
each half with a control plane of its own. Those that need root are sessions of their own."""


def _groups(*names: str) -> list[str]:
    """The requirements of dependency groups of pyproject.toml."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, types and layers."""
    session.install("--editable", ".", *_groups("dev"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports")


def _tests(session: nox.Session) -> None:
    """The tests: the one list for `make test`, nox and CI."""
    session.install("--editable", ".", *_groups("test", "docs"))
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *SIDE_BY_SIDE, *session.posargs)
    session.run("pytest", "-n", "2", "--dist", "loadfile", *BY_THE_CLOCK, *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """All tests that need no root, on this Python."""
    _tests(session)


@nox.session(python=PYTHONS, default=False)
def tests(session: nox.Session) -> None:
    """The same on every Python that the package declares."""
    _tests(session)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Which lines and branches of the core its own tests reach; below the floor of pyproject.toml it fails."""
    session.install("--editable", ".", *_groups("test"))
    # The enumeration of all situations is left out: it reaches nothing that the other tests do not, and takes minutes.
    where = session.posargs or ["tests/unit/core", "--ignore", "tests/unit/core/decision/test_enumeration.py"]
    session.run("coverage", "run", "-m", "pytest", "-q", *where)
    session.run("coverage", "report")


@nox.session(default=False)
def minimums(session: nox.Session) -> None:
    """The unit tests with the oldest direct dependencies that pyproject.toml allows."""
    if shutil.which("uv") is None:
        session.skip("needs `uv` on PATH: it alone resolves to the lowest versions")
    install = ["uv", "pip", "install", "--python", str(session.virtualenv.location), "--resolution", "lowest-direct"]
    session.run_install(*install, "--editable", ".", *_groups("test"), external=True)
    session.run("pytest", *(session.posargs or ["tests/unit"]))


@nox.session
def docs(session: nox.Session) -> None:
    """Check that the generated pages are current, then build everything with warnings as errors."""
    session.install("--editable", ".", *_groups("docs"))
    session.run("python", "docs/generate.py", "--check")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "build/docs", *session.posargs)
    session.log("build/docs/index.html")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Start-up time, requests and bytes per node, large clusters on virtual time. Printed, never asserted."""
    session.install("--editable", ".", *_groups("test"))
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session(default=False)
def knet_faults(session: nox.Session) -> None:
    """Make every fault among real agents and tell what the gate says: `nox -s knet_faults -- --agents 20`."""
    session.install("--editable", ".", *_groups("test"))
    session.run("python", "-m", "tests.knet_faults", *session.posargs)


@nox.session(default=False)
def constraints(session: nox.Session) -> None:
    """Write constraints*.txt, what the image is made of, with the hashes of every platform's files; needs `uv`."""
    compile_ = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"]
    quietly = ["--no-annotate", "--no-header", "--quiet"]
    asked = Path(session.create_tmp()) / "build.in"
    asked.write_text("\n".join(PYPROJECT["build-system"]["requires"]) + "\n", encoding="utf-8")
    made = {"constraints.txt": "pyproject.toml", "constraints-build.txt": str(asked)}
    for name, source in made.items():
        session.run(*compile_, *quietly, "--output-file", name, source, external=True)
        text = Path(name).read_text(encoding="utf-8")
        what = "has" if source == "pyproject.toml" else "is built with"
        Path(name).write_text(
            f"# What the image {what}, with hashes. Made by: make constraints\n{text}", encoding="utf-8"
        )


@nox.session(default=False)
def conformance(session: nox.Session) -> None:
    """The simulator beside the newest Kubernetes that is built here: the same suite, another real API server."""
    session.install("--editable", ".", *_groups("test"))
    version = os.environ.get("CONFORMANCE_KUBERNETES", "newest")
    session.run("pytest", *(session.posargs or ["tests/conformance"]), env={"CONFORMANCE_KUBERNETES": version})


@nox.session(default=False)
def charts(session: nox.Session) -> None:
    """Cilium's official charts: what was written down of each is so, and a simulated cluster is moved to it."""
    session.install("--editable", ".", *_groups("test"))
    session.run("python", "-m", "pytest", "tests/charts", *session.posargs)


@nox.session(default=False)
def lab(session: nox.Session) -> None:
    """Migrate real clusters on this machine, one after the other; a lab that is up has to be ended before."""
    session.install("--editable", ".", *_groups("test"))
    session.run("python", "-m", "pytest", "tests/lab", *session.posargs)


if __name__ == "__main__":
    nox.main()
