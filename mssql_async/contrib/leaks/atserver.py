"""The server's side of one process: its sessions, beside what the pools know.

One statement on an idle connection of a pool, or on one that the pool opens for it. The rows are
those of ``sys.dm_exec_sessions`` with this connection's own host and process, whoever opened
them. A login without VIEW SERVER STATE (from SQL Server 2022 on: VIEW SERVER PERFORMANCE STATE)
sees but its own session: then nothing can be said.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...pool import NullPool
from ...pool.connection import PooledConnection
from ...pool.lenders import ConnectionSource
from ...pool.registry import connection_sources
from .record import ServerSession, Session

#: Seconds that the statement may take.
TIME_LIMIT = 3

_SESSIONS = """\
SELECT s.session_id, CONVERT(varchar(30), s.login_time, 126), s.program_name, s.status,
       s.open_transaction_count, @@SERVERNAME,
       COALESCE(HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE'), 0)
       + COALESCE(HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE'), 0)
  FROM sys.dm_exec_sessions AS me
  JOIN sys.dm_exec_sessions AS s
    ON s.host_process_id = me.host_process_id AND s.host_name = me.host_name
 WHERE me.session_id = @@SPID AND s.is_user_process = 1"""

_LAST_STATEMENT = """\
SELECT t.text FROM sys.dm_exec_connections AS c
 OUTER APPLY sys.dm_exec_sql_text(c.most_recent_sql_handle) AS t
 WHERE c.session_id = {spid}"""


class MayNotLook(Exception):
    """The login has not the permission to see other sessions than its own."""


@dataclass(slots=True)
class Look:
    """What the servers and the pools show at one moment."""

    sessions: dict[Session, ServerSession] = field(default_factory=dict)
    known: int = 0
    """Connections of the pools (and wrappers) of those servers."""

    @property
    def unknown(self) -> int:
        return max(0, len(self.sessions) - self.known)


def look(*, open_one: bool, also_known: int = 0) -> Look | None:
    """``None``: there is no pool to look through, or its server does not answer.

    :param open_one: whether a pool that has connections, but none at hand, may open one for it.
    :param also_known: connections of others than the pools.
    :raises MayNotLook: the server does not show.
    """
    found: Look | None = None
    for pool in _pools():
        rows = _ask(pool, _SESSIONS, open_one=open_one)
        if not rows:
            continue
        if not any(row[6] for row in rows):
            raise MayNotLook
        if found is None:
            found = Look()
        at = time.time()
        for spid, login_time, program, status, transactions, server, _ in rows:
            # With the server's name: two servers count their sessions alike.
            session = Session(spid, f"{login_time} {server}")
            found.sessions[session] = ServerSession(
                at, session, os.getpid(), program, status, transactions
            )
    if found is not None:
        # Of all, also of those that could not be asked: too many known hide an orphan at worst.
        found.known = also_known + sum(pool.statistics().size for pool in connection_sources())
    return found


def name_known(look_: Look) -> tuple[Session, ...]:
    """Those of a look's sessions that are idle connections of the pools; for when something is
    wrong, because each of them is asked."""
    spids: set[int] = set()
    for pool in _pools():
        with contextlib.ExitStack() as lent:
            for _ in range(pool.statistics().idle):
                connection = pool.acquire(wait=False)
                if connection is None:
                    break
                lent.callback(pool.release, connection)
                spids.update(row[0] for row in _execute(pool, connection, "SELECT @@SPID"))
    return tuple(session for session in look_.sessions if session.spid in spids)


def last_statement(session: Session) -> str:
    """What it ran last, or nothing."""
    for pool in _pools():
        rows = _ask(pool, _LAST_STATEMENT.format(spid=session.spid), open_one=False)
        for row in rows:
            if row[0]:
                return str(row[0])
    return ""


def _pools() -> Iterator[ConnectionSource]:
    for pool in connection_sources():
        if not isinstance(pool, NullPool) and pool.statistics().state == "open":
            yield pool


def _ask(pool: ConnectionSource, sql: str, *, open_one: bool) -> list[Any]:
    """The rows, or none where there is nobody to ask."""
    numbers = pool.statistics()
    if not numbers.idle and not (open_one and numbers.size):
        return []
    try:
        connection = pool.acquire(wait=False)
    except Exception:  # whatever it is: the test that ran is not to blame
        return []
    if connection is None:
        return []
    try:
        return _execute(pool, connection, sql)
    finally:
        pool.release(connection)


def _execute(pool: ConnectionSource, connection: PooledConnection, sql: str) -> list[Any]:
    raw = connection.raw
    limit, raw.timeout = raw.timeout, TIME_LIMIT
    try:
        cursor = raw.cursor()
        try:
            rows: list[Any] = cursor.execute(sql).fetchall()
        finally:
            cursor.close()
        raw.timeout = limit
    except Exception:  # the server may be gone already, at the end of a run
        pool.condemn(connection)
        return []
    connection.proved_at = time.monotonic()
    return rows
