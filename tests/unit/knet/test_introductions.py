"""New agents tell where they are, and all look at once at what has changed: the API tells it up to a second later."""

import random
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.knet.agent import apiserver
from cni_migrate.knet.agent.discovery import Directory
from cni_migrate.knet.agent.eventloop import Loop, Steps, Task
from cni_migrate.knet.agent.peers import entry
from cni_migrate.knet.agent.probes import NEW as INTRODUCES
from cni_migrate.knet.agent.protocol import HELLO_LAST, HELLO_REQUEST
from cni_migrate.knet.agent.rounds import RARELY, Rounds
from cni_migrate.knet.agent.server import Server
from cni_migrate.knet.agent.sockets import opened
from tests.unit.knet.secure_api import SecureApi
from tests.unit.knet.test_agent import GONE, calm_rounds, followed, known, ok, page, pod, settings, turns

NEW = {"a": pod("new-a", "w2", "a", ""), "b": pod("new-b", "w2", "b", "")}


def a_directory(*pods: dict[str, Any]) -> Directory:
    """What an agent on w1 knows by the API."""
    directory = Directory(settings(), Loop())
    directory.entries = {one["metadata"]["uid"]: entry(one) for one in pods}
    directory.take(directory.entries.values())
    return directory


def test_an_address_is_believed_where_the_api_has_none_yet() -> None:
    """And only there: what the API tells outranks it, and a pod that it does not know is nobody's peer."""
    directory = a_directory(NEW["a"], pod("old", "w3", "b", "10.244.3.3"))
    for uid in ("uid-new-a", "uid-old", "uid-nobody"):
        directory.introduced(uid, "10.245.2.9")
    turns(directory.loop, lambda: known(directory)["w2/a"] != "")
    assert known(directory) == {"w2/a": "10.245.2.9", "w3/b": "10.244.3.3"}
    assert directory.heard == {"uid-new-a": "10.245.2.9"}


def test_what_is_no_address_is_an_error_and_changes_nothing() -> None:
    """Its caller is hung up on."""
    directory = a_directory(NEW["a"])
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        directory.introduced("uid-new-a", "elsewhere")
    assert directory.heard == {}
    assert directory.entries["uid-new-a"]["address"] == ""


