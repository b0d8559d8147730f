"""Bytes to values and back, versioned: ring messages, control frames, journals. Decides nothing."""
