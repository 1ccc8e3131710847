"""The agent: its parts, and real ones that probe each other over loopback addresses."""

import ast
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_migrate.config import Config
from cni_migrate.core.connectivity import diagnosis, gate
from cni_migrate.core.connectivity.gate import Failing, Passed, Verdict
from cni_migrate.core.connectivity.peers import Graph
from cni_migrate.core.model.rounds import GateAsk
from cni_migrate.identities import agent as identities_agent
from cni_migrate.knet import agent
from cni_migrate.knet.agent import apiserver
from cni_migrate.knet.agent.datagrams import HEARD
from cni_migrate.knet.agent.discovery import Directory
from cni_migrate.knet.agent.dns import resolver
from cni_migrate.knet.agent.eventloop import READ, Loop, Steps, Task
from cni_migrate.knet.agent.peers import entry, neighbours
from cni_migrate.knet.agent.protocol import LARGE_REQUEST
from cni_migrate.knet.agent.results import at_share
from cni_migrate.knet.agent.rounds import Rounds
from cni_migrate.knet.agent.server import Server
from cni_migrate.knet.agent.services import Services
from cni_migrate.knet.agent.settings import TCP_PORT, Settings
from cni_migrate.knet.agent.sockets import TROUBLE
from cni_migrate.knet.agent.wording import words
from cni_migrate.knet.reader import LogProber, rounds_of
from tests.unit.knet.secure_api import SecureApi

FOLDER = Path(agent.__file__).parents[1]


def settings(**env: str) -> Settings:
    return Settings({"NODE_NAME": "w1", "KNET_MESH": "a", "POD_IP": "10.244.1.2", **env})


@given(st.sets(st.text("abcdef-0123", min_size=1, max_size=6), min_size=1, max_size=30), st.sampled_from([2, 4, 6]))
def test_the_agent_and_the_gate_know_the_same_graph(nodes: set[str], degree: int) -> None:
    mine = settings()
    mine.full_mesh_max, mine.degree, mine.seed = 5, degree, "s"
    graph = Graph(nodes, full_mesh_max=5, degree=degree, seed="s")
    for node in nodes:
        assert neighbours(node, nodes, mine) == graph.neighbours(node)


NAMES = st.sets(st.text("abcdef-0123", min_size=1, max_size=6), min_size=1, max_size=30)


def whom(node: str, nodes: set[str], transit: set[str], most: int) -> tuple[set[str], set[str]]:
    """The peers of an agent, and those of them that it running now and then."""
    mine = settings(NODE_NAME=node)
    mine.full_mesh_max, mine.degree, mine.seed = most, 4, "s"
    directory = Directory(mine, Loop())
    directory.transit, directory.fast_until = frozenset(transit), time.time() + 60
    directory.take(entry(pod(f"{one}-{mesh}", one, mesh, "10.0.0.1")) for one in nodes for mesh in "ab")
    return set(directory.peers), {name for name, peer in directory.peers.items() if peer.far}


@given(NAMES, NAMES, st.sampled_from([1, 5, 40]))
def test_nodes_in_transit_are_everybody_s_peers(nodes: set[str], named: set[str], most: int) -> None:
    """Beside those of the graph, which stay as they are; where everybody running everybody nothing changes."""
    graph = Graph(nodes, full_mesh_max=most, degree=4, seed="s")
    there = {f"{node}/{mesh}" for node in named & nodes for mesh in "ab"}
    for node in nodes:
        peers, far = whom(node, nodes, named, most)
        assert peers - far == graph.peers(f"{node}/a")
        assert peers == graph.peers(f"{node}/a") | (set() if graph.full else there - {f"{node}/a"})


@given(NAMES, NAMES, st.text("xyz", min_size=1, max_size=5))
def test_a_newcomer_changes_the_peers_of_its_neighbours_only(nodes: set[str], named: set[str], newcomer: str) -> None:
    """While others are in transit, too."""
    after = Graph(nodes | {newcomer}, full_mesh_max=1, degree=4, seed="s")
    for node in nodes - after.neighbours(newcomer) if len(nodes) > 1 else ():
        assert whom(node, nodes, named, 1) == whom(node, nodes | {newcomer}, named, 1)


