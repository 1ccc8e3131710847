"""The peer graph: what the gate expects of the agents."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from cni_migrate.config import Config
from cni_migrate.core.connectivity.peers import Graph, graph, observers, seed

SETTINGS = {"full_mesh_max": 4, "degree": 4, "seed": "s"}
NODES = st.sets(st.text("abcdefgh0123456789-", min_size=1, max_size=8), min_size=1, max_size=40)


def ring(nodes: set[str], **settings: object) -> Graph:
    return Graph(nodes, **{**SETTINGS, **settings})  # type: ignore[arg-type]


@given(NODES)
def test_connected(nodes: set[str]) -> None:
    mesh = ring(nodes)
    seen, todo = set(), {min(nodes)}
    while todo:
        node = todo.pop()
        seen.add(node)
        todo |= mesh.neighbours(node) - seen
    assert seen == nodes


@given(NODES, st.sampled_from([2, 4, 6]))
def test_regular_and_symmetric(nodes: set[str], degree: int) -> None:
    mesh = ring(nodes, degree=degree)
    wanted = len(nodes) - 1 if mesh.full else min(degree, len(nodes) - 1)
    for node in nodes:
        assert len(mesh.neighbours(node)) == wanted
        assert node not in mesh.neighbours(node)
        assert all(node in mesh.neighbours(other) for other in mesh.neighbours(node))


@given(NODES, st.text("xyz", min_size=1, max_size=5))
def test_a_newcomer_changes_its_neighbours_only(nodes: set[str], newcomer: str) -> None:
    before, after = ring(nodes, full_mesh_max=1), ring(nodes | {newcomer}, full_mesh_max=1)
    changed = {node for node in nodes if before.neighbours(node) != after.neighbours(node)}
    assert changed <= after.neighbours(newcomer)


@given(NODES, st.sampled_from("ab"))
def test_peers_and_observers_are_two_sides_of_one_graph(nodes: set[str], mesh: str) -> None:
    net = ring(nodes)
    for node in nodes:
        agent = f"{node}/{mesh}"
        assert agent not in net.peers(agent)
        assert f"{node}/{'b' if mesh == 'a' else 'a'}" in net.peers(agent)
        assert all(agent in net.peers(observer) for observer in net.observers(node))


def test_the_ring_is_the_one_of_the_report_s_reference() -> None:
    nodes = [f"w{n}" for n in range(9)]
    order = sorted(nodes, key=lambda node: hashlib.sha256(f"s/{node}".encode()).hexdigest())
    mesh = ring(set(nodes))
    for at, node in enumerate(order):
        assert mesh.neighbours(node) == {order[at - 2], order[at - 1], order[(at + 1) % 9], order[(at + 2) % 9]}


def test_up_to_the_limit_everyone_probes_everyone() -> None:
    assert ring({"a", "b", "c", "d"}).full
    assert not ring({"a", "b", "c", "d", "e"}).full


def test_one_node_has_a_pair() -> None:
    assert ring({"w1"}).peers("w1/a") == {"w1/b"}
    assert ring({"w1"}).observers("w1") == frozenset()


def test_an_only_neighbour_tells_by_both_agents() -> None:
    assert ring({"w1", "w2"}).observers("w1") == {"w2/a", "w2/b"}
    assert {agent[-1] for agent in ring({"w1", "w2", "w3"}).observers("w1")} == {"a", "b"}


def test_as_configured() -> None:
    config = Config()
    nodes = [f"w{n}" for n in range(30)]
    assert observers("w3", nodes, config) == graph(set(nodes), config).observers("w3")
    told = observers("w3", nodes, config)
    assert len(told) == config.knet.degree
    assert {agent.partition("/")[0] for agent in told} == graph(set(nodes), config).neighbours("w3")
    assert sum(agent.endswith("/a") for agent in told) == config.knet.degree / 2
    assert seed(config) == seed(Config())
