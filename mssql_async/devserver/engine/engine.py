"""The engine: databases, logins, sessions, and what sessions share."""

from __future__ import annotations

import hmac
import itertools
import sqlite3
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..config import EngineConfig
from ..errors import error
from ..protocols import LoginRequest
from ..sqltypes import SqlType
from ..tsql import compiler, runtime
from ..tsql import statements as st
from ..tsql.plan import Host
from . import clock
from .databases import Database, Databases
from .locks import LockManager
from .plancache import Cache, CachedPlan
from .procedures.prepared import PreparedStatement
from .procedures.server import Configuration
from .session import EngineSession, SessionStatus

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ..stage import ServerControl

_FIRST_SPID = 51
"""Lower ones belong to SQL Server's own sessions."""
_PLANS = 2000
_PARSED = 1000
_CLOSE_TIMEOUT = 10.0


class _NobodysHost:
    """The host of connections that run no T-SQL (the keepers)."""

    def session_function(self, name: str, arguments: object) -> None:
        raise error(195, name.upper(), "built-in function name")

    def next_identity(self, object_id: int) -> int:
        raise error(208, str(object_id))

    def note_identity(self, object_id: int, value: int) -> None:
        raise error(208, str(object_id))

    @property
    def date_first(self) -> int:
        return 7

    @property
    def date_format(self) -> str:
        return "mdy"

    @property
    def check_interrupt(self) -> bool:
        return False


class SqlEngine:
    """See :class:`mssql_async.devserver.protocols.Engine`."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.locks = LockManager()
        self.plans: Cache[Hashable, CachedPlan] = Cache(_PLANS)
        self.parsed: Cache[str, tuple[st.Statement, ...]] = Cache(_PARSED)
        self.prepared: Cache[tuple[str, str], PreparedStatement] = Cache(_PARSED)
        self.configuration = Configuration()
        self._conversions: dict[tuple[SqlType, SqlType], str] = {}
        self._logins = {name.casefold(): (name, word) for name, word in config.logins.items()}
        self._mutex = threading.Lock()
        self._sessions: dict[int, EngineSession] = {}
        self._all_closed = threading.Condition(self._mutex)
        self._closed = False
        self.server: ServerControl | None = None
        self.started = clock.now()
        self._made_read_only: list[Database] = []
        self.databases = Databases(config.database_file, config.database, self._connect)

    def __repr__(self) -> str:
        return f"<SqlEngine {self.config.database!r} sessions={len(self._sessions)}>"

    def _connect(self, path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        runtime.install(connection, _NobodysHost())
        connection.execute("PRAGMA busy_timeout = 10000")
        return connection

    @staticmethod
    def install_runtime(connection: sqlite3.Connection, host: Host) -> runtime.Runtime:
        return runtime.install(connection, host)

    def login(self, request: LoginRequest) -> EngineSession:
        """Open a session.

        An empty database name is the login's default: the configured database. SQL Server
        sends 18456 after 4060; whoever handles the exception may do so too.
        """
        if not self._may_enter(request) or self._closed:
            raise error(18456, request.user)
        name = request.database or self.config.database
        database = self.databases.find(name)
        if database is None:
            raise error(4060, name)
        if database.options.single_user and self.sessions_in(database):
            raise error(4060, name)
        with self._mutex:
            spid = next(n for n in itertools.count(_FIRST_SPID) if n not in self._sessions)
            session = EngineSession(self, spid, request, database)
            self._sessions[spid] = session
        return session

    def _may_enter(self, request: LoginRequest) -> bool:
        if request.access_token is not None:
            return True  # the wire has looked at it and put its principal into ``user``
        known = self._logins.get(request.user.casefold())
        expected = known[1] if known is not None else ""
        # UTF-16, as it came: a password may hold half a surrogate pair.
        given = request.password.encode("utf-16-le", "surrogatepass")
        matches = hmac.compare_digest(expected.encode("utf-16-le", "surrogatepass"), given)
        return known is not None and matches

    def check_access(self, session: EngineSession, database: Database) -> None:
        """:raises SqlError: 924 when the database is in single-user mode and taken."""
        if database.options.single_user:
            others = [s for s in self.sessions_in(database) if s is not session]
            if others:
                raise error(924, database.name)

    def sessions(self) -> list[EngineSession]:
        with self._mutex:
            return [self._sessions[spid] for spid in sorted(self._sessions)]

    def session_by_id(self, spid: int) -> EngineSession | None:
        with self._mutex:
            return self._sessions.get(spid)

    def sessions_in(self, database: Database) -> list[EngineSession]:
        """The live sessions whose current database it is."""
        return [
            session
            for session in self.sessions()
            if session.current_database is database
            and not session.killed
            and session.status is not SessionStatus.CLOSED
        ]

    def session_closed(self, session: EngineSession) -> None:
        with self._all_closed:
            self._sessions.pop(session.spid, None)
            self._all_closed.notify_all()

    def conversion(self, source: SqlType, target: SqlType) -> str:
        """SQLite SQL that converts ``?1`` between two types."""
        key = (source, target)
        found = self._conversions.get(key)
        if found is None:
            found = self._conversions[key] = compiler.convert_expression("?1", source, target)
        return found

    # --- what faults ask: see ..stage.Controllable

    def attach_server(self, server: ServerControl) -> None:
        self.server = server

    @property
    def server_name(self) -> str:
        return self.config.server_name

    def renew(self, server_name: str, *, read_only: bool) -> None:
        self.make_writable()
        self.config = replace(self.config, server_name=server_name)
        self.started = clock.now()
        if read_only:
            for database in self.databases:
                if not database.is_system and not database.options.read_only:
                    database.options.read_only = True
                    self._made_read_only.append(database)

    def make_writable(self) -> None:
        while self._made_read_only:
            self._made_read_only.pop().options.read_only = False

    def close(self) -> None:
        """End every session (waiting for those that run to notice) and release files."""
        self._closed = True
        for session in self.sessions():
            session.kill()
        deadline = time.monotonic() + _CLOSE_TIMEOUT
        with self._all_closed:
            while self._sessions and time.monotonic() < deadline:
                self._all_closed.wait(deadline - time.monotonic())
        self.databases.close()


def open_engine(config: EngineConfig) -> SqlEngine:
    """Open an engine on its files, or on temporary ones."""
    return SqlEngine(config)
