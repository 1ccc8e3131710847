"""How a write is made and what a list asks for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Write:
    """How a write is made: who is noted as field manager, and whether it is only tried."""

    manager: str = "unknown"
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What a list asks for."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    token: str = ""
    version: str = ""
    match: str = ""