def test_the_api_s_word_comes_and_nothing_is_passed_on_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then its news of the pod, which have no address, take nothing away."""
    monkeypatch.setattr(apiserver, "ACCOUNT", tmp_path)
    scheduled = {"type": "MODIFIED", "object": pod("new-a", "w2", "a", "", hostIP="192.0.2.2")}
    running = {"type": "MODIFIED", "object": pod("new-a", "w2", "a", "10.245.2.7")}
    deleted = {"type": "DELETED", "object": pod("new-b", "w2", "b", "")}
    answers = [page([NEW["a"], NEW["b"]]), ok(scheduled, GONE), page([NEW["a"]]), ok(running, deleted, GONE)]
    told: list[list[str]] = []
    with SecureApi(tmp_path, lambda _: answers.pop(0)) as api:
        directory = Directory(settings(**api.env), Loop(), tell=lambda heard: told.append(sorted(heard)))

        def introduced(_: object) -> None:
            for uid in ("uid-new-a", "uid-new-b"):
                directory.introduced(uid, "10.245.2.9")

        monkeypatch.setattr(directory, "take", introduced)
        followed(directory.loop, directory.follow_pods())
        assert directory.entries["uid-new-a"]["address"] == "10.245.2.9"
        assert told[-1] == ["uid-new-a", "uid-new-b"]
        followed(directory.loop, directory.follow_pods())
    assert directory.entries["uid-new-a"]["address"] == "10.245.2.7"
    assert told[-1] == []


def test_a_hello_introduces_whoever_says_it_and_tells_of_others() -> None:
    """A caller that talks nonsense is refused, and the plain hello stays as it is."""
    running = calm_rounds()
    directory, server = running.directory, running.server
    assert b"X-Knet-Heard" not in server.http(HELLO_LAST)[0]
    directory.entries = {f"uid-new-{mesh}": entry(NEW[mesh]) for mesh in "ab"}
    hello = HELLO_LAST[:-4] + b"\r\nX-Knet-Here: uid-new-a 10.245.2.9\r\n\r\n"
    said, left = server.http(hello)
    assert left is None
    for answer in (said, server.http(HELLO_LAST)[0], server.http(HELLO_REQUEST)[0]):
        assert b"\r\nX-Knet-Heard: uid-new-a=10.245.2.9\r\n" in answer
        assert b"\r\nContent-Length: 19\r\n" in answer
    with pytest.raises(ValueError, match="IPv4"):
        server.http(hello.replace(b"a 10.245.2.9", b"b nowhere"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs loopback addresses besides 127.0.0.1")
def test_two_new_agents_of_a_node_hear_of_each_other_by_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither has an address by the API, so neither can call the other; both call one that has."""
    block = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
    address = {"w1/a": f"{block}.1", "w2/a": f"{block}.2", "w2/b": f"{block}.3"}
    by_the_api = [pod("old", "w1", "a", address["w1/a"]), NEW["a"], NEW["b"]]
    sockets: list[socket.socket] = []

    def noted(*where: Any, **more: Any) -> socket.socket:
        sockets.append(opened(*where, **more))
        return sockets[-1]

    for module in ("datagrams", "probes", "server", "streams"):
        monkeypatch.setattr(f"cni_migrate.knet.agent.{module}.opened", noted)
    uids = {"w1/a": "uid-old", "w2/a": "uid-new-a", "w2/b": "uid-new-b"}
    loop, agents = Loop(), {}
    for name, where in address.items():
        mine = settings(NODE_NAME=name[:2], KNET_MESH=name[-1], POD_UID=uids[name], POD_IP=where, KNET_LISTEN=where)
        mine.skip, mine.interval = frozenset({"dns"}), 0.1
        server = Server(mine, loop)
        server.start()
        agents[name] = running = Rounds(server)
        running.probes.new_until = time.monotonic() + (INTRODUCES if name[:2] == "w2" else 0.0)
        running.directory.entries = {one["metadata"]["uid"]: entry(one) for one in by_the_api}
        running.directory.take(running.directory.entries.values())
        running.task = Task(loop, running.run())
    try:
        turns(loop, lambda: all("" not in known(running.directory).values() for running in agents.values()))
    finally:
        for sock in (*sockets, *(caller.sock for running in agents.values() for caller in running.server.callers)):
            sock.close()
    for name, running in agents.items():
        assert known(running.directory) == {other: where for other, where in address.items() if other != name}


def test_a_change_is_looked_at_at_once() -> None:
    """Also one that comes while a round is under way; else the next round begins an interval later."""
    running = calm_rounds(interval=30.0, idle=30.0)
    began: list[float] = []
    whole = running.round

    def a_round(number: int) -> Steps:
        began.append(time.monotonic())
        if number == 2:
            running.directory.take([entry(pod("during", "w3", address=""))])
        return (yield from whole(number))

    running.round = a_round  # type: ignore[method-assign]  # to see when each begins
    running.task = Task(running.loop, running.run())
    turns(running.loop, lambda: len(began) == 1)
    running.directory.take([entry(pod("one", "w2", address=""))])
    turns(running.loop, lambda: len(began) == 3)
    assert began[2] - began[0] < 5


def test_agents_that_begin_together_do_not_go_on_having_rare_probes_together() -> None:
    """Else what is broken is found by all of them late, instead of by one of them soon."""
    pauses = []
    for _ in range(20):
        running = calm_rounds()
        running._rare()
        pauses.append(running.rarely)
    assert all(0.5 * RARELY <= pause <= RARELY for pause in pauses)
    assert max(pauses) - min(pauses) > 0.1 * RARELY
