"""The simulator itself: that it is deterministic, finds what it is for, and agrees with the real neighbours."""
