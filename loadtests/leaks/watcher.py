"""What the server shows of the sessions under test, seen from a connection of its own.

A thread asks ten times a second how many there are. :meth:`Watcher.at_rest` tells all of each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import pyodbc

from mssql_async.contrib.leaks.record import ServerSession, Session

from . import clock
from .outcome import Moment
from .server import Counted, Server

T = TypeVar("T")

PERIOD = 0.1
"""Seconds from one look to the next."""
MOST_MOMENTS = 2000
"""When there are so many, each two become one and looks count half as often."""

_COUNTS = (
    "SELECT host_process_id, COUNT(*), SUM(CASE WHEN status = 'running' THEN 1 ELSE 0 END), "
    "SUM(CASE WHEN open_transaction_count > 0 THEN 1 ELSE 0 END) "
    "FROM sys.dm_exec_sessions WHERE program_name = ? AND is_user_process = 1 "
    "GROUP BY host_process_id"
)
_SESSIONS = (
    "SELECT s.session_id, CONVERT(varchar(23), s.login_time, 126), s.host_process_id, "
    "s.program_name, s.status, s.open_transaction_count, DB_NAME(s.database_id), "
    "s.transaction_isolation_level, s.language, s.date_format, s.date_first, s.lock_timeout, "
    "t.text FROM sys.dm_exec_sessions AS s "
    "LEFT JOIN sys.dm_exec_connections AS c ON c.session_id = s.session_id "
    "OUTER APPLY sys.dm_exec_sql_text(c.most_recent_sql_handle) AS t "
    "WHERE s.program_name = ? AND s.is_user_process = 1 ORDER BY s.session_id"
)
_LOCKS = (
    "SELECT request_session_id, resource_description, request_mode, request_owner_type "
    "FROM sys.dm_tran_locks WHERE resource_type = 'APPLICATION' AND request_status = 'GRANT'"
)
_SHOWN = 200
"""Characters of a statement."""
_NO_ANSWER = (
    "The server did not say whether this login may see its sessions: nothing is seen from the "
    "server's side, so orphan sessions, open transactions and locks are not found there."
)


@dataclass(frozen=True, slots=True)
class Inside:
    """What the processes under test say of themselves; ``None``: they do not."""

    threads: int | None = None
    waiting: int | None = None
    in_use: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the sessions under test, over all their processes."""

    by_process: Mapping[int, int]
    running: int
    in_transactions: int

    @property
    def sessions(self) -> int:
        return sum(self.by_process.values())


