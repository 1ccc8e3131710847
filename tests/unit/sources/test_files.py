"""Files of manifests, broken in every way: exit code 2, the file and the line, and never a wait."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_migrate.errors import ConfigError
from cni_migrate.sources.files import check_values, parsed, read_documents


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "in line 1"), ("a: 1\n---\nb:\n\tc: 1\n", "in line 4"), ("a: 1\na: 2\n", 'duplicate key "a"'),
        ("a: *x\n", "undefined alias 'x' in line 1"), ("a: !x b\n", "'!x' in line 1"),
        ("x: 1\na: !!int abc\n", "abc is no tag:yaml.org,2002:int in line 2"),
        ("a: !!bool abc\n", "abc is no tag:yaml.org,2002:bool in line 1"),
        ("a: !!float abc\n", "abc is no tag:yaml.org,2002:float in line 1"),
        (f"a: {'9' * 5000}\n", "is no tag:yaml.org,2002:int in line 1"),
        ("[" * 5000, "nested too deeply"), ("{a: " * 3000 + "1" + "}" * 3000, "nested too deeply"),
        ("%YAML 9.9\n---\na: b\n", "incompatible YAML document"), ("a: b\0", "unacceptable character"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_what_is_no_yaml_is_named_with_its_line(text: str, says: str) -> None:
    """In words, without those of the library for its own users."""
    with pytest.raises(ConfigError, match=r"own\.yaml: not valid YAML") as caught:
        parsed(text, "own.yaml")
    assert says in caught.value.message
    assert "ruamel" not in caught.value.message
    assert "<file>" not in caught.value.message


def test_a_template_is_named_as_one() -> None:
    """Who gives a chart's own files learns what is wanted."""
    with pytest.raises(ConfigError) as caught:
        parsed("{{ if .Values.x }}\na: b\n{{ end }}\n", "own.yaml")
    assert "rendered" in caught.value.next


@pytest.mark.parametrize(
    "text", ["\ufeffkind: A\n", "kind: A\r\n", "%YAML 1.2\n---\nkind: A\n", "---\n---\nkind: A\n---\n"]
)
def test_what_other_editors_write_is_read(tmp_path: Path, text: str) -> None:
    """A byte order mark, Windows' line ends, a directive, empty documents."""
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8", newline="")
    assert [one.value for one in read_documents(tmp_path / "own.yaml", "cilium.manifests") if one.value] == [
        {"kind": "A"}
    ]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _to_itself(path: Path) -> None:
    path.symlink_to(path)


def _to_nothing(path: Path) -> None:
    path.symlink_to("/nowhere")


@pytest.mark.parametrize("among_others", [False, True])
@pytest.mark.parametrize("make", [_fifo, _to_itself, _to_nothing, _folder])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], among_others: bool) -> None:
    """A named pipe that nobody writes into was waited for."""
    (tmp_path / "good.yaml").write_text("kind: A\n")
    make(tmp_path / "other.yaml")
    with pytest.raises(ConfigError, match=r"other\.yaml") as caught:
        read_documents(tmp_path if among_others else tmp_path / "other.yaml", "cilium.manifests")
    assert caught.value.exit_code == 2
    assert caught.value.next == "correct cilium.manifests"


def test_a_link_to_a_folder_above_is_no_trap(tmp_path: Path) -> None:
    """Each file is read once."""
    (tmp_path / "good.yaml").write_text("kind: A\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [one.where for one in read_documents(tmp_path, "cilium.manifests")] == ["good.yaml, line 1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\n---\nb: 2\n", "has 2 documents, and helm reads one: another begins in line 3"),
        ("a: {b: 1}\na: {b: 2}\n", 'duplicate key "a"'),
    ],
)
def test_values_that_helm_would_leave_out_are_refused(tmp_path: Path, text: str, says: str) -> None:
    """It takes the first document and the last of two keys, without a word: whoever wrote the other one meant it."""
    (tmp_path / "values.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"values\.yaml") as caught:
        check_values(tmp_path / "values.yaml", "cilium.values")
    assert says in caught.value.message


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\na: 1\n---\n", "a: [\n", "- a\n", "\ufeffa: 1\r\n"])
def test_other_values_are_for_helm_to_judge(tmp_path: Path, text: str) -> None:
    """It has its own words for what it does not take."""
    (tmp_path / "values.yaml").write_text(text, encoding="utf-8")
    check_values(tmp_path / "values.yaml", "cilium.values")
