"""Canal as it is found: by containers and volumes, in the shapes that its publishers and distributions give it."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.canal import FoundCanal, configuration_of, settled, taint_effect
from cni_migrate.core.model.canalroles import roles
from cni_migrate.kube.canal import found_canal
from cni_migrate.kube.controlplane import Started, started
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, listed

CONFLIST = """{
  "name": "k8s-pod-network", "cniVersion": "0.3.1",
  "plugins": [
    {"type": "calico", "mtu": __CNI_MTU__, "nodename": "__KUBERNETES_NODE_NAME__", "ipam": {"type": "host-local"}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}"""


def run(server: FakeServer, body: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        return await body(Client(FakeApi(server), LoopClock()))

    return run_virtual(main())


def daemonset(name: str, namespace: str = "kube-system", **pod: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"template": {"spec": pod}}}


def config_volume(name: str, **more: Any) -> dict[str, Any]:
    return {"name": "flannel-cfg", "configMap": {"name": name, **more}}


FLANNEL = {
    "name": "kube-flannel",
    "image": "docker.io/flannel/flannel:v0.26.7",
    "command": ["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr"],
    "volumeMounts": [{"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"}],
}
CALICO = {"name": "calico-node", "image": "docker.io/calico/node:v3.32.0"}


def installer(config: str, **env: str) -> dict[str, Any]:
    """Calico's `install-cni` as published."""
    ref = {"configMapKeyRef": {"name": config, "key": "cni_network_config"}}
    values: list[dict[str, Any]] = [{"name": "CNI_NETWORK_CONFIG", "valueFrom": ref}]
    values += [{"name": key, "value": value} for key, value in env.items()]
    mounts = [{"name": "net", "mountPath": "/host/etc/cni/net.d"}, {"name": "bin", "mountPath": "/host/opt/cni/bin"}]
    return {"name": "install-cni", "image": "docker.io/calico/cni:v3.32.0", "env": values, "volumeMounts": mounts}


def folders(net: str = "/etc/cni/net.d", binaries: str = "/opt/cni/bin") -> list[dict[str, Any]]:
    return [{"name": "net", "hostPath": {"path": net}}, {"name": "bin", "hostPath": {"path": binaries}}]


def published(name: str = "canal", config: str = "canal-config", **env: str) -> dict[str, Any]:
    """Canal in the published shape: two containers, one installer."""
    env = {"CNI_CONF_NAME": "10-canal.conflist", **env}
    return daemonset(
        name,
        initContainers=[installer(config, **env)],
        containers=[CALICO, FLANNEL],
        volumes=[config_volume(config), *folders()],
    )


def net_conf(network: str, backend: Mapping[str, Any] | None = None, **more: Any) -> str:
    return json.dumps({"Network": network, "Backend": backend or {"Type": "vxlan"}, **more})


def found(
    daemonsets: list[dict[str, Any]],
    maps: Mapping[str, Mapping[str, str]],
    cidrs: tuple[str, ...] = ("10.42.0.0/24",),
) -> FoundCanal:
    server = FakeServer()
    server.on("GET", "/apis/apps/v1/daemonsets", listed(*daemonsets))
    for where, data in maps.items():
        namespace, _, name = where.partition("/")
        server.on("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}", (200, {"data": data}))
    for path in ("/api/v1/services", "/api/v1/namespaces/kube-system/pods"):
        server.on("GET", path, listed())
    server.on("GET", "/api/v1/namespaces/kube-system/configmaps/kube-proxy", (404, {}))
    one: FoundCanal = run(server, lambda client: found_canal(client, cidrs, ()))
    return one


def test_rke2s_names() -> None:
    """The settings are found through the volumes of what runs flanneld; a left ConfigMap of the usual name is not."""
    seen = found(
        [daemonset("kube-proxy", containers=[{"name": "kube-proxy", "image": "k8s/kube-proxy"}]),
         published("rke2-canal", "rke2-canal-config")],
        {"kube-system/canal-config": {"net-conf.json": net_conf("10.244.0.0/16")},
         "kube-system/rke2-canal-config": {"net-conf.json": net_conf("10.42.0.0/16"), "cni_network_config": CONFLIST}},
    )  # fmt: skip
    assert seen == FoundCanal(
        daemonsets=(("kube-system", "rke2-canal"),),
        flannels=(("kube-system", "rke2-canal"),),
        config_map="kube-system/rke2-canal-config",
        network="10.42.0.0/16",
        pods="10.42.0.0/16",
        pods_from="flannel's Network",
        backend="vxlan",
        vni=1,
        port=8472,
        cni_file="10-canal.conflist",
        network_name="k8s-pod-network",
        plugin="calico",
        ipam="host-local",
        cni_folder="/etc/cni/net.d",
        bin_folder="/opt/cni/bin",
        calico=(
            "DaemonSet kube-system/rke2-canal runs calico-node",
            "CNI file 10-canal.conflist has the plugin calico",
        ),
        tolerations=((),),
        felix={"kube-system/rke2-canal": {}},
        chained=("portmap",),
    )


def test_by_what_calico_is_known() -> None:
    """A container of Calico's, also in a DaemonSet of its own, or its plugin; flannel alone has neither."""
    flannel = published("canal", "settings")
    spec = flannel["spec"]["template"]["spec"]
    spec["containers"] = [one for one in spec["containers"] if one["name"] == "kube-flannel"]
    bridged = json.dumps({"name": "cbr0", "plugins": [{"type": "flannel"}]})
    texts = {"net-conf.json": net_conf("10.42.0.0/16"), "cni_network_config": bridged}
    assert found([flannel], {"kube-system/settings": texts}).calico == ()

    node = published("calico-node", "settings")
    node["spec"]["template"]["spec"]["containers"] = [{"name": "calico-node", "image": "calico/node:v3.29.2"}]
    by_container = found([flannel, node], {"kube-system/settings": texts}).calico
    assert by_container == ("DaemonSet kube-system/calico-node runs calico-node",)

    by_plugin = found([flannel], {"kube-system/settings": texts | {"cni_network_config": CONFLIST}}).calico
    assert by_plugin == ("CNI file 10-canal.conflist has the plugin calico",)


def test_all_that_differs_from_the_usual() -> None:
    """VNI, port, MTU, folders, file and key: each from where the programs themselves read it."""
    own = published("canal", "settings", CNI_CONF_NAME="11-net.conflist", CNI_MTU="1400")
    spec = own["spec"]["template"]["spec"]
    spec["volumes"] = [
        config_volume("settings", items=[{"key": "flannel", "path": "net-conf.json"}]),
        *folders("/var/lib/cni/net.d/", "/usr/libexec/cni"),
    ]
    backend = {"Type": "vxlan", "VNI": 4096, "Port": 4789}
    seen = found([own], {"kube-system/settings": {
        "flannel": net_conf("10.42.0.0/16", backend, EnableIPv6=True, IPv6Network="2001:db8::/56",
                            enableNFTables=True),
        "cni_network_config": CONFLIST,
    }})  # fmt: skip
    assert (seen.vni, seen.port, seen.mtu) == (4096, 4789, 1400)
    assert (seen.cni_file, seen.cni_folder, seen.bin_folder) == (
        "11-net.conflist",
        "/var/lib/cni/net.d",
        "/usr/libexec/cni",
    )
    assert (seen.network6, seen.nftables) == ("2001:db8::/56", True)


def flannels_own(name: str = "kube-flannel-ds", **selector: str) -> dict[str, Any]:
    """Flannel's own manifest."""
    words = {"command": ["cp"], "args": ["-f", "/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"]}
    mounts = [{"name": "net", "mountPath": "/etc/cni/net.d"}]
    return daemonset(
        name,
        "kube-flannel",
        nodeSelector=selector,
        initContainers=[
            {"name": "install-cni", "image": "ghcr.io/flannel-io/flannel:v0.28.0", "volumeMounts": mounts, **words}
        ],
        containers=[{**FLANNEL, "name": "flanneld-1"}],
        volumes=[config_volume("kube-flannel-cfg"), *folders()],
    )


FLANNEL_MAP = {
    "kube-flannel/kube-flannel-cfg": {
        "net-conf.json": net_conf("10.42.0.0/16"),
        "cni-conf.json": json.dumps({"name": "cbr0", "plugins": [{"type": "flannel"}]}),
    }
}


def test_split_and_one_per_architecture() -> None:
    """Flannel and Calico in DaemonSets of their own, flannel once per architecture; Windows' is not Canal's."""
    seen = found(
        [daemonset("calico-node", containers=[CALICO]), flannels_own("flannel-arm64"), flannels_own("flannel-amd64"),
         flannels_own("flannel-windows", **{"kubernetes.io/os": "windows"})],
        FLANNEL_MAP,
    )  # fmt: skip
    assert seen.daemonsets == (
        ("kube-flannel", "flannel-amd64"),
        ("kube-flannel", "flannel-arm64"),
        ("kube-system", "calico-node"),
    )
    assert (seen.cni_file, seen.network_name, seen.plugin) == ("10-flannel.conflist", "cbr0", "flannel")


@pytest.mark.parametrize(
    ("container", "is_canal"),
    [
        ({"name": "net", "image": "rancher/hardened-flannel:v0.26.5"}, True),
        ({"name": "net", "image": "example.org:5000/mirror/flannel@sha256:00"}, True),
        ({"name": "net", "image": "example.org/net:1", "command": ["/opt/bin/flanneld"]}, True),
        (
            {"name": "net", "image": "example.org/net:1", "command": ["sh", "-c", "exec /opt/bin/flanneld --ip-masq"]},
            True,
        ),
        ({"name": "net", "image": "example.org/flannel-exporter:1"}, False),
        ({"name": "calico-node", "image": "docker.io/calico/node:v3.32.0"}, False),
    ],
)
def test_what_a_container_is(container: dict[str, Any], is_canal: bool) -> None:
    """Flannel by its name, command or image; Calico without flannel is no Canal."""
    seen = found([daemonset("net", containers=[container])], {})
    assert bool(seen.daemonsets) is is_canal


ELSEWHERE = net_conf("10.42.0.0/16", {"Type": "vxlan", "Port": 8475})


@pytest.mark.parametrize(
    ("flannel", "volume"),
    [
        pytest.param({"args": ["--net-config-path=/settings/flannel.json"]}, {"name": "flannel-cfg", "configMap": {"name": "net"}},
                     id="a flag"),
        pytest.param({"args": ["--net-config-path", "/settings/flannel.json"]},
                     {"name": "flannel-cfg", "projected": {"sources": [{"secret": {}}, {"configMap": {"name": "net"}}]}},
                     id="a flag of two words, projected"),
        pytest.param({"env": [{"name": "FLANNELD_NET_CONFIG_PATH", "value": "/settings/conf"}]},
                     {"name": "flannel-cfg", "configMap": {"name": "net", "items": [{"key": "flannel.json", "path": "conf"}]}},
                     id="a variable, and items"),
        pytest.param({"volumeMounts": [{"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/net-conf.json",
                                        "subPath": "flannel.json"}]},
                     {"name": "flannel-cfg", "configMap": {"name": "net"}}, id="a part of a volume"),
    ],
)  # fmt: skip
def test_settings_where_flanneld_is_told_to_look(flannel: dict[str, Any], volume: dict[str, Any]) -> None:
    """By its flag, its environment or the mount, whatever the key is called: the port was taken to be the usual one."""
    mounts = [{"name": "flannel-cfg", "mountPath": "/settings"}]
    one = daemonset("canal", containers=[CALICO, {**FLANNEL, "volumeMounts": mounts, **flannel}], volumes=[volume])
    seen = found([one], {"kube-system/net": {"flannel.json": ELSEWHERE}})
    assert (seen.config_map, seen.network, seen.port, seen.unread) == ("kube-system/net", "10.42.0.0/16", 8475, ())


@pytest.mark.parametrize(
    "text",
    [
        "cp -f /etc/kube-flannel/cni-conf.json /etc/cni/net.d/10-flannel.conflist",
        (
            "set -e; cp -f /etc/kube-flannel/cni-conf.json /etc/cni/net.d/.tmp;"
            " mv /etc/cni/net.d/.tmp /etc/cni/net.d/10-flannel.conflist; while true; do sleep 3600; done"
        ),
    ],
)
def test_a_cni_file_that_a_shell_copies(text: str) -> None:
    """As older manifests of flannel's do it: name, network and plugin were taken to be those of Canal's own manifest."""
    one = flannels_own()
    one["spec"]["template"]["spec"]["initContainers"][0] |= {"command": ["/bin/sh", "-c", text], "args": []}
    seen = found([one], FLANNEL_MAP)
    assert (seen.cni_file, seen.network_name, seen.plugin) == ("10-flannel.conflist", "cbr0", "flannel")


def test_a_template_in_a_file() -> None:
    """Calico's installer takes its template from a file as well (CNI_NETWORK_CONFIG_FILE)."""
    one = published(CNI_NETWORK_CONFIG_FILE="/template/canal.json")
    install = one["spec"]["template"]["spec"]["initContainers"][0]
    install["env"] = [variable for variable in install["env"] if variable["name"] != "CNI_NETWORK_CONFIG"]
    install.setdefault("volumeMounts", []).append({"name": "flannel-cfg", "mountPath": "/template"})
    seen = found([one], {"kube-system/canal-config": {"canal.json": CONFLIST.replace("k8s-pod-network", "cni0")}})
    assert (seen.cni_file, seen.network_name, seen.plugin) == ("10-canal.conflist", "cni0", "calico")


@pytest.mark.parametrize(
    ("mount", "host", "folder"),
    [
        ({"mountPath": "/host"}, "/", "/etc/cni/net.d"),
        ({"mountPath": "/host/etc/cni"}, "/var/snap/microk8s/cni", "/var/snap/microk8s/cni/net.d"),
        (
            {"mountPath": "/host/etc/cni/net.d/", "subPath": "etc/cni/net.d"},
            "/var/lib/k3s",
            "/var/lib/k3s/etc/cni/net.d",
        ),
    ],
)
def test_a_folder_behind_a_wider_mount(mount: dict[str, str], host: str, folder: str) -> None:
    """What the installer writes into is a part of it."""
    one = published()
    pod = one["spec"]["template"]["spec"]
    for key in ("initContainers", "containers"):
        pod[key] = [{**container, "volumeMounts": [{"name": "wide", **mount}]} for container in pod[key]]
    pod["volumes"].append({"name": "wide", "hostPath": {"path": host}})
    assert found([one], {}).cni_folder == folder


def test_daemonsets_with_different_settings() -> None:
    """One per architecture, each with its ConfigMap: the first one's port was believed for all nodes."""
    amd, arm = flannels_own("flannel-amd64"), flannels_own("flannel-arm64")
    arm["spec"]["template"]["spec"]["volumes"][0] = config_volume("arm")
    maps = {**FLANNEL_MAP, "kube-flannel/arm": {"net-conf.json": ELSEWHERE}}
    assert found([amd, arm], maps).differing == (
        "ConfigMap kube-flannel/kube-flannel-cfg: Network 10.42.0.0/16, vxlan, VNI 1, port 8472",
        "ConfigMap kube-flannel/arm: Network 10.42.0.0/16, vxlan, VNI 1, port 8475",
    )
    assert found([amd, {**arm, "status": {"desiredNumberScheduled": 0}}], maps).differing == ()
    assert found([amd, arm], {**maps, "kube-flannel/arm": {"net-conf.json": net_conf("10.42.0.0/16")}}).differing == ()


@pytest.mark.parametrize(("kind", "routes"), [("bird", True), ("vxlan", True), ("none", False), ("", False)])
def test_who_carries_the_traffic(kind: str, routes: bool) -> None:
    """Calico does not in Canal: its backend is none there."""
    one = published()
    env = [{"name": "CALICO_NETWORKING_BACKEND", "value": kind}] if kind else []
    one["spec"]["template"]["spec"]["containers"][0] = {**CALICO, "env": env}
    assert found([one], {}).calico_routes == (
        (f"DaemonSet kube-system/canal: CALICO_NETWORKING_BACKEND {kind}",) if routes else ()
    )


def test_settings_that_are_not_there() -> None:
    """No values are made up; what was looked for, and where, is told."""
    seen = found([published()], {"kube-system/canal-config": {"cni_network_config": CONFLIST}})
    assert (seen.network, seen.backend, seen.port, seen.broken) == ("", "", 0, "")
    assert "kube-system/canal-config" in seen.unread[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        (f"{net_conf('10.42.0.0/16')} // ours", "it is not JSON"),
        ("[]", "it is no object"),
        ('{"Network": "10.42.0.0/16", "Backend": "vxlan"}', 'Backend is "vxlan"'),
        ('{"Network": "10.42.0.0/16", "Backend": {"Type": "vxlan", "VNI": "1"}}', 'VNI is "1"'),
        ('{"Network": "10.42.0.0/16", "Backend": {"Type": "vxlan", "Port": true}}', "Port is true"),
        ('{"Network": "10.42.0.0", "Backend": {"Type": 7}}', "Type is 7"),
        ('{"Network": "ten", "Backend": {"Type": "vxlan"}}', "Network is no network: ten"),
        ('{"Network": "10.42.0.0"}', "Network is no network: 10.42.0.0"),
    ],
)
def test_settings_that_flanneld_would_not_start_with(text: str, says: str) -> None:
    """Nothing of them is believed, and nothing breaks; where they are and what is wrong is told."""
    seen = found([published()], {"kube-system/canal-config": {"net-conf.json": text}})
    assert (seen.network, seen.backend, seen.port) == ("", "", 0)
    assert "net-conf.json in ConfigMap kube-system/canal-config" in seen.broken
    assert says in seen.broken


def test_settings_in_any_case_and_spacing() -> None:
    """As flanneld's decoder takes them: keys in any case, backends in lower case, nulls, spaces around."""
    text = ' {"network": "10.42.0.0/16", "BACKEND": {"type": "VXLAN", "vni": 7, "port": null}, "enableIPv6": null}\n\n'
    seen = found([published()], {"kube-system/canal-config": {"net-conf.json": text}})
    assert (seen.network, seen.backend, seen.vni, seen.port, seen.broken) == ("10.42.0.0/16", "vxlan", 7, 8472, "")


@pytest.mark.parametrize("backend", ["host-gw", "wireguard", "ipip", "udp", ""])
def test_another_backend_has_its_name(backend: str) -> None:
    """A backend that is not said is udp, flannel's default; ports and numbers are vxlan's only."""
    text = json.dumps({"Network": "10.42.0.0/16"} | ({"Backend": {"Type": backend}} if backend else {}))
    seen = found([published()], {"kube-system/canal-config": {"net-conf.json": text}})
    assert (seen.backend, seen.vni, seen.port) == (backend or "udp", 0, 0)


def test_a_file_that_nobody_has_named() -> None:
    """Calico's installer has a name of its own for it."""
    own = published()
    install = own["spec"]["template"]["spec"]["initContainers"][0]
    install["env"] = [one for one in install["env"] if one["name"] != "CNI_CONF_NAME"]
    seen = found([own], {"kube-system/canal-config": {"cni_network_config": CONFLIST}})
    assert (seen.cni_file, seen.network_name) == ("10-calico.conflist", "k8s-pod-network")


def test_values_from_a_whole_config_map() -> None:
    """`envFrom` counts, with its prefix; a variable of its own goes before it."""
    own = published(CNI_MTU="1300")
    install = own["spec"]["template"]["spec"]["initContainers"][0]
    install["env"] = [one for one in install["env"] if one["name"] != "CNI_CONF_NAME"]
    install["envFrom"] = [
        {"configMapRef": {"name": "more", "prefix": ""}},
        {"prefix": "CNI_", "configMapRef": {"name": "prefixed"}},
        {"secretRef": {"name": "hidden"}},
    ]
    maps = {
        "kube-system/canal-config": {"cni_network_config": CONFLIST},
        "kube-system/more": {"CNI_CONF_NAME": "01-first.conflist", "CNI_MTU": "9000"},
        "kube-system/prefixed": {"CONF_NAME": "02-last.conflist"},
    }
    seen = found([own], maps)
    assert (seen.cni_file, seen.mtu) == ("02-last.conflist", 1300)


def test_a_cni_file_that_is_none() -> None:
    """What cannot be read of it is told, its name is known all the same."""
    maps = {"kube-system/canal-config": {"net-conf.json": net_conf("10.42.0.0/16"), "cni_network_config": "{"}}
    seen = found([published()], maps)
    assert (seen.cni_file, seen.network_name) == ("10-canal.conflist", "")
    assert "10-canal.conflist: it is no CNI configuration" in seen.unread[0]


@pytest.mark.parametrize(
    ("command", "env", "etcd"),
    [
        (["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr"], {}, False),
        (["/opt/bin/flanneld", "-kube-subnet-mgr=true"], {}, False),
        (["/opt/bin/flanneld", "--kube-subnet-mgr=false"], {}, True),
        (["/opt/bin/flanneld", "--ip-masq"], {"FLANNELD_ETCD_ENDPOINTS": "https://10.0.0.1:2379"}, True),
        (["/opt/bin/flanneld"], {"FLANNELD_KUBE_SUBNET_MGR": "true"}, False),
        (["/bin/sh", "-c", "/opt/bin/flanneld --kube-subnet-mgr"], {}, False),
        (["/bin/sh", "-c", "/opt/bin/flanneld -etcd-prefix /k8s/network -etcd-cafile $(CA)"], {}, True),
        (["/bin/sh", "-c", "/opt/bin/flanneld $FLAGS"], {"FLANNELD_ETCD_ENDPOINTS": "https://10.0.0.1:2379"}, True),
        (["/opt/bin/flanneld", "--kube-subnet-mgr"], {"FLANNELD_ETCD_ENDPOINTS": "https://10.0.0.1:2379"}, False),
        ([], {}, False),
    ],
)
def test_where_flannel_has_its_networks_from(command: list[str], env: dict[str, str], etcd: bool) -> None:
    """From etcd, unless it was told to ask Kubernetes; what cannot be seen is not judged."""
    given = [{"name": key, "value": value} for key, value in env.items()]
    one = daemonset("canal", containers=[{**FLANNEL, "command": command, "env": given}])
    assert found([one], {}).flannel_etcd is etcd


def test_what_felix_is_told_by_its_environment() -> None:
    """One by one, by reference, from whole ConfigMaps; by DaemonSet, as each has its own; nothing of other containers."""
    of_map = {"configMapKeyRef": {"name": "settings", "key": "backend"}}
    told = [
        {"name": "FELIX_CHAININSERTMODE", "value": "Append"},
        {"name": "FELIX_IPTABLESBACKEND", "valueFrom": of_map},
    ]
    own = {**CALICO, "env": told, "envFrom": [{"configMapRef": {"name": "more"}, "prefix": "FELIX_"}]}
    flannel = {**FLANNEL, "env": [{"name": "FELIX_LOGSEVERITYSYS", "value": "none"}]}
    mirrored = {"name": "policy", "image": "example.org/mirrored-calico-node:v3.26.1"}
    maps = {"kube-system/settings": {"backend": "NFT"}, "kube-system/more": {"BPFENABLED": "true"}}
    seen = found([daemonset("canal", containers=[own, flannel]), daemonset("policy", containers=[mirrored])], maps)
    assert seen.felix == {
        "kube-system/canal": {"chaininsertmode": "Append", "iptablesbackend": "NFT", "bpfenabled": "true"},
        "kube-system/policy": {},
    }


@pytest.mark.parametrize(
    ("env", "etcd"),
    [
        ([{"name": "DATASTORE_TYPE", "value": "kubernetes"}], False),
        ([{"name": "DATASTORE_TYPE", "value": "etcdv3"}], True),
        ([{"name": "ETCD_ENDPOINTS", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "etcd"}}}], True),
        ([], False),
    ],
)
def test_where_calico_has_its_objects(env: list[dict[str, Any]], etcd: bool) -> None:
    """In etcd by the type of its datastore, or because it is given etcd's address."""
    assert found([daemonset("canal", containers=[{**CALICO, "env": env}, FLANNEL])], {}).calico_etcd is etcd


