"""Machines as nodes of the cluster: registering, reporting Ready, losing power, rebooting, joining and leaving.

Unless asked for there are no heartbeats: a node's status is written when it changes, so that time alone causes no work.
"""

import uuid
from dataclasses import dataclass, field

from cni_migrate.sim.client import Object
from cni_migrate.sim.world.cniconf import in_force
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import Host, Plane
from cni_migrate.sim.world.kinds import LEASE, NODE
from cni_migrate.sim.world.kubelet import Kubelets
from cni_migrate.sim.world.nodestatus import set_condition, with_condition

_READ_CNI = 1.0
"""How long a kubelet takes to notice a change of /etc/cni/net.d."""

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node is, whatever happens to it."""

    name: str
    address: str
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[Object, ...] = ()
    kubelet_version: str = "v1.34.4"
    kubelet_port: int = 10250
    pod_cidr: str = ""


def boot_id(ctx: Context, name: str, boot: int) -> str:
    """The boot id of a node's n-th boot."""
    number = int(ctx.chance("boot", name, boot) * 2**32) << 96 | int(ctx.chance("id", name, boot) * 2**32)
    return str(uuid.UUID(int=number, version=4))


def node_object(machine: Machine, boot: str) -> Object:
    """The Node a kubelet registers, without conditions."""
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": machine.name,
        "kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        **machine.labels,
    }
    size = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    spec: Object = {"taints": [dict(taint) for taint in machine.taints]} if machine.taints else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": machine.name, "labels": labels},
        "spec": spec,
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": machine.address},
                {"type": "Hostname", "address": machine.name},
            ],
            "capacity": size,
            "allocatable": size,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": machine.kubelet_port}},
            "nodeInfo": {
                "architecture": labels["kubernetes.io/arch"],
                "bootID": boot,
                "containerRuntimeVersion": "containerd://1.7.27",
                "kernelVersion": "6.1.0-32-amd64",
                "kubeProxyVersion": "",
                "kubeletVersion": machine.kubelet_version,
                "machineID": uuid.uuid5(uuid.NAMESPACE_DNS, machine.name).hex,
                "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "systemUUID": str(uuid.uuid5(uuid.NAMESPACE_URL, machine.name)),
            },
        },
    }


def readiness(plane: Plane) -> tuple[str, str, str]:
    """The kubelet's condition Ready: status, reason and message."""
    problem = in_force(plane.files).problem
    if problem:
        message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:"
        return "False", "KubeletNotReady", f"{message}Network plugin returns error: {problem}"
    return "True", "KubeletReady", "kubelet is posting ready status"


