"""The decision. Pure values and functions of values: no clock, no log, no I/O, no randomness, no waiting."""
