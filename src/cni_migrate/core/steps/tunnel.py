"""The first step of all: is the port of Cilium's tunnel open between the nodes, while nothing has been changed yet?

A short-lived pod on every node's own network listens on it, a second one sends to others'. What neither Kubernetes nor
its policies show is in the way here: a firewall, a cloud's security group, Calico's HostEndpoints.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cni_migrate.core.connectivity.peers import graph
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod, Effect, RunHostTask, SweepTasks
from cni_migrate.core.model.objects import Node, Pod
from cni_migrate.core.model.record import Tunnel
from cni_migrate.core.model.words import many
from cni_migrate.core.steps.answers import Answer, Apply, ClusterChanges, Done, Refuse, Wait
from cni_migrate.core.steps.host import task_name
from cni_migrate.core.steps.registry import cluster_step
from cni_migrate.core.steps.view import ClusterView
from cni_migrate.core.steps.waited import named

FINDING: Final = "FIREWALL"
"""By this name of preflight's a pair that is closed can be waived; `FIREWALL:NODE` waives the pairs of one node."""

KEPT: Final = 200
"""So many closed pairs are kept in the record, and the number of the others."""

SHOWN: Final = 6

AGAIN: Final = 45.0
"""Seconds after which who got no answer tries once more: a node that has just died is NotReady by then (Kubernetes:
`node-monitor-grace-period`, 40 s), and one that was rebooted listens again."""

Probes = dict[str, tuple[str, tuple[str, ...]]]
"""By the name of its pod: the node that a probe runs on, and its arguments."""


@cluster_step("agent")
def probe_tunnel(view: ClusterView) -> Answer:
    """Try between all nodes whether the port of Cilium's tunnel is open."""
    found = view.record.cluster.tunnel
    there = list(_pods(view))
    nodes = {node.name: node for node in view.members() if _can_be_tried(view, node)}
    if found is None or found.since != view.since:
        if len(nodes) < 2:  # nobody to send to
            return _away(view, there) if there else Done()
        listeners: Probes = {
            _name(view, node, "listen"): (name, ("listen", _port(view))) for name, node in nodes.items()
        }
        known = {*listeners, *_senders(view, nodes, "send"), *_senders(view, nodes, "again")}
        if strange := [pod for pod in there if pod.name not in known]:
            return _away(view, strange)  # of an attempt before: it would hold the port
        return _tried(view, nodes, listeners)
    if there:
        return _away(view, there)
    return _judged(view, found)


def _pods(view: ClusterView) -> Iterator[Pod]:
    """The probes that are there; on a node that is NotReady nobody could see to their end."""
    for node in view.seen.nodes.values():
        tasks = view.host_tasks(node.name) if node.ready else ()
        yield from (pod for pod in tasks if pod.labels.get(names.TASK) == names.TUNNEL)


def _away(view: ClusterView, pods: list[Pod]) -> Answer:
    """See that probes go: the port is Cilium's later."""
    on = f"{many(len(pods), 'probe')} of the tunnel's port to end"
    if left := tuple(sorted((pod.name, pod.uid) for pod in pods if not pod.deleting)):
        sweep = SweepTasks(view.config.namespace, "", left, names.TUNNEL)
        return Apply((sweep,), on=on, observed=f"{pods[0].name} on node {pods[0].node}")
    return Wait(on=on, observed=f"{pods[0].name} on node {pods[0].node} is terminating", pods=(pods[0],))


def _can_be_tried(view: ClusterView, node: Node) -> bool:
    """Whether the port can be tried on a node. Where an agent of Cilium's is already, it has the port: gates tell."""
    cilium = view.config.cilium.namespace
    agents = (one for name in (names.CILIUM, names.FIRST_CILIUM) for one in view.agents(node.name, cilium, name))
    return node.ready and node.os == "linux" and bool(node.internal_ip) and not any(agents)


def _port(view: ClusterView) -> str:
    return str(view.config.cilium.tunnel_port)


def _name(view: ClusterView, node: Node, what: str) -> str:
    return task_name(node, f"tunnel/{what}/{view.since.isoformat()}")