def test_nobody_overwhelms_a_node_in_transit() -> None:
    """Of a thousand nodes each looks every ten seconds or so, and soon again at what fails; of a few every two."""
    running = calm_rounds()
    far = frozenset({"w9"})
    for size, least, most in ((20, 1.5, 2.5), (1000, 7.5, 12.5)):
        running.directory.size = size
        running.turn_of = {"w9": 0.0, "gone": 0.0}
        assert running._whose_turn(far) == {"w9"}
        assert least - 0.1 < running.turn_of["w9"] - time.monotonic() <= most
        assert running._whose_turn(far) == set()
        assert set(running.turn_of) == far
    running._soon_again(far)
    assert running.turn_of["w9"] - time.monotonic() > 7
    running.results.bad["w9/b", "primary", "http"] = "timeout"
    running._soon_again(far)
    assert running.turn_of["w9"] - time.monotonic() <= 2.5


def test_a_node_in_transit_is_probed_in_its_turn_and_keeps_its_last_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a long-lived connection, of which a node can serve so many only."""
    running = calm_rounds()
    running.settings.full_mesh_max, running.settings.degree = 1, 0
    asked: list[str] = []

    def node(address: str) -> Steps:
        asked.append(address)
        yield None, 0, time.monotonic()
        raise TimeoutError

    monkeypatch.setattr(running.probes, "_node", node)
    reports: list[dict[str, Any]] = []
    there = [pod("one", "w9", "a", "", hostIP="192.0.2.9"), pod("two", "w8", "a", "10.0.0.8")]

    def rounds() -> Steps:
        for turn, until in ((0.0, 60), (1e12, 60), (1e12, 0)):
            directory = running.directory
            directory.transit, directory.fast_until = frozenset({"w9", "elsewhere"}), time.time() + 60
            directory.entries = {one["metadata"]["uid"]: entry(one) for one in there}
            directory.take(directory.entries.values())
            assert reports or not running.fast_until, "nobody near has changed"
            directory.fast_until, running.turn_of = time.time() + until, {"w9": turn}
            reports.append((yield from running.round(len(reports) + 1)))

    running.task = Task(running.loop, rounds())
    turns(running.loop, lambda: len(reports) == 3)
    assert asked == ["192.0.2.9"]
    assert [report["peers"] for report in reports] == [["w9/a"], ["w9/a"], []]  # nobody asks any more
    assert [[(bad["peer"], bad["error"]) for bad in report["bad"]] for report in reports] == [
        [("node:w9", "timeout"), ("w9/a", "it has no address yet")],
        [("node:w9", "timeout"), ("w9/a", "it has no address yet")],
        [],
    ]
    assert not running.streams.open


@pytest.mark.parametrize("package", [agent, identities_agent], ids=["knet", "identities"])
def test_the_agents_are_python_3_9_with_the_standard_library_alone(package: ModuleType) -> None:
    """Every module is small, and imports nothing but that and its neighbours."""
    modules = sorted(Path(str(package.__file__)).parent.glob("*.py"))
    for module in modules:
        text = module.read_text()
        assert text.count("\n") < 400, module
        tree = ast.parse(text, feature_version=(3, 9))
        plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        parts = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        plain |= {str(node.module) for node in parts if not node.level}
        assert {name.partition(".")[0] for name in plain} <= sys.stdlib_module_names, module
        assert {node.level for node in parts} <= {0, 1}, module
    assert {"__init__.py", "__main__.py"} < {module.name for module in modules}


def pod(name: str, node: str = "w2", mesh: str = "b", address: str = "10.244.2.3", **values: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": "7", "labels": {"cni-migrate.io/mesh": mesh}}
    return {
        "metadata": {**meta, **values.pop("meta", {})},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "podIP": address, **values},
    }


def known(directory: Directory) -> dict[str, str]:
    return {name: peer.address for name, peer in sorted(directory.peers.items())}


def test_peers_are_the_agents_that_stay() -> None:
    directory = Directory(settings(), Loop())
    found = [
        pod("self", "w1", "a"),
        pod("other", "w1", "b", "10.244.1.3"),
        pod("old", meta={"deletionTimestamp": "2030-01-01T00:00:00Z"}),
        pod("new", address="10.245.2.9"),
        pod("evicted", "w3", "a", phase="Failed"),
        pod("starting", "w4", "a", ""),
        pod("unscheduled", "", "a", ""),
    ]
    directory.take(map(entry, found))
    assert known(directory) == {"w1/b": "10.244.1.3", "w2/b": "10.245.2.9", "w4/a": ""}


def test_the_nodes_of_the_peers_are_known_by_their_pods() -> None:
    directory = Directory(settings(), Loop())
    found = [
        pod("beside", "w1", "b", hostIP="192.0.2.1"),
        pod("bound", "w2", "a", ""),
        pod("runs", "w2", "b", hostIP="192.0.2.2"),
        pod("too", "w3", "a", hostIP="192.0.2.3"),
    ]
    directory.take(map(entry, found))
    assert directory.hosts == {"w2": "192.0.2.2", "w3": "192.0.2.3"}
    directory.take(map(entry, found[:3]))
    assert directory.hosts == {"w2": "192.0.2.2"}


def test_a_peer_that_stays_is_the_same_and_a_new_pod_is_another() -> None:
    directory = Directory(settings(), Loop())
    directory.take([entry(pod("one"))])
    first = directory.peers["w2/b"]
    directory.take([entry(pod("one"))])
    assert directory.peers["w2/b"] is first
    directory.take([entry(pod("two"))])
    assert directory.peers["w2/b"] is not first


def test_the_resolver_s_file() -> None:
    text = "search knet.svc.example.org svc.example.org example.org\nnameserver 10.96.0.10\noptions ndots:5\n"
    assert resolver(text) == ("10.96.0.10", "kubernetes.default.svc.example.org")
    with pytest.raises(ValueError, match="no name server"):
        resolver("search example.org\n")


def test_shares_of_times() -> None:
    assert at_share([], 0.99) == 0.0
    assert [at_share([1.0, 2.0, 3.0, 40.04], share) for share in (0.5, 0.99, 1.0)] == [3.0, 40.0, 40.0]


def test_the_agent_and_the_gate_have_the_same_word_for_a_broken_way() -> None:
    assert HEARD == diagnosis.HEARD


def test_errors_in_words() -> None:
    known = [ConnectionRefusedError(), EOFError(), TimeoutError(), OSError(113, "No route to host")]
    assert [words(problem) for problem in known] == ["refused", "reset", "timeout", "no route to host"]


def turns(loop: Loop, enough: Callable[[], bool]) -> None:
    """Let the loop turn until it is enough."""
    deadline = time.monotonic() + 10
    while not enough() or loop.closing:
        assert time.monotonic() < deadline
        loop.at(time.monotonic() + 0.05, lambda: None)
        loop.run_once()


def ok(*lines: Any) -> bytes:
    return b"HTTP/1.0 200 OK\r\n\r\n" + b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def page(items: list[dict[str, Any]], more: str = "") -> bytes:
    return ok({"metadata": {"resourceVersion": "5", "continue": more}, "items": items})


GONE = {"type": "ERROR", "object": {"code": 410}}


def followed(loop: Loop, steps: Steps) -> list[BaseException]:
    """Take the steps to their end; how they ended when it was by an error."""
    ended: list[BaseException | None] = []

    def all_of() -> Steps:
        try:
            yield from steps
        except TROUBLE as problem:
            ended.append(problem)
        else:
            ended.append(None)

    Task(loop, all_of())
    turns(loop, lambda: bool(ended))
    return [problem for problem in ended if problem]


def test_it_follows_the_pods_by_list_and_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "ACCOUNT", tmp_path)
    events = [
        {"type": "ADDED", "object": pod("two", "w3")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}},
        {"type": "MODIFIED", "object": pod("two", "w3", address="10.244.3.9")},
        {"type": "DELETED", "object": pod("one")},
    ]
    answers = [page([pod("one")], more="next page"), page([pod("three", "w4")]), ok(*events), ok(GONE)]
    with SecureApi(tmp_path, lambda _: answers.pop(0)) as api:
        directory = Directory(settings(**api.env), Loop())
        assert followed(directory.loop, directory.follow_pods()) == []
    assert known(directory) == {"w3/b": "10.244.3.9", "w4/b": "10.244.2.3"}
    assert all("Authorization: Bearer secret" in head for head in api.asked)
    assert "continue=next+page" in api.asked[1]
    assert ["resourceVersion=5" in api.asked[2], "resourceVersion=7" in api.asked[3]] == [True, True]


def test_a_refused_list_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "ACCOUNT", tmp_path)
    with SecureApi(tmp_path, lambda _: b"HTTP/1.0 403 Forbidden\r\n\r\n") as api:
        directory = Directory(settings(**api.env), Loop())
        problems = followed(directory.loop, directory.follow_pods())
    assert [str(problem) for problem in problems] == ["the API server says 403"]


def test_the_pace_comes_from_one_config_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "ACCOUNT", tmp_path)

    def pace(until: str, **more: str) -> dict[str, Any]:
        meta = {"name": "knet-stress-pace", "resourceVersion": "6"}
        return {"metadata": meta, "data": {"until": until, **more}}

    changed = {"type": "MODIFIED", "object": pace("soon", transit="w3\nw4")}
    answers = [page([pace("2100-01-01T00:00:00Z")]), ok(changed, GONE)]
    heard: list[float] = []
    with SecureApi(tmp_path, lambda _: answers.pop(0)) as api:
        directory = Directory(settings(**api.env), Loop(), lambda: heard.append(directory.fast_until))
        assert followed(directory.loop, directory.follow_pace()) == []
    century = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert heard == [century, century]  # what cannot be understood changes nothing
    assert directory.transit == {"w3", "w4"}
    assert all("configmaps?fieldSelector=metadata.name%3Dknet-stress-pace" in head for head in api.asked)


def test_the_node_port_comes_from_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "ACCOUNT", tmp_path)
    ports: list[dict[str, Any]] = [{"port": 80, "nodePort": 30123}, {"port": 80}]
    with SecureApi(tmp_path, lambda _: ok({"spec": {"clusterIP": "10.96.0.7", "ports": [ports.pop(0)]}})) as api:
        services = Services(settings(**api.env, KNET_STRESS_GUARD_SERVICE_HOST="10.96.0.8"), Loop())
        for known_port in (30123, 0):
            services.doubted = True
            assert followed(services.api.loop, services.read()) == []
            assert (services.node_port, services.doubted) == (known_port, False)
    assert all("/namespaces/knet-stress/services/knet-stress " in head for head in api.asked)


def test_the_node_port_is_probed_when_it_is_known_and_doubted_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    running = calm_rounds()
    running.settings.node_address = "192.0.2.1"
    asked: list[tuple[str, int]] = []

    def hello(address: tuple[str, int]) -> Steps:
        asked.append(address)
        yield None, 0, time.monotonic()
        if address[1] == 30123:
            raise ConnectionRefusedError

    def node(address: str) -> Steps:
        yield None, 0, time.monotonic()

    monkeypatch.setattr(running.probes, "_service", hello)
    monkeypatch.setattr(running.probes, "_node", node)
    found: list[tuple[list[tuple[str, str, str]], bool]] = []

    def rounds() -> Steps:
        for port, ago in ((0, 9.0), (30123, 9.0), (30123, 0.0), (30456, 9.0)):
            running.services.node_port, running.rare = port, time.monotonic() - ago
            report = yield from running.round(len(found) + 1)
            bad = [(one["peer"], one["kind"], one["error"]) for one in report["bad"]]
            found.append((bad, running.services.doubted))

    running.task = Task(running.loop, rounds())
    turns(running.loop, lambda: len(found) == 4)
    refused = ([("nodeport", "nodeport", "refused")], True)
    assert found == [([], False), refused, refused, ([], False)]
    assert asked == [("192.0.2.1", 30123), ("192.0.2.1", 30456)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs loopback addresses besides 127.0.0.1")
def test_a_long_lived_connection_to_a_peer() -> None:
    """It is told when it is cut, and ends with the peer."""
    running = calm_rounds()
    address = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}.2"
    listener = socket.create_server((address, TCP_PORT))
    try:
        listener.setblocking(False)
        running.directory.take([entry(pod("one", address=address))])
        running.streams.keep(running.directory.peers)
        assert list(running.streams.open) == ["w2/b"]
        turns(running.loop, lambda: running.streams.open["w2/b"].up)
        sock, _ = listener.accept()
        sock.close()
        running.loop.at(time.monotonic() + 0.05, lambda: None)
        running.loop.run_once()
        assert [(stall["peer"], stall["net"]) for stall in running.streams.look()] == [("w2/b", "primary")]
        assert set(running.results.bad) == {("w2/b", "primary", "tcp")}
    finally:
        running.streams.keep({})
        turns(running.loop, lambda: True)
        listener.close()
    assert running.streams.open == {}


def calm_rounds(**config: float) -> Rounds:
    """An agent's rounds with nothing to probe, long after its start."""
    mine, loop = settings(KNET_SKIP="dns"), Loop()
    mine.interval, mine.idle_interval = config.get("interval", 0.5), config.get("idle", 5.0)
    running = Rounds(Server(mine, loop))
    running.fast_until = 0.0
    return running


