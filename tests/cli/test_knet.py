"""`migrate knet`: the agents without a migration, on a served cluster."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.kube.access import Ask
from cni_migrate.kube.gathering import asks
from cni_migrate.sim.apiserver.auth import Rule
from cni_migrate.sim.apiserver.hooks import Fault
from cni_migrate.sim.client import ApiError, Kind
from cni_migrate.sim.scenario import Scenario
from cni_migrate.wiring import manifests_for
from tests.cli.conftest import CONFIG_MAPS, DAEMONSETS, NAMESPACES, QUICK, Served, Typed

On = Callable[[Served], Typed]
Make = Callable[..., Served]

PODS = Kind("", "v1", "pods", "Pod")
SERVICES = Kind("", "v1", "services", "Service")


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """A configuration with which the agents report often."""
    file = tmp_path / "quick.yaml"
    file.write_text(QUICK, encoding="utf-8")
    return str(file)


@pytest.fixture
def typed(on: On, quick: str) -> Callable[[Served], Typed]:
    """Types `migrate knet ...` with that configuration."""
    return lambda served: lambda *words: on(served)("knet", *words, "--config", quick)


def broken(**fault: Any) -> Scenario:
    """Three nodes on which something does not work from the beginning."""
    return Scenario.model_validate({"name": "broken", "nodes": 3, "faults": [fault] if fault else []})


def test_without_agents(on: On, untouched: Served) -> None:
    """Nothing is proven, nothing is drawn, nothing is removed, and nothing is written."""
    typed, before = on(untouched), untouched.writes
    for command in ("status", "matrix"):
        ended = typed("knet", command)
        assert (ended.code, ended.out) == (6, "")
        assert "there are no agents in namespace knet-stress" in ended.err
        assert ended.err.splitlines()[-1] == "next: migrate knet deploy"
    dry = typed("knet", "deploy", "--dry-run")
    assert dry.code == 0
    assert "DaemonSet knet-stress/knet-stress-b" in dry.out
    assert dry.out.count("missing") == 12
    assert "Nothing was written" in dry.out
    assert typed("knet", "remove", "--yes").out == "nothing of the mesh is there: nothing was changed\n"
    assert typed("knet", "remove").code == 0  # there is nothing to ask
    assert untouched.writes == before


def test_deploy_look_remove(served: Make, typed: Callable[[Served], Typed]) -> None:
    """The whole life of a mesh: each command may be typed twice, and at the end all is as it was."""
    cluster = served(nodes=3)
    knet = typed(cluster)
    ended = knet("deploy")
    assert ended.code == 0, ended.err
    assert ended.out == "6 agents Ready on 3 nodes\n"
    assert ended.err.splitlines()[-1].startswith("next: migrate knet status --config ")
    generation = cluster.read(DAEMONSETS, "knet-stress-a", "knet-stress")["metadata"]["generation"]
    again = knet("deploy")
    assert (again.code, again.out) == (0, ended.out)
    assert cluster.read(DAEMONSETS, "knet-stress-a", "knet-stress")["metadata"]["generation"] == generation
    assert knet("deploy", "--dry-run").out.count("is there") == 12

    status = knet("status")
    assert status.code == 0, status.err
    lines = status.out.splitlines()
    assert lines[0].split() == ["NODE", "MESH", "POD", "AGE", "PEERS", "SENT", "LOST", "WORST"]
    assert [line.split()[:2] for line in lines[1:7]] == [[n, m] for n in ("cp1", "w1", "w2") for m in "ab"]
    assert all(line.split()[4] == "5/5" and int(line.split()[5]) > 0 for line in lines[1:7])
    assert lines[-1].startswith("connectivity is proven: ")
    data = json.loads(knet("status", "-o", "json").out)
    assert (data["schema"], data["passed"], len(data["agents"])) == (1, True, 6)

    picture = knet("matrix")
    assert picture.code == 0
    assert [line.split() for line in picture.out.splitlines()[1:4]] == [
        [str(number), node, "ok", "ok", "ok"] for number, node in enumerate(("cp1", "w1", "w2"), 1)
    ]
    drawn = json.loads(knet("matrix", "-o", "json").out)
    assert drawn["count"] == {"ok": 9, "failing": 0, "silent": 0, "unknown": 0}
    assert knet("matrix", "-o", "svg").out.startswith("<svg ")

    asked = knet("remove")
    assert asked.code == 2
    assert "no terminal to ask on" in asked.err
    removed = knet("remove", "--yes")
    assert removed.code == 0, removed.err
    assert removed.out == "12 objects deleted, no agent is left\n"
    assert knet("status").code == 6
    assert knet("remove", "--yes").out.startswith("nothing of the mesh is there")
    assert knet("deploy").code == 0  # also while the namespace may still be on its way out


def test_deploy_waits_for_the_rollout_of_another_image(
    served: Make, typed: Callable[[Served], Typed], quick: str
) -> None:
    """No pod tells of it: that all are Ready says nothing as long as their DaemonSets have not rolled it out."""
    # A second until the controller rolls anything out: meanwhile all pods are Ready, and of the old form.
    slow = Scenario.model_validate({"nodes": 3, "timings": {"controller": 40}})
    cluster = served(slow)
    knet = typed(cluster)
    assert knet("deploy").code == 0
    Path(quick).write_text(QUICK.replace("interval: 0.05", "interval: 0.05, image: example.org/python:3.99"))
    ended = knet("deploy")
    assert (ended.code, ended.out) == (0, "6 agents Ready on 3 nodes\n"), ended.err
    pods, _ = cluster.do(lambda: cluster.sim.app.client("somebody").list(PODS, namespace="knet-stress"))
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"example.org/python:3.99"}
    assert len(pods) == 6
    for name in ("knet-stress-a", "knet-stress-b"):
        status = cluster.read(DAEMONSETS, name, "knet-stress")["status"]
        assert status["updatedNumberScheduled"] == status["numberAvailable"] == 3


QUOTA = (
    'services "knet-stress" is forbidden: exceeded quota: few, requested: services.nodeports=1, '
    "used: services.nodeports=0, limited: services.nodeports=0"
)


def test_a_quota_that_allows_no_node_port(served: Make, on: On, quick: str) -> None:
    """It is told how to do without one, and then there is none to probe; the same again with one, and back."""
    cluster = served(nodes=2)
    body = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": QUOTA, "code": 403}
    cluster.sim.app.hooks.faults.append(Fault(method="POST", path="/services", code=403, body=body))
    refused = on(cluster)("knet", "deploy", "--config", quick)
    assert refused.code == 4, refused
    assert "`knet.node_port: false` in the configuration does without a node port" in refused.err
    without = Path(quick).with_name("without.yaml")
    without.write_text(QUICK.replace("interval: 0.05", "interval: 0.05, node_port: false"))
    for config, kind in ((str(without), "ClusterIP"), (quick, "NodePort"), (str(without), "ClusterIP")):
        ended = on(cluster)("knet", "deploy", "--config", config)
        assert ended.code == 0, ended.err
        spec = cluster.read(SERVICES, "knet-stress", "knet-stress")["spec"]
        assert (spec["type"], "nodePort" in spec["ports"][0]) == (kind, kind == "NodePort")
    assert on(cluster)("knet", "status", "--config", str(without)).code == 0


BROKEN: dict[str, tuple[dict[str, Any], str, set[tuple[str, str, str]]]] = {
    "a deaf node": (
        {"deaf": {"node": "w2", "network": "canal", "direction": "both"}},
        "to and from node w2: it is cut off",
        {(a, b, kind) for a, b in (("w1", "w2"), ("w2", "w1"), ("w2", "w3"), ("w3", "w2"))
         for kind in ("http", "udp", "tcp")},
    ),
    "UDP": (
        {"udp_lost": {"network": "canal"}},
        "only UDP fails",
        {(a, b, "udp") for a in ("w1", "w2", "w3") for b in ("w1", "w2", "w3") if a != b},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "diagnosis", "failing"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_named_and_drawn(
    served: Make,
    typed: Callable[[Served], Typed],
    fault: dict[str, Any],
    diagnosis: str,
    failing: set[tuple[str, str, str]],
) -> None:
    """Exit code 6 with the gate's diagnosis; the failing directions in the picture, and no others."""
    knet = typed(served(broken(**fault)))
    assert knet("deploy").code == 0
    ended = knet("status", "--ignore", "dns,service")
    assert ended.code == 6
    assert diagnosis in ended.err
    assert ended.err.splitlines()[-1].startswith("next: migrate knet matrix")
    assert "w1/a -> w2/a udp: timeout" in ended.out
    assert "w2/" in ended.out.splitlines()[1]
    data = json.loads(knet("matrix", "-o", "json", "--ignore", "dns,service,policy_allow").out)
    assert diagnosis in data["verdict"]
    assert {(cell["from"], cell["to"], kind) for cell in data["cells"] for kind in cell["kinds"]} == failing
    assert {cell["state"] for cell in data["cells"]} == {"ok", "failing"}
    drawn = knet("matrix", "--ignore", "dns,service,policy_allow").out
    assert drawn.splitlines()[1].split()[3] in ("http+2", "udp")
    assert any(line.startswith("from w1: ") and "udp" in line and " to w2" in line for line in drawn.splitlines())
    assert "\x1b" not in drawn


