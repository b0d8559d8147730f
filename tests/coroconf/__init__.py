"""corosync.conf as a tree: what it reads, how it prints, what it edits."""
