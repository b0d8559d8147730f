"""The library other programs import to ask a running daemon: synchronous, standard library only."""

from corolistener.client.session import Client, ClientError, connect, connect_admin, connect_to_read
from corolistener.errors import RequestRefused

__all__ = ["Client", "ClientError", "RequestRefused", "connect", "connect_admin", "connect_to_read"]
