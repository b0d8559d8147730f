"""The simulator: whole clusters in virtual time, their faults, and who checks them. Drives the real engine and core; the
neighbours of a node are virtual here, so nothing of `effects` and `daemon` belongs here, and no clock of the machine."""
