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
from urllib.parse import quote, urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cni_migrate import yamlfile
from cni_migrate.errors import ClusterUnreachable, ConfigError, UsageError
from cni_migrate.kube.proxy import Proxy, proxy_for

MOST: Final = 16 << 20
"""Bytes of a kubeconfig that are read: those of some hundred clusters are large."""

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its credentials."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one cluster as one user.

    `origin` says in words where this comes from; `context` is the kubeconfig's name for it, empty in a pod. `config` is
    a kubeconfig with one context and no certificates: `ca` is the bundle that signs the server (None: the system's),
    `certificate` and `key` the client's, all as PEM. `headers` go with every request (impersonation), `proxy` is on the
    way.
    """

    origin: str
    server: str
    config: dict[str, Any] = field(repr=False)
    ca: str | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    insecure: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    proxy: Proxy | None = None
    context: str = ""


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
    if kubeconfig:
        return _from_files([_existing(_expanded(kubeconfig), "--kubeconfig")], context, environ)
    if listed := [_expanded(one) for one in environ.get("KUBECONFIG", "").split(os.pathsep) if one]:
        there = [one for one in listed if one.exists()]
        if not there:
            raise UsageError(
                f"KUBECONFIG names {', '.join(map(str, listed))}: there is no such file",
                next="set KUBECONFIG to a kubeconfig file, or give one with --kubeconfig",
            )
        return _from_files(there, context, environ)
    default = (home or _expanded("~")) / ".kube" / "config"
    if default.exists():
        return _from_files([default], context, environ)
    if environ.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
        if context:
            raise UsageError(
                f"there is no context {context}: these are the credentials of a pod, without a kubeconfig",
                next="omit --context, or give a file with --kubeconfig",
            )
        return _from_pod(environ, account)
    raise ClusterUnreachable(
        f"no cluster is configured: no --kubeconfig, no KUBECONFIG, no {default}, and this is no pod",
        next="migrate --kubeconfig FILE ...",
    )


def _expanded(path: str | Path) -> Path:
    """The path with `~` in place of the home folder, when this user has one: in a pod there may be none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _existing(file: Path, flag: str) -> Path:
    if not file.exists():
        raise UsageError(f"{flag} {file}: there is no such file", next="check the path")
    return file


def _from_pod(environ: Mapping[str, str], account: Path) -> Access:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    origin, ca = "this pod's service account", account / "ca.crt"
    try:
        token = (account / "token").read_text(encoding="utf-8").strip()
        bundle = ca.read_text(encoding="utf-8") if ca.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{origin} in {account} cannot be read ({error})", next="check the pod's user") from error
    return Access(
        origin=origin,
        server=server,
        config=_small({"server": server}, {"token": token}),
        ca=bundle,
        proxy=proxy_for(server, "", origin, environ),
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


def _from_files(files: Iterable[Path], context: str | None, environ: Mapping[str, str]) -> Access:
    merged = _Merged()
    for file in files:
        merged.add(file, _read(file))
    return merged.access(context, environ)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        raw = YAML(typ="safe", pure=True).load(yamlfile.text_of(file, most=MOST))
    except yamlfile.BadFile as error:
        raise _broken(file, f"it cannot be read ({error.why})") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise _broken(file, f"{where}{getattr(error, 'problem', None) or error}") from error
    except (*yamlfile.CRASHES, RecursionError) as error:
        raise _broken(file, f"it is no YAML ({error})") from error
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

    def access(self, context: str | None, environ: Mapping[str, str]) -> Access:
        """How to reach the cluster of a context, or of the current one."""
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
        if not cluster.get("server"):
            raise _broken(at, f"cluster {body['cluster']} has no server")
        secure = any(cluster.get(key) or user.get(key) for key in _TLS)
        try:
            server = _url(str(cluster["server"]).strip(), secure=secure)
        except ValueError as error:
            raise _broken(
                at, f"the server {cluster['server']} of cluster {body['cluster']} is no URL: {error}"
            ) from error
        for old in ("username", "password"):
            if old in user:
                raise _broken(user_at, f"user {body['user']} has a {old}: Kubernetes has no passwords since 1.19")
        origin = f"context {context} of kubeconfig {file}"
        proxy = proxy_for(server, str(cluster.get("proxy-url") or ""), origin, environ)
        certificate, key = _content(user, "client-certificate", user_at), _content(user, "client-key", user_at)
        if (certificate is None) != (key is None):
            lacks = "client-key" if key is None else "client-certificate"
            raise _broken(user_at, f"user {body.get('user')} has no {lacks}: certificate and key belong together")
        small = _small(
            {"server": server} | {key: cluster[key] for key in ("tls-server-name",) if cluster.get(key)},
            _credentials(user, user_at, cluster, str(body.get("user"))),
        )
        ca = _content(cluster, "certificate-authority", at)
        return Access(
            origin=origin,
            server=server,
            config=small,
            ca=ca.decode("ascii", "replace") if ca is not None else None,
            certificate=certificate,
            key=key,
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            headers=_impersonation(user, user_at, str(body.get("user"))),
            proxy=proxy,
            context=context,
        )

    def _named(self, part: str, context: Mapping[str, Any], name: str, file: Path) -> tuple[Mapping[str, Any], Path]:
        wanted = context.get(part)
        if not wanted:
            raise _broken(file, f"context {name} names no {part}")
        found = self._entries[part].get(str(wanted))
        if found is None:
            raise _broken(file, f"context {name} names the {part} {wanted}, which is not there")
        return found


_TLS: Final = (
    "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify",
    "client-certificate", "client-certificate-data",
)  # fmt: skip
"""What tells client-go that a server without a scheme speaks TLS."""


def _url(server: str, *, secure: bool) -> str:
    """The server's URL; one without a scheme gets it as in client-go (`rest.DefaultServerURL`).

    Raises:
        ValueError: it is none.
    """
    url = server if "://" in server else f"{'https' if secure else 'http'}://{server}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"expected http or https, found {parts.scheme}")
    if not parts.hostname or not server.isprintable() or " " in server:
        raise ValueError("expected https://HOST:PORT")
    _ = parts.port  # raises ValueError for what is none
    return url


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
        path = file.parent / _expanded(str(named))
        try:
            return path.read_bytes()
        except OSError as error:
            raise _broken(file, f"{key} {path} cannot be read ({error.strerror})") from error
    return None


def _credentials(user: Mapping[str, Any], file: Path, cluster: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What kr8s is told about the user: a token, an exec plugin, or nothing (certificates are handled by us)."""
    if token := _token(user, file, name):
        return {"token": token}
    if plugin := user.get("exec"):
        if not isinstance(plugin, dict) or not plugin.get("command") or not plugin.get("apiVersion"):
            raise _broken(file, f"user {name}: exec needs a command and an apiVersion")
        return {"exec": _plugin(plugin, file, cluster)}
    if provider := user.get("auth-provider"):
        if not isinstance(provider, dict) or provider.get("name") != "oidc":
            raise _broken(file, f"user {name}: Kubernetes 1.26 removed auth-provider plugins; use an exec plugin")
        id_token = (provider.get("config") or {}).get("id-token")
        if not id_token:
            raise _broken(file, f"user {name}: the oidc auth-provider has no id-token")
        return {"token": str(id_token)}
    return {}


def _token(user: Mapping[str, Any], file: Path, name: str) -> str:
    """The token: of `tokenFile`, as long as that can be read, else of `token` (client-go, token_source.go)."""
    token = str(user.get("token") or "")
    if named := user.get("tokenFile"):
        path = file.parent / _expanded(str(named))
        try:
            found = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if not token:
                why = getattr(error, "strerror", None) or error
                raise _broken(file, f"tokenFile {path} cannot be read ({why})") from error
        else:
            if not found and not token:
                raise _broken(file, f"tokenFile {path} is empty")
            token = found or token
    if not (token.isascii() and token.isprintable()):
        raise _broken(file, f"user {name}: the token has line breaks or other characters that no token has")
    return token


def _impersonation(user: Mapping[str, Any], file: Path, name: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of `as`, `as-uid`, `as-groups` and `as-user-extra` (client-go, `transport/round_trippers.go`).

    As client-go, refuses to ask for groups or the like without a user: they would silently not be asked for.
    """
    groups, extra = user.get("as-groups") or [], user.get("as-user-extra") or {}
    if not isinstance(groups, list) or not isinstance(extra, dict):
        raise _broken(file, f"user {name}: as-groups is a list, as-user-extra has keys with lists")
    who, uid = str(user.get("as") or ""), str(user.get("as-uid") or "")
    if not who:
        if uid or groups or extra:
            raise _broken(file, f"user {name}: as-uid, as-groups and as-user-extra need `as`, the user to act as")
        return ()
    found = [("Impersonate-User", who), *([("Impersonate-Uid", uid)] if uid else ())]
    found += [("Impersonate-Group", str(group)) for group in groups]
    for key, values in extra.items():
        if not isinstance(values, list):
            raise _broken(file, f"user {name}: as-user-extra.{key} is no list")
        found += [(f"Impersonate-Extra-{quote(str(key), safe=_HEADER)}", str(value)) for value in values]
    if not all(value.isprintable() for _, value in found):
        raise _broken(file, f"user {name}: what to act as has line breaks in it")
    return tuple((key.encode(), value.encode()) for key, value in found)


_HEADER: Final = "!#$&'*+-.^_`|~"
"""What may stand in a header's name besides letters and digits (RFC 9110 5.6.2), but for `%`, which escapes."""


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