def _senders(view: ClusterView, nodes: Mapping[str, Node], what: str) -> Probes:
    """Who sends to whom: all to all as long as they are few, else to the nearest in the ring (`connectivity.peers`)."""
    mesh = graph(nodes, view.config)
    found: Probes = {}
    for name, node in nodes.items():
        others = [nodes[other].internal_ip for other in sorted(mesh.neighbours(name))]
        if others:
            # Whom it sends to is in its name: when a node joins or leaves meanwhile, its report is about others.
            found[_name(view, node, f"{what}/{','.join(others)}")] = (name, ("send", _port(view), *others))
    return found


def _tried(view: ClusterView, nodes: Mapping[str, Node], listeners: Probes) -> Answer:
    """Have everybody listen, then everybody send; what came of it is recorded before the pods go.

    Who got no answer sends once more after a while.
    """
    unfit: dict[str, str] = {}
    answer = _run(view, nodes, listeners, "listen", unfit)
    if answer is not None:
        return answer
    there = {name: probe for name, probe in _senders(view, nodes, "send").items() if probe[0] not in unfit}
    closed: dict[str, str] = {}
    answer = _run(view, nodes, there, "send", closed)
    if answer is not None:
        return answer
    deaf = {node for name, (node, _) in there.items() if _silent(view, name, unfit, nodes, there)}
    again = {name: probe for name, probe in _senders(view, nodes, "again").items() if probe[0] in deaf}
    if again:
        if (left := _left(view, there, again)) > 0:
            on = f"what was sent to UDP port {_port(view)} from {many(len(again), 'node')} to be tried once more"
            return Wait(on=on, observed=f"no answer yet to node {min(deaf)}", retry_in=left)
        answer = _run(view, nodes, again, "send", closed)
        if answer is not None:
            return answer
        there = {**{name: probe for name, probe in there.items() if probe[0] not in deaf}, **again}
    addresses = {node.internal_ip: name for name, node in nodes.items()}
    pairs: list[str] = []
    for pod, (name, ops) in there.items():
        others = ops[2:]
        _, why = _report(view.seen.pod(view.config.namespace, pod))
        for number in _silent(view, pod, unfit, nodes, there):
            said = f" ({why[str(number)]})" if str(number) in why else ""
            pairs.append(f"{name} -> {addresses[others[number]]}{said}")
    tried = sum(len(others) - 2 for _, others in there.values())
    tunnel = Tunnel(
        since=view.since,
        port=view.config.cilium.tunnel_port,
        tried=tried,
        closed=tuple(sorted(pairs)[:KEPT]),
        more=max(0, len(pairs) - KEPT),
        unfit={**unfit, **closed},
    )
    away = _away(view, list(_pods(view)))
    assert isinstance(away, Apply)
    return replace(away, remember=ClusterChanges(tunnel=tunnel))


def _silent(
    view: ClusterView, pod: str, unfit: Mapping[str, str], nodes: Mapping[str, Node], probes: Probes
) -> list[int]:
    """By number which of those that listen have not answered a probe."""
    others = probes[pod][1][2:]
    addresses = {node.internal_ip: name for name, node in nodes.items()}
    silent, _ = _report(view.seen.pod(view.config.namespace, pod))
    return [number for number in silent if addresses[others[number]] not in unfit]


def _left(view: ClusterView, first: Probes, again: Probes) -> float:
    """Seconds until it is time to send once more; nobody knows when another driver has sent first."""
    if any(view.seen.pod(view.config.namespace, name) is not None for name in again):
        return 0.0
    began = [attempt.at for name in first if (attempt := view.outcomes.attempts.get(f"host:{name}")) is not None]
    return AGAIN - (view.now - max(began)).total_seconds() if began else 0.0


