"""Helm as a program: which one is good enough, what it is asked, and what its refusals become."""

import asyncio
import contextlib
import json
import stat
import tarfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cni_migrate import wiring
from cni_migrate.config import Config
from cni_migrate.configsections import Cilium
from cni_migrate.core.model.effects import UpgradeRelease
from cni_migrate.core.preflight.registry import ReleaseFound
from cni_migrate.errors import ConfigError, Halted, UsageError
from cni_migrate.sources import helm as module
from cni_migrate.sources.files import parsed, read_documents
from cni_migrate.sources.helm import Helm, HelmReleases

CILIUM = Cilium(source="chart", chart="oci://reg/cilium", chart_version="1.20.2", values=["a.yaml", "b.yaml"])
EFFECT = UpgradeRelease("kube-system", "cilium")


def helm(folder: Path, script: str) -> Path:
    """A program called helm that writes down what it was asked, then does `script`; its version is in a file beside it."""
    program, version = folder / "helm", folder / "version"
    if not version.exists():
        version.write_text("v3.18.0")
    tells = f'case "$1" in version) cat {version}; exit;; esac'
    program.write_text(f'#!/bin/sh\n{tells}\necho "$@" >> {folder}/asked\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


class Clock:
    """A clock that runs as fast as somebody sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The instant."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.time += timedelta(seconds=seconds)


def test_a_missing_helm_is_named_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, and where to look."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no `helm` on PATH") as caught:
        Helm.find()
    assert caught.value.exit_code == 2
    assert "helm.sh/docs" in caught.value.next


@pytest.mark.parametrize(
    ("said", "good"), [("v3.17.4", False), ("v2.17.0", False), ("v3.18.0", True), ("v4.0.0", True), ("what?", False)]
)
def test_only_a_helm_that_can_take_over_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, good: bool
) -> None:
    """--take-ownership is needed in the end: better said in the beginning."""
    (tmp_path / "version").write_text(said)
    helm(tmp_path, "")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if good:
        assert Helm.find().program == str(tmp_path / "helm")
        return
    with pytest.raises(UsageError, match=r"3\.18 or newer|does not tell"):
        Helm.find()


def test_a_chart_is_rendered_with_all_values(tmp_path: Path) -> None:
    """Version, values in their order, namespace, and no tests."""
    program = helm(tmp_path, "printf 'kind: A\\n---\\nkind: B\\n'")
    assert [one.value for one in Helm(str(program)).template(CILIUM)] == [{"kind": "A"}, {"kind": "B"}]
    assert asked(tmp_path) == [
        (
            "template cilium oci://reg/cilium --version 1.20.2 --values a.yaml --values b.yaml --namespace kube-system"
            " --skip-tests --api-versions monitoring.coreos.com/v1 --kube-version 1.34.0"
        )
    ]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("asked_for", "good"), [("", True), ("1.20.2", True), ("1.18.0", False)])
def test_a_chart_that_is_here_is_of_the_version_that_is_said(
    tmp_path: Path, packed: bool, asked_for: str, good: bool
) -> None:
    """Helm ignores --version for a folder or an archive: without a word, another Cilium would be installed."""
    chart = tmp_path / "cilium"
    chart.mkdir()
    (chart / "Chart.yaml").write_text("name: cilium\nversion: 1.20.2\n")
    if packed:
        with tarfile.open(tmp_path / "cilium.tgz", "w:gz") as archive:
            archive.add(chart, "cilium")
        chart = tmp_path / "cilium.tgz"
    cilium = Cilium(source="chart", chart=str(chart), chart_version=asked_for)
    found = Helm(str(helm(tmp_path, "echo 'kind: A'")))
    if good:
        assert [one.value for one in found.template(cilium)] == [{"kind": "A"}]
        return
    with pytest.raises(ConfigError, match=r"chart_version is 1\.18\.0, and .* is version 1\.20\.2"):
        found.template(cilium)


def test_helms_own_words_are_shown(tmp_path: Path) -> None:
    """A wrong chart is a wrong configuration, in helm's words, without its warnings."""
    program = helm(tmp_path, "echo 'WARNING: old' >&2; echo 'Error: chart not found' >&2; exit 1")
    with pytest.raises(ConfigError, match="helm cannot render oci://reg/cilium: Error: chart not found"):
        Helm(str(program)).template(CILIUM)


@pytest.mark.parametrize(("version", "take"), [("v3.22.0", ""), ("v4.2.2+g1", " --server-side=false")])
def test_a_release_is_made_that_owns_what_is_there(tmp_path: Path, version: str, take: str) -> None:
    """Where there is none: upgrade --install --take-ownership, on the cluster that was named; Helm 4 as Helm 3 does."""
    (tmp_path / "version").write_text(version)
    program = helm(tmp_path, 'case "$1" in status) echo "Error: release: not found" >&2; exit 1;; esac')
    releases = HelmReleases(lambda: Helm(str(program), ["--kube-context", "prod"]), CILIUM, Clock())
    assert asyncio.run(releases.upgrade(EFFECT)) == ("applied", "")
    assert asked(tmp_path)[-1] == (
        "upgrade --install cilium oci://reg/cilium --version 1.20.2 --values a.yaml --values b.yaml"
        f" --namespace kube-system --take-ownership{take} --kube-context prod"
    )


def test_helm_goes_where_the_driver_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of helm's for another cluster are somebody's for other work: the release was made there."""
    monkeypatch.setenv("HELM_KUBEAPISERVER", "https://other.example")
    monkeypatch.setenv("HELM_DRIVER", "configmap")
    tells = f'echo "$1 $HELM_KUBEAPISERVER $HELM_DRIVER" >> {tmp_path}/told'
    program = helm(tmp_path, f'{tells}\ncase "$1" in status) echo "Error: release: not found" >&2; exit 1;; esac')
    releases = HelmReleases(lambda: Helm(str(program)), CILIUM, Clock())
    assert asyncio.run(releases.upgrade(EFFECT)) == ("applied", "")
    assert (tmp_path / "told").read_text().splitlines() == ["status  configmap", "upgrade  configmap"]


def test_helm_is_told_the_kubeconfig_as_it_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--kubeconfig=~/prod`, which no shell expands: all worked but helm."""
    wiring.forget()
    helm(tmp_path, "echo '{}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config.model_validate({"cilium": {"source": "chart", "chart": "./cilium"}})
    releases = wiring.releases_for(config, Clock(), "~/prod", "")
    assert releases is not None
    releases.found()
    assert asked(tmp_path)[-1].endswith(f"--kubeconfig {tmp_path}/prod")


def test_nothing_is_started_before_it_is_needed(tmp_path: Path) -> None:
    """Most commands need no release, and none asks helm for its version twice."""
    program = helm(tmp_path, 'case "$1" in status) echo "Error: release: not found" >&2; exit 1;; esac')
    found: list[Helm] = []

    def find() -> Helm:
        found.append(Helm(str(program)))
        return found[-1]

    releases = HelmReleases(find, CILIUM, Clock())
    assert found == []
    for _ in range(2):
        assert asyncio.run(releases.upgrade(EFFECT)) == ("applied", "")
    assert len(found) == 1
    (tmp_path / "version").write_text("v2.0.0")
    assert found[0].version() == (3, 18), "it is asked once"


@pytest.mark.parametrize("status", ["failed", "superseded", "uninstalled"])
def test_a_release_in_a_failed_state_is_upgraded(tmp_path: Path, status: str) -> None:
    """Helm itself goes on from its last revision (helm: action/upgrade.go), so nothing is in the way."""
    told = json.dumps({"version": 2, "info": {"status": status}})
    program = helm(tmp_path, f"case \"$1\" in status) echo '{told}';; esac")
    releases = HelmReleases(lambda: Helm(str(program)), CILIUM, Clock())
    assert asyncio.run(releases.upgrade(EFFECT)) == ("applied", "")


def test_a_release_that_is_there_is_described(tmp_path: Path) -> None:
    """Chart, state and revision, and nothing where there is none; another refusal is not taken for that."""
    told = json.dumps({"chart": "podinfo", "status": "failed", "revision": 4})
    assert Helm(str(helm(tmp_path, f"echo '{told}'"))).described(CILIUM) == ReleaseFound("podinfo", "failed", 4)
    assert asked(tmp_path) == ["get metadata cilium --namespace kube-system -o json"]
    none = helm(tmp_path, "echo 'Error: release: not found' >&2; exit 1")
    assert Helm(str(none)).described(CILIUM) is None
    with pytest.raises(Halted, match="secrets is forbidden"):
        Helm(str(helm(tmp_path, "echo 'Error: secrets is forbidden' >&2; exit 1"))).described(CILIUM)


def test_another_helm_is_waited_for(tmp_path: Path) -> None:
    """A pending release that gets deployed meanwhile is upgraded."""
    pending, deployed = (json.dumps({"version": 1, "info": {"status": s}}) for s in ("pending-install", "deployed"))
    script = (
        f"case \"$1\" in status) if [ -e {tmp_path}/once ]; then echo '{deployed}'; "
        f"else touch {tmp_path}/once; echo '{pending}'; fi;; esac"
    )
    releases = HelmReleases(lambda: Helm(str(helm(tmp_path, script))), CILIUM, Clock())
    assert asyncio.run(releases.upgrade(EFFECT)) == ("applied", "")
    assert [line.split()[0] for line in asked(tmp_path)] == ["status", "status", "upgrade"]


def test_a_release_that_stays_pending_says_what_to_type(tmp_path: Path) -> None:
    """A helm that was killed leaves its mark: it is named, and nothing is upgraded."""
    pending = json.dumps({"version": 3, "info": {"status": "pending-upgrade"}})
    releases = HelmReleases(lambda: Helm(str(helm(tmp_path, f"echo '{pending}'"))), CILIUM, Clock())
    result, message = asyncio.run(releases.upgrade(EFFECT))
    assert result == "failed"
    assert "kubectl -n kube-system delete secret sh.helm.release.v1.cilium.v3" in message
    assert "upgrade" not in {line.split()[0] for line in asked(tmp_path)}


def test_a_refused_upgrade_tells_why(tmp_path: Path) -> None:
    """Helm's words are the reason of the hold."""
    script = 'case "$1" in status) echo "Error: release: not found" >&2;; *) echo "Error: bad value" >&2;; esac; exit 1'
    releases = HelmReleases(lambda: Helm(str(helm(tmp_path, script))), CILIUM, Clock())
    assert asyncio.run(releases.upgrade(EFFECT)) == ("failed", "helm refuses: Error: bad value")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 3", "exit code 3"), ("kill -9 $$", "killed by signal 9"), (r"printf '\377x' >&2; exit 1", "x"),
        (r"printf '\377: ['", "not valid YAML"),
    ],
)  # fmt: skip
def test_whatever_helm_does_is_told(tmp_path: Path, script: str, says: str) -> None:
    """Without a word, by a signal, or in bytes that are no text."""
    with pytest.raises(ConfigError) as caught:
        Helm(str(helm(tmp_path, script))).template(CILIUM)
    assert says in caught.value.message


