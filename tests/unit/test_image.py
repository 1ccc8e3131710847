"""The image's recipe, read but not built: base by digest, dependencies by hash and before the source, labels, no root."""

import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in lines)]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage; the last one is the image."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def pinned(name: str) -> dict[str, tuple[str, list[str]]]:
    """Package to its version and its hashes."""
    found: dict[str, tuple[str, list[str]]] = {}
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            match = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
            assert match, line
            found[canonicalize_name(match[1])] = (match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})\b", line))
    return found


def project() -> dict[str, Any]:
    """pyproject.toml."""
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_stage_begins_from_one_base_by_its_digest() -> None:
    """A tag moves, a digest does not; it is that of an index, so no stage asks for a platform of its own."""
    base = next(rest for word, rest in instructions() if word == "ARG" and rest.startswith("BASE="))
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.12-slim@sha256:[0-9a-f]{64}", base)
    assert [stage[0][1] for stage in stages()] == ["--platform=$BUILDPLATFORM ${BASE} AS wheel", "${BASE}"]


def test_dependencies_are_a_layer_before_the_source() -> None:
    """A changed source leaves their layer as it is: nothing of the source is there when they are installed."""
    for stage, pins, source in (
        (stages()[-1], "constraints.txt", "--from=wheel /install /usr/local"),
        (stages()[0], "constraints-build.txt", "src ./src"),
    ):
        work = [rest for word, rest in stage if word in {"RUN", "COPY", "ADD"}]
        assert work[0].startswith(f"{pins} ")
        assert "--require-hashes" in work[1]
        assert work.index(source) > 1


def test_files_come_by_copy() -> None:
    """Buildah and Podman compare what is copied, not what is mounted, with their cache: a mount builds yesterday's source."""
    assert [rest for _, rest in instructions() if "--mount" in rest] == []


def test_nothing_is_installed_without_its_hash() -> None:
    """Every `pip install` checks hashes, or takes the wheel that the first stage has built; no one resolves anything."""
    for stage in stages():
        for word, rest in stage:
            for command in rest.split("&&") if word == "RUN" else []:
                assert command.split()[0] == "pip"
                assert "--no-deps" in command
                assert {"--require-hashes", "--no-index", "--no-build-isolation"} & set(command.split())


def test_the_image_says_what_it_is_and_is_not_root() -> None:
    """The labels of the OCI's annotation rules, a number as user, `migrate` as what it starts."""
    last = dict(stages()[-1])
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", last["LABEL"]))
    assert labels == {"title", "description", "licenses", "version", "revision", "base.name"}
    assert f"VERSION={project()['project']['version']}" in [rest for word, rest in stages()[-1] if word == "ARG"]
    assert last["USER"] == "65532:65532"
    assert last["ENTRYPOINT"] == '["migrate"]'


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-build.txt"])
def test_all_that_is_pinned_has_hashes(name: str) -> None:
    """At least one file of each version is allowed."""
    assert {package: hashes for package, (_, hashes) in pinned(name).items() if not hashes} == {}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("constraints.txt", project()["project"]["dependencies"]),
        ("constraints-build.txt", project()["build-system"]["requires"]),
    ],
)
def test_what_is_pinned_is_what_the_project_asks_for(name: str, asked: list[str]) -> None:
    """Each requirement of pyproject.toml is there, in a version that it allows; else: make constraints."""
    versions = {package: version for package, (version, _) in pinned(name).items()}
    for requirement in map(Requirement, asked):
        version = versions.get(canonicalize_name(requirement.name), "")
        assert version, f"{requirement.name} is not in {name}"
        assert requirement.specifier.contains(version), f"{name} has {requirement.name} {version}"


def test_the_build_gets_all_that_it_copies() -> None:
    """What is copied is let through by .dockerignore, and is there."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for stage in stages():
        for word, rest in stage:
            if word == "COPY":
                for source in [] if rest.startswith("--from=") else rest.split()[:-1]:
                    assert (ROOT / source).exists()
                    assert f"!{source.removeprefix('./')}" in allowed
