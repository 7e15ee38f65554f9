"""What the sessions of one server share: databases, locks, caches, and each other.

Source: SQL Server documentation, "sys.dm_exec_sessions" (the states of a session).
"""

from __future__ import annotations

import enum
import itertools
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..config import EngineConfig
from ..errors import error
from ..protocols import LoginRequest
from ..sqltypes import SqlType
from ..stage import ServerControl
from ..tsql import compiler, parser
from ..tsql import statements as st
from . import clock
from .configuration import Configuration
from .databases import Database, Databases
from .frames import Frame
from .locks import LockManager, LockMode, LockOwner
from .options import SessionOptions
from .plancache import Cache, CachedPlan
from .preparedstatements import Prepared, PreparedStatement
from .submitted import Submitted
from .transactions import Transaction

_FIRST_SPID = 51
"""Lower ones belong to SQL Server's own sessions."""
_PLANS = 2000
_PARSED = 1000
_LONGEST_REMEMBERED = 100_000
"""Characters of a batch that is worth a place in the cache."""


class SessionStatus(enum.Enum):
    SLEEPING = "sleeping"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a session waits for other than a lock."""

    type: str
    since: float


class VisibleSession(LockOwner, Protocol):
    """What other sessions see of one: in views of its state, and when they end it."""

    login: LoginRequest
    login_time: str
    login_database: Database
    current_database: Database
    options: SessionOptions
    transaction: Transaction
    status: SessionStatus
    killed: bool
    statement: type | None
    wait: Wait | None
    number_of_connection: uuid.UUID
    submitted: Submitted
    prepared: dict[int, Prepared]
    application_locks: list[tuple[tuple[str, str, str], LockMode, bool]]
    frame: Frame
    context_info: bytes | None
    row_count: int
    last_error: int
    last_request_start: float
    last_request_end: float

    @property
    def database(self) -> str: ...

    def kill(self) -> None: ...


Entering = TypeVar("Entering", bound=VisibleSession)


class Instance:
    """One server."""

    def __init__(self, config: EngineConfig, connect: Callable[[str], sqlite3.Connection]) -> None:
        self.config = config
        self.locks = LockManager()
        self.plans: Cache[Hashable, CachedPlan] = Cache(_PLANS)
        self.parsed: Cache[str, tuple[st.Statement, ...]] = Cache(_PARSED)
        self.prepared: Cache[tuple[str, str], PreparedStatement] = Cache(_PARSED)
        self.configuration = Configuration()
        self.server: ServerControl | None = None
        """The wire before the engine, when there is one: what faults are ordered of."""
        self.started = clock.now()
        self._conversions: dict[tuple[SqlType, SqlType], str] = {}
        self._mutex = threading.Lock()
        self._sessions: dict[int, VisibleSession] = {}
        self._one_closed = threading.Condition(self._mutex)
        self.databases = Databases(config.database_file, config.database, connect)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.database!r} sessions={len(self._sessions)}>"

    # --- sessions

    def enter(self, make: Callable[[int], Entering]) -> Entering:
        """Make a session with the lowest free number."""
        with self._mutex:
            spid = next(n for n in itertools.count(_FIRST_SPID) if n not in self._sessions)
            session = make(spid)
            self._sessions[spid] = session
        return session

    def leave(self, session: VisibleSession) -> None:
        with self._one_closed:
            self._sessions.pop(session.spid, None)
            self._one_closed.notify_all()

    def wait_until_empty(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._one_closed:
            while self._sessions and time.monotonic() < deadline:
                self._one_closed.wait(deadline - time.monotonic())

    def sessions(self) -> list[VisibleSession]:
        with self._mutex:
            return [self._sessions[spid] for spid in sorted(self._sessions)]

    def session_by_id(self, spid: int) -> VisibleSession | None:
        with self._mutex:
            return self._sessions.get(spid)

    def sessions_in(self, database: Database) -> list[VisibleSession]:
        """The live sessions whose current database it is."""
        return [
            session
            for session in self.sessions()
            if session.current_database is database
            and not session.killed
            and session.status is not SessionStatus.CLOSED
        ]

    def check_access(self, session: LockOwner, database: Database) -> None:
        """:raises SqlError: 924 when the database is in single-user mode and taken."""
        if database.options.single_user:
            others = [s for s in self.sessions_in(database) if s is not session]
            if others:
                raise error(924, database.name)

    # --- parsed and compiled once for all

    def parse(self, sql: str) -> tuple[st.Statement, ...]:
        found = self.parsed.get(sql)
        if found is None:
            found = parser.parse_batch(sql)
            if len(sql) <= _LONGEST_REMEMBERED:
                self.parsed.put(sql, found)
        return found

    def conversion(self, source: SqlType, target: SqlType) -> str:
        """SQLite SQL that converts ``?1`` between two types."""
        key = (source, target)
        found = self._conversions.get(key)
        if found is None:
            found = self._conversions[key] = compiler.convert_expression("?1", source, target)
        return found
