"""What was true when: values with the time from which they hold, and the instants at which something changed."""

from bisect import bisect_right
from typing import Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """A value over time. `at(t)` answers what held at `t`; before the first entry it is the initial value."""

    __slots__ = ("_initial", "_times", "_values", "now")

    def __init__(self, initial: T) -> None:
        self._initial = initial
        self._times: list[float] = []
        self._values: list[T] = []
        self.now = initial
        """The latest value."""

    def put(self, when: float, value: T) -> None:
        """From `when` on, `value` holds. Times never go backwards; the last entry of one instant counts."""
        if self._times and self._times[-1] == when:
            self._values[-1] = value
        else:
            self._times.append(when)
            self._values.append(value)
        self.now = value

    def at(self, when: float) -> T:
        """What held at `when`, including a change made at that very instant."""
        times = self._times
        if not times or when >= times[-1]:
            return self.now
        place = bisect_right(times, when)
        return self._values[place - 1] if place else self._initial


class Changes:
    """The instants at which something changed: equal counts at two instants mean that nothing changed between them."""

    __slots__ = ("times",)

    def __init__(self) -> None:
        self.times: list[float] = []
        """In order."""

    def note(self, when: float) -> None:
        """Something changed at `when`."""
        self.times.append(when)

    def until(self, when: float) -> int:
        """How many changes there were up to and including `when`."""
        return bisect_right(self.times, when)
