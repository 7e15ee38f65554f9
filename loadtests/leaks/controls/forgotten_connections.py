"""A pool that forgets connections without closing them.

Each twentieth that is released is struck from its books; the server still has the session.
"""

from __future__ import annotations

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.pool import Pool, PooledConnection
from mssql_async.pool.connection import ConnectionState

from . import Control
from ._broken import every

CONTROL = Control(Detector.ORPHAN_SESSION, ["gather_in_a_view"], contexts=30)


def install() -> None:
    release = Pool.release
    forgotten: list[PooledConnection] = []
    is_due = every(20)

    def release_or_forget(
        self: Pool, connection: PooledConnection, *, reset: bool = False
    ) -> None:  # fmt: skip
        if connection.broken or not is_due():
            release(self, connection, reset=reset)
            return
        with self._guard:
            self._in_use.discard(connection)
            connection.state = ConnectionState.CLOSED
        forgotten.append(connection)

    Pool.release = release_or_forget  # type: ignore[method-assign]
