"""What a session is: its SQLite connection, settings, transaction and temporary tables.

What runs its requests (:mod:`.interpreter`) and who drives that (:mod:`.session`) lie
above; everything that a statement, function or system view asks of "the session" is here.

Source: SQL Server documentation, "sys.dm_exec_sessions", "sp_set_session_context".
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from ..errors import SqlError
from ..protocols import Isolation, LoginRequest, StatementHook
from ..results import Environment, EnvironmentChange, Event
from ..schema import Table
from ..sqltypes import StorageValue
from ..tsql import runtime
from ..tsql.plan import Host
from . import clock
from .catalog import Catalog
from .constraints import CHECK_FUNCTION, FOREIGN_KEY_FUNCTION, PendingViolations, check_conflict
from .databases import Database
from .frames import Frame
from .identities import IdentityCounters
from .instance import Instance, SessionStatus, Wait
from .locks import LockMode
from .numbered import CONNECTION
from .options import SessionOptions
from .preparedstatements import Prepared
from .storage import quote
from .submitted import NOTHING, Submitted
from .transactions import TemporaryTables, Transaction

_MOST_ATTACHED = 9
_FIRST_TEMPORARY_ID = -2_000_000_000
_TEMPORARY_IDS = 160_000
"""Numbers of objects for each session: 10,000 tables before it comes to the next one's."""
_PROGRESS_STEPS = 2000
"""SQLite operations between two looks at the interrupt flag."""
_GRACE = 1.0
"""Seconds that an interrupted modification has to end without its transaction."""
_BUDGET_TICKS = 3
"""Looks that a SELECT may live through on a thread that may not wait: well below a
millisecond of native work. SQLite counts the operations of a prepared statement across
its executions, so the first look may come at once."""


Settings = tuple[SessionOptions, tuple[Database | None, int] | None, Database, TemporaryTables]
"""What a scope puts back: see :meth:`SessionState.put_back`."""


