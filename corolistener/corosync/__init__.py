"""corosync's C libraries as Python would have written them. No opinions, no retries, nothing of the other rooms."""
