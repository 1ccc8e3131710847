"""What is redrawn in place on a terminal, and begun anew when the window got narrower.

A terminal breaks the lines of a frame that has become too wide, or cuts them; nobody tells how many rows it takes then,
so a frame that is drawn over it would leave pieces behind. The screen is cleared for that once; what scrolled out
stays.
"""

from collections.abc import Callable
from typing import Literal

from rich.console import Console, RenderableType
from rich.live import Live


class Frame:
    """One picture in its place, below the lines that are printed meanwhile; a context manager."""

    def __init__(
        self,
        console: Console,
        *,
        transient: bool,
        overflow: Literal["crop", "visible"],
        again: Callable[[], None] = lambda: None,
    ) -> None:
        """A frame that is not there yet.

        Args:
            console: the terminal.
            transient: whether the last picture goes when it is left.
            overflow: what happens to a picture that is higher than the screen.
            again: prints the lines that belong above it, once the screen was cleared.
        """
        self._console = console
        self._make: Callable[[], Live] = lambda: Live(
            console=console, auto_refresh=False, transient=transient, vertical_overflow=overflow
        )
        self._again = again
        self._live = self._make()
        self._width = console.width

    def __enter__(self) -> "Frame":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.fit()
        self._live.stop()

    def show(self, picture: RenderableType, *, now: bool = True) -> None:
        """Draw a picture in the place of the last one, or with what is printed next."""
        self.fit()
        self._live.update(picture, refresh=now)

    def fit(self) -> None:
        """Begin anew if the window is narrower than it was; before anything is printed."""
        before, self._width = self._width, self._console.width
        if self._width >= before:
            return
        picture = self._live.renderable
        self._live.stop()
        self._console.clear()
        self._again()
        self._live = self._make()
        self._live.start()
        self._live.update(picture, refresh=False)
