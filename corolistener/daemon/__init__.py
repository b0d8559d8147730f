"""asyncio wiring: settings, loop, control socket, notes to log, sd_notify. It decides nothing."""
