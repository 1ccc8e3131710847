"""NetworkPolicies, ingress side: what would be allowed, now and at earlier instants. `network` knows who enforces.

Rules: the API's documentation of `networking.k8s.io/v1`. A pod that no policy selects takes everything; else what any
rule of any policy that selects it allows.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.history import History
from cni_migrate.sim.world.ipcache import Identity
from cni_migrate.sim.world.kinds import NAMESPACE, NETWORK_POLICY
from cni_migrate.sim.world.sandbox import Sandbox

Caller = Sandbox | Identity
"""Who calls, as the one that enforces knows it: a pod, or what an identity says of it."""

_Found = tuple[Object, ...]


class Policies:
    """The policies of each namespace over time."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._by_namespace: dict[str, History[_Found]] = {}
        ctx.cluster[NETWORK_POLICY].on_change(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is None:
            return
        history = self._by_namespace.setdefault(meta.namespace(obj), History(()))
        kept = tuple(one for one in history.now if meta.name(one) != meta.name(obj))
        now = self._ctx.now()
        history.put(now, kept if new is None else (*kept, new))
        self._ctx.net.everywhere.note(now)

    def allow(self, target: Sandbox, source: Caller | None, address: str, port: int, when: float) -> bool:
        """Whether a pod may be reached on a TCP port by a pod, or by an address that is no pod's."""
        history = self._by_namespace.get(target.namespace)
        if history is None:
            return True
        chosen = [
            policy["spec"]
            for policy in history.at(when)
            if meta.matches(policy["spec"].get("podSelector") or {}, target.labels)
            and "Ingress" in (policy["spec"].get("policyTypes") or ["Ingress"])
        ]
        if not chosen:
            return True
        return any(
            self._rule(rule, target.namespace, source, address, port)
            for spec in chosen
            for rule in spec.get("ingress") or ()
        )

    def _rule(self, rule: Mapping[str, Any], namespace: str, source: Caller | None, address: str, port: int) -> bool:
        ports = rule.get("ports") or ()
        if ports and not any(_port(entry, port) for entry in ports):
            return False
        peers = rule.get("from") or ()
        return not peers or any(self._peer(peer, namespace, source, address) for peer in peers)

    def _peer(self, peer: Mapping[str, Any], namespace: str, source: Caller | None, address: str) -> bool:
        block = peer.get("ipBlock")
        if block is not None:
            inside = IPv4Address(address) in IPv4Network(block["cidr"])
            return inside and not any(IPv4Address(address) in IPv4Network(c) for c in block.get("except") or ())
        if source is None:
            return False
        if "namespaceSelector" in peer:
            if not meta.matches(peer["namespaceSelector"] or {}, self._namespace_labels(source)):
                return False
        elif source.namespace != namespace:
            return False
        return "podSelector" not in peer or meta.matches(peer["podSelector"] or {}, source.labels)

    def _namespace_labels(self, source: Caller) -> Mapping[str, str]:
        """An identity brings its namespace's labels with it; a pod's are looked up."""
        if isinstance(source, Identity):
            return source.namespace_labels
        found = self._ctx.cluster[NAMESPACE].get(source.namespace)
        return meta.labels(found) if found is not None else {}


def _port(entry: Mapping[str, Any], port: int) -> bool:
    """Whether a port entry takes a TCP port; a named port is taken for another one."""
    if entry.get("protocol", "TCP") != "TCP":
        return False
    wanted = entry.get("port")
    if wanted is None:
        return True
    return isinstance(wanted, int) and wanted <= port <= int(entry.get("endPort", wanted))
