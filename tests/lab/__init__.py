"""Real corosync nodes in network namespaces on one machine, and the tests that need them. Nothing here is mocked."""