def test_nobody_enforces_policies(served: Make, typed: Callable[[Served], Typed]) -> None:
    """Plain flannel lets through what the guard forbids: said, unless it is not to count."""
    knet = typed(served("plain-flannel"))
    assert knet("deploy").code == 0
    ended = knet("status")
    assert ended.code == 6
    assert "forbidden callers get through" in ended.err
    assert knet("status", "--ignore", "policy_deny").code == 0
    wrong = knet("status", "--ignore", "gossip")
    assert wrong.code == 2
    assert "there is no kind of probe gossip; there are: http, http_large," in wrong.err


def test_who_does_not_report_is_silent(served: Make, typed: Callable[[Served], Typed]) -> None:
    """The Nodes say who is expected, and the picture shows a row that nobody tells of as such."""
    cluster = served(nodes=3)
    knet = typed(cluster)
    assert knet("deploy").code == 0

    async def stop() -> None:
        cluster.sim.world.machines.kubelet_down("w2")

    cluster.do(stop)
    ended = knet("status")
    assert ended.code == 6
    assert "no report from w2/a, w2/b: all on node w2" in ended.err
    assert [line.count("silent: ") for line in ended.out.splitlines()[1:7]] == [0, 0, 0, 0, 1, 1]
    data = json.loads(knet("matrix", "-o", "json").out)
    assert set(data["silent"]) == {"w2/a", "w2/b"}
    assert {cell["from"] for cell in data["cells"] if cell["state"] == "silent"} == {"w2"}
    assert data["count"]["silent"] == 3


