"""Turns one Core into one running node: ports, lanes, pump, journal. Knows neither asyncio nor a clock."""