def test_without_a_slow_pace_the_rounds_stay_as_they_are() -> None:
    assert Settings({}).idle_interval == Settings({}).interval == 0.5
    running = calm_rounds(idle=0.5)
    assert (running.pace, running.calm) == (0.5, False)


def test_rounds_are_slow_until_something_changes() -> None:
    running = calm_rounds()
    assert (running.pace, running.calm) == (5.0, True)
    running.directory.take([entry(pod("one"))])
    assert (running.pace, running.calm) == (0.5, False)
    running.fast_until = 0.0
    running.directory.take([entry(pod("one"))])
    assert running.calm  # nothing new
    running.directory.fast_until = time.time() + 10
    assert not running.calm


def test_a_new_failure_and_its_end_make_the_rounds_fast() -> None:
    running = calm_rounds()
    paces: list[float] = []

    def rounds() -> Steps:
        for found in ([], [pod("starting", address="")], [pod("starting", address="")], []):
            running.directory.take(map(entry, found))
            running.fast_until = 0.0  # not for the peer that is new
            report = yield from running.round(len(paces) + 1)
            paces.append(report["interval_s"])

    running.task = Task(running.loop, rounds())
    turns(running.loop, lambda: len(paces) == 4)
    assert paces == [5.0, 0.5, 5.0, 0.5]


