"""Which cluster is meant, and what is said when a kubeconfig is not as it should be."""

import base64
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cni_migrate.errors import ClusterUnreachable, ConfigError, UsageError
from cni_migrate.kube.kubeconfig import Access, load


def write(file: Path, **parts: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        YAML(typ="safe", pure=True).dump({"apiVersion": "v1", "kind": "Config", **parts}, stream)
    return file


def usual(name: str, **user: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": f"c-{name}", "cluster": {"server": f"https://{name}:6443"}}],
        "users": [{"name": f"u-{name}", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": f"c-{name}", "user": f"u-{name}", "namespace": "x"}}],
        "current-context": name,
    }


class Here:
    """A machine: its files and environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}

    def load(self, kubeconfig: str | Path | None = None, context: str | None = None) -> Access:
        return load(
            str(kubeconfig) if kubeconfig else None,
            context,
            environ=self.environ,
            home=self.folder / "home",
            account=self.folder / "account",
        )

    def pod(self, host: str = "10.96.0.1") -> None:
        account = self.folder / "account"
        account.mkdir()
        (account / "token").write_text("pod-token\n")
        (account / "ca.crt").write_text("CA")
        self.environ |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def user_of(access: Access) -> dict[str, Any]:
    found: dict[str, Any] = access.config["users"][0]["user"]
    return found


def test_the_flag_comes_first_then_the_variable_then_the_home_then_the_pod(here: Here) -> None:
    here.pod()
    assert here.load().server == "https://10.96.0.1:443"
    write(here.folder / "home" / ".kube" / "config", **usual("home"))
    assert here.load().server == "https://home:6443"
    here.environ["KUBECONFIG"] = str(write(here.folder / "variable", **usual("variable")))
    assert here.load().server == "https://variable:6443"
    assert here.load(write(here.folder / "flag", **usual("flag"))).server == "https://flag:6443"


def test_a_pods_own_credentials(here: Here) -> None:
    here.pod("fd00::1")
    access = here.load()
    assert access.server == "https://[fd00::1]:443"
    assert user_of(access) == {"token": "pod-token"}
    assert access.ca == "CA"
    with pytest.raises(UsageError, match="no context prod"):
        here.load(context="prod")


def test_several_files_are_one_and_the_first_wins(here: Here) -> None:
    first = write(here.folder / "a", clusters=[{"name": "shared", "cluster": {"server": "https://first"}}])
    second = write(
        here.folder / "b",
        **{
            "clusters": [{"name": "shared", "cluster": {"server": "https://second"}}],
            "contexts": [{"name": "k", "context": {"cluster": "shared"}}],
            "current-context": "k",
        },
    )
    here.environ["KUBECONFIG"] = f"{first}:{here.folder / 'missing'}:{second}"
    access = here.load()
    assert access.server == "https://first"
    assert access.origin == f"context k of kubeconfig {second}"


def test_a_context_can_be_chosen(here: Here) -> None:
    here.environ["KUBECONFIG"] = ":".join(str(write(here.folder / one, **usual(one))) for one in ("a", "b"))
    assert here.load().server == "https://a:6443"
    assert here.load(context="b").server == "https://b:6443"


def test_an_unknown_context_is_told_with_those_there_are(here: Here) -> None:
    file = write(here.folder / "f", **usual("prod"))
    with pytest.raises(UsageError, match="no context tset; there are: prod") as caught:
        here.load(file, "tset")
    assert caught.value.next


def test_no_current_context(here: Here) -> None:
    file = write(here.folder / "f", **{**usual("prod"), "current-context": ""})
    with pytest.raises(UsageError, match="has no current context") as caught:
        here.load(file)
    assert "--context: prod" in caught.value.next


def test_nothing_is_configured(here: Here) -> None:
    with pytest.raises(ClusterUnreachable, match="no cluster is configured"):
        here.load()


def test_a_file_that_is_not_there(here: Here) -> None:
    with pytest.raises(UsageError, match=r"--kubeconfig /nowhere: there is no such file"):
        here.load("/nowhere")
    here.environ["KUBECONFIG"] = "/nowhere:/neither"
    with pytest.raises(UsageError, match=r"KUBECONFIG names /nowhere, /neither"):
        here.load()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [1\n", "line 2: expected"),
        ("- 1\n", "not a kubeconfig"),
        ("[" * 5000, "it is no YAML"),
        ("a: !!float x\n", "it is no YAML"),
        ("kind: Pod\n", "not a kubeconfig"),
        ("clusters: 5\n", "clusters is no list"),
        ("clusters: [{cluster: {}}]\n", r"clusters\[0\] has no name"),
        ("users: [{name: a, user: text}]\n", "user a is no mapping"),
        ("current-context: x\n", "current context x is not in it; there are: none"),
        ("contexts: [{name: x, context: {}}]\ncurrent-context: x\n", "context x names no cluster"),
        (
            "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n",
            "context x names the cluster c, which is not there",
        ),
        (
            "contexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c}]\ncurrent-context: x\n",
            "cluster c has no server",
        ),
        (
            "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\nclusters: [{name: c, cluster: {server: s}}]",
            "the user u, which is not there",
        ),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(here: Here, text: str, why: str) -> None:
    file = here.folder / "broken"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"kubeconfig {file}: .*{why}"):
        here.load(file)


def test_a_file_that_is_no_text(here: Here) -> None:
    file = here.folder / "binary"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        here.load(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        here.load(here.folder)


def test_certificates_are_taken_from_data_or_from_files_beside_the_kubeconfig(here: Here) -> None:
    (here.folder / "ca.pem").write_text("CA")
    parts = usual(
        "k", **{"client-certificate-data": base64.b64encode(b"CERT").decode(), "client-key-data": "-----BEGIN X"}
    )
    parts["clusters"][0]["cluster"]["certificate-authority"] = "ca.pem"
    access = here.load(write(here.folder / "f", **parts))
    assert (access.ca, access.certificate, access.key) == ("CA", b"CERT", b"-----BEGIN X")
    assert "CERT" not in repr(access)
    assert "certificate-authority" not in access.config["clusters"][0]["cluster"]


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"client-certificate": "missing.pem"}, "client-certificate .*missing.pem cannot be read"),
        ({"client-key-data": "%%%a"}, "client-key-data is not base64"),
        ({"client-key-data": "aaaa"}, "has no client-certificate: certificate and key belong together"),
        ({"client-certificate-data": "aaaa"}, "has no client-key"),
        ({"token": "a\nb"}, "the token has line breaks"),
        ({"as": "a\nb"}, "line breaks in it"),
        ({"as": "a", "as-groups": "ops"}, "as-groups is a list"),
        ({"as": "a", "as-user-extra": {"k": "v"}}, "as-user-extra.k is no list"),
        ({"tokenFile": "missing"}, "tokenFile .*missing cannot be read"),
        ({"exec": {"command": "x"}}, "exec needs a command and an apiVersion"),
        ({"username": "a", "password": "b"}, "no passwords since 1.19"),
        ({"auth-provider": {"name": "gcp"}}, "removed auth-provider plugins"),
        ({"auth-provider": {"name": "oidc", "config": {}}}, "has no id-token"),
    ],
)
def test_credentials_that_cannot_be_used(here: Here, user: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        here.load(write(here.folder / "f", **usual("k", **user)))


def test_tokens(here: Here) -> None:
    (here.folder / "tok").write_text("from-file\n")
    assert user_of(here.load(write(here.folder / "a", **usual("k", token="inline")))) == {"token": "inline"}
    assert user_of(here.load(write(here.folder / "b", **usual("k", tokenFile="tok")))) == {"token": "from-file"}
    oidc = {"name": "oidc", "config": {"id-token": "jwt"}}
    assert user_of(here.load(write(here.folder / "c", **usual("k", **{"auth-provider": oidc})))) == {"token": "jwt"}


def test_a_token_s_file_outranks_the_token_while_it_can_be_read(here: Here) -> None:
    """client-go reads the file anew all the time, and falls back on what is written beside it."""
    file = write(here.folder / "f", **usual("k", token="inline", tokenFile="tok"))
    assert user_of(here.load(file)) == {"token": "inline"}
    (here.folder / "tok").write_text("\n")
    assert user_of(here.load(file)) == {"token": "inline"}
    (here.folder / "tok").write_text("from-file\n")
    assert user_of(here.load(file)) == {"token": "from-file"}


@pytest.mark.parametrize(
    ("server", "tls", "url"),
    [
        ("k8s.example:6443", {}, "http://k8s.example:6443"),
        ("k8s.example:6443", {"insecure-skip-tls-verify": True}, "https://k8s.example:6443"),
        ("https://[fd00::1]:6443/k8s/c-1", {}, "https://[fd00::1]:6443/k8s/c-1"),
    ],
)
def test_a_server_without_a_scheme_gets_one_as_in_client_go(
    here: Here, server: str, tls: dict[str, Any], url: str
) -> None:
    parts = usual("k")
    parts["clusters"][0]["cluster"] = {"server": server, **tls}
    assert here.load(write(here.folder / "f", **parts)).server == url


@pytest.mark.parametrize("server", ["ftp://k8s.example", "https://[::1", "https://", "https://a:port", "https://a b"])
def test_a_server_that_is_no_url(here: Here, server: str) -> None:
    parts = usual("k")
    parts["clusters"][0]["cluster"]["server"] = server
    with pytest.raises(ConfigError, match=r"the server .* of cluster c-k is no URL"):
        here.load(write(here.folder / "f", **parts))


def test_nobody_is_impersonated_unless_it_is_asked_for(here: Here) -> None:
    assert here.load(write(here.folder / "f", **usual("k", token="t"))).headers == ()


@pytest.mark.parametrize(
    "user", [{"as-groups": ["ops"]}, {"as-uid": "7"}, {"as-user-extra": {"a": ["b"]}}], ids=["groups", "uid", "extra"]
)
def test_impersonation_needs_a_user(here: Here, user: dict[str, Any]) -> None:
    """As in client-go: one would be oneself without a word."""
    with pytest.raises(ConfigError, match="need `as`, the user to act as"):
        here.load(write(here.folder / "f", **usual("k", **user)))


def test_the_proxy_is_the_kubeconfig_s_or_the_environment_s(here: Here) -> None:
    parts = usual("k")
    here.environ["HTTPS_PROXY"] = "http://env:3128"
    found = here.load(write(here.folder / "f", **parts)).proxy
    assert found is not None
    assert str(found) == "http://env:3128 (HTTPS_PROXY)"
    here.environ["NO_PROXY"] = "k"
    assert here.load(here.folder / "f").proxy is None
    parts["clusters"][0]["cluster"]["proxy-url"] = "socks5://own:1080"
    found = here.load(write(here.folder / "f", **parts)).proxy
    assert found is not None
    assert found.url == "socks5://own:1080"


def test_a_user_without_a_home_and_a_pod_s_token_that_cannot_be_read(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with any user id."""

    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    here.pod()
    access = load(None, None, environ=here.environ, account=here.folder / "account")
    assert access.server == "https://10.96.0.1:443"
    (here.folder / "account" / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"service account in .* cannot be read"):
        load(None, None, environ=here.environ, account=here.folder / "account")


def test_a_plugin_is_found_beside_the_kubeconfig_and_told_what_it_expects(here: Here) -> None:
    plugin = {"command": "bin/login", "apiVersion": "client.authentication.k8s.io/v1", "provideClusterInfo": True}
    found = user_of(here.load(write(here.folder / "f", **usual("k", exec=plugin))))["exec"]
    assert found["command"] == str(here.folder / "bin/login")
    (info,) = [one["value"] for one in found["env"] if one["name"] == "KUBERNETES_EXEC_INFO"]
    assert '"server": "https://k:6443"' in info