@pytest.mark.parametrize(
    ("pods", "text", "says"),
    [
        ([], None, Started()),
        ([("kube-controller-manager", ["kcm", "--cluster-cidr=10.42.0.0/16,fd00::/56"])], None,
         Started(cluster_cidr="10.42.0.0/16")),
        ([("kube-proxy", ["kube-proxy", "--cluster-cidr=10.42.0.0/16", "--proxy-mode=ipvs"])], None,
         Started("10.42.0.0/16", "ipvs", "10.42.0.0/16")),
        ([], "mode: ipvs\nclusterCIDR: 10.42.0.0/16\n", Started("10.42.0.0/16", "ipvs", "10.42.0.0/16")),
        ([], "mode: [", Started()),
        ([("kube-apiserver", ["kube-apiserver", "--service-cluster-ip-range=fd00::/108,10.240.0.0/12"])], None,
         Started(service_cidr="10.240.0.0/12")),
    ],
)  # fmt: skip
def test_what_the_control_plane_was_started_with(
    pods: list[tuple[str, list[str]]], text: str | None, says: Started
) -> None:
    """From static pods' arguments, or from kube-proxy's configuration."""
    server = FakeServer()
    made = [
        {"metadata": {"name": n, "labels": {"component": n}}, "spec": {"containers": [{"command": c}]}} for n, c in pods
    ]
    server.on("GET", "/api/v1/namespaces/kube-system/pods", listed(*made), listed())
    answer = (404, {}) if text is None else (200, {"data": {"config.conf": text}})
    server.on("GET", "/api/v1/namespaces/kube-system/configmaps/kube-proxy", answer)
    assert run(server, started) == says


