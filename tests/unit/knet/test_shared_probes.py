"""What all agents share: Services by ClusterIP, the policy by ClusterIP, and the kubelet's own probes."""

import random
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.knet.agent import apiserver
from cni_migrate.knet.agent.eventloop import Loop, Steps, Task
from cni_migrate.knet.agent.rounds import Rounds
from cni_migrate.knet.agent.server import Server
from cni_migrate.knet.agent.services import Services
from tests.unit.knet.secure_api import SecureApi
from tests.unit.knet.test_agent import calm_rounds, followed, ok, settings, turns

READY = b"GET /readyz HTTP/1.1\r\nHost: 10.244.1.2:8080\r\nUser-Agent: kube-probe/1.34\r\nConnection: close\r\n\r\n"
"""As a kubelet asks (pkg/probe/http)."""


def report_of(running: Rounds) -> dict[str, Any]:
    """One round more."""
    found: list[dict[str, Any]] = []

    def one() -> Steps:
        found.append((yield from running.round(1)))

    running.task = Task(running.loop, one())
    turns(running.loop, lambda: bool(found))
    return found[0]


def bad(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["peer"], one["kind"], one["error"]) for one in report["bad"]]


def test_a_kubelet_that_asks_is_heard() -> None:
    """Until then the report does not say that it was probed; nobody else counts for it."""
    running = calm_rounds()
    running.server.http(READY.replace(b"kube-probe/1.34", b"curl/8"))
    report = report_of(running)
    assert (report["bad"], report["shared"]) == ([], [])
    running.server.http(READY)
    report = report_of(running)
    assert (report["bad"], report["shared"], report["sent"]) == ([], ["kubelet"], 1)


@pytest.mark.parametrize(("heard", "error"), [(0.0, "never heard"), (9.0, "not heard for 9 s")])
def test_a_kubelet_that_is_not_heard_is_a_failure(heard: float, error: str) -> None:
    """Its probes come every second, so some seconds without one mean that it gets no answer."""
    running = calm_rounds()
    running.server.began = time.monotonic() - 60
    running.server.probed = time.monotonic() - heard if heard else 0.0
    report = report_of(running)
    assert (bad(report), report["shared"]) == ([("kubelet", "kubelet", error)], ["kubelet"])
    running.server.http(READY)
    report = report_of(running)
    assert bad(report) == []


class Guard:
    """What the Service of the guarded port leads to: somebody who names himself, or nobody."""

    def __init__(self) -> None:
        self.address = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}.1"
        self.listener: socket.socket | None = None

    def open(self, loop: Loop, name: str) -> None:
        """Answer as the agent of this name does."""
        server = Server(settings(NODE_NAME=name[:2], KNET_MESH=name[3:]), loop)
        self.listener = socket.create_server((self.address, 8089))
        self.listener.setblocking(False)
        loop.watch(self.listener, 1, server._acceptor(self.listener, server._silent))

    def close(self, loop: Loop) -> None:
        """Refuse from now on."""
        if self.listener is not None:
            loop.close(self.listener)
            turns(loop, lambda: not loop.closing)
            self.listener = None


@pytest.fixture
def guard() -> Iterator[Guard]:
    found = Guard()
    yield found
    if found.listener is not None:
        found.listener.close()


def rounds_of(mesh: str, guard: Guard) -> Rounds:
    """The rounds of an agent on w1 that knows the Service's address."""
    mine = settings(KNET_SKIP="dns", KNET_MESH=mesh, KNET_STRESS_GUARD_SERVICE_HOST=guard.address,
                    KNET_STRESS_GUARD_SERVICE_PORT="8089")  # fmt: skip
    mine.idle_interval = 5.0
    running = Rounds(Server(mine, Loop()))
    running.fast_until = 0.0
    return running


@pytest.mark.skipif(sys.platform != "linux", reason="needs loopback addresses besides 127.0.0.1")
def test_who_is_allowed_gets_through_by_cluster_ip(guard: Guard) -> None:
    """Whoever it leads to."""
    running = rounds_of("a", guard)
    report = report_of(running)
    assert (bad(report), report["shared"]) == ([("guard", "policy_allow", "refused")], ["guard"])
    guard.open(running.loop, "w2/b")
    assert bad(report_of(running)) == []
    guard.close(running.loop)


@pytest.mark.skipif(sys.platform != "linux", reason="needs loopback addresses besides 127.0.0.1")
def test_who_is_forbidden_is_blocked_by_cluster_ip(guard: Guard) -> None:
    """Where it leads to the agent itself nothing is learnt: what was last seen stays, and no round is fast for that."""
    running = rounds_of("b", guard)
    report = report_of(running)
    assert (bad(report), report["shared"]) == ([], ["guard"])
    through = [("guard", "policy_deny", "not blocked")]
    for name, found in (("w1/b", []), ("w2/b", through), ("w1/b", through)):
        guard.open(running.loop, name)
        assert bad(report_of(running)) == found, name
        guard.close(running.loop)
    assert bad(report_of(running)) == []


def test_a_service_without_an_address_is_not_taken_for_well() -> None:
    """After some seconds in which it could have been read; in the ones before nothing says that it was probed."""
    running = calm_rounds()
    running.settings.skip = frozenset({"dns", "api", "kubelet"})
    report = report_of(running)
    assert (report["bad"], report["shared"]) == ([], [])
    running.probes.known_by = running.rare = 0.0
    report = report_of(running)
    unknown = "its address is not known"
    assert bad(report) == [
        ("guard", "policy_allow", unknown), ("nodeport", "nodeport", unknown), ("service", "service", unknown),
    ]  # fmt: skip
    assert report["shared"] == ["guard", "nodeport", "service"]


@pytest.mark.parametrize(
    ("env", "asked"),
    [
        ({}, ["knet-stress", "knet-stress-guard"]),
        ({"KNET_STRESS_SERVICE_HOST": "10.96.0.7", "KNET_STRESS_GUARD_SERVICE_HOST": "10.96.0.8"}, ["knet-stress"]),
        (
            {"KNET_SKIP": "nodeport", "KNET_STRESS_SERVICE_HOST": "10.96.0.7", "KNET_STRESS_GUARD_SERVICE_HOST": "x"},
            [],
        ),
    ],
    ids=["a pod older than its Services", "a node port", "nothing to ask"],
)
def test_what_the_environment_does_not_tell_is_read(
    env: dict[str, str], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each Service at most once, and only where it is needed; the next round has the rare probes then."""
    monkeypatch.setattr(apiserver, "ACCOUNT", tmp_path)

    def answer(head: str) -> bytes:
        found = {"clusterIP": f"10.96.0.{7 + ('-guard ' in head)}", "ports": [{"port": 80, "nodePort": 30123}]}
        return ok({"kind": "Service", "spec": found})

    told: list[int] = []
    with SecureApi(tmp_path, answer) as api:
        services = Services(settings(**api.env, **env), Loop(), lambda: told.append(1))
        assert followed(services.api.loop, services.read()) == []
    assert [head.split("/services/")[1].split(" ")[0] for head in api.asked] == asked
    assert services.service == ("10.96.0.7", 80)
    assert services.guard[0] in ("10.96.0.8", "x")
    assert services.node_port == (30123 if asked else 0)
    assert told == [1]
