"""The colours of the screen: each means one thing, wherever it is used. NO_COLOR turns all of them off."""

from typing import Final

GOOD: Final = "green"
"""It is done, proven, or clean."""

BAD: Final = "bold red"
"""A human is needed: held, a blocker, lost."""

CAUTION: Final = "yellow"
"""Worth a look; nothing is stopped by it."""

UNDER_WAY: Final = "blue"
"""On its way from one network to the other."""

NEXT: Final = "cyan"
"""What can be typed next."""

QUIET: Final = "dim"
"""Past, or beside the point."""

HEAD: Final = "bold"
"""The words to read first."""

STATES: Final = {"canal": "", "dual": UNDER_WAY, "draining": UNDER_WAY, "cilium": UNDER_WAY, "migrated": GOOD}
"""A node's state; one that is held is BAD, whatever its state."""
