"""What is applied: rendered for each strategy and profile, and as the contract with the world says."""

import json
import re
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from cni_migrate import cilium_versions, resources
from cni_migrate.config import PROFILES, Config
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import PutObject
from cni_migrate.core.model.objects import Pod, Taint
from cni_migrate.core.render import manifests as manifests_module
from cni_migrate.core.render.manifests import (
    TEMPLATES,
    Manifest,
    Manifests,
    Payload,
)
from cni_migrate.core.render.settings import cilium_config, identities_config, knet_config
from cni_migrate.core.steps import drain
from cni_migrate.errors import EXIT_CODES, ClusterError, Interrupted, LockHeld, OutputFailed, OutputGone
from cni_migrate.knet.agent.probes import SILENT
from cni_migrate.kube import views

AGENT = "# agent with 'quotes', <angles> & \"more\"\n\tprint('{{ not a template }}')\n"
MODULES = {"__init__.py": "", "__main__.py": AGENT}
TEXTS = {name: resources.read("templates", name) for name in TEMPLATES}
SERVED = {"v2": "cilium.io/v2/ciliumnodeconfigs", "v2alpha1": "cilium.io/v2alpha1/ciliumnodeconfigs"}
ALL = list(product(["modern", "seed"], ["multus", "overlay"]))


def merged(profile: Any, strategy: str, **values: Any) -> Config:
    base: dict[str, Any] = {"profile": profile, **PROFILES[profile], "strategy": strategy}
    return Config.model_validate(
        base | {k: {**base.get(k, {}), **v} if isinstance(v, dict) else v for k, v in values.items()}
    )


@lru_cache
def cached(profile: str, strategy: str) -> Manifests:
    return Manifests(TEXTS, merged(profile, strategy), Payload("canal:1", MODULES))


def made(**values: Any) -> Manifests:
    return Manifests(TEXTS, merged("modern", values.pop("strategy", "multus"), **values), Payload("canal:1", MODULES))


def every(manifests: Manifests) -> list[Manifest]:
    return [
        *manifests.namespaces(), *manifests.knet(), *manifests.cilium(), *manifests.cilium_final(),
        *manifests.node_config([SERVED["v2"]]), *manifests.multus(), *manifests.rbac(),
        manifests.host_task("w1", "task", ["status"]), *manifests.job("{}\n"),
    ]  # fmt: skip


