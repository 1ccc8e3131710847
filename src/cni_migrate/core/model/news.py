"""What happens to nodes, as others are told of it: changes of state, holds, ways back."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cni_migrate.core.model.record import NodeRecord, Record


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened to a node. `reason` is one word in CamelCase, as Kubernetes' Events have it."""

    node: str
    uid: str
    reason: str
    message: str
    warning: bool = False


@dataclass
class Newspaper:
    """Compares a record with the last one that it was shown; each thing is told once."""

    _known: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def begin(self, record: Record) -> None:
        """Leave out what is so already."""
        self._known = {name: _marks(entry) for name, entry in record.nodes.items()}

    def take(self, record: Record) -> Iterator[News]:
        """What has happened since."""
        for name, entry in record.nodes.items():
            marks = _marks(entry)
            before = self._known.get(name)
            if marks == before:
                continue
            self._known[name] = marks
            state, back, held = marks
            old = before or ("canal", "", "")
            stopped = News(name, entry.uid, "CNIMigrationHeld", f"held: {held}", warning=True)
            new = bool(held) and held != old[2]
            if new and back:  # with auto_rollback: why comes first
                yield stopped
            if back and back != old[1]:
                yield News(name, entry.uid, "CNIMigrationRollback", f"goes back towards Canal ({back})", warning=True)
            if state != old[0]:
                yield News(name, entry.uid, f"CNIMigration{state.capitalize()}", f"CNI migration: {old[0]} -> {state}")
            if new and not back:
                yield stopped


def _marks(entry: NodeRecord) -> tuple[str, str, str]:
    back = entry.event.value if entry.event is not None and entry.event.backwards else ""
    held = entry.held or entry.failure
    return entry.state.value, back, held.why if held is not None else ""