def test_other_nodes_are_probed_rarely_and_keep_their_last_result(monkeypatch: pytest.MonkeyPatch) -> None:
    running = calm_rounds()
    asked: list[str] = []

    def node(address: str) -> Steps:
        asked.append(address)
        yield None, 0, time.monotonic()
        if address == "192.0.2.3":
            raise TimeoutError

    monkeypatch.setattr(running.probes, "_node", node)
    reports: list[dict[str, Any]] = []
    there = [pod("one", address="", hostIP="192.0.2.2"), pod("two", "w3", "a", "", hostIP="192.0.2.3")]

    def rounds() -> Steps:
        for found, ago in ((there, 9.0), (there, 0.0), (there, 9.0), (there[:1], 0.0)):
            running.directory.take(map(entry, found))
            running.rare = time.monotonic() - ago
            reports.append((yield from running.round(len(reports) + 1)))

    running.task = Task(running.loop, rounds())
    turns(running.loop, lambda: len(reports) == 4)
    assert asked == ["192.0.2.2", "192.0.2.3"] * 2
    bad = [[(b["peer"], b["net"], b["kind"], b["error"]) for b in r["bad"] if b["net"] == "host"] for r in reports]
    assert bad == [[("node:w3", "host", "tcp", "timeout")]] * 3 + [[]]  # and what is no peer's node is nobody's


