"""Bad input about Cilium's source: each with its exit code, in words that name what to correct; nothing is changed."""

import io
import json
import random
import re
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cni_migrate import resources, wiring
from cni_migrate.cli.ui import output
from cni_migrate.config import Config
from cni_migrate.core.render.manifests import TEMPLATES, Manifests, Payload
from cni_migrate.sim.scenario import InstalledCilium, Scenario, load
from tests.cli.conftest import Served, Typed
from tests.unit.sim_world.shapes import net_conf_of, published

CHART = "cilium: {source: chart, chart: ./cilium}\n"


def rendered(version: str = "1.20.2", **keys: str) -> str:
    """What a chart of Cilium's gives, as far as it is looked at."""
    texts = {name: resources.read("templates", name) for name in TEMPLATES}
    config = Config.model_validate({"strategy": "overlay", "cilium": {"version": version}})
    made: list[dict[str, Any]] = json.loads(json.dumps(Manifests(texts, config, Payload("canal:1", {})).cilium_final()))
    for one in made:
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "cilium-config":
            one["data"] |= keys
    return "".join(f"---\n{output.yaml_text(one)}" for one in made)


Having = Callable[..., Path]


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Having:
    """A program called helm: what it renders, its version, and what `helm get metadata` tells; it notes what it is asked."""

    def put(objects: str = "", *, version: str = "v3.18.0", release: str = "", refuses: str = "") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "objects").write_text(objects or rendered())
        tells = f"echo '{release}'" if release else "echo 'Error: release: not found' >&2; exit 1"
        renders = f"echo 'Error: {refuses}' >&2; exit 1" if refuses else f"cat {folder}/objects"
        (folder / "helm").write_text(
            f'#!/bin/sh\necho "$@" >> {folder}/asked\ncase "$1" in version) echo {version};; template) {renders};;'
            f" get) {tells};; esac\n"
        )
        (folder / "helm").chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return folder

    wiring.forget()
    return put


@pytest.fixture
def on(tmp_path: Path, migrate: Typed, untouched: Served) -> Callable[..., Any]:
    """Types a command with a configuration, on a cluster that it must not change."""

    def typed(text: str, *command: str) -> Any:
        (tmp_path / "cilium").mkdir(exist_ok=True)
        file = tmp_path / "migrate.yaml"
        file.write_text(text)
        before = untouched.writes
        ended = migrate(*command, "--config", str(file), "--kubeconfig", str(untouched.kubeconfig))
        assert untouched.writes == before
        return ended

    return typed


def test_no_helm(on: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with how to get it."""
    wiring.forget()
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = on(CHART, "run", "--yes")
    assert ended.code == 2
    assert "there is no `helm` on PATH" in ended.err
    assert "https://helm.sh/docs/intro/install/" in ended.err


def test_an_old_helm(helm: Having, on: Callable[..., Any]) -> None:
    """Its version is named, and which is needed."""
    helm(version="v3.9.1")
    ended = on(CHART, "run", "--yes")
    assert ended.code == 2
    assert "3.18 or newer is needed" in ended.err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"refuses": "chart \"cilium\" not found"}, 'chart "cilium" not found', id="no such chart"),
        pytest.param({"refuses": "values do not meet the specifications of the schema"}, "specifications of the schema",
                     id="values that the chart refuses"),
        pytest.param({"objects": "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: podinfo}\n"},
                     "there is no DaemonSet with a container cilium-agent", id="another program's chart"),
        pytest.param({"objects": "a: [\n"}, "not valid YAML", id="what is no YAML"),
        pytest.param({"objects": rendered(**{"tunnel-port": "8472"})}, "which is flannel's", id="flannel's port"),
        pytest.param({"objects": rendered(**{"enable-policy": "nevr"})}, "cilium.policy_enforcement is 'nevr': expected",
                     id="no policy enforcement that there is"),
        pytest.param({"objects": rendered(**{"cluster-pool-ipv4-cidr": "10.245.0.0/99"})},
                     "cilium.pod_cidr is '10.245.0.0/99'", id="no network"),
        pytest.param({"objects": rendered(ipam="kubernetes")}, "ipam is kubernetes", id="IPAM of the nodes"),
        pytest.param({"objects": rendered(**{"routing-mode": "native"})}, "routing-mode is native", id="native routing"),
        pytest.param({"objects": rendered().replace("v1.20.2", "v1.21.0")}, "cilium.version 1.21.0 is not known",
                     id="a version of tomorrow"),
    ],
)  # fmt: skip
def test_a_chart_that_cannot_be_used(helm: Having, on: Callable[..., Any], given: dict[str, str], says: str) -> None:
    """Exit code 2 when the configuration is read: helm's own words, or what to write in the values."""
    helm(**given)
    ended = on(CHART, "run", "--yes")
    assert ended.code == 2
    assert says in ended.err
    assert "next:" in ended.err


@pytest.mark.parametrize("length", [0, 1, 40, 200])
def test_a_chart_s_archive_that_is_cut_short(helm: Having, on: Callable[..., Any], tmp_path: Path, length: int) -> None:
    """Exit code 2, in helm's own words: an archive of which a part was downloaded."""
    with tarfile.open(tmp_path / "whole.tgz", "w:gz") as archive:
        about = tarfile.TarInfo("cilium/values.yaml")
        about.size = 40_000
        archive.addfile(about, io.BytesIO(random.Random(1).randbytes(about.size)))
    (tmp_path / "cut.tgz").write_bytes((tmp_path / "whole.tgz").read_bytes()[:length])
    helm(refuses="unexpected EOF")
    ended = on("cilium: {source: chart, chart: cut.tgz}\n", "run", "--yes")
    assert ended.code == 2
    assert "unexpected EOF" in ended.err


NO_HOST = 'Get "https://charts.example/index.yaml": dial tcp: lookup charts.example: no such host'


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("chart: cilium, chart_repository: 'https://charts.example'",
         f'looks like "https://charts.example" is not a valid chart repository or cannot be reached: {NO_HOST}'),
        ("chart: 'oci://charts.example/cilium'", "failed to do request: Head \"https://charts.example/v2\": dial tcp: i/o timeout"),
        ("chart: 'oci://charts.example/cilium'", "unexpected status from HEAD request: 401 Unauthorized"),
        ("chart: 'oci://charts.example/cilium'", "denied: requested access to the resource is denied"),
    ],
    ids=["repository", "registry", "not logged in", "no right"],
)  # fmt: skip
def test_a_chart_that_cannot_be_got_from_here(helm: Having, on: Callable[..., Any], keys: str, words: str) -> None:
    """Exit code 2, helm's words, and how to get it otherwise: nothing is wrong with chart or values."""
    helm(refuses=words)
    ended = on(f"cilium: {{source: chart, {keys}}}\n", "run", "--yes")
    assert ended.code == 2
    assert words.split(": ")[-1] in ended.err
    assert "helm pull" in ended.err


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        pytest.param("exit 3", 2, "exit code 3", id="says nothing"),
        pytest.param("kill -9 $$", 2, "killed by signal 9", id="is killed"),
        pytest.param("exit 0", 2, "there is no DaemonSet with a container cilium-agent", id="renders nothing"),
        pytest.param("printf 'a\\nb: c: d\\n'", 2, "not valid YAML", id="renders no YAML"),
    ],
)
def test_a_helm_that_fails(
    helm: Having, on: Callable[..., Any], tmp_path: Path, script: str, code: int, says: str
) -> None:
    """Whatever it does, it is told what, in the code of a wrong configuration."""
    folder = helm()
    (folder / "helm").write_text(f'#!/bin/sh\ncase "$1" in version) echo v3.18.0;; template) {script};; esac\n')
    ended = on(CHART, "run", "--yes")
    assert ended.code == code
    assert says in ended.err


@pytest.mark.parametrize(
    ("says", "words"),
    [("secrets is forbidden", "secrets is forbidden"), ("Kubernetes cluster unreachable: EOF", "unreachable: EOF")],
)
def test_a_helm_that_does_not_tell_of_the_release(helm: Having, on: Callable[..., Any], says: str, words: str) -> None:
    """Exit code 4 before anything is changed, with helm's words."""
    folder = helm()
    text = (folder / "helm").read_text().replace("Error: release: not found", f"Error: {says}")
    (folder / "helm").write_text(text)
    ended = on(CHART, "preflight")
    assert ended.code == 4
    assert words in ended.err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"a: 1\na: 2\n", "duplicate key", id="a key twice"),
        pytest.param(b"a: 1\n---\nb: 2\n", "has 2 documents, and helm reads one", id="two documents"),
        pytest.param(None, "there is no file", id="a folder"),
    ],
)
def test_values_that_helm_would_read_in_part(
    helm: Having, on: Callable[..., Any], tmp_path: Path, content: bytes | None, says: str
) -> None:
    """Exit code 2, with the key and the file; helm is not asked."""
    folder = helm()
    file = tmp_path / "own-values.yaml"
    file.mkdir() if content is None else file.write_bytes(content)
    ended = on(f"cilium: {{source: chart, chart: ./cilium, values: [{file}]}}\n", "run", "--yes")
    assert ended.code == 2
    assert says in ended.err
    assert "own-values.yaml" in ended.err
    assert "cilium.values" in ended.err or "duplicate" in says
    assert not (folder / "asked").exists()


@pytest.mark.parametrize("content", [b"a: [\n", b"- a\n", b"text\n"], ids=["no YAML", "a list", "a text"])
def test_values_that_helm_refuses(helm: Having, on: Callable[..., Any], tmp_path: Path, content: bytes) -> None:
    """Exit code 2, in helm's own words."""
    helm(refuses="failed to parse own-values.yaml: error unmarshaling JSON: cannot unmarshal array")
    file = tmp_path / "own-values.yaml"
    file.write_bytes(content)
    ended = on(f"cilium: {{source: chart, chart: ./cilium, values: [{file}]}}\n", "run", "--yes")
    assert ended.code == 2
    assert "cannot unmarshal array" in ended.err
    assert "correct the chart or its values" in ended.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("cilium: {source: chart}\n", "cilium.chart is empty", id="no chart"),
        pytest.param("cilium: {chart: ./cilium}\n", "set cilium.source to chart", id="a chart without its source"),
        pytest.param("cilium: {chart_version: 1.20.2}\n", "cilium.chart_version is about a chart", id="a chart's version alone"),
        pytest.param("cilium: {source: manifests, manifests: ., values: [a.yaml]}\n", "cilium.values is about a chart",
                     id="values beside manifests"),
        pytest.param("cilium: {source: existing, release: net}\n", "cilium.release is about a chart", id="a release of nothing"),
        pytest.param("cilium: {source: chart, chart: ./cilium, pod_cidr: 10.99.0.0/16}\n", "has 10.245.0.0/16",
                     id="a network that the values contradict"),
        pytest.param("cilium: {source: chart, chart: ./cilium, extra_config: {debug: 'true'}}\n",
                     "write it where the rest is", id="keys beside the values"),
        pytest.param("cilium: {source: chart, chart: ./cilium, kubernetes: newest}\n",
                     "expected a version of Kubernetes, for example 1.34", id="no Kubernetes"),
        pytest.param("cilium: {source: chart, chart: ./cilium, release: My_Cilium}\n", "key `cilium.release`",
                     id="no name of a release"),
        pytest.param("cilium: {source: chart, chart: ./cilium, values: [none.yaml]}\n", "none.yaml", id="no values file"),
        pytest.param("cilium: {source: manifests, manifests: none.yaml}\n", "none.yaml", id="no manifests"),
        pytest.param("strategy: multus\ncilium: {source: existing}\n", "each node has two agents of Cilium", id="multus"),
    ],
)  # fmt: skip
def test_a_configuration_that_contradicts_its_source(
    helm: Having, on: Callable[..., Any], text: str, says: str
) -> None:
    """Exit code 2, with the key."""
    helm()
    ended = on(text, "run", "--yes")
    assert ended.code == 2
    assert says in ended.err


CANAL = (
    "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: canal, namespace: kube-system}\n"
    "spec: {template: {spec: {containers: [{name: calico-node, image: a}, {name: kube-flannel, image: b}]}}}\n"
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config}\n",
                     "there is no DaemonSet with a container cilium-agent", id="no DaemonSet"),
        pytest.param(rendered() + "---\n" + "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: more, namespace: a}\n"
                     "spec: {template: {spec: {containers: [{name: cilium-agent, image: a}]}}}\n",
                     "there is more than one DaemonSet with a container cilium-agent", id="two DaemonSets"),
        pytest.param(rendered() + "---\napiVersion: cilium.io/v2\nkind: CiliumNodeConfig\nmetadata: {name: gpu, namespace: a}\n"
                     "spec: {defaults: {tunnel-port: '9999'}}\n", "CiliumNodeConfig gpu sets tunnel-port",
                     id="a node's own tunnel port"),
        pytest.param(rendered() + "---\n" + CANAL, "DaemonSet kube-system/canal is Canal's", id="Canal's own objects"),
        pytest.param(rendered() + "---\n" + CANAL.replace("name: canal", "name: net"), "DaemonSet kube-system/net is Canal's",
                     id="Canal under another name"),
        pytest.param(rendered() + "---\n" + CANAL.replace("name: canal", "name: net")
                     .replace("calico-node, image: a", "policy, image: rancher/hardened-calico:v3")
                     .replace("kube-flannel, image: b", "link, image: quay.io/coreos/flannel:v0.26"),
                     "DaemonSet kube-system/net is Canal's", id="Canal with containers of other names"),
        pytest.param(rendered().replace("operator-generic:v1.20.2", "operator-generic:v1.19.4"),
                     "agents and operator have to be of one version", id="two versions"),
        pytest.param(rendered().replace("image: quay.io/cilium/cilium:v1.20.2", ""), "DaemonSet cilium: the image of container",
                     id="no image"),
        pytest.param(rendered(**{"kube-proxy-replacement": "true", "bpf-lb-mode": "dsr"}),
                     "bpf-lb-mode is dsr: in the last step no agent would start", id="an end in which no agent starts"),
        pytest.param(rendered(**{"identity-management-mode": "operator"}), "identityManagementMode: agent",
                     id="identities by the operator"),
    ],
)  # fmt: skip
def test_manifests_that_cannot_be_used(on: Callable[..., Any], tmp_path: Path, text: str, says: str) -> None:
    """Exit code 2 when the configuration is read, with what is missing, twice, or in the way."""
    (tmp_path / "own.yaml").write_text(text)
    ended = on("cilium: {source: manifests, manifests: own.yaml}\n", "run", "--yes")
    assert ended.code == 2
    assert says in ended.err


def test_what_nobody_has_said_of_canal_contradicts_nothing(
    migrate: Typed, served: Callable[..., Served], tmp_path: Path
) -> None:
    """Canal's network and folder are the cluster's: Cilium may have the network, and shares the folders, of defaults."""
    scenario = {"nodes": 3, "pod_cidr": "10.42.0.0/16", "canal": {"objects": published(
        net_conf=net_conf_of("10.42.0.0/16"), folder="/var/snap/microk8s/current/args/cni-network")}}  # fmt: skip
    made = list(YAML(typ="safe").load_all(rendered(**{"cluster-pool-ipv4-cidr": "10.244.0.0/16"})))
    for one in made:
        for volume in one.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", []):
            if volume["name"] == "etc-cni-netd":
                volume["hostPath"]["path"] = "/var/snap/microk8s/current/args/cni-network"
    (tmp_path / "own.yaml").write_text("".join(f"---\n{output.yaml_text(one)}" for one in made))
    (tmp_path / "migrate.yaml").write_text("strategy: overlay\ncilium: {source: manifests, manifests: own.yaml}\n")
    there = served(Scenario.model_validate(scenario))
    ended = migrate("preflight", "--config", str(tmp_path / "migrate.yaml"), "--kubeconfig", str(there.kubeconfig))
    assert ended.code == 0, ended.out + ended.err


@pytest.mark.parametrize(
    ("pod", "says"),
    [
        ({"nodeSelector": {"pool": "x"}}, "nodeSelector keeps its agents off"),
        ({"tolerations": None}, "tolerations lack"),
    ],
    ids=["nodes", "tolerations"],
)
@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_manifests_whose_agents_would_not_be_on_every_node(
    on: Callable[..., Any], tmp_path: Path, pod: dict[str, Any], says: str, strategy: str
) -> None:
    """Exit code 3 in preflight, with the field: a node would be drained for an agent that never comes."""
    made = list(YAML(typ="safe").load_all(rendered()))
    for one in made:
        if one["kind"] == "DaemonSet":
            one["spec"]["template"]["spec"] |= pod
    (tmp_path / "own.yaml").write_text("".join(f"---\n{output.yaml_text(one)}" for one in made))
    ended = on(f"strategy: {strategy}\ncilium: {{source: manifests, manifests: own.yaml}}\n", "preflight")
    assert ended.code == 3, ended.out
    assert "CILIUM_DAEMONSET" in ended.out
    assert says in ended.out


RELAY = (
    "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: relay, namespace: elsewhere}\n"
    "spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers:"
    " [{name: a, image: b}]}}}\n"
)
HOME = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: elsewhere}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(rendered().replace("namespace: kube-system", "namespace: elsewhere"), True, id="Cilium's own"),
        pytest.param(rendered() + RELAY, True, id="of the last step"),
        pytest.param(rendered() + RELAY + HOME, False, id="brought along"),
    ],
)
def test_a_namespace_that_is_not_there(on: Callable[..., Any], tmp_path: Path, text: str, told: bool) -> None:
    """Exit code 3 in preflight, with the namespace: half of the objects were put before it was missed."""
    (tmp_path / "own.yaml").write_text(text)
    ended = on("cilium: {source: manifests, manifests: own.yaml}\n", "preflight")
    assert ended.code == (3 if told else 0), ended.out
    assert ("Namespace elsewhere: it is not there, and nothing brings it" in ended.out) is told


STRANGE = "---\napiVersion: foo.example/v1\nkind: Bar\nmetadata: {name: x, namespace: kube-system}\n"
DEFINED = (
    "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: bars.foo.example}\n"
    "spec: {group: foo.example, scope: Namespaced, names: {kind: Bar, plural: bars, singular: bar},\n"
    "  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}\n"
)


@pytest.mark.parametrize(("more", "refused"), [(STRANGE, True), (STRANGE + DEFINED, False)])
def test_a_kind_that_nobody_serves(on: Callable[..., Any], tmp_path: Path, more: str, refused: bool) -> None:
    """Exit code 3 in preflight, with the kind, unless its definition comes along: the run waited until its deadline."""
    (tmp_path / "own.yaml").write_text(rendered() + more)
    ended = on("cilium: {source: manifests, manifests: own.yaml}\n", "preflight")
    assert ended.code == (3 if refused else 0), ended.out
    assert ("the API server serves no Bar of foo.example/v1" in ended.out) is refused


@pytest.mark.parametrize(
    ("release", "says"),
    [
        ({"chart": "cilium", "status": "pending-upgrade", "revision": 3}, "sh.helm.release.v1.cilium.v3"),
        ({"chart": "cilium", "status": "pending-install", "revision": 1}, "sh.helm.release.v1.cilium.v1"),
        ({"chart": "cilium", "status": "pending-rollback", "revision": 4}, "sh.helm.release.v1.cilium.v4"),
        ({"chart": "cilium", "status": "uninstalling", "revision": 2}, "helm uninstall cilium --namespace kube-system"),
        ({"chart": "podinfo", "status": "deployed", "revision": 1}, "is of chart podinfo"),
    ],
)
def test_a_release_that_is_in_the_way(helm: Having, on: Callable[..., Any], release: dict[str, Any], says: str) -> None:
    """Exit code 3 in preflight: found before the first node is touched, not in the last step."""
    helm(release=json.dumps(release))
    ended = on(CHART, "preflight")
    assert ended.code == 3
    assert "RELEASE" in ended.out
    assert says in ended.out


