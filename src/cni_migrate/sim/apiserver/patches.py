"""Merge patch, JSON patch and strategic merge patch, as pure functions from a value to a new value.

The old value is never changed; the new one may share parts with it.
"""

from collections.abc import Sequence
from typing import Any

from cni_migrate.sim.apiserver import status


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902. 422 without details when an operation cannot be applied or a `test` fails."""
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise status.bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    for operation in operations:
        try:
            target = _apply(target, operation)
        except (KeyError, IndexError, ValueError, TypeError):
            raise status.rejected_patch() from None
    return target


def _apply(target: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _changed(target, path, operation["value"], insert=True)
        case "replace":
            _found(target, path[:-1])  # a missing last step is added: the API server's library does not insist on it
            return _changed(target, path, operation["value"])
        case "remove":
            _found(target, path)
            return _removed(target, path)
        case "test":
            if _found_or_none(target, path) != operation.get("value"):
                raise ValueError("test failed")
            return target
        case "copy":
            return _changed(target, path, _found(target, _pointer(operation["from"])), insert=True)
        case "move":
            source = _pointer(operation["from"])
            value = _found(target, source)
            return _changed(_removed(target, source), path, value, insert=True)
        case _:
            raise ValueError("unknown operation")


def _pointer(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise ValueError("not a JSON pointer")
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _index(items: list[Any], step: str, *, insert: bool = False) -> int:
    if step == "-" and insert:
        return len(items)
    index = int(step)
    if index < 0 or index > len(items) - (0 if insert else 1):
        raise IndexError(step)
    return index


def _found(target: Any, path: Sequence[str]) -> Any:
    for step in path:
        target = target[_index(target, step)] if isinstance(target, list) else target[step]
    return target


def _found_or_none(target: Any, path: Sequence[str]) -> Any:
    try:
        return _found(target, path)
    except KeyError:
        return None


def _changed(target: Any, path: Sequence[str], value: Any, *, insert: bool = False) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(target, list):
        copy = list(target)
        if rest:
            index = _index(copy, step)
            copy[index] = _changed(copy[index], rest, value, insert=insert)
        elif insert:
            copy.insert(_index(copy, step, insert=True), value)
        else:
            copy[_index(copy, step)] = value
        return copy
    return {**target, step: _changed(target[step], rest, value, insert=insert) if rest else value}


def _removed(target: Any, path: Sequence[str]) -> Any:
    step, rest = path[0], path[1:]
    if isinstance(target, list):
        copy = list(target)
        index = _index(copy, step)
        if rest:
            copy[index] = _removed(copy[index], rest)
        else:
            del copy[index]
        return copy
    if rest:
        return {**target, step: _removed(target[step], rest)}
    return {key: value for key, value in target.items() if key != step}


# Lists that strategic patches merge by a key, by the end of their path. All others are replaced as a whole, among them
# taints and tolerations. From the patchMergeKey tags of k8s.io/api.
_MERGE_KEYS: dict[tuple[str, ...], str] = {
    ("metadata", "ownerReferences"): "uid",
    ("status", "conditions"): "type",
    ("status", "addresses"): "type",
    ("status", "podIPs"): "ip",
    ("status", "hostIPs"): "ip",
    ("spec", "containers"): "name",
    ("spec", "initContainers"): "name",
    ("spec", "ephemeralContainers"): "name",
    ("spec", "volumes"): "name",
    ("spec", "imagePullSecrets"): "name",
    ("spec", "hostAliases"): "ip",
    ("spec", "topologySpreadConstraints"): "topologyKey",
    ("spec", "resourceClaims"): "name",
    ("spec", "schedulingGates"): "name",
    ("containers", "ports"): "containerPort",
    ("initContainers", "ports"): "containerPort",
    ("spec", "ports"): "port",
    ("env",): "name",
    ("volumeMounts",): "mountPath",
    ("volumeDevices",): "devicePath",
    ("imagePullSecrets",): "name",
    ("secrets",): "name",
    ("webhooks",): "name",
}
_MERGED_SETS = {("metadata", "finalizers"), ("spec", "podCIDRs")}


def _merge_key(path: tuple[str, ...]) -> str | None:
    return _MERGE_KEYS.get(path[-2:]) or _MERGE_KEYS.get(path[-1:])


def strategic(target: Any, patch: Any, path: tuple[str, ...] = ()) -> Any:
    """A strategic merge patch with its directives ($patch, $retainKeys, $setElementOrder, $deleteFromPrimitiveList)."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$"):
            _directive(result, key, value)
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            order = patch.get(f"$setElementOrder/{key}")
            result[key] = _lists(result.get(key), value, (*path, key), order)
        else:
            result[key] = strategic(result.get(key), value, (*path, key))
    return result


def _directive(result: dict[str, Any], key: str, value: Any) -> None:
    name, _, field = key.partition("/")
    if name == "$deleteFromPrimitiveList" and field in result:
        result[field] = [item for item in result[field] if item not in value]


def _lists(old: Any, new: list[Any], path: tuple[str, ...], order: list[Any] | None) -> list[Any]:
    current = list(old) if isinstance(old, list) else []
    if path[-2:] in _MERGED_SETS:
        return new + [item for item in current if item not in new]
    key = _merge_key(path)
    if key is None or not all(isinstance(item, dict) for item in new):
        return new
    if any(item.get("$patch") == "replace" for item in new):
        return [item for item in new if "$patch" not in item]
    for item in new:
        if key not in item:
            raise status.bad_request(f"map: map[] does not contain declared merge key: {key}")
        at = next((index for index, have in enumerate(current) if have.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            current = [have for have in current if have.get(key) != item[key]]
        elif at is None:
            current.append(strategic({}, item, path))
        else:
            current[at] = strategic(current[at], item, path)
    wanted = [item[key] for item in order or new if key in item]
    return _ordered(current, key, wanted, [item.get(key) for item in old or ()])


def _ordered(items: list[Any], key: str, wanted: list[Any], before: list[Any]) -> list[Any]:
    """The patch's items in the patch's order; the others stay before those they were before."""
    first = [item for name in wanted for item in items if item.get(key) == name]
    others = [item for item in items if item.get(key) not in wanted]
    place = {name: index for index, name in enumerate(before)}
    result: list[Any] = []
    for item in first:
        while others and item.get(key) in place and place[others[0][key]] < place[item[key]]:
            result.append(others.pop(0))
        result.append(item)
    return result + others