def one(found: list[Manifest], kind: str, name: str) -> Manifest:
    (only,) = [m for m in found if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return only


def containers(manifest: Manifest) -> dict[str, Any]:
    pod = manifest["spec"]["template"]["spec"] if "template" in manifest["spec"] else manifest["spec"]
    return {c["name"]: c for c in [*pod.get("initContainers", []), *pod["containers"]]}


def env(container: Any) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.endswith(".yaml")])
def test_every_value_goes_through_tojson(name: str) -> None:
    for found in re.findall(r"{{(.*?)}}", TEXTS[name], re.DOTALL):
        assert re.search(r"\|\s*tojson\s*$", found) or found.strip().startswith("daemonset("), found


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_objects_are_ours_complete_and_json(profile: str, strategy: str) -> None:
    for manifest in every(cached(profile, strategy)):
        json.dumps(manifest)
        assert PutObject(manifest).ref.name
        assert manifest["metadata"]["labels"][names.MANAGED_BY] == names.TOOL, manifest["metadata"]
        cluster_wide = manifest["kind"] in ("Namespace", "ClusterRole", "ClusterRoleBinding")
        assert cluster_wide == ("namespace" not in manifest["metadata"])


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_workloads_are_consistent(profile: str, strategy: str) -> None:
    """Selectors match their templates and no other one's, mounts have volumes, the rest is as on every node."""
    workloads = [m for m in every(cached(profile, strategy)) if m["kind"] in ("DaemonSet", "Deployment")]
    for manifest in workloads:
        template = manifest["spec"]["template"]
        wanted = manifest["spec"]["selector"]["matchLabels"].items()
        assert wanted <= template["metadata"]["labels"].items()
        for other in workloads:
            same = other["metadata"]["name"] == manifest["metadata"]["name"]
            assert same or not wanted <= other["spec"]["template"]["metadata"]["labels"].items()
        pod = template["spec"]
        assert pod["tolerations"] == [{"operator": "Exists"}]
        assert pod["priorityClassName"].startswith("system-")
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in containers(manifest).values():
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
            assert all(isinstance(word, str) for word in [*container.get("command", []), *container.get("args", [])])


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_accounts_and_roles_that_are_bound_exist(profile: str, strategy: str) -> None:
    found = every(cached(profile, strategy))
    known = {(m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]) for m in found}
    for manifest in found:
        if manifest["kind"].endswith("RoleBinding") or manifest["kind"].endswith("Binding"):
            ref = manifest["roleRef"]
            where = "" if ref["kind"] == "ClusterRole" else manifest["metadata"]["namespace"]
            assert (ref["kind"], where, ref["name"]) in known
            for subject in manifest["subjects"]:
                assert ("ServiceAccount", subject["namespace"], subject["name"]) in known


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_knet_stress(profile: str, strategy: str) -> None:
    found = cached(profile, strategy).knet()
    namespace = one(found, "Namespace", "knet-stress")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert one(found, "ConfigMap", "knet-stress-agent")["data"] == MODULES
    settings = json.loads(one(found, "ConfigMap", "knet-stress-config")["data"]["config.json"])
    assert settings.items() >= {"interval_s": 0.5, "timeout_s": 1.0, "full_mesh_max": 12, "degree": 4}.items()
    assert isinstance(settings["seed"], str)
    for mesh, name in names.KNET.items():
        daemonset = one(found, "DaemonSet", name)
        container = containers(daemonset)["knet-stress"]
        assert env(container)["KNET_MESH"] == mesh
        assert env(container)["NODE_NAME"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
        assert daemonset["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["requests"]
        assert "hostNetwork" not in daemonset["spec"]["template"]["spec"]
        # The agent misses its kubelet's probes after some periods without one.
        assert 3 * container["readinessProbe"]["periodSeconds"] < SILENT
        assert container["readinessProbe"]["httpGet"]


def test_the_policy_is_tried_by_cluster_ip() -> None:
    """The Service leads to the guarded port of mesh b alone, and agents may read where it is."""
    found = cached("modern", "multus").knet()
    service = one(found, "Service", "knet-stress-guard")["spec"]
    policy = one(found, "NetworkPolicy", "knet-stress-guard")["spec"]
    assert service["selector"] == policy["podSelector"]["matchLabels"]
    assert service["type"] == "ClusterIP"
    (port,) = service["ports"]
    guarded = one(found, "DaemonSet", names.KNET["b"])["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert {"name": port["targetPort"], "containerPort": 8089, "protocol": "TCP"} in guarded
    read = [rule for rule in one(found, "Role", "knet-stress")["rules"] if "services" in rule["resources"]]
    assert [rule["resourceNames"] for rule in read] == [["knet-stress", "knet-stress-guard"]]


@pytest.mark.parametrize("name", [*names.KNET.values(), names.IDENTITIES])
def test_an_agent_runs_as_the_package_that_its_volume_holds(name: str) -> None:
    """Every module lies in the folder from where `python3 -m` finds it, and any change of one makes the pods anew."""

    def at(modules: Mapping[str, str]) -> Manifest:
        manifests = Manifests(TEXTS, merged("modern", "overlay"), Payload("canal:1", modules, modules))
        found = one([*manifests.knet(), *manifests.identities()], "DaemonSet", name)
        template: Manifest = found["spec"]["template"]
        return template

    pod = at(MODULES)
    container = pod["spec"]["containers"][0]
    commands = [
        container["command"],
        *(p["exec"]["command"] for k, p in container.items() if "exec" in str(p) and k.endswith("Probe")),
    ]
    assert all("-m agent" in " ".join(command) for command in commands)
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "agent"]
    assert container["workingDir"] == mount["mountPath"]
    (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "agent"]
    laid = {item["key"]: item["path"] for item in volume["configMap"]["items"]}
    assert {key: laid[key] for key in MODULES} == {key: f"agent/{key}" for key in MODULES}
    digests = [
        at(modules)["metadata"]["annotations"]["cni-migrate.io/config-digest"]
        for modules in (MODULES, {**MODULES, "__init__.py": "x = 1\n"}, {**MODULES, "more.py": ""})
    ]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("node_port", [True, False])
def test_the_node_port_can_be_done_without(node_port: bool) -> None:
    """Then agents do not look for one either."""
    found = made(knet={"node_port": node_port}).knet()
    assert one(found, "Service", "knet-stress")["spec"]["type"] == ("NodePort" if node_port else "ClusterIP")
    for name in names.KNET.values():
        container = containers(one(found, "DaemonSet", name))["knet-stress"]
        assert env(container).get("KNET_SKIP") == (None if node_port else "nodeport")


def test_the_guard_selects_mesh_b_and_lets_only_mesh_a_call_8089() -> None:
    found = cached("modern", "multus").knet()
    spec = one(found, "NetworkPolicy", "knet-stress-guard")["spec"]
    agents = {mesh: one(found, "DaemonSet", name) for mesh, name in names.KNET.items()}
    pods = {mesh: agent["spec"]["template"]["metadata"]["labels"] for mesh, agent in agents.items()}
    selected = spec["podSelector"]["matchLabels"].items()
    assert selected <= pods["b"].items()
    assert not selected <= pods["a"].items()
    (guarded,) = [rule for rule in spec["ingress"] if "from" in rule]
    callers = guarded["from"][0]["podSelector"]["matchLabels"].items()
    assert callers <= pods["a"].items()
    assert not callers <= pods["b"].items()
    assert guarded["ports"] == [{"port": 8089, "protocol": "TCP"}]
    everyone = {(p["port"], p["protocol"]) for rule in spec["ingress"] if "from" not in rule for p in rule["ports"]}
    served = containers(agents["b"])["knet-stress"]["ports"]
    ports = {(p["containerPort"], p["protocol"]) for p in served}
    assert everyone == ports - {(8089, "TCP")}


def test_cilium_under_multus() -> None:
    found = cached("modern", "multus").cilium()
    config = one(found, "ConfigMap", "cilium-config")["data"]
    assert config["enable-policy"] == "default"
    assert config["custom-cni-conf"] == "false"
    assert "write-cni-conf-when-ready" not in config
    assert config["unmanaged-pod-watcher-interval"] == "0"
    assert config["cni-uninstall"] == "false"
    assert (config["tunnel-protocol"], config["tunnel-port"]) == ("vxlan", "8473")
    assert (config["cluster-pool-ipv4-cidr"], config["cluster-pool-ipv4-mask-size"]) == ("10.245.0.0/16", "24")
    first, second = one(found, "DaemonSet", "cilium-canal"), one(found, "DaemonSet", "cilium")
    assert containers(first)["cilium-agent"]["args"] == [
        "--config-dir=/tmp/cilium/config-map",
        "--write-cni-conf-when-ready=/host/etc/cni/net.d/99-cilium.conflist",
        "--cni-exclusive=false",
    ]
    assert containers(second)["cilium-agent"]["args"][1:] == [
        "--write-cni-conf-when-ready=/host/etc/cni/net.d/05-cilium.conflist",
        "--cni-exclusive=true",
    ]
    selectors = [m["spec"]["template"]["spec"]["nodeSelector"] for m in (first, second)]
    assert selectors[0]["node-role.kubernetes/cilium-canal"] == "cilium-canal"
    assert selectors[1]["node-role.kubernetes/cilium"] == "cilium"
    assert all(m["spec"]["updateStrategy"] == {"type": "OnDelete"} for m in (first, second))


def test_the_operator_knows_the_agents_of_both_daemonsets() -> None:
    found = cached("modern", "multus").cilium()
    key, _, value = one(found, "ConfigMap", "cilium-config")["data"]["cilium-pod-labels"].partition("=")
    for name in (names.CILIUM, names.FIRST_CILIUM):
        assert one(found, "DaemonSet", name)["spec"]["template"]["metadata"]["labels"][key] == value


def test_cilium_under_overlay() -> None:
    found = cached("modern", "overlay").cilium()
    config = one(found, "ConfigMap", "cilium-config")["data"]
    assert (config["enable-policy"], config["custom-cni-conf"], config["cni-exclusive"]) == ("default", "true", "false")
    assert (config["prepend-iptables-chains"], config["enable-stale-cilium-endpoint-cleanup"]) == ("false", "false")
    assert "write-cni-conf-when-ready" not in config
    (daemonset,) = [m for m in found if m["kind"] == "DaemonSet"]
    assert containers(daemonset)["cilium-agent"]["args"] == ["--config-dir=/tmp/cilium/config-map"]
    (term,) = daemonset["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "cni-migrate.io/detached", "operator": "NotIn", "values": ["true"]}]


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_cilium_s_containers(profile: str, strategy: str) -> None:
    found = cached(profile, strategy).cilium()
    for manifest in found:
        if manifest["kind"] == "DaemonSet":
            assert "cilium-agent" in containers(manifest)
            assert manifest["spec"]["template"]["spec"]["hostNetwork"] is True
    assert "cilium-operator" in containers(one(found, "Deployment", "cilium-operator"))


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_the_end_state_is_a_plain_cilium(profile: str, strategy: str) -> None:
    manifests = cached(profile, strategy)
    found = manifests.cilium_final()
    config = one(found, "ConfigMap", "cilium-config")["data"]
    assert config["enable-policy"] == "default"
    assert (config["custom-cni-conf"], config["cni-exclusive"]) == ("false", "true")
    assert config["write-cni-conf-when-ready"].startswith("/host/etc/cni/net.d/0")
    assert "unmanaged-pod-watcher-interval" not in config
    (daemonset,) = [m for m in found if m["kind"] == "DaemonSet"]
    template = daemonset["spec"]["template"]
    assert template["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "affinity" not in template["spec"]
    assert template["metadata"]["labels"][names.STAGE] == "final"
    assert not any(arg.startswith("--write") for arg in containers(daemonset)["cilium-agent"]["args"])
    assert daemonset["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    during = one(manifests.cilium(), "DaemonSet", "cilium")
    assert daemonset["spec"]["selector"] == during["spec"]["selector"], "a selector cannot be changed"
    operators = [one(m, "Deployment", "cilium-operator") for m in (found, manifests.cilium())]
    assert operators[0]["spec"]["selector"] == operators[1]["spec"]["selector"]
    digests = [o["spec"]["template"]["metadata"]["annotations"]["cni-migrate.io/config-digest"] for o in operators]
    assert digests[0] != digests[1], "the operator would not restart with the changed configuration"


def test_extra_config_outranks_features_but_not_what_the_migration_depends_on() -> None:
    extra = {
        "enable-hubble": "true",
        "devices": "eth0",
        "unmanaged-pod-watcher-interval": "15",
    }
    manifests = made(strategy="overlay", cilium={"extra_config": extra})
    during = one(manifests.cilium(), "ConfigMap", "cilium-config")["data"]
    assert (during["enable-hubble"], during["devices"]) == ("true", "eth0")
    assert (during["unmanaged-pod-watcher-interval"], during["enable-policy"]) == ("0", "default")
    assert one(manifests.cilium_final(), "ConfigMap", "cilium-config")["data"].items() >= extra.items()


FREE_IN_THE_END = {
    "cni-exclusive",
    "unmanaged-pod-watcher-interval",
    "enable-host-legacy-routing",
    "prepend-iptables-chains",
    "enable-stale-cilium-endpoint-cleanup",
}
"""Keys that the migration needs on the way only."""


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
@pytest.mark.parametrize("version", ["1.7.2", "1.15.19"])
@pytest.mark.parametrize("final", [False, True])
def test_what_outranks_extra_config_is_refused_in_it(strategy: str, version: str, final: bool) -> None:
    """A key that would be ignored on the way, or win in the last step only, never gets so far."""

    def found(**extra: str) -> dict[str, str]:
        config = Config.model_validate({"strategy": strategy, "cilium": {"version": version, "extra_config": extra}})
        return cilium_config(config, Manifests(TEXTS, config, Payload("canal:1", MODULES)).cilium_version, final=final)

    for key in set(found()) - FREE_IN_THE_END:
        try:
            assert found(**{key: "another"})[key] == "another", f"{key} is taken and ignored"
        except ValidationError as error:
            assert error.errors()[0]["type"] == "contradiction"  # noqa: PT017
            assert key in str(error)  # noqa: PT017


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_pull_secrets_reach_every_pod(strategy: str) -> None:
    """Every pod that the tool brings names the secrets, none without them."""
    config = Config.model_validate({"strategy": strategy, "pull_secrets": ["mirror"], "job": {"image": "x:1"}})
    manifests = Manifests(TEXTS, config, Payload("canal:1", MODULES))
    objects = [*manifests.cilium(), *manifests.cilium_final(), *manifests.knet(), *manifests.job("")]
    objects += manifests.multus() if strategy == "multus" else []
    pods = [m["spec"]["template"]["spec"] for m in objects if m["kind"] in ("DaemonSet", "Deployment", "Job")]
    pods.append(manifests.host_task("w1", "x", ["status"])["spec"])
    assert len(pods) >= 6
    assert all(pod["imagePullSecrets"] == [{"name": "mirror"}] for pod in pods)
    assert not any("imagePullSecrets" in str(m) for m in made(strategy=strategy).cilium())


def test_every_image_comes_from_the_registry() -> None:
    """What a mirror holds is under the same path; one that is named stays."""
    named = {"registry": "mirror.example:5000/k8s", "knet": {"image": "other.example/python:3"}}
    assert set(made(**named).images().values()) == {
        "mirror.example:5000/k8s/cilium/cilium:v1.20.2",
        "mirror.example:5000/k8s/cilium/operator-generic:v1.20.2",
        "mirror.example:5000/k8s/k8snetworkplumbingwg/multus-cni:v4.2.2",
        "other.example/python:3",
        "canal:1",
    }


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_what_the_chart_chooses_is_chosen_from_the_beginning(strategy: str) -> None:
    """Maps that are made anew when a chart takes over would forget connections; and the user has the last word."""
    manifests = made(strategy=strategy, cilium={"extra_config": {"monitor-aggregation": "none"}})
    for found in (manifests.cilium(), manifests.cilium_final()):
        config = one(found, "ConfigMap", "cilium-config")["data"]
        assert config.items() >= {**cilium_versions.choices((1, 20)), "monitor-aggregation": "none"}.items()


def test_the_operator_may_change_no_definitions_but_cilium_s() -> None:
    """Which `migrate`, that grants this right, would have to hold as well."""
    for manifest in (
        one(made().cilium(), "ClusterRole", "cilium-operator"),
        one(made().rbac(), "ClusterRole", "cni-migrate-grants"),
    ):
        rules = [rule for rule in manifest["rules"] if rule["resources"] == ["customresourcedefinitions"]]
        for rule in rules:
            if "update" in rule["verbs"]:
                assert rule["verbs"] == ["update"]
                assert all(name.endswith(".cilium.io") for name in rule["resourceNames"])


@pytest.mark.parametrize("final", [False, True])
def test_one_container_at_most_makes_the_node_ready_for_the_agent(final: bool) -> None:
    """Each costs the kubelet a second to notice its end, in which no pod can start on the node.

    While nodes are migrated it is the agent's own; the final agent is nearer to the chart's.
    """
    manifests = made().cilium_final() if final else made().cilium()
    pod = one(manifests, "DaemonSet", "cilium")["spec"]["template"]["spec"]
    (agent,) = pod["containers"]
    if final:
        (container,) = pod["initContainers"]
        assert agent["command"] == ["cilium-agent"]
    else:
        container = agent
        assert "initContainers" not in pod
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    needed = {"/tmp", "/hostproc", "/host/opt/cni/bin"}
    assert (mounted == needed) if final else (mounted > needed)
    script = [line for line in container["command"][2].splitlines() if line]
    if not final:
        assert script.pop() == 'exec cilium-agent "$@"'
        assert container["command"][3:] == ["cilium-agent"], "the name that the shell has of itself"
    assert script[-1] == "/install-plugin.sh"
    waits = [line for line in script if "cilium-agent" in line]
    assert waits == ["while grep -qsx cilium-agent /hostproc/[0-9]*/comm; do"], "two agents do not get along"
    assert script.index(waits[0]) < script.index("cilium-dbg build-config")


def test_an_identity_agent_is_ready_only_while_its_rule_stands() -> None:
    """A container with the host task's script keeps the rule, and its probe asks for the file by which that is told."""
    spec = one(cached("modern", "overlay").identities(), "DaemonSet", names.IDENTITIES)["spec"]["template"]["spec"]
    (first,) = spec["initContainers"]
    (keeper,) = (one for one in spec["containers"] if one["name"] == "keep-rules")
    assert (first["args"], keeper["args"]) == (["lay-rules"], ["keep-rules"])
    same = ("image", "imagePullPolicy", "command", "env")
    assert {key: keeper[key] for key in same} == {key: first[key] for key in same}
    assert "KEPT_FILE:-/tmp/rules" in keeper["command"][2]
    assert "test -e /tmp/rules" in keeper["readinessProbe"]["exec"]["command"][2]
    assert {mount["mountPath"] for mount in keeper["volumeMounts"]} == {"/host", "/tmp"}


def test_multus_is_ready_as_soon_as_it_has_written_its_file(tmp_path: Path) -> None:
    """The kubelet looks at once, too early, and again two seconds later: the first look waits, but not for ever."""
    probe = containers(one(made().multus(), "DaemonSet", names.MULTUS))["kube-multus"]["readinessProbe"]
    ready = tmp_path / "ready"
    *shell, script = probe["exec"]["command"]
    command = [*shell, script.replace("/tmp/multus-ready", str(ready))]
    look = subprocess.Popen(command)
    with pytest.raises(subprocess.TimeoutExpired):
        look.wait(0.3)
    ready.touch()
    assert look.wait(1) == 0
    ready.unlink()
    assert subprocess.run(command, timeout=probe["timeoutSeconds"], check=False).returncode == 1


def test_an_agent_of_the_migration_is_asked_each_second() -> None:
    """A node waits for it, out of service. The final one has the probes of the chart, and starts as it likes."""
    agent = containers(one(made().cilium(), "DaemonSet", "cilium"))["cilium-agent"]
    assert "startupProbe" not in agent
    assert agent["readinessProbe"]["periodSeconds"] == 1
    allowed = agent["livenessProbe"]["periodSeconds"] * agent["livenessProbe"]["failureThreshold"]
    assert allowed == 300, "seconds in which an agent may start"
    final = containers(one(made().cilium_final(), "DaemonSet", "cilium"))["cilium-agent"]
    assert "startupProbe" in final
    assert final["readinessProbe"]["periodSeconds"] == 5


@pytest.mark.parametrize(
    ("version", "qps"),
    [("1.15.19", True), ("v1.16.2", True), ("1.17.2", False), ("1.20.2", False)],
)
def test_versions_of_cilium_differ(version: str, qps: bool) -> None:
    """What a version has by default is not said to it."""
    manifests = made(cilium={"version": version})
    found = manifests.cilium()
    script = containers(one(found, "DaemonSet", "cilium"))["cilium-agent"]["command"][2].splitlines()
    assert "cilium-dbg build-config" in script
    config = one(found, "ConfigMap", "cilium-config")["data"]
    assert "routing-mode" in config
    assert "tunnel" not in config
    assert ("k8s-client-qps" in config) is qps
    assert manifests.cautions() == []


def test_the_seed_s_cilium_is_told_to_write_a_list_and_is_cautioned_about() -> None:
    manifests = cached("seed", "multus")
    daemonset = one(manifests.cilium(), "DaemonSet", "cilium")
    assert "build-config" not in containers(daemonset)["config"]["command"][-1]
    agent = containers(daemonset)["cilium-agent"]
    assert agent["args"][1:] == [
        "--read-cni-conf=/tmp/cni-configuration/cni-config",
        "--write-cni-conf-when-ready=/host/etc/cni/net.d/00-cilium.conflist",
    ]
    assert env(agent)["CILIUM_CUSTOM_CNI_CONF"] == "true"
    config = one(manifests.cilium(), "ConfigMap", "cilium-config")["data"]
    assert (config["tunnel"], config["tunnel-protocol"], config["tunnel-port"]) == ("geneve", "geneve", "6081")
    (caution,) = manifests.cautions()
    assert "1.7.2" in caution


def test_the_node_config_has_the_served_version() -> None:
    manifests = cached("modern", "overlay")
    for version, served in SERVED.items():
        (found,) = manifests.node_config([served, "cilium.io/v2/ciliumnodes"])
        assert (found["apiVersion"], found["metadata"]["name"]) == (f"cilium.io/{version}", "cilium-default")
    (found,) = manifests.node_config(SERVED.values())
    assert found["apiVersion"] == "cilium.io/v2"
    assert found["spec"]["nodeSelector"] == {"matchLabels": {"io.cilium.migration/cilium-default": "true"}}
    assert found["spec"]["defaults"] == {
        "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist",
        "custom-cni-conf": "false",
        "cni-chaining-mode": "none",
        "cni-exclusive": "true",
    }
    assert cilium_versions.served_node_config(["cilium.io/v2/ciliumnodes"]) is None
    with pytest.raises(ValueError, match="not served"):
        manifests.node_config([])


@pytest.mark.parametrize("profile", ["modern", "seed"])
def test_multus(profile: str) -> None:
    daemonset = one(cached(profile, "multus").multus(), "DaemonSet", names.MULTUS)
    selector = daemonset["spec"]["template"]["spec"]["nodeSelector"]
    assert selector["node-role.kubernetes/cilium-canal"] == "cilium-canal"
    assert selector["cni-migrate.io/multus"] == "true"
    assert env(containers(daemonset)["kube-multus"]) == {
        "MULTUS_CONF_FILE": "00-multus.conflist",
        "CANAL_CONF_FILE": "10-canal.conflist",
        "CILIUM_CONF_FILE": "99-cilium.conflist",
    }
    installer = containers(daemonset)["install-multus-binary"]
    assert installer["command"][0] == {"modern": "/install_multus", "seed": "sh"}[profile]


def test_a_host_task() -> None:
    manifests = cached("modern", "multus")
    task = manifests.host_task("w1", "host-w1-abc", ["restore-bak", "remove-cni=05-cilium.conflist"])
    other = manifests.host_task("w2", "host-w2-abc", ["status"])
    assert (task["metadata"]["name"], task["spec"]["nodeName"]) == ("host-w1-abc", "w1")
    assert task["metadata"]["namespace"] == "cni-migrate"
    assert task["metadata"]["labels"][names.COMPONENT] == names.HOST_TASK
    (container,) = task["spec"]["containers"]
    assert container["name"] == "host-task"
    assert container["args"] == ["restore-bak", "remove-cni=05-cilium.conflist"]
    assert container["image"] == "canal:1"
    assert (task["spec"]["hostNetwork"], task["spec"]["restartPolicy"]) == (True, "Never")
    assert other["spec"]["containers"][0]["args"] == ["status"]


def test_the_host_task_script_passes_kubernetes_variable_expansion_unchanged() -> None:
    """In a container's command `$$` becomes `$`, and `$(NAME)` of a variable of the container its value."""
    (container,) = cached("modern", "multus").host_task("w1", "t", ["status"])["spec"]["containers"]
    script = container["command"][2]
    assert script == TEXTS["host-task.sh"]
    assert "$$" not in script
    assert not set(re.findall(r"\$\((\w+)\)", script)) & set(env(container))


def test_the_image_of_host_tasks_can_be_chosen() -> None:
    manifests = made(host_task={"image": "tools:2", "cni_folder": "/etc/kubernetes/cni/net.d"})
    (container,) = manifests.host_task("w1", "t", [])["spec"]["containers"]
    assert container["image"] == manifests.images()["host-task"] == "tools:2"
    assert env(container)["CNI_FOLDER"] == "/etc/kubernetes/cni/net.d"


def test_images() -> None:
    assert cached("modern", "overlay").images() == {
        "cilium": "quay.io/cilium/cilium:v1.20.2",
        "cilium-operator": "quay.io/cilium/operator-generic:v1.20.2",
        "knet-stress": "docker.io/library/python:3.12-alpine",
        "host-task": "canal:1",
    }
    for profile, strategy in ALL:
        manifests = cached(profile, strategy)
        used = [*manifests.knet(), *manifests.cilium(), *(manifests.multus() if strategy == "multus" else [])]
        found = {c["image"] for m in used if m["kind"] in ("DaemonSet", "Deployment") for c in containers(m).values()}
        assert found | {"canal:1"} == set(manifests.images().values())


def test_migrate_holds_every_right_that_it_grants() -> None:
    manifests = cached("modern", "multus")
    grants = one(manifests.rbac(), "ClusterRole", "cni-migrate-grants")["rules"]
    for manifest in [*manifests.cilium(), *manifests.knet()]:
        for rule in manifest.get("rules", []):
            assert rule in grants
    verbs = {v for m in manifests.rbac() for rule in m.get("rules", []) for v in rule["verbs"]}
    assert not verbs & {"*", "escalate", "bind", "impersonate"}


@pytest.mark.parametrize(("reader", "right"), [("log", "pods/log"), ("proxy", "pods/proxy")])
def test_the_rights_follow_the_way_of_reading(reader: str, right: str) -> None:
    """Of the two rights one is granted, and it is the one that is needed, where the agents are."""
    roles = [m for m in made(knet={"reader": reader}).rbac() if m["kind"] in ("Role", "ClusterRole")]
    here = [m for m in roles if m["metadata"].get("namespace") in ("knet-stress", None)]
    granted = {(one, *rule["verbs"]) for m in here for rule in m["rules"] for one in rule["resources"]}
    assert {one for one in granted if one[0] in ("pods/log", "pods/proxy")} == {(right, "get")}


JOB = {"image": "registry.example/cni-migrate:1"}


def _pod(job: Manifest) -> Pod:
    """The pod that the Job's controller makes of it, running."""
    template = job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "cni-migrate", "uid": "1", "controller": True}
    meta = {**template["metadata"], "name": "cni-migrate-abcde", "namespace": "cni-migrate", "uid": "2"}
    status = {"phase": "Running"}
    return views.pod({"metadata": {**meta, "ownerReferences": [owner]}, "spec": template["spec"], "status": status})


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_the_job_runs_the_driver_with_the_configuration_it_was_given(strategy: str) -> None:
    found = made(strategy=strategy, job=JOB).job("strategy: overlay\n")
    assert one(found, "ConfigMap", names.JOB_CONFIG)["data"] == {"migrate.yaml": "strategy: overlay\n"}
    job = one(found, "Job", names.JOB)
    container = containers(job)["migrate"]
    assert container["image"] == JOB["image"]
    assert container["command"] == ["migrate"]
    assert container["args"] == [
        "run", "--yes", "--own-node=$(NODE_NAME)", "--config=/etc/cni-migrate/migrate.yaml"
    ]  # fmt: skip
    assert env(container)["NODE_NAME"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    (mount,) = container["volumeMounts"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/cni-migrate", True)
    (account,) = [m for m in made().rbac() if m["kind"] == "ServiceAccount"]
    spec = job["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], job["metadata"]["namespace"]) == tuple(
        account["metadata"][key] for key in ("name", "namespace")
    )


def test_the_job_holds_no_more_than_it_needs() -> None:
    """No root, no writing, no capability; and nothing that is lost with the pod (a drain asks about emptyDir)."""
    job = one(made(job=JOB).job(""), "Job", names.JOB)
    spec, container = job["spec"]["template"]["spec"], containers(job)["migrate"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert [next(key for key in volume if key != "name") for volume in spec["volumes"]] == ["configMap"]
    assert container["resources"]["requests"]


@pytest.mark.parametrize(("agent", "least"), [(8, 1800), (300, 1800), (3600, 7200), (0.5, 1800)])
def test_who_listens_on_the_tunnel_s_port_sits_through_the_step(agent: float, least: int) -> None:
    """Until the slowest node listens and everybody has sent; what nobody ends goes by itself all the same."""
    probe = made(deadlines={"agent": agent}).tunnel_probe("w1", "10.0.0.1", "probe", ["listen", "8473"])
    assert probe["spec"]["activeDeadlineSeconds"] == least


def test_a_drain_of_its_own_node_leaves_the_job_s_pod_where_it_is() -> None:
    """Also of a node that is cordoned, not ready, or has any other taint."""
    found = _pod(one(made(job=JOB).job(""), "Job", names.JOB))
    taint = Taint("node-role.kubernetes/cilium", "cilium", "NoExecute")
    assert drain.classify(found, taint, Config().drain).verdict is drain.Verdict.STAYS


def test_the_job_ends_where_a_human_is_needed_and_goes_on_after_a_disruption() -> None:
    spec = one(made(job=JOB).job(""), "Job", names.JOB)["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "a podFailurePolicy asks for it"
    ends, goes_on = spec["podFailurePolicy"]["rules"]
    assert ends["action"] == "FailJob"
    assert ends["onExitCodes"] == {"containerName": "migrate", "operator": "In", "values": [1, 2, 3, 4, 6, 7]}
    again = {LockHeld.exit_code, ClusterError.exit_code, Interrupted.exit_code}
    again |= {OutputFailed.exit_code, OutputGone.exit_code}
    assert set(ends["onExitCodes"]["values"]) == set(EXIT_CODES) - {0} - again
    assert goes_on == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert spec["backoffLimit"] >= 6


def test_where_the_job_gets_its_program_from_is_configuration() -> None:
    """A private registry; or no registry at all, and a program that is installed on the nodes."""
    folders = ["/opt/cni-migrate", "/opt/python"]
    options = {
        **JOB, "image_pull_policy": "Never", "pull_secrets": ["mine"], "host_folders": folders,
        "command": ["/opt/python/bin/python3", "-m", "cni_migrate.cli.main"], "node_selector": {"tools": "yes"},
    }  # fmt: skip
    spec = one(made(job=options).job(""), "Job", names.JOB)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert (container["imagePullPolicy"], container["command"]) == ("Never", options["command"])
    assert spec["imagePullSecrets"] == [{"name": "mine"}]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "tools": "yes"}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    seen = [
        (volume["hostPath"]["path"], mounts[volume["name"]]["mountPath"], mounts[volume["name"]]["readOnly"])
        for volume in spec["volumes"]
        if "hostPath" in volume
    ]
    assert seen == [(folder, folder, True) for folder in folders]


def test_names_and_namespaces_are_configuration() -> None:
    manifests = made(namespace="mine", knet={"namespace": "probes"}, cilium={"namespace": "net"})
    assert [m["metadata"]["name"] for m in manifests.namespaces()] == ["mine", "probes"]
    assert {m["metadata"]["namespace"] for m in manifests.knet() if m["kind"] != "Namespace"} == {"probes"}
    spaces = {m["metadata"].get("namespace") for m in manifests.cilium()}
    assert spaces == {"net", None}
    assert knet_config(made(knet={"namespace": "probes"})._config)["seed"] == "probes"


def test_values_cannot_break_out_of_their_place() -> None:
    nasty = 'x"\nspec: {a: b} # {{ 1 }} \u2028.'
    manifests = made(cilium={"extra_config": {"devices": nasty}})
    assert one(manifests.cilium(), "ConfigMap", "cilium-config")["data"]["devices"] == nasty


def test_objects_are_made_once_and_can_be_adapted() -> None:
    count = 0

    def adapt(manifest: Manifest) -> Manifest:
        nonlocal count
        count += 1
        return {**manifest, "adapted": True}

    manifests = Manifests(TEXTS, Config(), Payload("canal:1", MODULES), adapt)
    first = manifests.knet()
    assert manifests.knet()[0] is first[0]
    assert count == len(first)
    assert all(m["adapted"] for m in [*first, manifests.host_task("w1", "t", [])])


@pytest.mark.parametrize(
    ("own", "ops", "image"),
    [
        ("", ["status"], "flannel:1"),
        ("", ["remove-rules", "remove-flannel=10-canal.conflist"], "calico/node:1"),
        ("mine:1", ["remove-flannel"], "mine:1"),
    ],
)
def test_canal_is_removed_in_another_image_than_the_rest(own: str, ops: list[str], image: str) -> None:
    """Unless the operator has named one for all host tasks."""
    config = merged("modern", "overlay", host_task={"image": own})
    manifests = Manifests(TEXTS, config, Payload("flannel:1", MODULES, cleaning_image="calico/node:1"))
    made = manifests.host_task("w1", "t", ops)
    assert made["spec"]["containers"][0]["image"] == image
    later = Manifests(TEXTS, config, Payload("cilium:1", MODULES))
    made = later.host_task("w1", "t", ops, cleaning_image=manifests.cleaning_image)
    assert made["spec"]["containers"][0]["image"] == image.replace("flannel", "cilium")


@pytest.mark.parametrize(("profile", "strategy"), ALL)
def test_templates_mean_the_same_in_either_yaml(profile: str, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read as YAML 1.1, by PyYAML, and mean what YAML 1.2 says, which operators' files are read as."""
    texts: list[str] = []
    fast = resources.documents

    def kept(text: str) -> list[Any]:
        texts.append(text)
        return fast(text)

    monkeypatch.setattr(manifests_module, "documents", kept)
    made = Manifests(TEXTS, merged(profile, strategy), Payload("canal:1", MODULES))
    assert every(made)
    made.host_task("w1", "host-w1", ["status"])
    made.job("a: 1")
    assert len(texts) > 5
    for text in texts:
        assert fast(text) == list(YAML(typ="safe", pure=True).load_all(text))


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("quay.io/cilium/cilium:v1.15.19", "1.15"),
        ("mirror.example/cilium@sha256:" + "0" * 64, "1.20"),
        ("quay.io/cilium/cilium:v1.18.6@sha256:" + "0" * 64, "1.18"),
    ],
)
def test_identity_agents_go_by_the_version_that_runs(image: str, version: str) -> None:
    """A migration that has begun keeps the image of an installed Cilium, and not what was found of its version."""
    base = Config()
    config = base.model_copy(update={"cilium": base.cilium.model_copy(update={"source": "existing", "image": image})})
    assert config.cilium.version == "1.20.2"
    assert identities_config(config, {})["version"] == version
