"""The cluster behind the ports, on kr8s: the only package that imports kr8s and httpx.

From the bottom up: `transport` makes one request, `request` makes it patiently, `reflector` lists and watches one kind
into one of the `stores` of `views`, `cache` holds them all and shows the snapshot, `perform` carries out effects;
`cluster`, `documents` and `logs` are what the engine sees. `connect` and `kubeconfig` find the way to a cluster;
`access`, `discovery` and `inventory` answer what preflight asks. `inprocess` is kr8s without a network.
"""

from cni_migrate.kube.lazily import importing

with importing():
    import kr8s.asyncio  # noqa: F401 - so that all who import it find it there
