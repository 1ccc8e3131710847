"""The kustomize base is what the commands print, and what kubectl makes of it is what they would apply."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.controlplane import build
from tests.docs.pages import ROOT

BASE = ROOT / "deploy" / "base"
OVERLAY = """
resources: [base]
images:
- {name: cni-migrate, newName: registry.example/cni-migrate, newTag: "9"}
configMapGenerator:
- {name: cni-migrate-config, namespace: cni-migrate, behavior: replace, files: [migrate.yaml]}
"""


def built(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What `kubectl kustomize` makes of a folder, by kind, namespace and name."""
    kubectl = build.ensure_binaries()["kubectl"]
    said = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return keyed(said.stdout)


def keyed(text: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Manifests by kind, namespace and name."""
    found = [one for one in YAML(typ="safe").load_all(text) if one]
    return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in found}


def test_the_base_is_what_the_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is lost or changed on the way through kustomize."""
    from cni_migrate.cli.main import run

    texts = []
    for part in (["rbac"], ["job", "--image", "cni-migrate"]):
        assert run(["manifests", *part]) == 0
        texts.append(capsys.readouterr().out)
    assert built(BASE) == keyed("\n---\n".join(texts))


def test_an_overlay_brings_image_and_configuration(tmp_path: Path) -> None:
    """The image is replaced where it stands; the Job mounts the configuration of its own under whatever name it got."""
    (tmp_path / "base").symlink_to(BASE)
    (tmp_path / "kustomization.yaml").write_text(OVERLAY, encoding="utf-8")
    (tmp_path / "migrate.yaml").write_text("max_unavailable: 2\n", encoding="utf-8")
    found = built(tmp_path)
    (job,) = [one for (kind, _, _), one in found.items() if kind == "Job"]
    (config,) = [one for (kind, _, _), one in found.items() if kind == "ConfigMap"]
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/cni-migrate:9"
    assert pod["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    assert config["data"] == {"migrate.yaml": "max_unavailable: 2\n"}