def _run(
    view: ClusterView, nodes: Mapping[str, Node], probes: Probes, what: str, unfit: dict[str, str]
) -> Answer | None:
    """See to it that every probe listens, or has sent; None when that is so. Who cannot goes into `unfit`, with why."""
    effects: list[Effect] = []
    waiting: list[str] = []
    pods: list[Pod] = []
    manifests = view.plan.manifests
    for name, (node, ops) in probes.items():
        pod = view.seen.pod(view.config.namespace, name)
        if pod is None:
            effects.append(RunHostTask(node, name, manifests.tunnel_probe(node, nodes[node].internal_ip, name, ops)))
            waiting.append(f"node {node}: not started")
        elif pod.deleting:
            waiting.append(f"node {node}: an older pod is terminating")
        elif pod.message and _error(pod):
            unfit[node] = _error(pod)
        elif pod.phase == "Failed" or (pod.finished and what == "listen"):
            # It was ended from outside, or sat through its time while nobody drove.
            effects.append(DeletePod(pod.namespace, pod.name, pod.uid, pod.node))
            waiting.append(f"node {node}: {pod.trouble or 'it has ended'}")
        elif (what == "listen" and not pod.ready) or (what == "send" and not pod.message):
            waiting.append(f"node {node}: {named(view.seen, pod)}")
            pods.append(pod)
    if not waiting:
        return None
    does = "listen on" if what == "listen" else "send to others'"
    on = f"{many(len(probes), 'node')} to {does} UDP port {_port(view)}"
    observed = f"{len(probes) - len(waiting)} of {len(probes)}; {waiting[0]}"
    if effects:
        return Apply(tuple(effects), on=on, observed=observed)
    return Wait(on=on, observed=observed, pods=tuple(pods[:1]))


_ERRORS: Final = {
    "taken": "another program has it",
    "refused": "the node does not let it be opened",
}
"""What a probe says of its port, in words."""


def _error(pod: Pod) -> str:
    """Why a probe could not do its work; '' when it could."""
    try:
        said: dict[str, Any] = json.loads(pod.message)
        error = str(said.get("error", ""))
    except (ValueError, AttributeError):
        return f"its probe reported something unreadable: {pod.message[:200]!r}"
    return f"{_ERRORS.get(error, error)} ({said.get('said') or 'nothing more is known'})" if error else ""


def _report(pod: Pod | None) -> tuple[list[int], dict[str, str]]:
    """By number who has not answered, and why a datagram could not be sent."""
    said: dict[str, Any] = json.loads(pod.message) if pod is not None and not _error(pod) else {}
    return [int(number) for number in said.get("silent", ())], {str(k): str(v) for k, v in said.get("why", {}).items()}


def _judged(view: ClusterView, found: Tunnel) -> Answer:
    """Go on where all is open, or waived by name."""
    port = f"UDP port {found.port}"
    if found.unfit:
        shown = "; ".join(f"node {node}: {why}" for node, why in sorted(found.unfit.items())[:SHOWN])
        return Refuse(
            why=f"Cilium's tunnel could not have {port} on {many(len(found.unfit), 'node')}: {shown}."
            " Nothing was changed yet",
            next=f"see who has it (`ss -lunp 'sport = :{found.port}'` on the node) and stop that; or choose another"
            " cilium.tunnel_port after a `migrate rollback`",
        )
    waived = [waiver.partition(":")[2] for waiver in view.record.cluster.waived if _about_it(waiver)]
    left = [pair for pair in found.closed if not any(thing in ("", *_ends(pair)) for thing in waived)]
    more = found.more if "" not in waived else 0
    if not left and not more:
        return Done()
    pairs = f"{', '.join(left[:SHOWN])}{f' and {len(left) + more - SHOWN} more' if len(left) + more > SHOWN else ''}"
    return Refuse(
        why=f"{port}, which Cilium's tunnel needs, is closed between nodes: of {many(found.tried, 'way')} that were"
        f" tried {len(left) + more} let nothing through: {pairs}. Nothing was changed yet",
        next=f"open {port} between the nodes, both ways (firewalls, security groups, Calico's HostEndpoints and"
        f" GlobalNetworkPolicies); or `--waive {FINDING}`, `--waive {FINDING}:NODE` if you know better",
        gate=True,
    )


def _about_it(waiver: str) -> bool:
    return waiver.partition(":")[0] == FINDING


def _ends(pair: str) -> list[str]:
    """The two nodes of a pair as it is recorded."""
    return [end.split()[0] for end in pair.split(" -> ")]
