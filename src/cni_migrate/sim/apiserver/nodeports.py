"""The node ports of Services: each is unique in the cluster and stays as long as its port keeps its name.

It follows `pkg/registry/core/service/storage` in kubernetes 1.34: `initNodePorts` and `patchAllocatedValues`.
"""

from collections.abc import Iterable, Iterator

from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.client import Object

FIRST, LAST = 30000, 32767
_CHOSEN_FROM = FIRST + 86
"""Those below are given only to who asks for them by number, as long as there are others."""


def of(service: Object) -> Iterator[int]:
    """The node ports that a Service has."""
    for port in service["spec"].get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]


def keep(new: Object, old: Object) -> None:
    """On an update: a port that names none keeps the one it had, and a Service that may have none any more has none."""
    if not _wanted(old):
        return
    ports = new["spec"].get("ports") or []
    if not _wanted(new):
        given = set(of(old))
        if set(of(new)) <= given:  # what was not chosen anew goes
            for port in ports:
                port.pop("nodePort", None)
        if new["spec"].get("externalTrafficPolicy") == old["spec"].get("externalTrafficPolicy"):
            new["spec"].pop("externalTrafficPolicy", None)
        return
    had = {port.get("name", ""): port.get("nodePort", 0) for port in old["spec"].get("ports") or ()}
    used = set(of(old)) & set(of(new))
    for port in ports:
        before = had.get(port.get("name", ""), 0)
        if not port.get("nodePort") and before and before not in used:
            port["nodePort"] = before
            used.add(before)


def allocate(service: Object, others: Iterable[Object]) -> list[FieldError]:
    """Give the ports that have none one that is free; what is wrong with those that were asked for.

    Two ports of one number, for TCP and UDP, share one.
    """
    if not _wanted(service):
        return []
    ports = service["spec"].get("ports") or []
    taken = {number for other in others for number in of(other)}
    found = []
    for index, port in enumerate(ports):
        asked = port.get("nodePort", 0)
        why = ""
        if asked and not FIRST <= asked <= LAST:
            why = f"provided port is not in the valid range. The range of valid ports is {FIRST}-{LAST}"
        elif asked in taken:
            why = "provided port is already allocated"
        if why:
            found.append(FieldError("Invalid", f"spec.ports[{index}].nodePort", asked, why))
    shared = {port["port"]: port["nodePort"] for port in ports if port.get("nodePort")}
    taken |= set(shared.values())
    for port in ports:
        if not port.get("nodePort"):
            if port["port"] not in shared:
                order = (*range(_CHOSEN_FROM, LAST + 1), *range(FIRST, _CHOSEN_FROM))
                shared[port["port"]] = next(number for number in order if number not in taken)
                taken.add(shared[port["port"]])
            port["nodePort"] = shared[port["port"]]
    return found


def _wanted(service: Object) -> bool:
    spec = service["spec"]
    return spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )
