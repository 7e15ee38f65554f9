"""Connections to nowhere: they open and answer at once, and die when they are told to.

All pools are measured on the same ones, so that a figure is the pool's own.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pyodbc

from mssql_async.pool.connector import Opened, Profile


class StubServer:
    """Where stub connections come from. Counts what it is asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.era = 0
        """How often it has failed over; connections of an earlier era are dead."""
        self.announced = True
        """Whether the driver was told: the peer closed the socket, and did not just vanish."""
        self.logins = 0
        self.unanswered = 0
        """Messages sent on dead connections."""

    def login(self) -> None:
        with self._lock:
            self.logins += 1

    def fail_over(self, *, announced: bool) -> None:
        """Every connection so far is dead; the server is back at once."""
        self.announced = announced
        self.era += 1

    def leave_unanswered(self) -> None:
        with self._lock:
            self.unanswered += 1


class StubConnection:
    """One connection, with what the DB-API and each of the pools expect of it."""

    def __init__(self, server: StubServer) -> None:
        server.login()
        self.server = server
        self.era = server.era
        self.autocommit = True
        self.closed = False
        # psycopg_pool asks libpq for it: 0 is idle, 4 is lost.
        self.pgconn = SimpleNamespace(transaction_status=0)

    def execute(self, sql: str = "", *parameters: Any) -> StubConnection:
        """One round trip.

        :raises pyodbc.OperationalError: the connection is dead.
        """
        if self.era != self.server.era:
            self.pgconn.transaction_status = 4
            self.server.leave_unanswered()
            raise pyodbc.OperationalError("08S01", "[08S01] Communication link failure (0)")
        return self

    def cursor(self) -> StubCursor:
        return StubCursor(self)

    def rollback(self) -> None:
        """Nothing is ever open."""

    commit = rollback

    def close(self) -> None:
        self.closed = True


class StubCursor:
    def __init__(self, connection: StubConnection) -> None:
        self.execute = connection.execute

    def close(self) -> None:
        """Nothing to let go of."""


class StubConnector:
    """A :class:`mssql_async.pool.connector.Connector` for stub connections."""

    credential = 0

    def __init__(self, server: StubServer) -> None:
        self._server = server

    def open(self, deadline: float) -> Opened:
        return Opened(StubConnection(self._server))

    def is_transient(self, error: BaseException) -> bool:
        return False

    def explain(self, error: BaseException, attempts: int) -> BaseException:
        return error

    def reset(self, raw: StubConnection, profile: Profile) -> None:
        raw.execute("reset")

    def prove(self, raw: StubConnection) -> None:
        raw.execute("prove")

    def peer_hung_up(self, raw: StubConnection) -> bool:
        return raw.era != raw.server.era and raw.server.announced

    def close(self, raw: StubConnection) -> None:
        raw.close()
