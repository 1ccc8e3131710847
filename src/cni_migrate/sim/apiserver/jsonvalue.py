"""Copying and encoding JSON values."""

import json
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":")).encode


def copied(value: Any) -> Any:
    """A deep copy of a JSON value; much faster than `copy.deepcopy`, which must allow for anything."""
    kind = type(value)
    if kind is dict:
        return {key: copied(inner) if type(inner) in (dict, list) else inner for key, inner in value.items()}
    if kind is list:
        return [copied(inner) if type(inner) in (dict, list) else inner for inner in value]
    return value


def encoded(value: Any) -> bytes:
    """The value as compact JSON."""
    return _encode(value).encode()
