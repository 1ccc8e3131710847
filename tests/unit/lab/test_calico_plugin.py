"""The lab's plugin in the place of Calico's: what it asks of host-local and of ip."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.canal import calico

CONF = {
    "cniVersion": "0.3.1",
    "name": "k8s-pod-network",
    "type": "calico",
    "mtu": 1450,
    "ipam": {"type": "host-local", "subnet": "usePodCidr"},
}


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str | None]]:
    """What was run, with what it was told; host-local gives 10.244.7.2."""
    done: list[tuple[tuple[str, ...], str | None]] = []

    def command(*argv: str, said: str | None = None) -> str:
        done.append((argv, said))
        return json.dumps({"ips": [{"address": "10.244.7.2/24"}]}) if argv[0].endswith("host-local") else ""

    monkeypatch.setattr(calico, "command", command)
    monkeypatch.setattr(calico, "STATE", tmp_path)
    monkeypatch.setattr(calico, "set_sysctl", lambda *_: None)
    (tmp_path / "host-local").touch()
    for name, value in {"PATH": str(tmp_path), "NETNS": "/run/netns/x", "IFNAME": "eth0", "CONTAINERID": "c0"}.items():
        monkeypatch.setenv(f"CNI_{name}", value)
    return done


def test_it_waits_for_calico_node(ran: list[Any]) -> None:
    """Until the node's name is there it connects nobody, and says what to look at, as Calico's does."""
    with pytest.raises(calico.PluginError, match="nodename: check that calico-node runs"):
        calico.add(CONF)
    assert ran == []


@pytest.mark.parametrize(
    ("routes", "wanted"),
    [
        ([], ["default"]),
        ([{"dst": "10.244.0.0/16"}], ["10.244.0.0/16"]),
        ([{"dst": "0.0.0.0/0"}, {"dst": "10.1.0.0/16"}], ["0.0.0.0/0", "10.1.0.0/16"]),
    ],
)
def test_routes_are_those_of_the_ipam_section_or_a_default(
    routes: list[dict[str, str]], wanted: list[str], ran: list[tuple[tuple[str, ...], str | None]], tmp_path: Path
) -> None:
    """Every route goes by the gateway that all nodes share, and the address comes out of the node's own part."""
    (tmp_path / "nodename").write_text("node7")
    (tmp_path / "pod-cidr").write_text("10.244.7.0/24")
    result = calico.add(CONF | {"ipam": {"type": "host-local", "subnet": "usePodCidr", "routes": routes}})
    asked = json.loads(ran[0][1] or "")
    assert asked["ipam"] == {"type": "host-local", "subnet": "10.244.7.0/24"}
    inside = next(said for argv, said in ran if argv[0] == "nsenter") or ""
    assert [line.split()[2] for line in inside.splitlines() if " via 169.254.1.1 " in line] == wanted
    assert result["ips"][0]["address"] == "10.244.7.2/32"
    link = result["interfaces"][0]["name"]
    assert (("ip", "route", "replace", "10.244.7.2/32", "dev", link, "scope", "link"), None) in ran
    assert link.startswith("cali")
    assert len(link) == 15
