"""The embedded SQL Server stand-in: TDS 7.4 on a socket, T-SQL on SQLite.

For demos, tests and the leak harness. Not for production.
"""

from .server import DevServer

__all__ = ["DevServer"]
