"""Who reaches whom right now: every prober asks every other one, and the Services, once."""

import json

from tests.lab.cluster import Cluster


def unreached(here: Cluster) -> list[str]:
    """The pairs that do not reach each other, in words; nothing when all do."""
    kubectl = here.control_plane.kubectl
    pods = json.loads(kubectl("get", "pods", "-n", "shop", "-o", "json").stdout)["items"]
    names = {f"{pod['status'].get('podIP', '')}:8080": pod["metadata"]["name"] for pod in pods}
    services = ["web.shop.svc.cluster.local:80"]
    if "db-0" in names.values():
        services.append("db-0.db.shop.svc.cluster.local:8080")
    found = []
    for pod in pods:
        if pod["metadata"]["labels"].get("app") != "prober":
            continue
        source = pod["metadata"]["name"]
        asked = kubectl("exec", "-n", "shop", source, "--", "/prober", "probe", *names, *services, check=False)
        answers = [json.loads(line) for line in asked.stdout.splitlines()]
        if len(answers) < len(names) + len(services):
            found.append(f"{source}: {asked.stderr.strip() or 'no answer'}")
        found += [
            f"{source} -> {names.get(answer['target'], answer['target'])}: {answer['reply'].get('error')}"
            for answer in answers
            if not answer["ok"]
        ]
    return found
