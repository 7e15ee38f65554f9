"""One logged-in session: its requests, its reset and its end.

A session is used by one thread at a time (``busy``); only :meth:`EngineSession.interrupt`,
:meth:`EngineSession.kill` and :meth:`EngineSession.close` come from others.

Source: MS-TDS 2.2.3.1.2 (RESETCONNECTION); SQL Server documentation, "KILL".
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from ..protocols import LoginRequest, Parameter, Run, StatementHook, TransactionRequest
from ..results import Environment, EnvironmentChange, Event
from .databases import Database
from .definitions import tablevariables
from .frames import Frame
from .functions import SessionHost
from .instance import Instance, SessionStatus
from .interpreter import Interpreter
from .runs import EngineRun
from .sessionstate import SessionState
from .statements import HANDLERS
from .steps import Steps
from .submitted import Submitted


class EngineSession(SessionState):
    """See :class:`mssql_async.devserver.protocols.Session`."""

    def __init__(
        self, engine: Instance, spid: int, request: LoginRequest, database: Database
    ) -> None:
        super().__init__(engine, spid, request, database, SessionHost)
        self.busy = threading.RLock()
        self._when_killed: list[Callable[[], None]] = []
        self._run: EngineRun | None = None
        self.transaction.around_rollback = functools.partial(tablevariables.keep, self)
        self.interpreter = Interpreter(self, HANDLERS)

    # --- requests

    def batch(self, sql: str) -> Run:
        self.submitted = Submitted(sql)
        return self._start(self.interpreter.batch(sql))

    def call(self, procedure: str, parameters: Sequence[Parameter]) -> Run:
        self.submitted = Submitted("", procedure, parameters)
        return self._start(self.interpreter.call(procedure, parameters))

    def transact(self, request: TransactionRequest) -> Run:
        return self._start(self.interpreter.transact(request))

    def _start(self, steps: Steps) -> EngineRun:
        if self._run is not None:
            self._run.close()
        self.interrupted.clear()
        self.runtime.interrupted = False
        if self.killed:
            self.interrupted.set()
        self.statement = None
        self.last_request_start = time.time()
        self.status = SessionStatus.RUNNING
        self._run = EngineRun(self, steps)
        return self._run

    def run_ended(self, run: EngineRun) -> None:
        if self._run is run:
            self._run = None
            if self.status is SessionStatus.RUNNING:
                self.status = SessionStatus.SLEEPING

    def reset(self, *, keep_transaction: bool) -> None:
        """RESETCONNECTION, or RESETCONNECTIONSKIPTRAN.

        "Distributed transactions and isolation levels are not reset" (MS-TDS 2.2.3.1.2):
        so it is on SQL Server, while Azure SQL Database resets the level
        (dotnet/SqlClient#4330). SQL Server 2014 reset it until its CU6 (KB3025845).
        """
        if self._run is not None:
            self._run.close()
        with self.busy:
            if not keep_transaction:
                self.roll_back()
            self.options = self.login_options(self.options.isolation)
            self.drop_temporary_tables()
            self.forget_prepared()
            self.context.clear()
            self.context_info = None
            self.release_application_locks(of_transaction=False)
            self.identity_insert = None
            self.base_frame = Frame()
            self.frame = self.base_frame
            self.row_count = 0
            self.last_error = 0
            self.last_identity = None
            if not self.login_database.dropped:
                self.current_database = self.login_database

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
        self.closing = True
        self.interrupt()
        self.clean_up_if_closing()

    # --- the end of a session

    def release_busy(self) -> None:
        self.busy.release()
        if self.closing:
            self.clean_up_if_closing()

    def clean_up_if_closing(self) -> None:
        """Whoever holds the session last cleans up: the closer, or the running thread."""
        if not self.closing or not self.busy.acquire(blocking=False):
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
        self.release_application_locks(of_transaction=False)
        self.connection.close()
        self.engine.leave(self)

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

    def transaction_idle(self) -> None:
        if not self.transaction.is_open:
            self.transaction.release_locks()
