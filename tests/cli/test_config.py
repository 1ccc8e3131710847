"""`config`, `manifests`, `images`: what they print can be used, and every value says where it comes from."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from cni_migrate.cli.app import app
from cni_migrate.config import PROFILES, Config
from cni_migrate.configfile import NOT_KEYS, leaves, load, variable
from tests.cli.conftest import Typed


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_init_has_every_key_with_its_default(migrate: Typed, tmp_path: Path, profile: str) -> None:
    """As written it changes nothing; with every comment sign taken away it says the same."""
    file = tmp_path / "migrate.yaml"
    assert migrate("config", "init", "--output", str(file), "--profile", profile).code == 0
    wanted = Config.model_validate({"profile": profile, **PROFILES[profile]})  # type: ignore[index]
    assert load(file, {}, {}).config == wanted
    lines = file.read_text(encoding="utf-8").splitlines()
    bare = [re.sub(r"^( *)#(?! )", r"\1", line) for line in lines]
    file.write_text("\n".join(bare), encoding="utf-8")
    loaded = load(file, {}, {})
    assert loaded.config == wanted
    assert all(source.startswith(str(file)) for source in loaded.origin.values())
    for path, field in leaves():
        assert field.description is None or any(field.description in line for line in lines), path


def _variables(command: Any) -> Iterator[str]:
    """The environment variables of a command's options, and of those below it."""
    for option in command.params:
        yield from [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
    for below in getattr(command, "commands", {}).values():
        yield from _variables(below)


def test_the_variables_of_options_are_no_unknown_keys(migrate: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is documented with its option, and every command reads the configuration."""
    every = set(_variables(get_command(app)))
    assert "MIGRATE_PROGRESS" in every
    assert every == NOT_KEYS
    monkeypatch.setenv("MIGRATE_PROGRESS", "plain")
    ended = migrate("config", "show")
    assert ended.code == 0, ended.err


def test_init_overwrites_nothing(migrate: Typed, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    file = tmp_path / "migrate.yaml"
    file.write_text("strategy: overlay\n", encoding="utf-8")
    ended = migrate("config", "init", "--output", str(file))
    assert (ended.code, file.read_text(encoding="utf-8")) == (2, "strategy: overlay\n")
    assert str(file) in ended.err


def test_what_outranks_what(migrate: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Flags, then the environment, then the file, then the profile, then the default; each is told."""
    file = tmp_path / "migrate.yaml"
    file.write_text("profile: seed\nstrategy: overlay\nnamespace: a\nmax_unavailable: 3\n", encoding="utf-8")
    monkeypatch.setenv("MIGRATE_STRATEGY", "multus")
    monkeypatch.setenv("MIGRATE_NAMESPACE", "b")
    monkeypatch.setenv("MIGRATE_SERVICE_HOST", "10.0.0.1")
    ended = migrate("config", "show", "-o", "json", "-c", str(file), "-n", "c")
    assert ended.code == 0, ended.err
    shown = json.loads(ended.out)
    origin = shown["origin"]
    assert (shown["config"]["namespace"], origin["namespace"]) == ("c", "--namespace")
    assert (shown["config"]["strategy"], origin["strategy"]) == ("multus", "MIGRATE_STRATEGY")
    assert (shown["config"]["max_unavailable"], origin["max_unavailable"]) == ("3", f"{file}, line 4")
    assert (shown["config"]["cilium"]["tunnel_port"], origin["cilium.tunnel_port"]) == (6081, "profile seed")
    assert (shown["config"]["knet"]["interval"], origin["knet.interval"]) == (0.5, "default")


def test_environment_variables_are_unambiguous() -> None:
    """No two keys share one."""
    names = [variable(path) for path, _ in leaves()]
    assert len(names) == len(set(names))


def test_lists_and_maps_in_the_environment(migrate: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written as JSON."""
    monkeypatch.setenv("MIGRATE_CILIUM_EXTRA_CONFIG", '{"enable-hubble": "true"}')
    shown = json.loads(migrate("config", "show", "-o", "json").out)
    assert shown["config"]["cilium"]["extra_config"] == {"enable-hubble": "true"}


def test_schema(migrate: Typed) -> None:
    """It is the model's, and refuses unknown keys."""
    schema = json.loads(migrate("config", "schema").out)
    assert schema == Config.model_json_schema()
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
@pytest.mark.parametrize("part", ["all", "cilium", "knet", "rbac"])
def test_manifests(migrate: Typed, strategy: str, part: str) -> None:
    """A stream of YAML documents, each object once, without a cluster."""
    ended = migrate("manifests", part, "--strategy", strategy)
    assert ended.code == 0, ended.err
    found = list(YAML(typ="safe", pure=True).load_all(ended.out))
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    assert names
    assert len(names) == len(set(names))
    if part == "all":
        kinds = {kind for kind, *_ in names}
        assert "ConfigMap" in kinds
        assert ("CiliumNodeConfig" in kinds) is (strategy == "overlay")


def test_the_account_comes_with_its_namespaces(migrate: Typed) -> None:
    """On a cluster that `migrate` has never seen, what is printed can be applied as it is."""
    found = list(YAML(typ="safe", pure=True).load_all(migrate("manifests", "rbac").out))
    made = {one["metadata"]["name"] for one in found if one["kind"] == "Namespace"}
    assert {one["metadata"]["namespace"] for one in found if "namespace" in one["metadata"]} == made | {"kube-system"}
    assert [one["kind"] for one in found[: len(made)]] == ["Namespace"] * len(made)


def test_the_job_gets_what_was_chosen_wherever_it_was_said(
    migrate: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, variable and flag; it means the same to the `migrate` in the Job as to this one."""
    file = tmp_path / "migrate.yaml"
    file.write_text(
        "own_node: w1\nmax_unavailable: 10%\ncanal: {extra_objects: [v1/ConfigMap/kube-system/x]}\n"
        "cilium: {extra_config: {devices: eth0}}\njob: {image: registry.example/x:1}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("MIGRATE_KNET_INTERVAL", "0.25")
    ended = migrate("manifests", "job", "--config", str(file), "--strategy", "overlay", "-n", "mine")
    assert ended.code == 0, ended.err
    settings, job = YAML(typ="safe", pure=True).load_all(ended.out)
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/x:1"
    assert {one["metadata"]["namespace"] for one in (settings, job)} == {"mine"}
    inside = tmp_path / "inside.yaml"
    inside.write_text(settings["data"]["migrate.yaml"], encoding="utf-8")
    here = load(file, {"MIGRATE_KNET_INTERVAL": "0.25"}, {"strategy": "overlay", "namespace": "mine"}).config
    assert load(inside, {}, {}).config == here.model_copy(update={"own_node": "", "job": Config().job})
    assert load(inside, {}, {}).origin["deadlines.drain"] == "default"


def test_the_job_needs_an_image(migrate: Typed) -> None:
    """None is published, so there is no default; a flag will do."""
    ended = migrate("manifests", "job")
    assert ended.code == 2
    assert "--image" in ended.err
    assert "image: a/b:1" in migrate("manifests", "job", "--image", "a/b:1").out


def test_no_multus_under_overlay(migrate: Typed) -> None:
    """It is said."""
    ended = migrate("manifests", "multus", "--strategy", "overlay")
    assert ended.code == 2
    assert "Multus" in ended.err


def test_images(migrate: Typed) -> None:
    """One a line, without a cluster."""
    ended = migrate("images", "--strategy", "multus")
    assert ended.code == 0
    assert Config().cilium.image in ended.out
    assert Config().multus.image in ended.out
    assert "Canal's own" in ended.out
