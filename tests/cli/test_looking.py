"""How often a command that looks asks the API server: on a cluster far away, each request is a round trip."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

from cni_migrate.config import Config
from cni_migrate.sim.apiserver.hooks import Answer, Call
from cni_migrate.sim.client import Kind
from tests.cli.conftest import Served, Typed, a_record, a_shard

NODES = Kind("", "v1", "nodes", "Node", namespaced=False)


@pytest.mark.parametrize(("command", "most"), [("preflight", 65), ("plan", 20), ("status", 12)])
def test_one_look_is_few_requests(
    on: Callable[[Served], Typed], served: Callable[..., Served], command: str, most: int
) -> None:
    """Nothing is watched, and Canal is looked for once."""
    there = served()
    asked: Counter[tuple[str, str]] = Counter()
    watched: list[str] = []

    def note(call: Call, answer: Answer | None) -> None:
        if answer is not None:
            return  # it was told of before
        asked[call.method, call.path] += 1
        if "watch=" in call.query:
            watched.append(call.path)

    there.sim.app.hooks.observers.append(note)
    assert on(there)(command).code == 0
    assert asked["GET", "/api/v1/namespaces/kube-system/configmaps/canal-config"] <= 1
    assert asked.total() <= most, asked.most_common()
    assert watched == []


def test_who_looks_without_the_file_sees_the_migration_as_it_is(
    on: Callable[[Served], Typed], served: Callable[..., Served]
) -> None:
    """From another machine, say: networks, labels and namespaces are those that it was begun with."""
    config = Config.model_validate(
        {
            "cilium": {"pod_cidr": "10.244.0.0/17"},  # as if the simulator's pods were on it
            "canal": {"pod_cidr": "10.99.0.0/16"},
            "labels": {"migrated": {"key": "example.com/migrated", "value": "yes"}},
            "knet": {"namespace": "mesh"},
        }
    )
    there = served(nodes=2)
    meta = {name: there.read(NODES, name)["metadata"] for name in ("cp1", "w1")}
    there.config_map("cni-migrate-record", a_record(config, phase="done"))
    entries = {name: {"state": "migrated", "uid": one["uid"]} for name, one in meta.items()}
    there.config_map("cni-migrate-nodes-0", a_shard(**entries))
    patch = {"metadata": {"labels": {"example.com/migrated": "yes"}}}
    there.do(lambda: there.sim.app.client("somebody").patch(NODES, "w1", patch))
    typed = on(there)
    view = json.loads(typed("status", "-o", "json").out)
    assert "node w1 has the label example.com/migrated" in view["audit"]
    networks = [node["network"] for node in view["nodes"]]
    assert sum(one["cilium"] for one in networks) > 0
    assert not any(one["canal"] + one["none"] for one in networks)
    assert "no agents in namespace mesh" in typed("knet", "status").err


def test_a_record_whose_identity_was_edited_is_looked_at_all_the_same(
    on: Callable[[Served], Typed], served: Callable[..., Served]
) -> None:
    """`run` refuses it, and names the keys."""
    there = served(nodes=2)
    there.config_map("cni-migrate-record", a_record(identity_values={"cilium": {"pod_cidr": 5}, "labels": "none"}))
    there.config_map("cni-migrate-nodes-0", a_shard())
    assert on(there)("status").code == 0


def test_scenarios_are_told_whole(migrate: Typed) -> None:
    """Each in one sentence, to its end."""
    lines = migrate("sim", "scenarios").out.splitlines()[1:]
    assert len(lines) > 20
    assert [line for line in lines if not line.endswith(".")] == []
