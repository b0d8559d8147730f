"""The world, one neighbour per file, each behind a port. Effects do what an action says and report how it ended."""
