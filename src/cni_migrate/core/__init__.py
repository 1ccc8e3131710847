"""The pure core: it decides and never acts. No I/O, no clock, no asyncio: what it needs is passed in."""