def test_answers_to_requests_in_pieces_and_in_a_row() -> None:
    server = calm_rounds().server
    assert server.http(LARGE_REQUEST[:5000]) == (b"", LARGE_REQUEST[:5000])
    said, left = server.http(LARGE_REQUEST + b"GET /nothing HTTP/1.1\r\n\r\nGET /he")
    assert said.count(b"HTTP/1.1 200 OK") == said.count(b"HTTP/1.1 404") == 1
    assert left == b"GET /he"


def body(server: Server, path: str) -> str:
    return server.http(f"GET {path} HTTP/1.1\r\n\r\n".encode())[0].decode().partition("\r\n\r\n")[2]


def test_the_report_gives_the_newest_rounds_last() -> None:
    server = calm_rounds().server
    assert body(server, "/readyz") == "no round yet"
    server.rounds.extend(f'{{"round":{number}}}\n' for number in range(1, 31))
    assert body(server, "/readyz") == "ok"
    assert [json.loads(line)["round"] for line in body(server, "/report").splitlines()] == [*range(19, 31)]
    assert body(server, "/report?lines=2") == '{"round":29}\n{"round":30}\n'
    assert len(body(server, "/report?lines=99").splitlines()) == 24
    assert b"Content-Type: application/x-ndjson" in server.http(b"GET /report HTTP/1.1\r\n\r\n")[0]


