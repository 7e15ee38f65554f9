"""Counts at the server which statements were asked of it, also those that were cut off."""

from __future__ import annotations

from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Sessions
from mssql_async.devserver.tds.counters import SessionInfo


class Witness:
    """Sees every statement that fits a LIKE pattern when it arrives, before any fault does
    something about it, and does nothing about it itself."""

    def __init__(self, server: DevServer, pattern: str) -> None:
        self.spids: list[int] = []
        """The sessions that they came in, in order."""
        server.faults.fail_statement(
            pattern, 50000, text="never", times=None, sessions=Sessions.where(self._sees)
        )

    @property
    def count(self) -> int:
        return len(self.spids)

    def _sees(self, session: SessionInfo) -> bool:
        self.spids.append(session.spid)
        return False