def _having(name: str, namespace: str) -> Scenario:
    """A calm cluster with an account of Cilium's operator that a release has."""
    own = {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}
    meta = {"name": "cilium-operator", "namespace": "kube-system", "annotations": own}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
    return load("calm").model_copy(update={"objects": [account]})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CHART, id="of another name and namespace"),
        pytest.param("cilium: {source: chart, chart: ./cilium, release: old}\n", id="of another namespace"),
        pytest.param("cilium: {source: manifests, manifests: own.yaml}\n", id="beside manifests"),
        pytest.param("strategy: multus\n", id="beside the tool's own"),
    ],
)
def test_another_release_has_some_of_the_objects(
    helm: Having, migrate: Typed, served: Callable[..., Served], tmp_path: Path, text: str
) -> None:
    """Exit code 3, with the release and how to remove it: it would take them with it when it goes."""
    helm()
    (tmp_path / "cilium").mkdir(exist_ok=True)
    (tmp_path / "own.yaml").write_text(rendered())
    (tmp_path / "migrate.yaml").write_text(text)
    there = served(_having("old", "network"))
    ended = migrate("preflight", "--config", str(tmp_path / "migrate.yaml"), "--kubeconfig", str(there.kubeconfig))
    assert there.writes == 0
    assert ended.code == 3
    assert "Helm's release network/old has 1 object that the migration applies" in ended.out
    assert "helm uninstall old --namespace network" in ended.out


def test_its_own_release_is_in_nobodys_way(
    helm: Having, migrate: Typed, served: Callable[..., Served], tmp_path: Path
) -> None:
    """What an earlier try has left belongs to the release that is named."""
    helm()
    (tmp_path / "cilium").mkdir(exist_ok=True)
    (tmp_path / "migrate.yaml").write_text(CHART)
    there = served(_having("cilium", "kube-system"))
    ended = migrate("preflight", "--config", str(tmp_path / "migrate.yaml"), "--kubeconfig", str(there.kubeconfig))
    assert ended.code == 0, ended.out


def test_a_release_in_a_failed_state_is_told(helm: Having, on: Callable[..., Any]) -> None:
    """The last step goes on from it, so it stops nothing."""
    helm(release=json.dumps({"chart": "cilium", "status": "failed", "revision": 2}))
    ended = on(CHART, "preflight")
    assert ended.code == 0, ended.err
    assert "revision 2, failed: the last step upgrades it" in ended.out


def test_an_installed_cilium_that_is_not_there(helm: Having, on: Callable[..., Any]) -> None:
    """Exit code 3, with the values to install it by."""
    ended = on("cilium: {source: existing}\n", "preflight")
    assert ended.code == 3
    assert "CILIUM_INSTALLED" in ended.out
    assert re.search(r"migrate manifests --config \S+ --kubeconfig \S+ cilium-values >", ended.out)


@pytest.mark.parametrize(("text", "told"), [(CHART, True), ("cilium: {version: 1.20.2}\n", False)])
def test_the_plan_shows_what_is_changed_of_one_s_own(
    helm: Having, on: Callable[..., Any], text: str, told: bool
) -> None:
    """As `manifests --diff` does, beside the nodes; of the tool's own Cilium there is nothing to tell."""
    helm()
    ended = on(text, "plan")
    assert ended.code == 0, ended.err
    assert ("+  custom-cni-conf: 'true'" in ended.out) is told
    assert ended.out.count("Nothing was written.") == 1
    as_json = on(text, "plan", "--output", "json")
    json.loads(as_json.out)


def test_helm_is_told_the_context(helm: Having, on: Callable[..., Any], untouched: Served) -> None:
    """Also where nobody has named it: another one may be current by the last step, and is another cluster."""
    folder = helm()
    on(CHART, "preflight")
    context = YAML(typ="safe").load(untouched.kubeconfig)["current-context"]
    (asked,) = [line for line in (folder / "asked").read_text().splitlines() if line.startswith("get ")]
    assert asked.endswith(f"--kubeconfig {untouched.kubeconfig} --kube-context {context}")


@pytest.mark.parametrize("command", [("preflight",), ("plan",), ("status",), ("manifests", "cilium"), ("images",)])
def test_helm_renders_once_per_command(helm: Having, on: Callable[..., Any], command: tuple[str, ...]) -> None:
    """And tells its version once; a command that needs no release asks for none."""
    folder = helm()
    ended = on(CHART, *command)
    assert ended.code == 0, ended.err
    asked = [line.split()[0] for line in (folder / "asked").read_text().splitlines()]
    assert asked.count("template") == 1
    assert asked.count("version") <= (2 if command == ("preflight",) else 1)
    assert ("get" in asked) is (command == ("preflight",))


