"""The steps, by name: small, idempotent moves inside an event or a phase. `registry` finds them."""

from cni_migrate.core.steps import (
    agents,
    cleaning,
    drop,
    existing,
    gates,
    host,
    identities,
    install,
    labels,
    pods,
    reopening,
    tunnel,
)

__all__ = [
    "agents",
    "cleaning",
    "drop",
    "existing",
    "gates",
    "host",
    "identities",
    "install",
    "labels",
    "pods",
    "reopening",
    "tunnel",
]