@pytest.mark.parametrize(
    ("tolerations", "effect"),
    [
        ([{"operator": "Exists"}], "NoExecute"),
        ([{"operator": "Exists", "effect": "NoSchedule"}, {"operator": "Exists", "effect": "NoExecute"}], "NoExecute"),
        ([{"operator": "Exists", "effect": "NoSchedule"}], "NoSchedule"),
        ([{"key": "node-role.kubernetes/cilium", "value": "cilium"}], "NoExecute"),
        ([{"key": "node-role.kubernetes/cilium", "operator": "Exists", "effect": "NoSchedule"}], "NoSchedule"),
        ([{"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"}], ""),
        ([], ""),
    ],
)
def test_the_taint_is_one_that_canal_tolerates(tolerations: list[dict[str, Any]], effect: str) -> None:
    """The strongest effect that every DaemonSet of Canal's tolerates; it becomes the configuration's unless one is said."""
    strong = daemonset("calico-node", containers=[CALICO], tolerations=[{"operator": "Exists"}])
    seen = found([daemonset("net", containers=[FLANNEL], tolerations=tolerations), strong], {})
    assert taint_effect(seen, Config().labels.cilium) == effect
    assert settled(Config(), (), seen).drain.taint_effect == (effect or "NoExecute")
    assert settled(Config(), {"drain.taint_effect"}, seen).drain.taint_effect == "NoExecute"
    assert configuration_of(seen).get("drain.taint_effect", "") == ("" if effect == "NoExecute" else effect)


