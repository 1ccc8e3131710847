"""What an operator would apply to a simulated cluster, written out by hand for these tests."""

import json
from typing import Any

from cni_migrate.sim.client import Kind
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds

Object = dict[str, Any]

EVERYTHING = [{"operator": "Exists"}]
POOL = "10.245.0.0/16"
FIRST = {"node-role.kubernetes.io/cilium-canal": "cilium-canal"}
SECOND = {"node-role.kubernetes.io/cilium": "cilium"}
DEFAULT = {"io.cilium.migration/cilium-default": "true"}


def daemon_set(
    name: str,
    container: str,
    *,
    namespace: str = "kube-system",
    selector: dict[str, str] | None = None,
    args: list[str] | None = None,
    env: dict[str, str] | None = None,
    host_network: bool = True,
    image: str = "",
) -> Object:
    spec: Object = {
        "terminationGracePeriodSeconds": 1,
        "tolerations": EVERYTHING,
        "containers": [
            {
                "name": container,
                "image": image or f"example.com/{container}:1",
                "args": args or [],
                "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
            }
        ],
    }
    if host_network:
        spec["hostNetwork"] = True
    if selector:
        spec["nodeSelector"] = selector
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def cilium_config(**more: str) -> Object:
    data = {
        "cluster-pool-ipv4-cidr": POOL,
        "cluster-pool-ipv4-mask-size": "24",
        "tunnel-protocol": "vxlan",
        "tunnel-port": "8473",
        "custom-cni-conf": "true",
        "cni-exclusive": "false",
        "enable-policy": "never",
        "unmanaged-pod-watcher-interval": "0",
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cilium-config", "namespace": "kube-system"},
        "data": data | {key.replace("_", "-"): value for key, value in more.items()},
    }


def operator(image: str = "quay.io/cilium/operator:v1.15.19") -> Object:
    labels = {"name": "cilium-operator"}
    spec = {
        "hostNetwork": True,
        "tolerations": EVERYTHING,
        "containers": [{"name": "cilium-operator", "image": image}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cilium-operator", "namespace": "kube-system"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def node_config() -> Object:
    return {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumNodeConfig",
        "metadata": {"name": "cilium-default", "namespace": "kube-system"},
        "spec": {
            "nodeSelector": {"matchLabels": DEFAULT},
            "defaults": {
                "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist",
                "custom-cni-conf": "false",
                "cni-exclusive": "true",
            },
        },
    }


def multus() -> Object:
    return daemon_set("kube-multus", "kube-multus", selector=FIRST)


def without_default_route(sim: Simulation, node: str) -> None:
    """Canal's file on the node gives pods no default route, as somebody's own may: so Cilium's plugin sets one."""
    host = sim.world.host(node)
    content = json.loads(host.plane.files["10-canal.conflist"])
    plugin = content["plugins"][0]
    if plugin["type"] == "calico":
        plugin["ipam"]["routes"] = [{"dst": "10.244.0.0/16"}]
    else:
        plugin["delegate"] = {"isGateway": True}
    host.write_file("10-canal.conflist", json.dumps(content))


def first_cilium() -> Object:
    args = [
        "--write-cni-conf-when-ready=/host/etc/cni/net.d/99-cilium.conflist",
        "--custom-cni-conf=false",
        "--cni-exclusive=false",
    ]
    return daemon_set("cilium-canal", "cilium-agent", selector=FIRST, args=args)


def second_cilium() -> Object:
    args = [
        "--write-cni-conf-when-ready=/host/etc/cni/net.d/00-cilium.conflist",
        "--custom-cni-conf=false",
        "--cni-exclusive=true",
    ]
    return daemon_set("cilium", "cilium-agent", selector=SECOND, args=args)


def knet(mesh: str) -> Object:
    made = daemon_set(
        f"knet-stress-{mesh}", "knet-stress", namespace="knet-stress", env={"KNET_MESH": mesh}, host_network=False
    )
    labels = {"app": "knet-stress", "mesh": mesh}
    made["spec"]["selector"] = {"matchLabels": labels}
    made["spec"]["template"]["metadata"]["labels"] = labels
    return made


def knet_objects(**config: object) -> list[tuple[Kind, Object]]:
    values = {"interval_s": 0.5, "timeout_s": 1.0, "full_mesh_max": 12, "degree": 4, "seed": "s", **config}
    data = {"config.json": json.dumps(values)}
    guard = {
        "podSelector": {"matchLabels": {"mesh": "b"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [{"port": 8080}, {"port": 53}]},
            {"from": [{"podSelector": {"matchLabels": {"mesh": "a"}}}], "ports": [{"port": 8089}]},
        ],
    }
    place = {"namespace": "knet-stress"}
    return [
        (kinds.NAMESPACE, {"metadata": {"name": "knet-stress"}}),
        (kinds.CONFIG_MAP, {"metadata": {"name": "knet-stress-config", **place}, "data": data}),
        (
            kinds.SERVICE,
            {
                "metadata": {"name": "knet-stress", **place},
                "spec": {
                    "type": "NodePort",
                    "selector": {"app": "knet-stress"},
                    "ports": [{"port": 80, "targetPort": 8080}],
                },
            },
        ),
        (
            kinds.SERVICE,
            {
                "metadata": {"name": "knet-stress-guard", **place},
                "spec": {"selector": {"app": "knet-stress", "mesh": "b"}, "ports": [{"port": 80, "targetPort": 8089}]},
            },
        ),
        (kinds.NETWORK_POLICY, {"metadata": {"name": "knet-stress-guard", **place}, "spec": guard}),
        (kinds.DAEMON_SET, knet("a")),
        (kinds.DAEMON_SET, knet("b")),
    ]


async def apply(sim: Simulation, *objects: tuple[Kind, Object]) -> None:
    for kind, obj in objects:
        await sim.client.create(kind, obj, obj["metadata"].get("namespace"))


async def install_cilium(sim: Simulation, **config: str) -> None:
    """The operator with its CRDs, and the configuration; no agent yet."""
    await apply(sim, (kinds.CONFIG_MAP, cilium_config(**config)), (kinds.DEPLOYMENT, operator()))
    await sim.world.idle()


async def label(sim: Simulation, node: str, labels: dict[str, str | None]) -> None:
    await sim.client.patch(kinds.NODE, node, {"metadata": {"labels": labels}})


async def pods_on(sim: Simulation, node: str, prefix: str = "") -> list[Object]:
    found, _ = await sim.client.list(kinds.POD, field_selector=f"spec.nodeName={node}")
    return [pod for pod in found if pod["metadata"]["name"].startswith(prefix)]


async def restart(sim: Simulation, node: str, prefix: str) -> None:
    for pod in await pods_on(sim, node, prefix):
        await sim.client.delete(kinds.POD, pod["metadata"]["name"], pod["metadata"]["namespace"])
    await sim.world.idle()


async def lines(sim: Simulation, node: str, mesh: str, last: int = 1) -> list[Object]:
    """The last lines of an agent's log."""
    (pod,) = await pods_on(sim, node, f"knet-stress-{mesh}")
    return [json.loads(line.text) for line in sim.world.log(pod, "knet-stress")[-last:]]
