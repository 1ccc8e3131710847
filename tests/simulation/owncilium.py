"""A Cilium of an operator's own, as manifests in a file."""

import json
from pathlib import Path

from cni_migrate import resources
from cni_migrate.config import Config
from cni_migrate.configfile import Loaded
from cni_migrate.core.model import names
from cni_migrate.core.render.manifests import TEMPLATES, Manifests, Payload
from cni_migrate.wiring import completed
from tests.simulation.harness import config_for

RELAY = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "hubble-relay", "namespace": "kube-system"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"k8s-app": "hubble-relay"}},
        "template": {
            "metadata": {"labels": {"k8s-app": "hubble-relay"}},
            "spec": {"containers": [{"name": "hubble-relay", "image": "quay.io/cilium/hubble-relay:v1.18.2"}]},
        },
    },
}


HOOK = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {
        "name": "certs",
        "namespace": "kube-system",
        "annotations": {"helm.sh/hook": "post-install,post-upgrade"},
    },
    "spec": {
        "template": {
            "metadata": {},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "certgen", "image": "quay.io/cilium/certgen:v0.3.1"}],
            },
        }
    },
}
"""What a chart runs around its last step, and nobody else."""


def objects(folder: Path, **settings: str) -> Path:
    """A Cilium 1.18.2 in a file, with Hubble's relay and a hook; `settings` are further keys of `cilium-config`."""
    texts = {name: resources.read("templates", name) for name in TEMPLATES}
    wanted = Config.model_validate({"strategy": "overlay", "cilium": {"version": "1.18.2"}})
    made = json.loads(json.dumps(Manifests(texts, wanted, Payload("canal:1", {})).cilium_final()))
    for one in made:
        if one["kind"] == "DaemonSet":
            del one["spec"]["template"]["metadata"]["labels"][names.STAGE]
        if one["kind"] == "ConfigMap":
            one["data"] |= settings
    file = folder / "cilium.json"
    file.write_text("\n---\n".join(json.dumps(one) for one in [*made, RELAY, HOOK]))
    return file


def own_cilium(folder: Path, strategy: str, **settings: str) -> Config:
    """That, as manifests: nobody runs the hook."""
    config = config_for(strategy, cilium={"source": "manifests", "manifests": str(objects(folder, **settings))})
    return completed(Loaded(config, {}), None).config
