"""What Kubernetes, containerd and libcni accept as a name: checked when a configuration is read, not in mid-migration.

Each function answers the text as it was, or raises ValueError with what would be right. Sources: `k8s.io/apimachinery
/pkg/util/validation` (names, labels), `github.com/distribution/reference` (images), libcni's `ConfFiles` (extensions).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Final

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_IS_LABEL: Final = re.compile(_LABEL)
_IS_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_IS_QUALIFIED: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_IS_KIND: Final = re.compile(r"[A-Z][A-Za-z0-9]*")
_IS_VERSION: Final = re.compile(r"v[0-9]+((alpha|beta)[0-9]+)?")
_IS_CONFIG_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_IS_RELEASE: Final = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
_IS_FILE: Final = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")

_HOST_LABEL: Final = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST: Final = rf"({_HOST_LABEL}(\.{_HOST_LABEL})*|\[[0-9a-fA-F:]+\])(:[0-9]{{1,5}})?"
_COMPONENT: Final = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = rf"({_HOST}/)?{_COMPONENT}(/{_COMPONENT})*"
_IS_REGISTRY: Final = re.compile(rf"{_HOST}(/{_COMPONENT})*")
_IS_IMAGE: Final = re.compile(
    rf"(?P<repository>{_REPOSITORY})(:(?P<tag>\w[\w.-]{{0,127}}))?(@(?P<digest>[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-f]{{32,}}))?",
    re.ASCII,
)


def dns_label(text: str) -> str:
    """A namespace, or another name that is one label (RFC 1123)."""
    if len(text) > 63 or not _IS_LABEL.fullmatch(text):
        raise ValueError(
            _expected("a name of lower case letters, digits and `-`, at most 63 long", "kube-system", text)
        )
    return text


def dns_subdomain(text: str) -> str:
    """An object's name (RFC 1123)."""
    if len(text) > 253 or not _IS_SUBDOMAIN.fullmatch(text):
        what = "a name of lower case letters, digits, `-` and `.`, at most 253 long"
        raise ValueError(_expected(what, "worker-1.example.com", text))
    return text


def label_key(text: str) -> str:
    """The key of a label, a taint or an annotation."""
    prefix, slash, name = text.rpartition("/")
    named = len(name) <= 63 and _IS_QUALIFIED.fullmatch(name)
    prefixed = not slash or (len(prefix) <= 253 and _IS_SUBDOMAIN.fullmatch(prefix))
    if not named or not prefixed:
        what = (
            "a label key: letters, digits, `-`, `_` and `.`, at most 63 long, with or without a DNS name and `/` before"
        )
        raise ValueError(_expected(what, "example.com/role", text))
    return text


def label_value(text: str) -> str:
    """The value of a label or a taint; it may be empty."""
    if text and (len(text) > 63 or not _IS_QUALIFIED.fullmatch(text)):
        what = "a label value: letters, digits, `-`, `_` and `.`, at most 63 long"
        raise ValueError(_expected(what, "true", text))
    return text


def cni_file(text: str) -> str:
    """The name of a file in the CNI configuration folder that a runtime reads."""
    if len(text) > 200 or not _IS_FILE.fullmatch(text) or not text.endswith((".conf", ".conflist", ".json")):
        what = "a file's name without a folder that ends in .conflist, .conf or .json"
        raise ValueError(_expected(what, "10-canal.conflist", text))
    return text


def conflist(text: str) -> str:
    """The same for a file that holds a list of plugins: a runtime refuses one under any other extension."""
    if not cni_file(text).endswith(".conflist"):
        raise ValueError(_expected("a file's name that ends in .conflist", "05-cilium.conflist", text))
    return text


def folder(text: str) -> str:
    """An absolute path that may be mounted into a container: no `..`, no `:`."""
    parts = text.split("/")
    if not text.startswith("/") or text.strip("/") == "" or ".." in parts or not _printable(text, but=":"):
        raise ValueError(_expected("an absolute path below / without `..` and `:`", "/etc/cni/net.d", text))
    return text


def image(text: str) -> str:
    """A reference of an image: `[registry/]repository[:tag][@digest]`."""
    host, slash, _ = text.partition("/")
    if len(text) > 512 or not _IS_IMAGE.fullmatch(text) or (slash and not _is_port(host)):
        raise ValueError(_expected("an image, REGISTRY/NAME:TAG", "quay.io/cilium/cilium:v1.15.19", text))
    return text


def optional(check: Callable[[str], str]) -> Callable[[str], str]:
    """The same check for a text that may be empty."""
    return lambda text: check(text) if text else text


def registry(text: str) -> str:
    """A registry, with or without a path in it; what would be taken for a path of Docker Hub is none."""
    host = text.partition("/")[0]
    if not _IS_REGISTRY.fullmatch(text) or not _is_port(host):
        what = "a registry, HOST[:PORT][/PATH] without a scheme and without a slash at the end"
        raise ValueError(_expected(what, "registry.example.com:5000", text))
    if not _is_host(host):
        raise ValueError(
            f"expected a registry whose host has a dot or a port: {host} alone is a path of Docker Hub to nodes."
            f" Write {host}:443, or docker.io/{text}"
        )
    return text


def release(text: str) -> str:
    """The version of a program: three numbers."""
    if not _IS_RELEASE.fullmatch(text):
        raise ValueError(_expected("a version with three numbers", "1.15.19", text))
    return text


