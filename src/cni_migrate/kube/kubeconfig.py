"""Finding the way to a cluster: kubeconfig files and in-cluster credentials, with kubectl's rules.

kr8s would read the files itself, but it skips missing files without a word, takes the current context from the first
file only, and answers most defects with a KeyError. So the files are read, merged and checked here, and kr8s gets one
small kubeconfig with one context. Rules: kubernetes.io "Organizing Cluster Access Using kubeconfig Files" (the first
file that sets a value wins, relative paths are relative to their file) and "Accessing the API from a Pod".
"""

import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cni_migrate.errors import ClusterUnreachable, ConfigError, UsageError

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its credentials."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one cluster as one user.

    `origin` says in words where this comes from. `config` is a kubeconfig with one context and no certificates: `ca` is
    the bundle that signs the server (None: the system's), `certificate` and `key` the client's, all as PEM.
    """

    origin: str
    server: str
    config: dict[str, Any] = field(repr=False)
    ca: str | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    insecure: bool = False


def load(
    kubeconfig: str | None,
    context: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
    account: Path = ACCOUNT,
) -> Access:
    """The access that was asked for: `--kubeconfig`, else KUBECONFIG, else ~/.kube/config, else that of this pod.

    Args:
        kubeconfig: the flag.
        context: the flag; default: the current context.
        environ: the environment.
        home: the user's home folder.
        account: where a pod finds its credentials.

    Raises:
        UsageError: a file that was named is not there, or has no such context.
        ConfigError: a kubeconfig is damaged: which file, and what is wrong.
        ClusterUnreachable: no cluster is configured.
    """
    default = (home or Path.home()) / ".kube" / "config"
    if kubeconfig:
        return _from_files([_existing(Path(kubeconfig).expanduser(), "--kubeconfig")], context)
    if listed := [Path(one).expanduser() for one in environ.get("KUBECONFIG", "").split(os.pathsep) if one]:
        there = [one for one in listed if one.exists()]
        if not there:
            raise UsageError(
                f"KUBECONFIG names {', '.join(map(str, listed))}: there is no such file",
                next="set KUBECONFIG to a kubeconfig file, or give one with --kubeconfig",
            )
        return _from_files(there, context)
    if default.exists():
        return _from_files([default], context)
    if environ.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
        if context:
            raise UsageError(
                f"there is no context {context}: these are the credentials of a pod, without a kubeconfig",
                next="leave --context away, or give a file with --kubeconfig",
            )
        return _from_pod(environ, account)
    raise ClusterUnreachable(
        f"no cluster is configured: no --kubeconfig, no KUBECONFIG, no {default}, and this is no pod",
        next="migrate --kubeconfig FILE ...",
    )


def _existing(file: Path, flag: str) -> Path:
    if not file.exists():
        raise UsageError(f"{flag} {file}: there is no such file", next="check the path")
    return file


def _from_pod(environ: Mapping[str, str], account: Path) -> Access:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    token = (account / "token").read_text(encoding="utf-8").strip()
    ca = account / "ca.crt"
    return Access(
        origin="this pod's service account",
        server=server,
        config=_small({"server": server}, {"token": token}),
        ca=ca.read_text(encoding="utf-8") if ca.exists() else None,
    )


def _small(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": dict(cluster)}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }


def _from_files(files: Iterable[Path], context: str | None) -> Access:
    merged = _Merged()
    for file in files:
        merged.add(file, _read(file))
    return merged.access(context)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        raw = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(file, f"it cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise _broken(file, f"{where}{getattr(error, 'problem', None) or error}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict) or raw.get("kind", "Config") != "Config":
        raise _broken(file, "it is not a kubeconfig")
    return raw


def _broken(file: Path | str, why: str) -> ConfigError:
    return ConfigError(f"kubeconfig {file}: {why}", next="correct the file, or give another one with --kubeconfig")


class _Merged:
    """Several kubeconfigs as one: the first to name something wins."""

    def __init__(self) -> None:
        self._files: list[Path] = []
        self._current: tuple[str, Path] | None = None
        self._entries: dict[str, dict[str, tuple[Mapping[str, Any], Path]]] = {
            "cluster": {}, "user": {}, "context": {},
        }  # fmt: skip

    def add(self, file: Path, raw: Mapping[str, Any]) -> None:
        self._files.append(file)
        if raw.get("current-context") and self._current is None:
            self._current = str(raw["current-context"]), file
        for part, found in self._entries.items():
            entries = raw.get(f"{part}s") or []
            if not isinstance(entries, list):
                raise _broken(file, f"{part}s is no list")
            for number, entry in enumerate(entries):
                if not isinstance(entry, dict) or not entry.get("name"):
                    raise _broken(file, f"{part}s[{number}] has no name")
                body = entry.get(part) or {}
                if not isinstance(body, dict):
                    raise _broken(file, f"{part} {entry['name']} is no mapping")
                found.setdefault(str(entry["name"]), (body, file))

    def access(self, context: str | None) -> Access:
        names = ":".join(map(str, self._files))
        known = sorted(self._entries["context"])
        if context is None:
            if self._current is None:
                raise UsageError(
                    f"kubeconfig {names} has no current context",
                    next=f"give one with --context: {', '.join(known) or 'the file has none'}",
                )
            context, file = self._current
            if context not in self._entries["context"]:
                there = ", ".join(known) or "none"
                raise _broken(file, f"its current context {context} is not in it; there are: {there}")
        elif context not in self._entries["context"]:
            raise UsageError(
                f"kubeconfig {names} has no context {context}; there are: {', '.join(known) or 'none'}",
                next="kubectl config get-contexts",
            )
        body, file = self._entries["context"][context]
        cluster, at = self._named("cluster", body, context, file)
        user, user_at = self._named("user", body, context, file) if body.get("user") else ({}, file)
        server = cluster.get("server")
        if not server:
            raise _broken(at, f"cluster {body['cluster']} has no server")
        for old in ("username", "password"):
            if old in user:
                raise _broken(user_at, f"user {body['user']} has a {old}: Kubernetes has no passwords since 1.19")
        small = _small(
            {key: cluster[key] for key in ("server", "tls-server-name", "proxy-url") if cluster.get(key)},
            _credentials(user, user_at, cluster, str(body.get("user"))),
        )
        ca = _content(cluster, "certificate-authority", at)
        return Access(
            origin=f"context {context} of kubeconfig {file}",
            server=str(server),
            config=small,
            ca=ca.decode("ascii", "replace") if ca is not None else None,
            certificate=_content(user, "client-certificate", user_at),
            key=_content(user, "client-key", user_at),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
        )

    def _named(self, part: str, context: Mapping[str, Any], name: str, file: Path) -> tuple[Mapping[str, Any], Path]:
        wanted = context.get(part)
        if not wanted:
            raise _broken(file, f"context {name} names no {part}")
        found = self._entries[part].get(str(wanted))
        if found is None:
            raise _broken(file, f"context {name} names the {part} {wanted}, which is not there")
        return found


def _content(entry: Mapping[str, Any], key: str, file: Path) -> bytes | None:
    """PEM given inline as base64, or in a file of its own."""
    if data := entry.get(f"{key}-data"):
        text = str(data)
        if "-----BEGIN" in text:
            return text.encode()
        try:
            return base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError) as error:
            raise _broken(file, f"{key}-data is not base64 ({error})") from error
    if named := entry.get(key):
        path = file.parent / Path(str(named)).expanduser()
        try:
            return path.read_bytes()
        except OSError as error:
            raise _broken(file, f"{key} {path} cannot be read ({error.strerror})") from error
    return None


def _credentials(user: Mapping[str, Any], file: Path, cluster: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What kr8s is told about the user: a token, an exec plugin, or nothing (certificates are handled by us)."""
    if token := user.get("token"):
        return {"token": str(token)}
    if named := user.get("tokenFile"):
        path = file.parent / Path(str(named)).expanduser()
        try:
            return {"token": path.read_text(encoding="utf-8").strip()}
        except OSError as error:
            raise _broken(file, f"tokenFile {path} cannot be read ({error.strerror})") from error
    if plugin := user.get("exec"):
        if not isinstance(plugin, dict) or not plugin.get("command") or not plugin.get("apiVersion"):
            raise _broken(file, f"user {name}: exec needs a command and an apiVersion")
        return {"exec": _plugin(plugin, file, cluster)}
    if provider := user.get("auth-provider"):
        if not isinstance(provider, dict) or provider.get("name") != "oidc":
            raise _broken(file, f"user {name}: Kubernetes 1.26 removed auth-provider plugins; use an exec plugin")
        token = (provider.get("config") or {}).get("id-token")
        if not token:
            raise _broken(file, f"user {name}: the oidc auth-provider has no id-token")
        return {"token": str(token)}
    return {}


def _plugin(plugin: Mapping[str, Any], file: Path, cluster: Mapping[str, Any]) -> dict[str, Any]:
    """The exec plugin with what client-go tells it in its environment (client.authentication.k8s.io)."""
    command = str(plugin["command"])
    if os.sep in command and not Path(command).is_absolute():
        command = str(file.parent / command)
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {key: cluster[key] for key in ("server", "certificate-authority-data") if key in cluster}
    info = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}
    env = [*(plugin.get("env") or ()), {"name": "KUBERNETES_EXEC_INFO", "value": json.dumps(info)}]
    return {**plugin, "command": command, "env": env}
