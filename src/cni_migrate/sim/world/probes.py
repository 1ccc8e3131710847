"""The probes that a kubelet sends over the network, and what it makes of a pod that does not answer them."""

from cni_migrate.sim.client import Object
from cni_migrate.sim.world.network import answers_its_kubelet
from cni_migrate.sim.world.programs import Run

_OVER_THE_NETWORK = ("httpGet", "tcpSocket", "grpc")


def networked(pod: Object, *kinds: str) -> list[Object]:
    """The probes of these kinds that a kubelet sends to the pod's own address."""
    found: list[Object] = []
    for container in pod["spec"].get("containers") or ():
        for kind in kinds:
            probe = container.get(kind) or {}
            ways = [probe[way] for way in _OVER_THE_NETWORK if way in probe]
            if ways and not ways[0].get("host"):
                found.append(probe)
    return found


def unheard(run: Run, *kinds: str) -> bool:
    """Whether probes of these kinds get no answer for the way that the pod's network takes them."""
    made = run.sandbox
    return made is not None and bool(networked(run.pod, *kinds)) and not answers_its_kubelet(made, run.host)


def patience(run: Run) -> float:
    """How long a container is let live without answering its liveness probe, in seconds."""
    return min(
        float(probe.get("periodSeconds", 10)) * float(probe.get("failureThreshold", 3))
        for probe in networked(run.pod, "livenessProbe")
    )