def network(text: str) -> str:
    """An IPv4 network that pods may have their addresses from."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{_expected('an IPv4 network', '10.245.0.0/16', text)}: {error}") from None
    if found.version != 4:
        raise ValueError(f"{_expected('an IPv4 network', '10.245.0.0/16', text)}: IPv6 is not migrated")
    if found.is_loopback or found.is_multicast or found.is_link_local or found.is_unspecified or found.prefixlen < 4:
        raise ValueError(f"{_expected('a network for pods', '10.245.0.0/16', text)}: it is reserved or too large")
    return str(found)


def config_key(text: str) -> str:
    """A key in the data of a ConfigMap."""
    if len(text) > 253 or text in (".", "..") or not _IS_CONFIG_KEY.fullmatch(text):
        raise ValueError(_expected("a key of letters, digits, `-`, `_` and `.`", "enable-hubble", text))
    return text


def word(text: str) -> str:
    """A text that is not empty and holds no control characters."""
    if not text.strip() or not _printable(text):
        raise ValueError(_expected("a text of printable characters", "migrate", text))
    return text


def namespaced_name(text: str) -> str:
    """An object in a namespace.

    Raises:
        ValueError: it is no `namespace/name`.
    """
    namespace, slash, name = text.partition("/")
    if not slash:
        raise ValueError(_expected("namespace/name", "kube-flannel/kube-flannel-ds", text))
    return f"{dns_label(namespace)}/{dns_subdomain(name)}"


def object_reference(text: str) -> str:
    """`apiVersion/Kind/namespace/name`; the apiVersion may have a group, an empty namespace leaves `//`."""
    parts = text.split("/")
    if not 4 <= len(parts) <= 5:
        raise ValueError(_expected(_REFERENCE, _EXAMPLE, text))
    *group, version, kind, namespace, name = parts
    good = (
        all(_IS_SUBDOMAIN.fullmatch(one) for one in group)
        and _IS_VERSION.fullmatch(version)
        and _IS_KIND.fullmatch(kind)
        and (not namespace or (len(namespace) <= 63 and _IS_LABEL.fullmatch(namespace)))
        # RBAC's names may hold `:` and capitals: the rule is only that they fit into a URL.
        and 0 < len(name) <= 253
        and name not in (".", "..")
        and _printable(name, but="% ")
    )
    if not good:
        raise ValueError(_expected(_REFERENCE, _EXAMPLE, text))
    return text


_REFERENCE: Final = "apiVersion/Kind/namespace/name"
_EXAMPLE: Final = "v1/ConfigMap/kube-system/canal-config or rbac.authorization.k8s.io/v1/ClusterRole//flannel"


def tag_of(reference: str) -> str:
    """The tag of an image; '' without one."""
    found = _IS_IMAGE.fullmatch(reference)
    return (found["tag"] or "") if found else ""


def mirrored(reference: str, instead: str) -> str:
    """The image in another registry: the host is replaced, the path stays.

    A first part without `.` or `:` that is not `localhost` is no host but Docker Hub's path (distribution/reference).
    """
    first, slash, rest = reference.partition("/")
    return f"{instead}/{rest if slash and _is_host(first) else reference}"


def _is_host(first: str) -> bool:
    """Whether the first part of an image is one, and no path."""
    return "." in first or ":" in first or first == "localhost"


def _is_port(first: str) -> bool:
    """Whether the first part of an image, where it has a port, has one that there can be."""
    port = first.rpartition("]")[2].partition(":")[2]
    return not port.isdecimal() or 1 <= int(port) <= 65535


def twice(items: Iterable[tuple[str, str]]) -> tuple[str, str, str] | None:
    """The first value that two names share: the names, and the value."""
    seen: dict[str, str] = {}
    for name, value in items:
        if value in seen:
            return seen[value], name, value
        seen[value] = name
    return None


def _printable(text: str, *, but: str = "") -> bool:
    return text.isprintable() and not set(but) & set(text)


def _expected(what: str, example: str, found: str) -> str:
    shown = found if len(found) <= 60 else f"{found[:57]}..."
    return f"expected {what}, for example {example}; found {shown!r}"


def no_expression(patterns: str) -> str:
    """The first of Cilium's patterns of labels that is no regular expression, with why; '' when all are."""
    for one in patterns.split():
        try:
            re.compile((one.partition(":")[2] or one).removeprefix("!"))
        except re.error as error:
            return f"{one}, which is no regular expression ({error}; .* stands for whatever follows)"
    return ""


WELL_KNOWN: Final = frozenset(
    {
        "kubernetes.io/arch", "kubernetes.io/os", "kubernetes.io/hostname", "node.kubernetes.io/instance-type",
        "node.kubernetes.io/windows-build", "node.kubernetes.io/exclude-from-external-load-balancers",
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/master", "cni-migrate.io/cordoned", "cni-migrate.io/stage",
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable",
        "node.kubernetes.io/network-unavailable", "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/disk-pressure", "node.kubernetes.io/pid-pressure", "node.kubernetes.io/out-of-service",
        "node.cilium.io/agent-not-ready",
    }
)  # fmt: skip
"""kubernetes.io "Well-Known Labels, Annotations and Taints": their owners would set them back."""

WELL_KNOWN_DOMAINS: Final = frozenset({"failure-domain.beta.kubernetes.io", "flannel.alpha.coreos.com"})
