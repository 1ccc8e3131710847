"""What is wrong in a configuration is refused when it is read, by file, line and key, with what would be right."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cni_migrate.config import PROFILES, Config
from cni_migrate.configfile import load
from cni_migrate.errors import ConfigError


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "migrate.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


LONG = "a" * 64


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        # names
        ("namespace: My Namespace", 1, "key `namespace`: expected a name of lower case letters"),
        (f"namespace: {LONG}", 1, "at most 63 long"),
        ("canal:\n  namespace: a/b", 2, "canal.namespace"),
        ("canal:\n  daemonset: Canal", 2, "canal.daemonset"),
        ("cilium:\n  namespace: ''", 2, "found ''"),
        ("canary: w 1", 1, "key `canary`"),
        ("own_node: W1", 1, "key `own_node`"),
        ("pull_secrets:\n- good\n- Bad", 3, "pull_secrets.1"),
        ("job:\n  pull_secrets: [a_b]", 2, "job.pull_secrets.0"),
        # labels
        ("labels:\n  cilium:\n    key: my key", 3, "expected a label key"),
        ("labels:\n  cilium:\n    key: ''", 3, "expected a label key"),
        ("labels:\n  cilium:\n    key: /x", 3, "expected a label key"),
        ("labels:\n  cilium:\n    key: A.b/x", 3, "expected a label key"),
        (f"labels:\n  cilium:\n    key: {LONG}", 3, "expected a label key"),
        ("labels:\n  cilium:\n    value: 'a b'", 3, "expected a label value"),
        (f"labels:\n  cilium:\n    value: {LONG}", 3, "expected a label value"),
        ("labels:\n  cilium: {key: x/y}\n  multus: {key: x/y}", 3, "labels.cilium.key and labels.multus.key are both"),
        ("labels:\n  cilium:\n    key: kubernetes.io/hostname", 3, "which Kubernetes or the network sets itself"),
        ("job:\n  node_selector:\n    a b: c", 3, "expected a label key"),
        ("job:\n  node_selector:\n    a: b c", 3, "expected a label value"),
        # files and folders
        ("canal:\n  cni_file: sub/10-canal.conflist", 2, "a file's name without a folder"),
        ("canal:\n  cni_file: ..", 2, "canal.cni_file"),
        ("canal:\n  cni_file: 10-canal", 2, "ends in .conflist"),
        ("cilium:\n  primary_file: 05-cilium.conf", 2, "ends in .conflist"),
        ("cilium:\n  primary_file: 11-cilium.conflist", 2, "must sort before canal.cni_file"),
        ("strategy: multus\ncilium:\n  extra_file: 09-cilium.conflist", 3, "must sort behind canal.cni_file"),
        ("strategy: multus\nmultus:\n  cni_file: 20-multus.conflist", 3, "must sort before"),
        ("strategy: multus\nmultus:\n  cni_file: 05-cilium.conflist", 3, "must differ"),
        ("host_task:\n  cni_folder: etc/cni", 2, "an absolute path"),
        ("host_task:\n  bin_folder: /opt/../bin", 2, "an absolute path"),
        ("job:\n  host_folders: [/]", 2, "an absolute path"),
        # images
        ("cilium:\n  image: ''", 2, "expected an image"),
        ("cilium:\n  image: Quay.io/Cilium", 2, "expected an image"),
        ("multus:\n  image: 'a:b:c'", 2, "expected an image"),
        ("knet:\n  image: 'a b'", 2, "expected an image"),
        ("registry: https://mirror.example", 1, "a registry"),
        ("registry: mirror.example/", 1, "without a slash at the end"),
        ("registry: mirror.example:5000/cache/", 1, "without a slash at the end"),
        ("registry: mirror.example:99999", 1, "a registry"),
        ("registry: mirror.example:0", 1, "a registry"),
        ("registry: '[::1]:70000/cache'", 1, "a registry"),
        ("registry: mirror.example/Cache", 1, "a registry"),
        ("registry: mirror.example/a//b", 1, "a registry"),
        ("registry: mirror.example/a:1", 1, "a registry"),
        ("registry: mirror.example/a@sha256:0123", 1, "a registry"),
        ("registry: mirror", 1, "Write mirror:443, or docker.io/mirror"),
        ("registry: mirror/cache", 1, "Write mirror:443, or docker.io/mirror/cache"),
        ("knet:\n  image: mirror.example:99999/python:3", 2, "expected an image"),
        ("knet:\n  image: mirror.example/python@sha256:0123", 2, "expected an image"),
        ("knet:\n  image: mirror.example/python:3/", 2, "expected an image"),
        ("job:\n  command: ['']", 2, "a text of printable characters"),
        # versions
        ("cilium:\n  version: 1.18", 2, "put it in quotes"),
        ("cilium:\n  version: latest", 2, "a version with three numbers"),
        ("cilium:\n  image: quay.io/cilium/cilium:v1.18.2", 2, "is version 1.18.2, cilium.version is 1.20.2"),
        ("cilium:\n  version: 1.18.2\n  operator_image: x/y:v1.15.19", 3, "set cilium.version to 1.15.19"),
        # numbers
        ("deadlines:\n  gate: .inf", 2, "a number that is finite"),
        ("deadlines:\n  gate: -.inf", 2, "a number that is finite"),
        ("soak_seconds: .nan", 1, "a number that is finite"),
        ("deadlines:\n  drain: 1e300", 2, "604800"),
        ("deadlines:\n  pods: -1", 2, "greater than 0"),
        ("deadlines:\n  pods: 0", 2, "greater than 0"),
        ("gate:\n  rounds: 99999999999999999999", 2, "10000"),
        ("canal:\n  tunnel_port: 70000", 2, "65535"),
        ("max_unavailable: 99999999999", 1, "a number or a percentage"),
        ("drain:\n  disable_eviction: true", 2, "it takes the labels of the pods"),
        ("drain:\n  disable_eviction: 'true'", 2, "it takes the labels of the pods"),
        ("drain:\n  pod_selector: app in db", 2, "expected k=v, k!=v"),
        ("drain:\n  grace_period: -2", 2, "-1"),
        ("drain:\n  skip_wait_for_delete_timeout: -1", 2, "0"),
        ("gate:\n  seconds: 500", 2, "deadlines.gate is 120 s"),
        ("knet:\n  degree: 3", 2, "must be even"),
        ("knet:\n  namespace: kube-system", 2, "knet.namespace is kube-system, which is Kubernetes' own"),
        ("knet:\n  namespace: cni-migrate", 2, "which is namespace, too: choose one of the agents' own"),
        ("canal:\n  namespace: flannel\nknet:\n  namespace: flannel", 4, "which is canal.namespace, too"),
        # networks
        ("cilium:\n  pod_cidr: fd00::/48", 2, "IPv6 is not migrated"),
        ("cilium:\n  pod_cidr: 127.0.0.0/8", 2, "reserved"),
        ("cilium:\n  pod_cidr: 0.0.0.0/0", 2, "reserved or too large"),
        ("cilium:\n  pod_cidr: 10.9.0.0", 2, "mask_size 24"),
        ("cilium:\n  mask_size: 16", 2, "it must be larger than 16"),
        ("canal:\n  tunnel_port: 8473", 2, "Cilium could not start"),
        # objects
        ("canal:\n  extra_objects:\n  - v1/ConfigMap/kube-system/a\n  - canal", 4, "apiVersion/Kind/namespace/name"),
        ("canal:\n  extra_objects: [a/b/c/d/e/f]", 2, "apiVersion/Kind/namespace/name"),
        ("canal:\n  extra_objects: [v1/ConfigMap/kube-system/]", 2, "apiVersion/Kind/namespace/name"),
        ("canal:\n  extra_objects: [v1/configmaps/kube-system/x]", 2, "apiVersion/Kind/namespace/name"),
        # Cilium's own keys
        ("cilium:\n  extra_config:\n    ipam: kubernetes", 3, "the migration needs `cluster-pool`"),
        ("cilium:\n  extra_config:\n    tunnel-port: '8472'", 3, "what cilium.tunnel_port is for"),
        ("cilium:\n  extra_config:\n    kube-proxy-replacement: 'true'", 3, "kube-proxy serves Canal's pods"),
        ("cilium:\n  extra_config:\n    cluster-pool-ipv4-cidr: 10.9.0.0/16", 3, "cilium.pod_cidr"),
        ("cilium:\n  extra_config:\n    identity-management-mode: operator", 3, "the migration needs `agent`"),
        ("cilium:\n  extra_config:\n    enable-node-port: 'true'", 3, "part of Cilium's own kube-proxy"),
        (
            "cilium:\n  extra_config:\n    labels: k8s:app k8s:!*.example.com",
            3,
            "no regular expression (nothing to repeat",
        ),
        ("cilium:\n  extra_config:\n    policy-audit-mode: 'true'", 3, "NetworkPolicies would be open"),
        ("cilium:\n  extra_config:\n    enable-k8s-networkpolicy: 'false'", 3, "NetworkPolicies would be open"),
        ("cilium:\n  extra_config:\n    disable-endpoint-crd: 'true'", 3, "known to Cilium by CiliumEndpoints"),
        (
            "cilium:\n  extra_config:\n    cilium-endpoint-gc-interval: '0'",
            3,
            "the operator would delete the endpoints",
        ),
        ("cilium:\n  extra_config:\n    enable-cilium-endpoint-slice: 'true'", 3, "the migration needs `false`"),
        ("cilium:\n  extra_config:\n    label-prefix-file: /labels", 3, "labels that Cilium takes by default"),
        ("cilium:\n  extra_config:\n    enable-bpf-masquerade: 'true'", 3, "takes Cilium's own kube-proxy"),
        ("cilium:\n  extra_config:\n    enable-wireguard: 'true'", 3, "Canal's pods take no part in it"),
        ("cilium:\n  extra_config:\n    'a b': c", 3, "a key of letters"),
        ("cilium:\n  extra_config:\n    debug: true", 3, "put it in quotes"),
        # what YAML can do
        ("gate:\n  <<: {rounds: many}", 1, "key `gate.rounds`: expected a whole number"),
        ("<<: 5", 1, "merging"),
        ("gate: {}\ngate: {}", 2, "duplicate key"),
        ("gate: &a\n  rounds: *a", 2, "expected a whole number"),
        ("canary: 2026-01-01", 1, "found date"),
        ("canary: !secret x", 1, "found !secret"),
        ("canary: !!binary aGVsbG8=", 1, "found bytes"),
        ("1: x", 1, "is no text"),
        ("? [a, b]\n: c", 1, "is no text"),
        ("gate: [\n", 3, "not valid YAML"),
        ("gate: @x", 1, "not valid YAML"),
        ("a: 1\n---\nb: 2", 2, "not valid YAML"),
        ("just text", 1, "keys with values"),
        ("canary: [w1]", 1, "expected text"),
        ("canal: [a]", 1, "a section with keys of its own"),
    ],
)
def test_what_is_wrong_is_refused_by_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    """File, line, key, and what would be right."""
    file = written(tmp_path, text + "\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    assert caught.value.message.startswith(f"{file}:{line}: "), caught.value.message
    assert says in caught.value.message
    assert caught.value.next


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe\x00a", "not UTF-8"),
        (b"a: \x00", "not valid YAML"),
        (b"#" * (1 << 20) + b"\n", "larger than 1 MiB"),
        (b"[" * 5000, "nested too deeply"),
        (b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
         + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1) if n > 1 else b"*a"] * 10))
                    for n in range(1, 7)), "more than 100000 values"),
    ],
    ids=["binary", "NUL", "large", "deep", "aliases"],
)  # fmt: skip
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, says: str) -> None:
    """The file is named; none takes long or ends in a traceback."""
    file = written(tmp_path, content)
    with pytest.raises(ConfigError, match=says) as caught:
        load(file, {}, {})
    assert str(file) in caught.value.message


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    """Told by name."""
    for file, says in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file"), (Path("a\0b"), "null byte")):
        with pytest.raises(ConfigError, match=says):
            load(file, {}, {})


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("gate:\n  <<: {rounds: 4}\n  seconds: 1\n", "gate.rounds", 4),
        ("gate: &a\n  rounds: &n 4\n  sweep_every: *n\n", "gate.sweep_every", 4),
        ("drain: {force: &yes true, delete_emptydir_data: *yes}\n", "drain.delete_emptydir_data", True),
        ("\ufeffgate: {rounds: 4}\n", "gate.rounds", 4),
        ("gate: {rounds: 4}\r\n", "gate.rounds", 4),
        ("max_unavailable: 2\n", "max_unavailable", "2"),
        ("gate:\n", "gate.rounds", 3),
        ("# nothing\n", "gate.rounds", 3),
        ("", "gate.rounds", 3),
        ("labels: {cilium: {key: pool}}\n", "labels.cilium.value", "cilium"),
        ("canal: {extra_objects: [rbac.authorization.k8s.io/v1/ClusterRole//system:canal]}\n", "canal.extra_objects",
         ["rbac.authorization.k8s.io/v1/ClusterRole//system:canal"]),
        ("cilium: {extra_config: {ipam: cluster-pool, cni-exclusive: 'false'}}\n", "cilium.extra_config",
         {"ipam": "cluster-pool", "cni-exclusive": "false"}),
        ("cilium: {image: 'mirror.example:5000/a/cilium:v1.20.2@sha256:" + "0" * 64 + "'}\n", "cilium.operator_image",
         "quay.io/cilium/operator-generic:v1.20.2"),
    ],
)  # fmt: skip
def test_what_is_right_is_taken(tmp_path: Path, text: str, key: str, value: Any) -> None:
    """Anchors, merge keys, a byte order mark, sections without content."""
    found: Any = load(written(tmp_path, text), {}, {}).config.model_dump()
    for part in key.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("environ", "flags", "says"),
    [
        ({"MIGRATE_DEADLINES_GATE": "nan"}, {}, "MIGRATE_DEADLINES_GATE: key `deadlines.gate`"),
        ({"MIGRATE_CILIUM_IMAGE": ""}, {}, "MIGRATE_CILIUM_IMAGE: key `cilium.image`: expected an image"),
        ({"MIGRATE_LABELS_CILIUM_KEY": "a b"}, {}, "MIGRATE_LABELS_CILIUM_KEY: key"),
        ({"MIGRATE_CANAL_EXTRA_OBJECTS": '["x"]'}, {}, "MIGRATE_CANAL_EXTRA_OBJECTS: key `canal.extra_objects.0`"),
        ({"MIGRATE_CILIUM_EXTRA_CONFIG": '{"ipam": "kubernetes"}'}, {}, "MIGRATE_CILIUM_EXTRA_CONFIG: key"),
        ({"MIGRATE_CILIUM_EXTRA_CONFIG": '{"a": "1", "a": "2"}'}, {}, "the key a is there twice"),
        ({"MIGRATE_CANAL_EXTRA_OBJECTS": "[" * 99999}, {}, "JSON is expected"),
        ({"MIGRATE_CILIUM_TUNNEL_PORT": "8472"}, {}, "MIGRATE_CILIUM_TUNNEL_PORT: key `cilium.tunnel_port`"),
        ({}, {"namespace": "A B"}, "--namespace: key `namespace`"),
        ({}, {"job.image": "A B"}, "--image: key `job.image`"),
        ({}, {"max_unavailable": "0"}, "--max-unavailable: key"),
    ],
)
def test_the_environment_and_flags(environ: dict[str, str], flags: dict[str, Any], says: str) -> None:
    """The same rules, told by the variable or the flag."""
    with pytest.raises(ConfigError) as caught:
        load(None, environ, flags)
    assert says in caught.value.message


def test_the_version_alone_decides_the_images(tmp_path: Path) -> None:
    """Also from the environment, and with the images of the default written out beside it refused."""
    wanted = ("quay.io/cilium/cilium:v1.18.2", "quay.io/cilium/operator-generic:v1.18.2")
    for config in (
        load(written(tmp_path, "cilium: {version: 1.18.2}"), {}, {}).config,
        load(None, {"MIGRATE_CILIUM_VERSION": "v1.18.2"}, {}).config,
        Config.model_validate({"cilium": {"version": "1.18.2"}}),
    ):
        assert (config.cilium.image, config.cilium.operator_image) == wanted
    seed = load(written(tmp_path, "profile: seed"), {}, {}).config
    assert seed.strategy == "multus", "such a Cilium knows no CiliumNodeConfig"
    assert (seed.cilium.image, seed.cilium.operator_image) == (
        "docker.io/cilium/cilium:v1.7.2", "docker.io/cilium/operator:v1.7.2",
    )  # fmt: skip
    seed = load(written(tmp_path, "profile: seed\nregistry: mirror.example"), {}, {}).config
    assert (seed.cilium.image, seed.multus.image) == (
        "mirror.example/cilium/cilium:v1.7.2", "mirror.example/nfvpe/multus:v3.4.1",
    )  # fmt: skip


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_configuration_reads_again_as_itself(profile: Any) -> None:
    """Images that were filled in are what is there, whoever reads it next."""
    config = Config.model_validate({"profile": profile, "registry": "mirror.example", **PROFILES[profile]})
    assert Config.model_validate_json(config.model_dump_json()) == config


@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(max_size=80).map(str.encode),
        st.lists(
            st.sampled_from(
                ["gate", "cilium", "labels", ":", ": ", "\n", "\n  ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<", "!!int ",
                 "!!set ", "!x ", "1", "x", "? ", "|", ">", "'", '"', "#", ".inf", "~", "%YAML 1.1\n", "---\n", ", "]
            ), max_size=14,
        ).map(lambda parts: "".join(parts).encode()),
    )
)  # fmt: skip
@example(content=b"&! : &!")
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever is in it: a configuration, or an error that names the file."""
    file = written(tmp_path_factory.getbasetemp(), content)
    try:
        load(file, {}, {})
    except ConfigError as error:
        assert str(file) in error.message  # noqa: PT017


@pytest.mark.parametrize(
    "registry",
    ["mirror.example", "mirror.example:5000", "mirror:5000/cache/k8s", "localhost", "10.0.0.1:443", "[::1]:5000/a"],
)
def test_a_registry_stands_before_every_image(registry: str) -> None:
    """With or without port and path."""
    config = Config.model_validate({"registry": registry})
    assert config.cilium.image == f"{registry}/cilium/cilium:v{config.cilium.version}"
    assert config.multus.image.startswith(f"{registry}/k8snetworkplumbingwg/")
    assert config.knet.image.startswith(f"{registry}/library/python:")


@pytest.mark.parametrize("image", ["python:3", "python:99999", "mirror:5000/a@sha256:" + "0" * 64, "[::1]:5000/a:1"])
def test_images_in_other_forms_are_taken(image: str) -> None:
    """A tag of five digits is no port."""
    assert Config.model_validate({"knet": {"image": image}}).knet.image == image