class SessionState:
    """One session, as its statements know it."""

    def __init__(
        self,
        engine: Instance,
        spid: int,
        request: LoginRequest,
        database: Database,
        host: Callable[[SessionState], Host],
    ) -> None:
        self.engine = engine
        self._spid = spid
        self.login = request
        self.login_time = clock.now()
        self.last_request_start = self.last_request_end = time.time()
        self.status = SessionStatus.SLEEPING
        self.killed = False
        self.closing = False
        self.login_database = database
        self.current_database = database
        self.options = self.login_options()
        self.statement_hook: StatementHook | None = None
        self.statement: type | None = None
        """The type of the statement that runs, or ran last."""
        self.submitted: Submitted = NOTHING
        """The batch or call that runs, or ran last."""
        self.wait: Wait | None = None
        self.number_of_connection = uuid.uuid4()
        self._open_connection(host)
        self._start_interruptible()
        self.base_frame = Frame()
        self.frame = self.base_frame
        self.live_table_variables: dict[str, Table] = {}
        self.temporary_identities = IdentityCounters()
        self.temporary_ids = itertools.count(_FIRST_TEMPORARY_ID + spid * _TEMPORARY_IDS, 16)
        self.identity_target: Table | None = None
        self.identity_counters: IdentityCounters | None = None
        """The table that the running statement writes to, and its database's counters."""
        self.row_count = 0
        self.last_error = 0
        self.last_identity: int | None = None
        self.identity_insert: tuple[Database | None, int] | None = None
        self.identity_insert_name = ""
        self.prepared: dict[int, Prepared] = {}
        self._handles = itertools.count(1)
        self.context: dict[str, tuple[StorageValue, bool]] = {}
        self.context_info: bytes | None = None
        self.application_locks: list[tuple[tuple[str, str, str], LockMode, bool]] = []
        """Locks of sp_getapplock: key, mode, and whether the transaction owns them."""
        self.attach(database)

    def _open_connection(self, host: Callable[[SessionState], Host]) -> None:
        self.connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=512,
            factory=CONNECTION,
        )  # fmt: skip
        self._attached: dict[str, Database] = {}
        self.runtime = runtime.install(self.connection, host(self))
        self.connection.execute("PRAGMA recursive_triggers = ON")
        self.connection.execute("PRAGMA temp_store = MEMORY")
        self.connection.execute("PRAGMA busy_timeout = 10000")
        self.pending = PendingViolations()
        self.connection.create_function(FOREIGN_KEY_FUNCTION, -1, self.pending.note_foreign_key)
        self.connection.create_function(CHECK_FUNCTION, 1, self._check_failed)
        self.transaction = Transaction(self.connection, self, self.engine.locks)

    def _start_interruptible(self) -> None:
        self.may_wait = True
        """Whether the thread that runs the request may wait: see ``Run.advance``."""
        self.give_way_at = math.inf
        """When (by the monotonic clock) a thread that may not wait has done enough."""
        self.interrupted = threading.Event()
        self.interrupted_at = 0.0
        self.transaction_lost = False
        self.interruptible = False
        self.budgeted = False
        self.over_budget = False
        self.ticks = 0
        self.connection.set_progress_handler(self._progress, _PROGRESS_STEPS)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._spid} {self.status.name} in {self.database!r}>"

    @property
    def spid(self) -> int:
        return self._spid

    @property
    def database(self) -> str:
        return self.current_database.name

    @property
    def language(self) -> str:
        return self.options.language

    @property
    def deadlock_priority(self) -> int:
        return self.options.deadlock_priority

    # --- settings

    def login_options(self, isolation: Isolation = Isolation.READ_COMMITTED) -> SessionOptions:
        """The settings after a login or a reset: LOGIN7 may name a language."""
        options = SessionOptions(isolation=isolation)
        with contextlib.suppress(SqlError):  # an unknown language: the server's default
            if self.login.language:
                options.set("LANGUAGE", self.login.language, 0)
        return options

    def change_isolation(self, isolation: Isolation) -> None:
        self.options = replace(self.options, isolation=isolation)

    def settings(self) -> Settings:
        """What the end of a scope (sp_executesql, EXEC) compares and puts back."""
        return (
            self.options,
            self.identity_insert,
            self.current_database,
            self.transaction.temporary,
        )

    def put_back(self, before: Settings) -> list[Event]:
        """End a scope: SET options, IDENTITY_INSERT and the database are again what they
        were, temporary tables made in it are gone. CONTEXT_INFO and the session context
        are not of the scope.

        Source: SQL Server documentation, "SET statements", "sp_executesql", "EXECUTE".
        """
        events: list[Event] = []
        options, identity_insert, database, temporary = before
        self.identity_insert = identity_insert
        if self.options is not options:
            if self.options.language != options.language:
                change = (options.language, self.options.language)
                events.append(EnvironmentChange(Environment.LANGUAGE, *change))
            self.options = options
        if self.current_database is not database and not database.dropped:
            change = (database.name, self.current_database.name)
            events.append(EnvironmentChange(Environment.DATABASE, *change))
            self.use(database)
        if self.transaction.temporary is not temporary:
            self._drop_temporary_tables_since(temporary)
        return events

    # --- databases and catalogs

    def find_database(self, name: str) -> Database | None:
        """A database by name, attached to the session's connection."""
        database = self.engine.databases.find(name)
        if database is not None:
            self.attach(database)
        return database

    def attach(self, database: Database) -> None:
        if database.schema_name in self._attached:
            return
        for name, other in list(self._attached.items()):
            crowded = len(self._attached) >= _MOST_ATTACHED
            if other.dropped or (crowded and other is not self.current_database):
                with contextlib.suppress(sqlite3.OperationalError):
                    self.connection.execute(f"DETACH {quote(name)}")
                    del self._attached[name]
        self.connection.execute(f"ATTACH ? AS {quote(database.schema_name)}", (str(database.path),))
        if not self.connection.in_transaction:
            self.connection.execute(f"PRAGMA {quote(database.schema_name)}.synchronous = OFF")
        self._attached[database.schema_name] = database

    def detach(self, database: Database) -> None:
        if self._attached.pop(database.schema_name, None) is not None:
            self.connection.execute(f"DETACH {quote(database.schema_name)}")

    def is_attached(self, database: Database) -> bool:
        return database.schema_name in self._attached

    def use(self, database: Database) -> None:
        self.attach(database)
        self.current_database = database

    @property
    def catalog(self) -> Catalog:
        return self.transaction.catalog(self.current_database)

    def identity_insert_on(self, table: Table) -> bool:
        return self.identity_insert is not None and self.identity_insert[1] == table.object_id

    # --- prepared statements

    def new_handle(self) -> int:
        return next(self._handles)

    def forget_prepared(self) -> None:
        self.prepared.clear()
        self._handles = itertools.count(1)

    # --- the end of transactions

    def roll_back(self) -> None:
        self.transaction.rollback()
        self.release_application_locks(of_transaction=True)

    def release_application_locks(self, *, of_transaction: bool) -> None:
        """Release those that the transaction owns, or those that the session does."""
        kept: list[tuple[tuple[str, str, str], LockMode, bool]] = []
        for key, mode, transactional in self.application_locks:
            if transactional != of_transaction:
                kept.append((key, mode, transactional))
            else:
                self.engine.locks.release(self, key, mode)
        self.application_locks = kept

    # --- temporary tables and table variables

    def drop_temporary_tables(self) -> None:
        for table in (
            *self.transaction.temporary.tables.values(),
            *self.live_table_variables.values(),
        ):
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute(f"DROP TABLE temp.{quote(table.storage_name)}")
        self.transaction.forget_temporary_tables()
        self.live_table_variables.clear()

    def _drop_temporary_tables_since(self, before: TemporaryTables) -> None:
        """A temporary table made in sp_executesql or EXEC ends with it."""
        known = {table.object_id for table in before.tables.values()}
        kept = {}
        for name, table in self.transaction.temporary.tables.items():
            if table.object_id in known:
                kept[name] = table
            else:
                self.connection.execute(f"DROP TABLE temp.{quote(table.storage_name)}")
        if len(kept) != len(self.transaction.temporary.tables):
            self.transaction.temporary = TemporaryTables(kept)

    def drop_table_variables(self, frame: Frame) -> None:
        for table in frame.tables.values():
            self.live_table_variables.pop(table.storage_name, None)
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute(f"DROP TABLE temp.{quote(table.storage_name)}")
        frame.tables.clear()

    # --- interruption

    def interrupt(self) -> None:
        """End the running statement or the wait for a lock; from any thread."""
        self.interrupted_at = time.monotonic()
        self.interrupted.set()
        self.runtime.interrupted = True
        self.engine.locks.interrupt(self)

    def _progress(self) -> int:
        """Called by SQLite every now and then: 1 ends the running statement.

        For a modification inside of a transaction that means the end of the transaction
        as well, so functions and lock waits end those; here it is the last resort.
        """
        if not self.interruptible:
            if self.closing or (
                self.interrupted.is_set() and time.monotonic() - self.interrupted_at > _GRACE
            ):
                self.transaction_lost = True
                return 1
            return 0
        if self.interrupted.is_set():
            return 1
        if self.budgeted:
            self.ticks += 1
            self.over_budget = self.ticks > _BUDGET_TICKS
            return int(self.over_budget)
        return 0

    # --- constraints

    def _check_failed(self, number: int) -> None:
        self.pending.failed_check = number
        raise _CheckFailed

    def failed_check_error(self, database: Database, command: str) -> SqlError | None:
        """547 for the CHECK that has just ended a statement."""
        number, self.pending.failed_check = self.pending.failed_check, None
        if number is None:
            return None
        thing = self.transaction.catalog(database).object_by_id(number)
        if thing is None or thing.parent is None:
            return None
        return check_conflict(database.name, command, thing.parent, thing.item)  # type: ignore[arg-type]


class _CheckFailed(Exception):
    pass
