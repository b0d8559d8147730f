"""corosync.conf as a lossless tree: parse, edit, print back byte for byte. Reads and writes no file itself."""
