"""Bad input: each with its exit code, a message that names the thing, and nothing changed in the cluster."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_migrate.config import Config
from cni_migrate.sim.apiserver.auth import Rule
from cni_migrate.sim.apiserver.serving import write_kubeconfig
from tests.cli.conftest import Served, Typed, a_record, a_shard

On = Callable[[Served], Typed]

RUN = ("run", "--yes")


# --- getting to a cluster ------------------------------------------------------------------------------------------


def test_no_cluster_is_configured(migrate: Typed) -> None:
    """Without any kubeconfig and outside a pod it says where it looked."""
    ended = migrate(*RUN)
    assert ended.code == 8
    assert "no cluster is configured" in ended.err
    assert "next:" in ended.err


def test_the_cluster_does_not_answer(migrate: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses the connection is named by its URL, first with how long it is given."""
    monkeypatch.setattr("cni_migrate.kube.connect.GREETING", 0.2)
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    ended = migrate(*RUN, "--kubeconfig", str(kubeconfig))
    assert ended.code == 8
    assert "http://127.0.0.1:9" in ended.err
    assert "refused" in ended.err
    assert "trying for" in ended.err


def test_a_context_that_is_not_there(migrate: Typed, untouched: Served) -> None:
    """The contexts that are there are listed."""
    ended = migrate(*RUN, "--kubeconfig", str(untouched.kubeconfig), "--context", "prod")
    assert ended.code == 2
    assert "prod" in ended.err
    assert "simulator" in ended.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("a: [", "kubeconfig", id="not YAML"),
        pytest.param("[]", "kubeconfig", id="a list"),
        pytest.param('{"apiVersion":"v1","kind":"Config","current-context":"x"}', "x", id="no such context in itself"),
    ],
)
def test_a_broken_kubeconfig(migrate: Typed, tmp_path: Path, text: str, says: str) -> None:
    """The file is named and what is wrong with it."""
    file = tmp_path / "kubeconfig"
    file.write_text(text, encoding="utf-8")
    ended = migrate(*RUN, "--kubeconfig", str(file))
    assert ended.code in (2, 8)
    assert str(file) in ended.err
    assert says in ended.err


def test_a_kubeconfig_that_is_not_there(migrate: Typed, tmp_path: Path) -> None:
    """The file is named."""
    ended = migrate("status", "--kubeconfig", str(tmp_path / "nowhere"))
    assert ended.code == 2
    assert str(tmp_path / "nowhere") in ended.err


def test_expired_credentials(migrate: Typed, served: Callable[..., Served], tmp_path: Path) -> None:
    """A 401 is told as such, and what to do."""
    cluster = served()
    cluster.sim.app.auth.tokens = {"valid": "somebody"}
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", cluster.url, token="expired")
    ended = migrate(*RUN, "--kubeconfig", str(kubeconfig))
    assert ended.code == 8
    assert "credentials" in ended.err
    assert cluster.writes == 0


def test_missing_rights(migrate: Typed, served: Callable[..., Served], tmp_path: Path) -> None:
    """A user who may only look is told each right that is missing, before anything is touched."""
    cluster = served()
    auth = cluster.sim.app.auth
    auth.tokens = {"reader": "reader"}
    auth.rules = {"reader": [Rule(verbs=("get", "list", "watch")), Rule(resources=("selfsubjectaccessreviews",))]}
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", cluster.url, token="reader")
    ended = migrate(*RUN, "--kubeconfig", str(kubeconfig))
    assert ended.code == 3
    assert "RIGHTS" in ended.err
    assert "create pods/eviction" in ended.err
    assert cluster.writes == 0


def test_no_rights_at_all(migrate: Typed, served: Callable[..., Served], tmp_path: Path) -> None:
    """A user who may not even look is told what to grant."""
    cluster = served()
    cluster.sim.app.auth.tokens = {"nobody": "nobody"}
    cluster.sim.app.auth.rules = {"nobody": []}
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", cluster.url, token="nobody")
    ended = migrate("status", "--kubeconfig", str(kubeconfig))
    assert ended.code == 8
    assert "does not allow" in ended.err
    assert "grant" in ended.err


