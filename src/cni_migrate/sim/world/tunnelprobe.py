"""Short-lived pods that try a UDP port between nodes' own networks: who listens sends back, who sends reports."""

import json

from cni_migrate.sim.world.programs import Health, Program, Run

WAIT = 10.0
"""Seconds for which a sender waits for answers."""

_TAKEN = {"error": "taken", "said": "Address in use"}


class TunnelProbe(Program):
    """A pod with a container named `tunnel-probe`: `listen PORT`, or `send PORT ADDRESS...`."""

    container = "tunnel-probe"

    async def begin(self, run: Run) -> Health | None:
        """The listener has its port, or ends; the sender takes a moment."""
        what, port, *_ = self._args(run)
        if what == "listen":
            if self._taken(run, int(port)):
                return Health(exit_code=1, message=json.dumps(_TAKEN, separators=(",", ":")))
            run.host.udp[int(port)] = run.uid
            return Health(ready=True)
        run.memory["sent"] = self.ctx.now()
        self.after(run, "answers", self.ctx.about(self.ctx.timings.host_task, "tunnel-probe", run.uid))
        return Health(ready=True)

    async def step(self, run: Run, name: str) -> Health | None:
        """End as soon as everybody has answered, or when it was long enough."""
        _, port, *addresses = self._args(run)
        silent = [number for number, address in enumerate(addresses) if not self._answers(run, address, int(port))]
        if silent and self.ctx.now() - run.memory["sent"] < WAIT:
            self.after(run, "answers", 1.0)
            return None
        return Health(exit_code=0, message=json.dumps({"silent": silent, "why": {}}, separators=(",", ":")))

    def _args(self, run: Run) -> list[str]:
        container = next(c for c in run.pod["spec"]["containers"] if c["name"] == self.container)
        return [str(one) for one in container["args"]]

    async def end(self, run: Run, *, graceful: bool) -> None:
        """The port is free again."""
        for port in [port for port, uid in run.host.udp.items() if uid == run.uid]:
            del run.host.udp[port]

    def _taken(self, run: Run, port: int) -> bool:
        """Whether somebody has the port on this node: a program, flannel, a Cilium agent."""
        plane = run.host.plane
        flannel = plane.vtep in plane.links and plane.vtep_port == port
        cilium = plane.datapath and self.ctx.faults.ports.get("cilium") == port
        return flannel or cilium or port in run.host.udp

    def _answers(self, run: Run, address: str, port: int) -> bool:
        """Whether what is sent to an address comes back."""
        here, now, faults = run.host.name, self.ctx.now(), self.ctx.faults
        there = next((host for host in self.ctx.net.hosts.values() if host.address == address), None)
        if there is None or not there.plane.powered or port not in there.udp:
            return False
        return not faults.closed(here, there.name, port, now)
