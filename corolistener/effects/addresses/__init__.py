"""The cloud IP: holding and dropping it, announcing it, and watching who else answers for it. IPv4 and IPv6."""