def conditions(plane: Plane, now: str) -> list[Object]:
    """All conditions a kubelet writes when it registers or comes back."""
    status, reason, message = readiness(plane)
    entries = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", status, reason, message),
    ]
    return [
        {
            "type": kind,
            "status": value,
            "reason": why,
            "message": text,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for kind, value, why, text in entries
    ]


class Machines:
    """Power, boots and the nodes' own reports."""

    def __init__(self, ctx: Context, kubelets: Kubelets) -> None:
        self._ctx = ctx
        self._kubelets = kubelets
        ctx.work.handle("machine.report", self._report)
        ctx.work.handle("machine.boot", self._boot)
        ctx.net.on_host(lambda host: host.on_change(self._changed))
        ctx.work.handle("machine.beat", self._beat)
        self._period = 0.0

    def heartbeat(self, seconds: float) -> None:
        """Renew every node's Lease so often from now on: a real control plane wants it, the simulated one does not."""
        self._period = seconds
        self._ctx.net.on_host(lambda host: self._ctx.work.add("machine.beat", host.name))

    async def _beat(self, name: str) -> None:
        self._ctx.work.add_after(self._period, "machine.beat", name, background=True)
        host = self._ctx.host(name)
        if host is None or not host.plane.kubelet or self._ctx.cluster[NODE].get(name) is None:
            return
        now = self._ctx.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
        lease: Object = {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec}
        if await self._ctx.cluster.patch(LEASE, lease, {"spec": spec}) is None:
            await self._ctx.cluster.create(LEASE, lease)

    def _changed(self, host: Host, before: Plane, after: Plane) -> None:
        if after.kubelet and readiness(before) != readiness(after):
            self._ctx.work.add_after(_READ_CNI, "machine.report", host.name)

    async def _report(self, name: str) -> None:
        """Write Ready as the node is now."""
        host = self._ctx.host(name)
        if host is not None and host.plane.kubelet:
            await set_condition(self._ctx, name, "Ready", *readiness(host.plane))

    async def join(self, machine: Machine, plane: Plane | None = None) -> None:
        """A machine registers as a new node; its disk is empty unless `plane` says what is on it."""
        old = self._ctx.host(machine.name)
        if old is not None:
            old.power_off()
        host = Host(machine.name, machine.address)
        host.seed(plane or Plane())
        self._ctx.net.add_host(host)
        node = node_object(machine, boot_id(self._ctx, machine.name, 0))
        if machine.pod_cidr:
            node["spec"] |= {"podCIDR": machine.pod_cidr, "podCIDRs": [machine.pod_cidr]}
        status = {**node.pop("status"), "conditions": conditions(host.plane, self._ctx.stamp())}
        made = await self._ctx.cluster.create(NODE, node)
        if made is not None:
            await self._ctx.cluster.patch_status(NODE, made, status)

    async def leave(self, name: str) -> None:
        """A node is deleted from the cluster and its machine is gone."""
        await self.power_off(name)
        node = self._ctx.cluster[NODE].get(name)
        if node is not None:
            await self._ctx.cluster.delete(NODE, node)

    def kubelet_down(self, name: str) -> None:
        """The kubelet stops; containers and network go on."""
        host = self._ctx.host(name)
        if host is not None:
            host.change(kubelet=False)

    async def kubelet_up(self, name: str) -> None:
        """The kubelet of a running machine is back."""
        host = self._ctx.host(name)
        if host is not None and host.plane.powered and not host.plane.kubelet:
            host.change(kubelet=True)
            await self._back(host, rebooted=False)

    async def power_off(self, name: str) -> None:
        """The machine stops without a word: for a while the API shows its node Ready and its pods Running."""
        host = self._ctx.host(name)
        if host is not None and host.plane.powered:
            await self._kubelets.lose_power(name)
            host.power_off()

    def power_on(self, name: str) -> None:
        """The machine boots."""
        seconds = self._ctx.about(self._ctx.timings.boot, "boot", name) * self._ctx.faults.slowness(name)
        self._ctx.work.add_after(seconds, "machine.boot", name)

    async def reboot(self, name: str) -> None:
        """Off and on again."""
        await self.power_off(name)
        self.power_on(name)

    async def _boot(self, name: str) -> None:
        host = self._ctx.host(name)
        if host is not None and not host.plane.powered:
            host.boot()
            await self._back(host, rebooted=True)

    async def _back(self, host: Host, *, rebooted: bool) -> None:
        """The kubelet reports its node, with the new boot id, and looks after its pods."""
        node = self._ctx.cluster[NODE].get(host.name)
        if node is None:
            return
        now = self._ctx.stamp()
        reported = {"status": {"conditions": list((node.get("status") or {}).get("conditions") or ())}}
        for entry in conditions(host.plane, now):
            changed = with_condition(
                {**node, **reported}, entry["type"], entry["status"], entry["reason"], entry["message"], now
            )
            if changed is not None:
                reported["status"]["conditions"] = changed
        status: Object = {**reported["status"], "nodeInfo": {"bootID": boot_id(self._ctx, host.name, host.plane.boot)}}
        await self._ctx.cluster.patch_status(NODE, node, status)
        await self._kubelets.resume(host.name, rebooted=rebooted)


def zone_labels(zone: str) -> dict[str, str]:
    """The labels of a node in a zone."""
    return {"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": zone.rpartition("-")[0] or zone}