class Watcher:
    """Watches for the time of its ``with`` block. Methods may be called from any thread."""

    def __init__(self, server: Server, program: str, inside: Callable[[], Inside] = Inside) -> None:
        self._server = server
        self._program = program
        self._inside = inside
        self._connection: pyodbc.Connection | None = None
        self._asking = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leaks-watcher", daemon=True)
        self._moments: list[Moment] = []
        self._pending: list[Moment] = []
        self._stride = 1
        self.blind = ""
        """Why nothing can be seen of the server; "" if it can."""

    def __enter__(self) -> Self:
        blind = self._server.blind or self._asked(self._find_out)
        self.blind = _NO_ANSWER if blind is None else blind
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        with self._asking:
            self._hang_up()

    @property
    def moments(self) -> list[Moment]:
        """The series so far, :data:`MOST_MOMENTS` at most."""
        return list(self._moments)

    def counts(self) -> Counts | None:
        """Now. ``None``: it cannot be seen, or the server is not there just now."""
        if self.blind:
            return None
        rows = self._asked(lambda c: c.execute(_COUNTS, self._program).fetchall())
        if rows is None:
            return None
        self._server.own_statements += 1
        return Counts(
            {process: sessions for process, sessions, _running, _open in rows},
            sum(row[2] for row in rows),
            sum(row[3] for row in rows),
        )

    def at_rest(self) -> list[ServerSession] | None:
        """All of every session under test. ``None``: see :meth:`counts`."""
        if self.blind:
            return None
        at = clock.now()

        def ask(connection: pyodbc.Connection) -> list[ServerSession]:
            rows = connection.execute(_SESSIONS, self._program).fetchall()
            locks: dict[int, list[str]] = {}
            for spid, resource, mode, owner in connection.execute(_LOCKS):
                locks.setdefault(spid, []).append(f"{resource} {mode}, {owner.lower()}'s")
            self._server.own_statements += 2
            return [_session(at, row, locks.get(row[0], ())) for row in rows]

        return self._asked(ask)

    def counted(self) -> Counted:
        """Logins and statements by the server's own counters, without those of the harness.
        Only the embedded one has them."""
        if not self._server.is_embedded:
            return Counted()
        rows = self._asked(lambda c: c.execute("EXEC devserver.counters").fetchall())
        total = {name: value for spid, name, value in rows or () if spid is None}
        if not total:
            return Counted()
        own = self._server
        return Counted(total["logins"] - own.own_logins, total["statements"] - own.own_statements)

    # --- the thread ----------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.wait(PERIOD):
            counts, inside = self.counts(), self._inside()
            self._keep(
                Moment(
                    clock.now(),
                    None if counts is None else counts.sessions,
                    None if counts is None else counts.running,
                    inside.threads,
                    inside.waiting,
                    inside.in_use,
                )
            )

    def _keep(self, moment: Moment) -> None:
        self._pending.append(moment)
        if len(self._pending) < self._stride:
            return
        self._moments.append(_highest(self._pending))
        self._pending = []
        if len(self._moments) >= MOST_MOMENTS:
            pairs = zip(self._moments[::2], self._moments[1::2], strict=True)
            self._moments = [_highest(pair) for pair in pairs]
            self._stride *= 2

    # --- asking --------------------------------------------------------------------------------

    def _asked(self, work: Callable[[pyodbc.Connection], T]) -> T | None:
        """A fault may have ended the connection: the next look then tries another."""
        with self._asking:
            try:
                if self._connection is None:
                    self._connection = self._server.connect()
                return work(self._connection)
            except pyodbc.Error:
                self._hang_up()
                return None

    def _find_out(self, connection: pyodbc.Connection) -> str:
        """Which right is missing, in words. Below SQL Server 2022 there is only the first."""
        if self._server.is_embedded:
            return ""
        row = connection.execute(
            "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE'), "
            "HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE')"
        ).fetchone()
        if row is not None and (row[0] or row[1]):
            return ""
        return (
            "This login lacks VIEW SERVER STATE: nothing is seen from the server's side, so "
            "orphan sessions, open transactions and locks are not found there."
        )

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pyodbc.Error):
                connection.close()


def _session(at: float, row: pyodbc.Row, locks: Iterable[str]) -> ServerSession:
    (spid, login_time, process, program, status, transactions, database, isolation, language,
     date_format, date_first, lock_timeout, statement) = row  # fmt: skip
    settings = {
        "isolation level": isolation,
        "language": language,
        "date format": date_format,
        "date first": date_first,
        "lock timeout": lock_timeout,
    }
    return ServerSession(
        at,
        Session(spid, login_time or ""),
        process or 0,
        program or "",
        status or "",
        transactions or 0,
        database or "",
        tuple((name, str(value)) for name, value in settings.items()),
        tuple(sorted(locks)),
        (),
        " ".join((statement or "").split())[:_SHOWN],
    )


def _highest(moments: Iterable[Moment]) -> Moment:
    """What is thinned out keeps its peaks."""
    few = list(moments)

    def most(values: Iterable[int | None]) -> int | None:
        return max((value for value in values if value is not None), default=None)

    return Moment(
        few[-1].at,
        most(each.sessions for each in few),
        most(each.running for each in few),
        most(each.threads for each in few),
        most(each.waiting for each in few),
        most(each.in_use for each in few),
    )
