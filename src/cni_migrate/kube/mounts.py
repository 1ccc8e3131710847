"""What stands at a path in a container: which key of which ConfigMap, which folder of the host.

By the rules of Kubernetes' volumes: the nearest mount counts, `subPath` is a part of its volume, `items` name the files
(kubernetes.io: "Volumes", "Projected Volumes").
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


def config_keys(pod: Json, container: Json, path: str) -> Iterator[tuple[str, str]]:
    """(ConfigMap, key) of what may stand at this path: several where volumes are projected."""
    volume, rest = _behind(pod, container, path)
    for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        config = source.get("configMap") or {}
        items = config.get("items") or ()
        keys = [str(one["key"]) for one in items if one.get("path") == rest] if items else [rest]
        yield from ((str(config["name"]), key) for key in keys if config.get("name"))


def host_path(pod: Json, container: Json, path: str) -> str:
    """The host's path behind this one; '' where it is none of the host's."""
    volume, rest = _behind(pod, container, path)
    host = str((volume.get("hostPath") or {}).get("path") or "")
    return posixpath.normpath(posixpath.join(host, rest)) if host else ""


def _behind(pod: Json, container: Json, path: str) -> tuple[Json, str]:
    """The volume that shows this path, and the path in it; nothing where no volume does."""
    wanted = posixpath.normpath(path)
    nearest: tuple[str, Json] | None = None
    for mount in container.get("volumeMounts") or ():
        at = posixpath.normpath(str(mount.get("mountPath") or "/"))
        if (wanted == at or wanted.startswith(at.rstrip("/") + "/")) and (nearest is None or len(at) > len(nearest[0])):
            nearest = at, mount
    if nearest is None:
        return {}, ""
    at, mount = nearest
    parts = (str(mount.get("subPath") or ""), posixpath.relpath(wanted, at) if wanted != at else "")
    volumes = (one for one in pod.get("volumes") or () if one.get("name") == mount.get("name"))
    return next(volumes, {}), "/".join(part for part in parts if part)
