"""Whole clusters in virtual time: N pumps over one virtual world, and the stories and random runs played in it."""
