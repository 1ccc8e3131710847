"""What the containers of a DaemonSet are to Canal, whoever has named them and wherever the images come from."""

from collections.abc import Mapping
from typing import Any, Final

Json = Mapping[str, Any]

FLANNEL: Final = "flannel"
CALICO: Final = "calico"


def environment(container: Json) -> dict[str, Json]:
    """The variables that a container is given one by one."""
    return {str(one["name"]): one for one in container.get("env") or ()}


def role(container: Json) -> str:
    """What a container is: `flannel`, `calico`, or ''."""
    name = str(container.get("name", ""))
    image = str(container.get("image", "")).partition("@")[0]
    path, _, last = image.rpartition("/")
    last = last.partition(":")[0]
    words = {word.rpartition("/")[2] for word in words_of(container)}
    told = {one.partition("_")[0] for one in environment(container)}
    if name in ("kube-flannel", "flannel") or "flanneld" in words or last.endswith("flannel") or "FLANNELD" in told:
        return FLANNEL
    calicos = last.endswith(("calico-node", "hardened-calico")) or (path.endswith("calico") and last == "node")
    if name == "calico-node" or calicos or "FELIX" in told:
        return CALICO
    return ""


def words_of(container: Json) -> list[str]:
    """The words of a container's command, those of a shell's text as well."""
    every = (*(container.get("command") or ()), *(container.get("args") or ()))
    return [word for text in every for word in str(text).split()]


def roles(raw: Json) -> frozenset[str]:
    """What a DaemonSet's containers are, those of Windows left out: Canal runs on Linux only."""
    pod = pod_of(raw)
    if _on_windows(pod):
        return frozenset()
    return frozenset(found for one in pod.get("containers") or () if (found := role(one)))


_OS: Final = ("kubernetes.io/os", "beta.kubernetes.io/os")


def _on_windows(pod: Json) -> bool:
    """Whether a pod runs on Windows only: by its node selector, or by every alternative of its node affinity."""
    if any((pod.get("nodeSelector") or {}).get(key) == "windows" for key in _OS):
        return True
    required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = [term.get("matchExpressions") or () for term in required.get("nodeSelectorTerms") or ()]
    return bool(terms) and all(
        any(one.get("key") in _OS and one.get("operator") == "In" and one.get("values") == ["windows"] for one in term)
        for term in terms
    )


def pod_of(raw: Json) -> Json:
    """The specification of a DaemonSet's pods."""
    found: Json = ((raw.get("spec") or {}).get("template") or {}).get("spec") or {}
    return found
