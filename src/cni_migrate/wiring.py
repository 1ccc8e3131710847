"""What is put together from configuration and cluster before anything is driven: plan, manifests, reader of reports.

The command line, the tests and the lab build a driver from the same pieces.
"""

from pathlib import Path

from cni_migrate import knet, resources
from cni_migrate.config import Config
from cni_migrate.core.decision.plan import TABLES, make_plan
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.render.manifests import TEMPLATES, Facts, Manifests
from cni_migrate.core.steps.view import Plan
from cni_migrate.knet.reader import LogProber, lines_needed
from cni_migrate.kube.logs import KubeLogs
from cni_migrate.kube.pages import KubePages
from cni_migrate.kube.request import Client
from cni_migrate.ports import Clock


def prober_for(client: Client, clock: Clock, config: Config) -> LogProber:
    """The reader of the agents' reports, by the way that is configured."""
    tail = KubePages(client).tail if config.knet.reader == "proxy" else KubeLogs(client, clock).tail
    return LogProber(tail, clock, lines=lines_needed(config))


def plan_for(config: Config, seen: Snapshot | None) -> Plan:
    """The plan for a configuration, and for the Canal that is there."""
    return make_plan(config, manifests_for(config, seen), {name: resources.read("states", name) for name in TABLES})


def manifests_for(config: Config, seen: Snapshot | None) -> Manifests:
    """The manifests for a configuration."""
    templates = {name: resources.read("templates", name) for name in TEMPLATES}
    agent = (Path(knet.__file__).parent / "agent.py").read_text(encoding="utf-8")
    return Manifests(templates, config, Facts(host_image(config, seen), agent))


def host_image(config: Config, seen: Snapshot | None) -> str:
    """An image that is on every node already: Canal's (flannel's has a shell), or Cilium's when Canal is gone.

    The last one that is called flannel is flannel's own; an installer of its plugin comes before it.
    """
    canal = seen.daemonsets.get((config.canal.namespace, config.canal.daemonset)) if seen is not None else None
    if canal is None or not canal.images:
        return config.cilium.image
    flannel = (image for image in reversed(canal.images) if "flannel" in image.rpartition("/")[2])
    return next(flannel, canal.images[-1])
