"""The driver in the cluster, on a real control plane: its account's rights are enough, and its Job is accepted."""

import asyncio

import pytest

from cni_migrate.core.model import names
from cni_migrate.sim.world import kinds, meta
from tests.real.stage import Stage, staged

ACCOUNT = "system:serviceaccount:cni-migrate:cni-migrate"


async def _kubectl(stage: Stage, *arguments: str) -> str:
    """Apply or ask something as the administrator."""
    argv = [str(stage.cluster.kubectl), "--kubeconfig", str(stage.cluster.kubeconfig), *arguments]
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def _apply(stage: Stage, *arguments: str) -> None:
    """Apply what `migrate manifests` prints, every field checked by the server."""
    printed = await stage.migrate("manifests", *arguments)
    assert printed.code == 0, printed.output
    file = stage.cluster.folder / "printed.yaml"
    file.write_text(printed.output, encoding="utf-8")
    await _kubectl(stage, "apply", "--validate=strict", "-f", str(file))


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_the_rights_of_the_account_are_enough(strategy: str) -> None:
    """A whole migration as the ServiceAccount, with nothing but `migrate manifests rbac` applied: no request is 403."""

    async def main() -> None:
        async with staged() as stage:
            await _as_the_account(stage, strategy, ("run", "--strategy", strategy))
            await stage.eventually(stage.settled, "the workloads to run in the end")
            assert await stage.left() == []

    asyncio.run(main())


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_the_rights_of_the_account_are_enough_for_the_way_back(strategy: str) -> None:
    """The same with one node there, and the whole cluster back."""

    async def main() -> None:
        async with staged() as stage:
            await _as_the_account(stage, strategy, ("run", "--strategy", strategy, "--nodes", "w1"), ("rollback",))

    asyncio.run(main())


async def _as_the_account(stage: Stage, strategy: str, *commands: tuple[str, ...]) -> None:
    await _apply(stage, "rbac", "--strategy", strategy)
    stage.kubeconfig = stage.cluster.user_kubeconfig(ACCOUNT)
    for command in commands:
        ended = await stage.migrate(*command, "--yes")
        assert ended.code == 0, ended.output[-6000:]
    # What preflight asks by dry run may be forbidden: then it does not know who would refuse these pods.
    assert [one for one in stage.trail.problems() if "dryRun=All" not in one] == []


def test_the_job_is_accepted_and_makes_a_pod() -> None:
    """By the real API server, with every field known to it; its pod is on a node's own network."""

    async def main() -> None:
        async with staged() as stage:
            await _apply(stage, "rbac")
            await _apply(stage, "job", "--image", "registry.example/cni-migrate:1")
            label = f"{names.COMPONENT}={names.DRIVER}"

            async def runs() -> bool:
                found, _ = await stage.client.list(kinds.POD)
                mine = [pod for pod in found if meta.labels(pod).get(names.COMPONENT) == names.DRIVER]
                return bool(mine) and bool(meta.node_of(mine[0])) and meta.host_network(mine[0])

            await stage.eventually(runs, f"a pod with {label}")

    asyncio.run(main())