def test_reports_by_the_proxy(served: Make, on: On, tmp_path: Path) -> None:
    """`knet.reader: proxy` needs no log; a user without the right is told which one is missing."""
    config = tmp_path / "proxy.yaml"
    config.write_text(QUICK.replace("0.05}", "0.05, reader: proxy}"), encoding="utf-8")
    cluster = served(nodes=3)
    knet = on(cluster)
    assert knet("knet", "deploy", "--config", str(config)).code == 0
    ended = knet("knet", "status", "--config", str(config))
    assert ended.code == 0, ended.err
    counts = cluster.sim.app.hooks.counts
    assert counts["GET", "pods/proxy"].requests >= 6
    assert ("GET", "pods/log") not in counts
    auth = cluster.sim.app.auth
    auth.tokens = {"": "reader"}
    auth.rules = {"reader": [Rule(verbs=("list", "watch")), Rule(resources=("configmaps", "leases"))]}
    refused = knet("knet", "status", "--config", str(config))
    assert refused.code == 6
    assert 'cannot get resource "pods/proxy"' in refused.out


@pytest.mark.parametrize(("reader", "right"), [("log", "log"), ("proxy", "proxy")])
def test_preflight_asks_for_the_right_that_is_needed(reader: str, right: str) -> None:
    """Of the agents' namespace: the one way of reading, and not the other."""
    config = Config.model_validate({"knet": {"reader": reader}})
    asked = asks(manifests_for(config, None).rbac())
    ways = [ask for ask in asked if ask.subresource in ("log", "proxy") and ask.namespace == "knet-stress"]
    assert ways == [Ask("get", "", "pods", right, "knet-stress")]


