"""The account a migration runs under: what `migrate manifests rbac` prints, and which of its rights were used."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.lab.cluster import Cluster
from tests.lab.driving import PROGRAM
from tests.lab.requests import Request
from tests.lab.settings import Lab

NAME = "cni-migrate"
USER = f"system:serviceaccount:{NAME}:{NAME}"
HELD_ONLY = "cni-migrate-grants"
"""The role with Cilium's own rights: nobody may create a role with more rights than they have themselves
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping)."""

INSTALLED = {
    "namespaces", "configmaps", "services", "deployments", "daemonsets", "networkpolicies", "ciliumnodeconfigs",
    "serviceaccounts", "clusterroles", "clusterrolebindings", "roles", "rolebindings",
}  # fmt: skip
"""What the tool installs. Where such an object is there already it is read, and replaced if it differs: get and update
are for a run that finds what an earlier one has made."""

Right = tuple[str, str, str]
"""Verb, API group, resource."""


def printed(lab: Lab, strategy: str) -> str:
    """What `migrate manifests rbac` prints for the lab's configuration."""
    command = [str(PROGRAM), "manifests", "rbac", "--strategy", strategy, "--config", str(lab.configuration)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def open_account(here: Cluster, strategy: str) -> Path:
    """Apply the manifests as they are; the kubeconfig of the account."""
    manifest = here.lab.folder / "rbac.yaml"
    manifest.write_text(printed(here.lab, strategy))
    kubectl = here.control_plane.kubectl
    kubectl("apply", "-f", str(manifest))
    token = kubectl("create", "token", NAME, "-n", NAME, "--duration=24h").stdout.strip()
    config = json.loads(here.lab.admin.read_text())
    config["users"][0]["user"] = {"token": token}
    path = here.lab.folder / "account.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


OF_CALICO = ("crd.projectcalico.org", "projectcalico.org", "policy.networking.k8s.io")
"""Groups that the lab's own Canal does not define, so that nobody asks for what is in them."""


SELDOM: frozenset[Right] = frozenset({("delete", "cilium.io", "ciliumendpoints")})
"""What only a run needs that finds what an identity agent left behind, as it had died; and who makes such an agent's role
has to hold what is in it."""


def _rules(lab: Lab, strategy: str) -> Iterator[dict[str, Any]]:
    for found in YAML(typ="safe", pure=True).load_all(printed(lab, strategy)):
        if found and found["kind"] in ("Role", "ClusterRole") and found["metadata"]["name"] != HELD_ONLY:
            yield from found["rules"]


def granted(lab: Lab, strategy: str) -> set[Right]:
    """The rights that are meant to be used."""
    return {
        (verb, group, resource)
        for rule in _rules(lab, strategy)
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def needless(lab: Lab, strategy: str, requests: Iterable[Request]) -> set[Right]:
    """The rights that nothing needed, those for what an earlier run has made left out."""
    found = granted(lab, strategy) - used(requests)
    found = {right for right in found - SELDOM if right[1] not in OF_CALICO}
    return {right for right in found if not (right[0] in ("get", "update") and right[2] in INSTALLED)}


def used(requests: Iterable[Request]) -> set[Right]:
    """The rights that requests of the account needed."""
    return {request.kind for request in requests if request.user == USER}
