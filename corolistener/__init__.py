"""corolistener: companion daemon for corosync. Rooms are described in ARCHITECTURE.md; nothing is imported here."""

__version__ = "0.1.0"