def test_warnings_among_what_was_asked_are_left_out(tmp_path: Path) -> None:
    """A wrapper, or helm itself, says them on either stream: version, objects and states are found behind them."""
    (tmp_path / "version").write_text("WARNING: group-readable\nv4.2.1")
    program = helm(tmp_path, "echo 'WARNING: group-readable: yes'; echo 'level=WARN x'; printf -- '---\nkind: A\n'")
    found = Helm(str(program))
    assert found.version() == (4, 2)
    assert [(one.where, one.value) for one in found.template(CILIUM) if one.value] == [("line 4", {"kind": "A"})]
    told = json.dumps({"chart": "cilium", "status": "deployed", "revision": 1})
    program = helm(tmp_path, f"echo 'WARNING: group-readable'; echo '{told}'")
    assert Helm(str(program)).described(CILIUM) == ReleaseFound("cilium", "deployed", 1)


def test_an_answer_that_is_no_json_is_told(tmp_path: Path) -> None:
    """For both questions about a release."""
    found = Helm(str(helm(tmp_path, "echo 'NAME: cilium'")))
    for ask in (found.described, found.release):
        with pytest.raises(Halted, match="does not answer in JSON: NAME: cilium"):
            ask(CILIUM)


def test_a_helm_that_hangs_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper's own children hold its output open: only with them the wait comes to an end."""
    monkeypatch.setattr(module, "RENDER_SECONDS", 0.2)
    program = helm(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(UsageError, match=r"`helm template` did not end within 0\.2 s"):
        Helm(str(program)).template(CILIUM)
    assert gone(tmp_path / "child")


def test_an_upgrade_that_hangs_is_ended_and_told(tmp_path: Path) -> None:
    """It is asked to end first, so that helm can write down that the release has failed."""
    script = (
        'case "$1" in status) echo "Error: release: not found" >&2; exit 1;; esac;'
        f" trap 'echo ended > {tmp_path}/asked_to_end; exit 1' TERM; sleep 1000 & echo $! > {tmp_path}/child; wait"
    )
    releases = HelmReleases(lambda: Helm(str(helm(tmp_path, script))), CILIUM, Clock())
    releases.patience = 0.5
    result, message = asyncio.run(releases.upgrade(EFFECT))
    assert result == "failed"
    assert "`helm upgrade` did not end within 0.5 s, and was ended" in message
    assert (tmp_path / "asked_to_end").exists()
    assert gone(tmp_path / "child")


def gone(pid_file: Path) -> bool:
    """Whether a process ends, which takes a moment; a zombie has ended."""
    stat, end = Path(f"/proc/{pid_file.read_text().strip()}/stat"), time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if stat.read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.02)
                continue
        return True
    return False


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    """YAML and JSON files, others left out."""
    (tmp_path / "b.yaml").write_text("kind: B\n---\nkind: C\n")
    (tmp_path / "a.json").write_text('{"kind": "A"}')
    (tmp_path / "README.md").write_text(": :")
    found = [(one.value["kind"], one.where) for one in read_documents(tmp_path, "cilium.manifests")]
    assert found == [("A", "a.json, line 1"), ("B", "b.yaml, line 1"), ("C", "b.yaml, line 3")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0400", 0o400), ("0o400", "0o400"), ("400", 400), ("0", 0), ("-0x1F", -31), ("10%", "10%"), ("1.5", 1.5),
        ("yes", True), ("off", False), ("'yes'", "yes"), ("true", True), ("~", None),
        ("12:30", "12:30"), ("12:30:45.5", "12:30:45.5"), ("2026-01-31", "2026-01-31"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"), ("127.0.0.1:9234", "127.0.0.1:9234"), (":4244", ":4244"),
    ],
)  # fmt: skip
def test_scalars_are_what_kubectl_and_helm_make_of_them(written: str, meant: object) -> None:
    """The chart's `defaultMode: 0400` became 400 in the cluster, and Helm restarted every agent to put it right."""
    one = f"a: {written}\n"
    found = parsed(f"---\n# Source: x\n{one}---\n{one}", "x")
    assert [(one.where, one.value) for one in found] == [("line 3", {"a": meant}), ("line 5", {"a": meant})]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: [", None])
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A binary, a broken file, a missing one: exit code 2 with the file's name."""
    file = tmp_path / "cilium.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cilium\.yaml"):
        read_documents(file, "cilium.manifests")
