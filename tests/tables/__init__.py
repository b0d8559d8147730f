"""Truth tables of the pure decisions: one text file each, read by one small test."""