def test_metrics_have_the_original_s_names_and_a_label_for_the_peer() -> None:
    running = calm_rounds()
    running.results.note("w2/b", "primary", "http", "", 200, 7.0)
    running.results.note("w2/b", "primary", "http", "status 500")
    running.results.note("w2/b", "primary", "udp", "timeout")
    running.results.note("api", "primary", "api", "", 403, 1.0)
    lines = body(running.server, "/metrics").splitlines()
    me = 'instance_id="w1",mesh="a"'
    sent = f"knet_stress_client_requests_sent{{{me}"
    assert f'{sent},code="200",peer="w2/b",net="primary",kind="http"}} 1' in lines
    assert f'{sent},code="500",peer="w2/b",net="primary",kind="http"}} 1' in lines
    assert f'{sent},code="0",peer="w2/b",net="primary",kind="udp"}} 1' in lines
    assert f'knet_stress_client_api_requests_sent{{{me},code="403"}} 1' in lines
    took = f'knet_stress_client_requests_duration_seconds_bucket{{{me},net="primary",kind="http"'
    assert [f'{took},le="{le}"}} {count}' in lines for le, count in (("0.005", 0), ("0.010", 1), ("+Inf", 1))] == [
        True
    ] * 3
    assert f"knet_stress_server_requests_received{{{me}}} 1" in lines


def test_a_sleeping_agent_is_woken(tmp_path: Path) -> None:
    loop = Loop()
    went: list[float] = []

    def sleeper() -> Steps:
        yield None, 0, time.monotonic() + 60
        went.append(time.monotonic())

    task = Task(loop, sleeper())
    task.wake(time.monotonic() + 0.05)
    began = time.monotonic()
    turns(loop, lambda: bool(went))
    assert 0.04 < went[0] - began < 60, "before its own time"


def test_an_agent_that_gets_no_processor_blames_nobody() -> None:
    """What came while it did not run is taken before a deadline that passed meanwhile counts."""
    loop = Loop()
    (here, there), (ours, theirs) = socket.socketpair(), socket.socketpair()
    ended: list[str] = []

    def probe() -> Steps:
        try:
            yield here, READ, time.monotonic() + 0.05
        except TimeoutError:
            ended.append("timeout")
        else:
            ended.append(here.recv(9).decode())

    def held_up() -> None:
        ours.recv(9)
        there.send(b"answer")
        time.sleep(0.2)

    with here, there, ours, theirs:
        Task(loop, probe())
        loop.watch(ours, READ, held_up)
        theirs.send(b"x")
        turns(loop, lambda: bool(ended))
    assert ended == ["answer"]


CONFIG = Config.model_validate(
    {"knet": {"interval": 0.2, "timeout": 0.5}, "gate": {"rounds": 3, "seconds": 0.4}, "strategy": "overlay"}
)
NODES = ("w1", "w2")
AGENTS = ("w1/a", "w1/b", "w2/a", "w2/b")


