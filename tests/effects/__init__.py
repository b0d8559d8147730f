"""The effects against the real world: kernel, file system, processes."""
