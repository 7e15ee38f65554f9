"""One logged-in session: its SQLite connection, settings, transaction and requests.

A session is used by one thread at a time (``busy``); only :meth:`EngineSession.interrupt`,
:meth:`EngineSession.kill` and :meth:`EngineSession.close` come from others.

Source: MS-TDS 2.2.3.1.2 (RESETCONNECTION); SQL Server documentation,
"sys.dm_exec_sessions", "sp_set_session_context".
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import SqlError
from ..protocols import LoginRequest, Parameter, Run, StatementHook, TransactionRequest
from ..results import Environment, EnvironmentChange, Event
from ..schema import Table
from ..sqltypes import StorageValue
from . import clock
from .catalog import Catalog
from .constraints import CHECK_FUNCTION, FOREIGN_KEY_FUNCTION, PendingViolations, check_conflict
from .databases import Database
from .frames import Frame
from .functions import SessionHost
from .identities import IdentityCounters
from .interpreter import Interpreter
from .locks import LockMode
from .options import SessionOptions
from .procedures.prepared import PreparedStatement
from .runs import EngineRun, Steps
from .storage import quote
from .transactions import Transaction

if TYPE_CHECKING:
    from .engine import SqlEngine

_MOST_ATTACHED = 9
_PROGRESS_STEPS = 2000
"""SQLite operations between two looks at the interrupt flag."""
_GRACE = 1.0
"""Seconds that an interrupted modification has to end without its transaction."""
_BUDGET_TICKS = 3
"""Looks that a SELECT may live through on a thread that may not wait: well below a
millisecond of native work. SQLite counts the operations of a prepared statement across
its executions, so the first look may come at once."""


class SessionStatus(enum.Enum):
    SLEEPING = "sleeping"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


class EngineSession:
    """See :class:`mssql_async.devserver.protocols.Session`."""

    def __init__(
        self, engine: SqlEngine, spid: int, request: LoginRequest, database: Database
    ) -> None:
        self.engine = engine
        self._spid = spid
        self.login = request
        self.login_time = clock.now()
        self.last_request_start = self.last_request_end = time.time()
        self.status = SessionStatus.SLEEPING
        self.login_database = database
        self.current_database = database
        self.options = SessionOptions()
        self.busy = threading.RLock()
        self.may_wait = True
        self.interrupted = threading.Event()
        self.killed = False
        self._when_killed: list[Callable[[], None]] = []
        self.statement_hook: StatementHook | None = None
        self._closing = False
        self.connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=512
        )
        self._attached: dict[str, Database] = {}
        self.host = SessionHost(self)
        self.runtime = engine.install_runtime(self.connection, self.host)
        self.connection.execute("PRAGMA recursive_triggers = ON")
        self.connection.execute("PRAGMA temp_store = MEMORY")
        self.connection.execute("PRAGMA busy_timeout = 10000")
        self.pending = PendingViolations()
        self.connection.create_function(FOREIGN_KEY_FUNCTION, -1, self.pending.note_foreign_key)
        self.connection.create_function(CHECK_FUNCTION, 1, self._check_failed)
        self.transaction = Transaction(self.connection, self, engine.locks)
        self.transaction.around_rollback = self._keeping_table_variables
        self.interrupted_at = 0.0
        self.transaction_lost = False
        self.interruptible = False
        self.budgeted = False
        self.over_budget = False
        self.ticks = 0
        self.connection.set_progress_handler(self._progress, _PROGRESS_STEPS)
        self.base_frame = Frame()
        self.frame = self.base_frame
        self.live_table_variables: dict[str, Table] = {}
        self.temporary_identities = IdentityCounters()
        self.temporary_ids = itertools.count(-1_000_000_000, 16)
        self.row_count = 0
        self.last_error = 0
        self.last_identity: int | None = None
        self.identity_insert: tuple[Database | None, int] | None = None
        self.identity_insert_name = ""
        self.prepared: dict[int, PreparedStatement] = {}
        self._handles = itertools.count(1)
        self.context: dict[str, tuple[StorageValue, bool]] = {}
        self.context_info: bytes | None = None
        self.application_locks: list[tuple[tuple[str, str, str], LockMode, bool]] = []
        """Locks of sp_getapplock: key, mode, and whether the transaction owns them."""
        self.command = ""
        self.statement_command = ""
        self._run: EngineRun | None = None
        self.interpreter = Interpreter(self)
        self.attach(database)

    def __repr__(self) -> str:
        return f"<EngineSession {self._spid} {self.status.name} in {self.database!r}>"

    # --- what the protocol asks

    @property
    def spid(self) -> int:
        return self._spid

    @property
    def database(self) -> str:
        return self.current_database.name

    @property
    def deadlock_priority(self) -> int:
        return self.options.deadlock_priority

    def batch(self, sql: str) -> Run:
        return self._start(self.interpreter.batch(sql), sql)

    def call(self, procedure: str, parameters: Sequence[Parameter]) -> Run:
        return self._start(self.interpreter.call(procedure, parameters), procedure)

    def transact(self, request: TransactionRequest) -> Run:
        return self._start(self.interpreter.transact(request), request.operation.name)

    def _start(self, steps: Steps, command: str) -> EngineRun:
        if self._run is not None:
            self._run.close()
        self.interrupted.clear()
        self.runtime.interrupted = False
        if self.killed:
            self.interrupted.set()
        self.command = command
        self.status = SessionStatus.RUNNING
        self._run = EngineRun(self, steps)
        return self._run

    def run_ended(self, run: EngineRun) -> None:
        if self._run is run:
            self._run = None
            if self.status is SessionStatus.RUNNING:
                self.status = SessionStatus.SLEEPING

    def reset(self, *, keep_transaction: bool) -> None:
        """RESETCONNECTION. The isolation level goes back to READ COMMITTED too, as it
        does since SQL Server 2014 (before, it survived the reset)."""
        if self._run is not None:
            self._run.close()
        with self.busy:
            if not keep_transaction:
                self.roll_back()
                self.options = SessionOptions()
            else:
                kept = self.options.isolation
                self.options = SessionOptions(isolation=kept)
            self._drop_temporary_tables()
            self.prepared.clear()
            self._handles = itertools.count(1)
            self.context.clear()
            self.context_info = None
            self.release_application_locks(transaction_only=False)
            self.identity_insert = None
            self.base_frame = Frame()
            self.frame = self.base_frame
            self.row_count = 0
            self.last_error = 0
            self.last_identity = None
            if not self.login_database.dropped:
                self.current_database = self.login_database

    def interrupt(self) -> None:
        self.interrupted_at = time.monotonic()
        self.interrupted.set()
        self.runtime.interrupted = True
        self.engine.locks.interrupt(self)

    def when_killed(self, callback: Callable[[], None]) -> None:
        if self.killed:
            callback()
        else:
            self._when_killed.append(callback)

    def before_statements(self, hook: StatementHook) -> None:
        self.statement_hook = hook

    def kill(self) -> None:
        """KILL: end the request, roll back, drop the client's connection."""
        self.killed = True
        for callback in self._when_killed:
            callback()
        self._when_killed.clear()
        self.close()

    def close(self) -> None:
        if self.status is SessionStatus.CLOSED:
            return
        self._closing = True
        self.interrupt()
        self.clean_up_if_closing()

    # --- the end of a session

    def release_busy(self) -> None:
        self.busy.release()
        if self._closing:
            self.clean_up_if_closing()

    def clean_up_if_closing(self) -> None:
        """Whoever holds the session last cleans up: the closer, or the running thread."""
        if not self._closing or not self.busy.acquire(blocking=False):
            return
        try:
            if self.status is not SessionStatus.CLOSED:
                self._clean_up()
        finally:
            self.busy.release()

    def _clean_up(self) -> None:
        if self._run is not None:
            self._run.close()
        self.status = SessionStatus.CLOSED
        with contextlib.suppress(sqlite3.Error):
            self.roll_back()
        self.release_application_locks(transaction_only=False)
        self.connection.close()
        self._attached.clear()
        self.engine.session_closed(self)

    def after_interrupt(self) -> list[Event]:
        """What an attention leaves: the transaction stays, unless XACT_ABORT is on (or
        only undoing all of it could end the statement)."""
        events: list[Event] = []
        if (self.options.xact_abort or self.transaction_lost) and self.transaction.is_open:
            descriptor = self.transaction.descriptor
            self.roll_back()
            events.append(EnvironmentChange(Environment.ROLLBACK_TRANSACTION, b"", descriptor))
        self.transaction_lost = False
        self.transaction_idle()
        return events

    def roll_back(self) -> None:
        self.transaction.rollback()
        self.release_application_locks(transaction_only=True)

    def transaction_idle(self) -> None:
        if not self.transaction.is_open:
            self.transaction.release_locks()

    def release_application_locks(self, *, transaction_only: bool) -> None:
        kept: list[tuple[tuple[str, str, str], LockMode, bool]] = []
        for key, mode, of_transaction in self.application_locks:
            if transaction_only and not of_transaction:
                kept.append((key, mode, of_transaction))
            else:
                self.engine.locks.release(self, key, mode)
        self.application_locks = kept

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

    def new_handle(self) -> int:
        return next(self._handles)

    # --- temporary tables and table variables

    def _drop_temporary_tables(self) -> None:
        for table in (
            *self.transaction.temporary.tables.values(),
            *self.live_table_variables.values(),
        ):
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute(f"DROP TABLE temp.{quote(table.storage_name)}")
        self.transaction.forget_temporary_tables()
        self.live_table_variables.clear()

    def drop_table_variables(self, frame: Frame) -> None:
        for table in frame.tables.values():
            self.live_table_variables.pop(table.storage_name, None)
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute(f"DROP TABLE temp.{quote(table.storage_name)}")
        frame.tables.clear()

    def _keeping_table_variables(self, undo: Callable[[], None]) -> None:
        """Roll back everything but table variables, which T-SQL's rollback leaves alone."""
        if not self.live_table_variables:
            undo()
            return
        contents = [
            (table, self.connection.execute(f"SELECT * FROM temp.{quote(name)}").fetchall())
            for name, table in self.live_table_variables.items()
        ]
        undo()
        for table, rows in contents:
            self.interpreter.restore_table_variable(table, rows)

    # --- callbacks of SQLite

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

    def _progress(self) -> int:
        """Called by SQLite every now and then: 1 ends the running statement.

        For a modification inside of a transaction that means the end of the transaction
        as well, so functions and lock waits end those; here it is the last resort.
        """
        if not self.interruptible:
            if self._closing or (
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


class _CheckFailed(Exception):
    pass