def test_an_address_in_the_network_stands_for_the_network() -> None:
    """As flanneld takes it."""
    seen = found([published()], {"kube-system/canal-config": {"net-conf.json": net_conf("10.42.0.1/16")}})
    assert (seen.network, seen.pods) == ("10.42.0.0/16", "10.42.0.0/16")


def _only_on(system: str) -> dict[str, Any]:
    expression = {"key": "kubernetes.io/os", "operator": "In", "values": [system]}
    term = {"matchExpressions": [expression, {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}
    required = {"nodeSelectorTerms": [term]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


@pytest.mark.parametrize(
    "pod",
    [
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
        {"nodeSelector": {"beta.kubernetes.io/os": "windows"}},
        _only_on("windows"),
    ],
)
def test_flannel_for_windows_is_no_part_of_canal(pod: dict[str, Any]) -> None:
    """By its node selector or its affinity; one with an affinity to Linux is."""
    windows = daemonset("kube-flannel-ds-windows", containers=[FLANNEL], **pod)
    linux = daemonset("kube-flannel-ds", containers=[FLANNEL], **_only_on("linux"))
    assert found([linux, windows], {}).daemonsets == (("kube-system", "kube-flannel-ds"),)


def test_settings_are_those_of_a_daemonset_that_runs() -> None:
    """A leftover that runs nowhere comes last, whatever its name."""
    left, own = flannels_own("a-flannel"), published("net", "settings")
    left["status"] = {"desiredNumberScheduled": 0}
    own["status"] = {"desiredNumberScheduled": 3}
    maps = {**FLANNEL_MAP, "kube-system/settings": {"net-conf.json": net_conf("10.50.0.0/16")}}
    seen = found([left, own], maps)
    assert seen.daemonsets == (("kube-system", "net"), ("kube-flannel", "a-flannel"))
    assert seen.network == "10.50.0.0/16"


@pytest.mark.parametrize(
    ("container", "role"),
    [
        ({"name": "flannel", "image": "example.org/mirror/network:1"}, {"flannel"}),
        ({"name": "net", "image": "example.org/a@sha256:12", "env": [{"name": "FLANNELD_IP_MASQ"}]}, {"flannel"}),
        ({"name": "policy", "image": "example.org/b:1", "env": [{"name": "FELIX_LOGSEVERITYSCREEN"}]}, {"calico"}),
        ({"name": "proxy", "image": "example.org/c:1", "env": [{"name": "FLANNEL"}, {"name": "CALICO_X"}]}, set()),
    ],
)
def test_what_a_container_of_a_mirrored_image_is(container: dict[str, Any], role: set[str]) -> None:
    """Its image may be called anything: Calico's manifests for an etcd name no command, and the container `flannel`."""
    assert roles({"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": [container]}}}}) == role