def test_watching(served: Make, typed: Callable[[Served], Typed], quick: str) -> None:
    """A picture at once, another when something has changed, none in between; Ctrl-C ends it."""
    cluster = served(nodes=3)
    assert typed(cluster)("deploy").code == 0
    command = [sys.executable, "-m", "cni_migrate.cli.main", "knet", "matrix", "--watch", "-o", "json"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MIGRATE_")}
    with subprocess.Popen(
        [*command, "--config", quick, "--kubeconfig", str(cluster.kubeconfig)],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background jobs, and all that they start, ignore SIGINT: not so the command under test.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            _until(process.stdout, "ok", 9)

            async def stop() -> None:
                cluster.sim.world.machines.kubelet_down("w2")

            cluster.do(stop)
            _until(process.stdout, "silent", 3)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()  # or leaving the block would wait for it for ever


def _until(lines: Iterable[str], what: str, count: int) -> None:
    """Read pictures until one has so many cells of a kind; a busy machine may show others before it."""
    seen = [_document(lines)["count"]]
    while seen[-1].get(what) != count:
        assert len(seen) < 50, f"never {count} {what}: {seen}"
        seen.append(_document(lines)["count"])


def _document(lines: Iterable[str]) -> dict[str, Any]:
    """The next JSON document of a stream."""
    text = ""
    for line in lines:
        text += line
        if line == "}\n":
            break
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_moments_failure_is_not_the_verdict(served: Make, on: On, tmp_path: Path) -> None:
    """As in a gate: enough clean rounds after it prove connectivity. The picture shows what is now."""
    config = tmp_path / "patient.yaml"
    config.write_text(QUICK.replace("0.05}", "0.05, timeout: 8}"), encoding="utf-8")
    cluster = served(nodes=3)
    knet = on(cluster)
    assert knet("knet", "deploy", "--config", str(config)).code == 0
    machines = cluster.sim.world.machines

    async def stop() -> None:
        machines.kubelet_down("w2")

    async def mend_soon() -> None:
        cluster.sim.world.later(2.0, lambda: machines.kubelet_up("w2"))

    cluster.do(stop)
    assert json.loads(knet("knet", "matrix", "-o", "json", "--config", str(config)).out)["count"]["silent"] == 3
    cluster.do(mend_soon)
    ended = knet("knet", "status", "--config", str(config))
    assert ended.code == 0, ended.err


def test_an_agent_that_does_not_become_ready(served: Make, on: On, tmp_path: Path) -> None:
    """The wait has an end, and says for whom it waited and what was seen last."""
    config = tmp_path / "short.yaml"
    config.write_text(f"{QUICK}deadlines: {{agent: 0.5}}\n", encoding="utf-8")
    cluster = served(broken(never_ready={"name": "knet-stress-b", "node": "w2"}))
    ended = on(cluster)("knet", "deploy", "--config", str(config))
    assert ended.code == 4
    assert "waited 0.5 s for 1 agent to be Ready; w2/b: pod knet-stress-b-" in ended.err
    assert "waiting for " in ended.err
    assert ended.err.splitlines()[-1].startswith("next: kubectl -n knet-stress get pods")


def test_what_others_made_is_left_alone(served: Make, typed: Callable[[Served], Typed]) -> None:
    """A namespace without our label is neither taken over nor deleted."""
    cluster = served(nodes=3)
    knet = typed(cluster)
    cluster.config_map("theirs", {"a": "b"}, namespace="knet-stress")
    before = cluster.writes
    ended = knet("deploy")
    assert ended.code == 2
    assert "Namespace knet-stress is there and was not made by migrate: nothing was changed" in ended.err
    removed = knet("remove", "--yes")
    assert removed.code == 0
    assert "Namespace knet-stress was not made by migrate: it stays" in removed.err
    assert cluster.writes == before
    assert cluster.read(CONFIG_MAPS, "theirs", "knet-stress")["data"] == {"a": "b"}


def test_a_namespace_with_guests_stays(served: Make, typed: Callable[[Served], Typed]) -> None:
    """Everything else of ours goes."""
    cluster = served(nodes=3)
    knet = typed(cluster)
    assert knet("deploy").code == 0
    body = {"metadata": {"name": "guest"}, "spec": {"containers": [{"name": "c", "image": "example.com/c:1"}]}}
    cluster.do(lambda: cluster.sim.app.client("somebody").create(PODS, body, "knet-stress"))
    ended = knet("remove", "--yes")
    assert ended.code == 0, ended.err
    assert "Namespace knet-stress stays: there are pods of others in it: guest" in ended.err
    assert ended.out == "11 objects deleted, no agent is left\n"
    assert cluster.read(PODS, "guest", "knet-stress")["metadata"]["name"] == "guest"
    with pytest.raises(ApiError):
        cluster.read(DAEMONSETS, "knet-stress-a", "knet-stress")


def test_beside_a_migration(served: Make, on: On, quick: str) -> None:
    """While one is under way its agents are looked at, not deployed again, and not removed; afterwards they may be."""
    cluster = served(nodes=3)
    run = on(cluster)
    common = ("--config", quick)
    begun = run("run", "--yes", "--strategy", "overlay", "--until", "attaching", *common)
    assert begun.code == 0, begun.err
    writes = cluster.writes
    deployed = run("knet", "deploy", *common)
    assert deployed.code == 0
    assert deployed.out == "a migration is under way, and its agents are there already: nothing was changed\n"
    assert run("knet", "status", *common).code == 0
    refused = run("knet", "remove", "--yes", *common)
    assert refused.code == 2
    assert "a migration is under way, in phase migrating, and its gates need the agents" in refused.err
    assert refused.err.splitlines()[-1].startswith("next: migrate run")
    assert cluster.writes == writes
    skipped = run("skip-node", "w2", *common)
    assert skipped.code == 0
    assert run("run", "--yes", "--nodes", "w1", *common).code == 0
    ended = run("knet", "status", "-o", "json", *common)
    data = json.loads(ended.out)
    assert (data["passed"], data["proven"], data["left_out"], ended.code) == (True, False, ["w2"], 6)
    assert "proven" not in data["verdict"]
    assert "w2 is not probed" in ended.err
    drawn = json.loads(run("knet", "matrix", "-o", "json", *common).out)
    assert drawn["count"]["unknown"] == 5
    assert "left out, as a migration is working on them: w2" in run("knet", "matrix", *common).out


def test_agents_that_were_kept_can_be_removed(served: Make, on: On, tmp_path: Path) -> None:
    """After the end of a migration with `knet.keep`."""
    config = tmp_path / "keep.yaml"
    config.write_text(QUICK.replace("0.05}", "0.05, keep: true}"), encoding="utf-8")
    cluster = served(nodes=3)
    run = on(cluster)
    ended = run("run", "--yes", "--strategy", "overlay", "--config", str(config))
    assert ended.code == 0, ended.err
    assert run("knet", "status", "--config", str(config)).code == 0
    assert run("knet", "remove", "--yes", "--config", str(config)).code == 0
    assert cluster.read(NAMESPACES, "cni-migrate")["metadata"]["name"] == "cni-migrate"
