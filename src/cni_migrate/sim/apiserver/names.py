"""The rules for names, label keys and label values, with the messages of `k8s.io/apimachinery/pkg/util/validation`."""

import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"

_IS_LABEL = re.compile(_LABEL)
_IS_SUBDOMAIN = re.compile(_SUBDOMAIN)
_IS_QUALIFIED = re.compile(_QUALIFIED)
_IS_VALUE = re.compile(_VALUE)
_IS_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")

_NOT_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_NOT_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_NOT_QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
_WITH_PREFIX = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_NOT_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)


def subdomain(name: str) -> list[str]:
    """What is wrong with a DNS subdomain: the rule for most objects' names."""
    found = ["must be no more than 253 characters"] if len(name) > 253 else []
    return found if _IS_SUBDOMAIN.fullmatch(name) else [*found, _NOT_SUBDOMAIN]


def label(name: str) -> list[str]:
    """What is wrong with a DNS label: the rule for namespaces and services."""
    found = ["must be no more than 63 characters"] if len(name) > 63 else []
    return found if _IS_LABEL.fullmatch(name) else [*found, _NOT_LABEL]


def path_segment(name: str) -> list[str]:
    """What is wrong with a name that must only fit into a URL: the rule for RBAC objects."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in name]


def qualified(key: str) -> list[str]:
    """What is wrong with a label key, annotation key or taint key: `[prefix/]name`."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [f"a qualified name {_NOT_QUALIFIED[10:]} {_WITH_PREFIX}"]
    found = []
    if slash:
        if not prefix:
            found.append("prefix part must be non-empty")
        found += [f"prefix part {problem}" for problem in (subdomain(prefix) if prefix else ())]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 characters")
    if not _IS_QUALIFIED.fullmatch(name):
        found.append(_NOT_QUALIFIED)
    return found


def label_value(value: str) -> list[str]:
    """What is wrong with a label's value."""
    found = ["must be no more than 63 characters"] if len(value) > 63 else []
    return found if _IS_VALUE.fullmatch(value) else [*found, _NOT_VALUE]


def config_key(key: str) -> bool:
    """Whether a key may stand in a ConfigMap's or Secret's data."""
    return bool(_IS_CONFIG_KEY.fullmatch(key)) and key not in (".", "..") and len(key) <= 253
