"""The engine: who may log in, and the beginning and end of everything."""

from __future__ import annotations

import hmac
import sqlite3
from dataclasses import replace

from ..config import EngineConfig
from ..errors import error
from ..protocols import LoginRequest
from ..stage import ServerControl
from ..tsql import runtime
from . import clock
from .databases import Database
from .instance import Instance
from .numbered import CONNECTION
from .session import EngineSession

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


class SqlEngine(Instance):
    """See :class:`mssql_async.devserver.protocols.Engine`."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, self._connect)
        self._logins = {name.casefold(): (name, word) for name, word in config.logins.items()}
        self._closed = False
        self._made_read_only: list[Database] = []

    @staticmethod
    def _connect(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=CONNECTION
        )
        runtime.install(connection, _NobodysHost())
        connection.execute("PRAGMA busy_timeout = 10000")
        return connection

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
        return self.enter(lambda spid: EngineSession(self, spid, request, database))

    def _may_enter(self, request: LoginRequest) -> bool:
        if request.access_token is not None:
            return True  # the wire has looked at it and put its principal into ``user``
        known = self._logins.get(request.user.casefold())
        expected = known[1] if known is not None else ""
        # UTF-16, as it came: a password may hold half a surrogate pair.
        given = request.password.encode("utf-16-le", "surrogatepass")
        matches = hmac.compare_digest(expected.encode("utf-16-le", "surrogatepass"), given)
        return known is not None and matches

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

    # --- the end

    def close(self) -> None:
        """End every session (waiting for those that run to notice) and release files."""
        self._closed = True
        for session in self.sessions():
            session.kill()
        self.wait_until_empty(_CLOSE_TIMEOUT)
        self.databases.close()


def open_engine(config: EngineConfig) -> SqlEngine:
    """Open an engine on its files, or on temporary ones."""
    return SqlEngine(config)