@pytest.mark.parametrize(
    ("text", "rendered_for"),
    [(CHART, "1.29.0"), ("cilium: {source: chart, chart: ./cilium, kubernetes: '1.33'}\n", "1.33")],
)
def test_a_chart_is_rendered_for_the_cluster_it_is_for(
    helm: Having, migrate: Typed, served: Callable[..., Served], tmp_path: Path, text: str, rendered_for: str
) -> None:
    """Below 1.30 Cilium's agents need annotations to be left alone by AppArmor; what was said counts."""
    folder = helm()
    (tmp_path / "cilium").mkdir(exist_ok=True)
    (tmp_path / "migrate.yaml").write_text(text)
    calm = load("calm")
    versions = calm.versions.model_copy(update={"kubernetes": "v1.29.3-eks-1"})
    there = served(calm.model_copy(update={"versions": versions}))
    for command in ("preflight", "plan"):
        wiring.forget()
        (folder / "asked").unlink(missing_ok=True)
        ended = migrate(command, "--config", str(tmp_path / "migrate.yaml"), "--kubeconfig", str(there.kubeconfig))
        assert ended.code == 0, ended.err
        asked = [line for line in (folder / "asked").read_text().splitlines() if line.startswith("template")]
        assert asked[-1].endswith(f"--kube-version {rendered_for}"), command


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A cluster with an installed Cilium, whose network and port are not the defaults; no test changes it."""
    found = load("installed-cilium").model_copy(update={"faults": []})
    own = InstalledCilium(version="1.19.0", pod_cidr="10.77.0.0/16", tunnel_port=8999)
    with Served(tmp_path_factory.mktemp("installed"), found.model_copy(update={"cilium": own})) as served:
        yield served


def test_an_installed_cilium_tells_its_network(migrate: Typed, installed: Served, tmp_path: Path) -> None:
    """Network, port and images need not be said; its own keys are right, and it is in nobody's way."""
    file = tmp_path / "migrate.yaml"
    file.write_text("cilium: {source: existing}\n")
    ended = migrate("preflight", "--config", str(file), "--kubeconfig", str(installed.kubeconfig))
    assert ended.code == 0, ended.out
    assert "UDP port 8999" in ended.out
    assert "OTHER_CILIUM" not in ended.out
    assert "cilium/cilium:" not in ended.out, "nothing of Cilium's is pulled for the migration"


def test_an_installed_cilium_stops_others_and_the_way_is_named(migrate: Typed, installed: Served) -> None:
    """Without that source it is a blocker, as two would fight for the nodes' files."""
    ended = migrate("preflight", "--strategy", "overlay", "--kubeconfig", str(installed.kubeconfig))
    assert ended.code == 3
    assert "OTHER_CILIUM" in ended.out
    assert "cilium.source: existing" in ended.out


def test_a_network_that_the_installed_cilium_contradicts(migrate: Typed, installed: Served, tmp_path: Path) -> None:
    """What was said counts, so the key of cilium-config that says otherwise is named."""
    file = tmp_path / "migrate.yaml"
    file.write_text("cilium: {source: existing, pod_cidr: 10.99.0.0/16}\n")
    ended = migrate("preflight", "--config", str(file), "--kubeconfig", str(installed.kubeconfig))
    assert ended.code == 3
    assert "cluster-pool-ipv4-cidr is 10.77.0.0/16" in ended.out
    assert "clusterPoolIPv4PodCIDRList: 10.99.0.0/16" in ended.out


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A cluster of a Kubernetes that no Cilium lists; no test changes it."""
    calm = load("calm")
    versions = calm.versions.model_copy(update={"kubernetes": "v1.37.2+rke2r1"})
    with Served(tmp_path_factory.mktemp("newest"), calm.model_copy(update={"versions": versions})) as served:
        yield served


def test_a_kubernetes_that_cilium_does_not_list(migrate: Typed, newest: Served) -> None:
    """It is a warning with the versions that Cilium lists; the API server is of the version that its scenario says."""
    ended = migrate("preflight", "--kubeconfig", str(newest.kubeconfig))
    assert ended.code == 0, ended.out
    listed = "1.33, 1.34, 1.35, 1.36; this API server is v1.37.2+rke2r1"
    assert f"CILIUM_KUBERNETES: Cilium 1.20.2 is tested by its makers with Kubernetes {listed}" in ended.out