# --- what was typed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("run",), "--yes", id="no terminal and no --yes"),
        pytest.param(("rollback",), "nothing to roll back", id="rollback before a run, and no terminal"),
        pytest.param(("cleanup", "--yes"), "nothing to clean up", id="cleanup before a run"),
        pytest.param(("cleanup",), "nothing to clean up", id="cleanup before a run, and no terminal"),
        pytest.param(("run", "--yes", "--nodes", "w1,w99"), "w99", id="unknown node"),
        pytest.param(("run", "--yes", "--selector", "a=b"), "a=b", id="a selector without nodes"),
        pytest.param(("run", "--yes", "--selector", "a in b"), "a in b", id="a selector that cannot be read"),
        pytest.param(("run", "--yes", "--nodes", ""), "names no node", id="a variable that is empty"),
        pytest.param(("run", "--yes", "--nodes", " ,"), "names no node", id="commas only"),
        pytest.param(("run", "--yes", "--selector", ""), "names no node", id="a selector that is empty"),
        pytest.param(("plan", "--nodes", ""), "names no node", id="a plan of no node"),
        pytest.param(("run", "--yes", "--strategy", "magic"), "magic", id="unknown strategy"),
        pytest.param(("run", "--yes", "--until", "done"), "done", id="unknown phase"),
        pytest.param(("run", "--yes", "--max-unavailable", "none"), "max_unavailable", id="not a number"),
        pytest.param(("rollback-node", "w99", "--yes"), "nothing to roll back", id="rollback before a run"),
        pytest.param(("pause",), "no migration is under way", id="pause before a run"),
        pytest.param(("skip-node", "w1"), "no migration is under way", id="skip before a run"),
        pytest.param(("frobnicate",), "frobnicate", id="unknown command"),
        pytest.param(("run", "--log-file", "/nowhere/at/all", "--yes"), "/nowhere/at/all", id="log file"),
    ],
)
def test_usage(on: On, untouched: Served, arguments: tuple[str, ...], says: str) -> None:
    """Exit code 2, the thing is named, nothing is written."""
    before = untouched.writes
    ended = on(untouched)(*arguments)
    assert ended.code == 2, ended.err
    assert says in ended.err.replace("\n", " ")
    assert untouched.writes == before


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        pytest.param("strategy: overlay\ncilium:\n  pod_cdir: 10.9.0.0/16\n", 3, "cilium.pod_cidr", id="unknown key"),
        pytest.param("pod_cidr: 10.9.0.0/16\n", 1, "canal.pod_cidr", id="known elsewhere"),
        pytest.param("drain:\n  force: 'yes'\n", 2, "true or false", id="wrong type"),
        pytest.param("gate:\n\n  rounds: many\n", 3, "a whole number", id="not a number"),
        pytest.param("cilium: 1.15\n", 1, "a section", id="no section"),
        pytest.param("cilium:\n  pod_cidr: 10.9.0.1/16\n", 2, "host bits", id="not a network"),
        pytest.param("a: 1\na: 2\n", 2, "duplicate key", id="a key twice"),
        pytest.param("strategy: [\n", 2, "not valid YAML", id="not YAML"),
        pytest.param("- a\n", 1, "keys with values", id="a list"),
    ],
)
def test_the_configuration(
    on: On, untouched: Served, tmp_path: Path, text: str, line: int, says: str
) -> None:  # fmt: skip
    """The file, the line, the key, what was expected, and the nearest known key."""
    file = tmp_path / "migrate.yaml"
    file.write_text(text, encoding="utf-8")
    before = untouched.writes
    ended = on(untouched)(*RUN, "--config", str(file))
    assert ended.code == 2
    assert f"{file}:{line}: " in ended.err
    assert says in ended.err
    assert untouched.writes == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            "canal: {pod_cidr: 10.244.0.0/16}\ncilium: {pod_cidr: 10.244.128.0/17}\n", "overlaps", id="networks"
        ),
        pytest.param("knet: {reader: proxy}\ngate: {seconds: 10}\n", "a gate of 21 rounds", id="a long gate by proxy"),
        pytest.param("knet: {reader: proxy}\ngate: {rounds: 21}\n", "use knet.reader log", id="many rounds by proxy"),
    ],
)
def test_a_configuration_that_contradicts_itself(migrate: Typed, tmp_path: Path, text: str, says: str) -> None:
    """What does not fit together is named; by the log, a gate may be as long as one likes."""
    file = tmp_path / "migrate.yaml"
    file.write_text(text, encoding="utf-8")
    ended = migrate("config", "show", "--config", str(file))
    assert ended.code == 2
    assert str(file) in ended.err
    assert says in ended.err
    file.write_text(text.replace("proxy", "log").replace("10.244.128", "10.99.128"), encoding="utf-8")
    assert migrate("config", "show", "--config", str(file)).code == 0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MIGRATE_CILIUM_POD_CDIR", "10.9.0.0/16", "MIGRATE_CILIUM_POD_CIDR"),
        ("MIGRATE_DRAIN_FORCE", "perhaps", "MIGRATE_DRAIN_FORCE"),
        ("MIGRATE_CANAL_EXTRA_OBJECTS", "a,b", "JSON"),
    ],
)
def test_the_environment(migrate: Typed, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    """A variable is named, and the nearest that there is."""
    monkeypatch.setenv(name, value)
    ended = migrate("config", "show")
    assert ended.code == 2
    assert name in ended.err
    assert says in ended.err


def test_a_configuration_file_that_cannot_be_read(migrate: Typed, tmp_path: Path) -> None:
    """The file is named."""
    ended = migrate("config", "show", "--config", str(tmp_path / "nowhere.yaml"))
    assert ended.code == 2
    assert "nowhere.yaml" in ended.err


# --- the record ----------------------------------------------------------------------------------------------------


def _overlay() -> dict[str, str]:
    return a_record(Config.model_validate({"strategy": "overlay"}))


def _other_network() -> dict[str, str]:
    return a_record(Config.model_validate({"cilium": {"pod_cidr": "10.99.0.0/16"}}))


@pytest.mark.parametrize(
    ("cluster", "shard", "arguments", "says"),
    [
        pytest.param({"cluster": "{"}, None, (), "damaged", id="corrupt"),
        pytest.param({}, None, (), "no key `cluster`", id="empty"),
        pytest.param({"cluster": "{}"}, None, (), "schema", id="incomplete"),
        pytest.param(a_record(schema=99), None, (), "format 99", id="newer"),
        pytest.param(a_record(phase="flying"), a_shard(), (), "flying", id="edited: unknown phase"),
        pytest.param(a_record(), a_shard(w1={"state": "half"}), (), "half", id="edited: unknown state"),
        pytest.param(a_record(), a_shard(w1={"sate": "dual"}), (), "sate", id="edited: unknown key"),
        pytest.param(a_record(), a_shard(w1="dual"), (), "not JSON", id="edited: no JSON"),
        pytest.param(a_record(), None, (), "cni-migrate-nodes-0 is missing", id="a part is missing"),
        pytest.param(None, a_shard(w1={}), (), "cni-migrate-record is missing", id="its first part is missing"),
        pytest.param(
            a_record(),
            {**a_shard(), "_nodes": "w1 w2"},
            (),
            "entry of node w1, w2 is missing",
            id="a node's key is missing",
        ),
        pytest.param(_overlay(), a_shard(), ("--strategy", "multus"), "--strategy overlay", id="of another strategy"),
        pytest.param(_other_network(), a_shard(), (), "10.99.0.0/16", id="of another configuration"),
        pytest.param(a_record(identity="0" * 16), a_shard(), (), "identity", id="edited: identity"),
    ],
)
def test_the_record(
    on: On,
    served: Callable[..., Served],
    cluster: dict[str, str] | None,
    shard: dict[str, str] | None,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    """Exit code 7, the ConfigMap or the difference is named, and the record is left as it is."""
    there = served(nodes=2)
    if cluster is not None:
        there.config_map("cni-migrate-record", cluster)
    if shard is not None:
        there.config_map("cni-migrate-nodes-0", shard)
    ended = on(there)(*RUN, *arguments)
    assert ended.code == 7, ended.err
    assert says in ended.err
    assert there.writes == 0


# --- the cluster ---------------------------------------------------------------------------------------------------


def test_no_canal(on: On, untouched: Served) -> None:
    """Canal that is somewhere else is found and named."""
    before = untouched.writes
    ended = on(untouched)(*RUN, "--config", _written(untouched, "canal: {daemonset: kanal}\n"))
    assert ended.code == 3
    assert "CANAL_DAEMONSET" in ended.err
    assert "kube-system/canal" in ended.err
    assert untouched.writes == before


def test_one_node(on: On, served: Callable[..., Served]) -> None:
    """A cluster of one node is refused, with the reason."""
    cluster = served(nodes=1)
    ended = on(cluster)(*RUN)
    assert ended.code == 3
    assert "ENOUGH_NODES" in ended.err
    assert "nowhere to go" in ended.err
    assert cluster.writes == 0


def _written(served: Served, text: str) -> str:
    file = served.kubeconfig.with_name("migrate.yaml")
    file.write_text(text, encoding="utf-8")
    return str(file)


# --- what is not our fault ---------------------------------------------------------------------------------------


def test_a_bug_ends_in_one_line_and_a_file(migrate: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No traceback on the screen, but one in a file that only its owner can read."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("cni_migrate.configtemplate.value_text", _boom)
    ended = migrate("config", "show")
    assert ended.code == 1
    assert "RuntimeError: boom" in ended.err
    assert "Traceback" not in ended.err
    (file,) = tmp_path.glob("migrate-*.traceback")
    assert "boom" in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _boom(*_: object) -> None:
    raise RuntimeError("boom")
