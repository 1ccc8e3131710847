"""Label selectors as kubectl's `-l` takes them: `k=v`, `k==v`, `k!=v`, `k`, `!k`, `k in (a,b)`, `k notin (a,b)`."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

Labels = Mapping[str, str]

_COMMA = re.compile(r",(?![^(]*\))")
_KEY = r"[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*([A-Za-z0-9_.-]*)")
_HAS = re.compile(rf"(!?)\s*({_KEY})")


@lru_cache(maxsize=64)
def parse(text: str) -> Callable[[Labels], bool]:
    """The predicate of a selector; all its parts must hold. As in Kubernetes, `!=` and `notin` hold without the key.

    Raises:
        ValueError: the selector cannot be read.
    """
    parts = [_part(part.strip()) for part in _COMMA.split(text)]
    return lambda labels: all(part(labels) for part in parts)


def checked(text: str) -> str:
    """The selector as it was.

    Raises:
        ValueError: the selector cannot be read.
    """
    parse(text)
    return text


def _part(part: str) -> Callable[[Labels], bool]:
    if found := _SET.fullmatch(part):
        key, values = found[1], {value.strip() for value in found[4].split(",")}
        if found[3] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.fullmatch(part):
        key, value = found[1], found[4]
        if found[3] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _HAS.fullmatch(part):
        key = found[2]
        if found[1]:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise ValueError(f"cannot read {part!r}; expected k=v, k!=v, k, !k, k in (a,b) or k notin (a,b)")