class Wall:
    """The clock on the wall."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Agents:
    """Four real agents on loopback addresses of their own, told by a file of each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        block = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
        self.addresses = {name: f"{block}.{n + 1}" for n, name in enumerate(AGENTS)}
        peers = [
            {"node": n[:2], "mesh": n[-1], "address": address, "host": "127.0.0.1"}
            for n, address in self.addresses.items()
        ]
        (folder / "peers.json").write_text(json.dumps(peers))
        (folder / "config.json").write_text(json.dumps({"interval_s": 0.2, "timeout_s": 0.5}))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def env(self, name: str) -> dict[str, str]:
        return os.environ | {
            "NODE_NAME": name[:2], "KNET_MESH": name[-1], "POD_UID": f"uid-{name}", "NODE_IP": "127.0.0.1",
            "KNET_LISTEN": self.addresses[name], "KNET_PEERS_FILE": str(self.folder / "peers.json"),
            "KNET_CONFIG": str(self.folder / "config.json"), "KNET_SKIP": "dns", "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(FOLDER),
        }  # fmt: skip

    def log(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.log"

    def start(self, name: str) -> None:
        with self.log(name).open("ab") as log:
            command = [sys.executable, "-m", "agent", "serve"]
            self.running[name] = subprocess.Popen(command, env=self.env(name), stdout=log, stderr=log)

    def status(self, name: str) -> int:
        command = [sys.executable, "-m", "agent", "status"]
        done = subprocess.run(command, env=self.env(name), capture_output=True, text=True, check=False, timeout=30)
        assert (done.stdout == "STATUS OK\n") == (done.returncode == 0) == (not done.stderr), done
        return done.returncode

    async def tail(self, namespace: str, pod: str, lines: int) -> str:
        assert namespace == "knet-stress"
        return "".join(self.log(pod).read_text().splitlines(keepends=True)[-lines:])

    def judged(self, since: datetime) -> Verdict:
        ask = GateAsk("k", tuple(("knet-stress", name, name) for name in AGENTS), since)
        reading = asyncio.run(LogProber(self.tail, Wall()).read([ask]))["k"]
        # There are no policies on loopback, so what they would forbid is not asked for.
        return gate.judge(reading, gate.expected(NODES, CONFIG), (), since, CONFIG, ignore={"policy_deny"})

    def until(self, kind: type[Verdict], since: datetime) -> Verdict:
        deadline = time.monotonic() + 30
        verdict = self.judged(since)
        while not isinstance(verdict, kind):
            assert time.monotonic() < deadline, verdict
            time.sleep(0.1)
            verdict = self.judged(since)
        return verdict


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    running = Agents(tmp_path)
    for name in AGENTS:
        running.start(name)
    yield running
    for process in running.running.values():
        process.terminate()
    for process in running.running.values():
        process.wait(10)


@pytest.mark.skipif(sys.platform != "linux", reason="needs loopback addresses besides 127.0.0.1")
def test_real_agents_prove_connectivity_and_name_what_is_broken(agents: Agents) -> None:
    passed = agents.until(Passed, datetime.now(UTC))
    assert isinstance(passed, Passed)
    assert passed.sent >= 4 * 3 * 3
    assert agents.status("w1/a") == 0
    rounds, _ = rounds_of(agents.log("w1/a").read_text(), "w1/a")
    assert rounds[-1].peers == {"w1/b", "w2/a", "w2/b"}
    # Nothing enforces policies here, and the forbidden caller sees it.
    rounds, _ = rounds_of(agents.log("w1/b").read_text(), "w1/b")
    assert {(bad.peer, bad.kind, bad.error) for bad in rounds[-1].bad} == {("w2/b", "policy_deny", "not blocked")}

    stopped = datetime.now(UTC)
    agents.running["w2/a"].kill()
    agents.running["w2/a"].wait(10)
    verdict = agents.until(Failing, stopped)
    assert isinstance(verdict, Failing)
    assert {pair.peer for pair in verdict.pairs} == {"w2/a"}
    time.sleep(1.5)
    verdict = agents.judged(stopped)
    assert isinstance(verdict, Failing)
    assert {(pair.agent, pair.peer) for pair in verdict.pairs} == {(name, "w2/a") for name in AGENTS if name != "w2/a"}
    assert {pair.kind for pair in verdict.pairs} >= {"http", "udp", "tcp"}
    assert "towards agent w2/a only: its process or its pod" in verdict.diagnosis
    rounds, _ = rounds_of(agents.log("w1/a").read_text(), "w1/a")
    first_bad = next(one for one in rounds if one.at > stopped and one.bad)
    assert len([one for one in rounds if stopped < one.at <= first_bad.at]) <= 3
    assert agents.status("w1/a") == 1
    assert agents.status("w2/a") == 2

    agents.start("w2/a")
    assert isinstance(agents.until(Passed, datetime.now(UTC)), Passed)
