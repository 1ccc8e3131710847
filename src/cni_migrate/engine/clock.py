"""The machine's clock."""

import asyncio
from datetime import UTC, datetime


class WallClock:
    """`ports.Clock` on wall time: agents' reports and the Lease carry it too, so a monotonic clock would not do."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
