"""YAML by libyaml: plain words mean what they mean in YAML 1.2, as ruamel.yaml reads them."""

import io

import pytest
import yaml
from ruamel.yaml import YAML

from cni_migrate.core.render import documents as module
from cni_migrate.core.render import manifests
from cni_migrate.core.render.documents import documents
from tests.unit.core.render.test_manifests import ALL, MODULES, TEXTS, every, merged

WORDS = ["no", "yes", "on", "off", "n", "true", "False", "null", "~", "0o644", "644", "-7", "+7", "0x1F", "0",
         "12:30:45", "'7'", '"no"', "v1", "10.0.0.0/8", "1.36.0", "NULL", "tRUE", "0644"]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_plain_word_is_what_yaml_1_2_says(word: str) -> None:
    """Neither `no` nor `12:30:45` become something else than their letters; both readers agree."""
    text = f"key: {word}\nlist: [{word}, {{a: {word}}}]\n"
    assert documents(text) == list(YAML(typ="safe", pure=True).load_all(io.StringIO(text)))


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_every_template_is_read_alike(profile: str, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is applied does not depend on the reader."""
    texts: list[str] = []

    def read(text: str) -> list[object]:
        texts.append(text)
        return documents(text)

    monkeypatch.setattr(manifests, "documents", read)
    every(manifests.Manifests(TEXTS, merged(profile, strategy), manifests.Payload("canal:1", MODULES)))
    assert len(texts) > 9
    for text in texts:
        assert documents(text) == [one for one in YAML(typ="safe", pure=True).load_all(io.StringIO(text)) if one]


def test_it_reads_by_libyaml_here() -> None:
    """It is there in PyYAML's wheels: without it `preflight` is slow again."""
    assert issubclass(module._Loader, yaml.CSafeLoader)
