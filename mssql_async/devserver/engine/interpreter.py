"""Runs requests: batches, calls and transaction requests, and what an error does to them.

What each statement does is in :mod:`.statements`; the interpreter looks its handlers up
in a table that it is given.

Source: SQL Server documentation, "TRY...CATCH", "SET XACT_ABORT", "Transaction Manager
Request" in MS-TDS 2.2.6.9.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import SqlError, error, message_text
from ..protocols import CutOff, Isolation, Parameter, TransactionOperation, TransactionRequest
from ..results import Command, Done, Event, Message, OutputValue, ReturnStatus
from ..tsql import statements as st
from .compilation import unbound
from .execution import Execution
from .expressions import Expressions
from .frames import Frame
from .locks import Interrupted
from .modifications import Modifications
from .outcomes import (
    ENDS_BATCH,
    ENDS_CONNECTION,
    LOWEST_CAUGHT,
    ROLLS_BACK,
    SYNTAX_ERROR,
    TERMINATES,
    BatchAborted,
    Caught,
    CompilationFailed,
    LoopExit,
    Raised,
    ScopeEnded,
    SeveralErrors,
    Thrown,
)
from .plans import Plans
from .procedures import Argument, Call, find_procedure, is_fault_procedure
from .reads import Reads
from .sessionstate import SessionState
from .steps import Step

Handler = Callable[[Any, Frame, Any], Iterator[Step]]
"""Runs one kind of statement: interpreter, scope and statement go in."""

_FLOW = (st.If, st.While, st.Block, st.TryCatch)
_COUNTS = frozenset({st.Query, st.Insert, st.InsertExec, st.Update, st.Delete, st.Merge})
_SETTLES_ITSELF = frozenset(
    {
        *_FLOW,
        st.Break,
        st.Continue,
        st.Return,
        st.Declare,
        st.DeclareTable,
        st.SetVariable,
        st.Execute,
        st.ExecuteString,
    }
)
_DML = frozenset({Command.INSERT, Command.UPDATE, Command.DELETE, Command.MERGE})
_SQLITE_BUSY_SNAPSHOT = 517


class Interpreter:
    """The execution of one session's requests."""

    def __init__(self, session: SessionState, handlers: Mapping[type, Handler]) -> None:
        self.session = session
        self._handlers = handlers
        self.execution = Execution(session)
        self.plans = Plans(self.execution)
        self.expressions = Expressions(session, self.plans)
        self.reads = Reads(self.execution, self.plans)
        self.modifications = Modifications(self.execution, self.plans)

    # --- requests

    def batch(self, sql: str) -> Iterator[Step]:
        session = self.session
        frame = session.base_frame
        try:
            statements = session.engine.parse(sql)
        except SqlError as problem:
            yield from self.report(problem, Done(failed=True))  # XACT_ABORT does not heed it
            return
        frame.values.clear()
        frame.types.clear()
        frame.declared.clear()
        frame.declared_by.clear()
        frame.signature = 0
        frame.in_try = 0
        frame.handling = None
        said_done = False
        for step in self._top(frame, self._compiled(frame, statements)):
            if type(step) is Done:
                said_done = True
            yield step
        if not said_done:
            yield Done()

    def call(self, name: str, parameters: Sequence[Parameter]) -> Iterator[Step]:
        """A procedure called by RPC: its events, its status, its output parameters."""
        frame = Frame()
        arguments = [
            Argument(p.name, p.type, p.value, output=p.output, default=p.default)
            for p in parameters
        ]
        call = Call(self, frame, name, arguments)
        yield from self._top(frame, self._call(frame, call))
        yield ReturnStatus(call.status)
        for ordinal, argument in enumerate(arguments):
            if argument.output:
                yield OutputValue(ordinal, argument.name, argument.type, argument.value)

    def _call(self, frame: Frame, call: Call) -> Iterator[Step]:
        try:
            call.status = 0
            yield from self.run(call)
        except CompilationFailed as failed:
            call.status = failed.problem.number
            yield from self.failed(frame, None, failed.problem)
        except SqlError as problem:
            call.status = problem.number
            yield from self.failed(frame, None, problem)
        except sqlite3.Error as problem:
            call.status = 1
            yield from self.failed(frame, None, self.translate(problem))

    def run(self, call: Call) -> Iterator[Step]:
        procedure = find_procedure(call.name)
        if procedure is None:
            raise error(2812, call.name, state=62)
        yield from procedure(call)

    def transact(self, request: TransactionRequest) -> Iterator[Step]:
        frame = Frame()
        yield from self._top(frame, self._transact(request))

    def _transact(self, request: TransactionRequest) -> Iterator[Step]:
        session = self.session
        operation = request.operation
        command = {
            TransactionOperation.BEGIN: Command.BEGIN_TRANSACTION,
            TransactionOperation.COMMIT: Command.COMMIT,
            TransactionOperation.ROLLBACK: Command.ROLLBACK,
        }.get(operation, Command.OTHER)
        try:
            self._ask(f"{operation.name} TRANSACTION")
            session.statement = _OF_OPERATION[operation]
            if operation is TransactionOperation.BEGIN:
                self._set_isolation(request.isolation)
                yield from self.execution.begin(request.name)
            elif operation is TransactionOperation.COMMIT:
                yield from self.execution.commit()
            elif operation is TransactionOperation.ROLLBACK:
                yield from self.execution.roll_back_named(request.name)
            else:
                session.transaction.save(request.name)
            if request.begin and not session.transaction.is_open:
                self._set_isolation(request.isolation)
                yield from self.execution.begin("")
        except SqlError as problem:
            if problem.number in ROLLS_BACK:
                yield from self.execution.roll_back()
            yield from self.report(problem, Done(command, failed=True))
            return
        yield Done(command)

    def _set_isolation(self, isolation: Isolation) -> None:
        if isolation is not Isolation.UNCHANGED:
            self.session.change_isolation(isolation)

    def _top(self, frame: Frame, steps: Iterator[Step]) -> Iterator[Step]:
        """Run ``steps`` as a whole request: what ends a batch ends here."""
        session = self.session
        session.frame = frame
        try:
            yield from steps
        except (BatchAborted, ScopeEnded, LoopExit):
            pass
        except Caught as caught:
            yield from self.report(caught.problem, Done(failed=True))
        finally:
            if frame.tables:
                session.drop_table_variables(frame)
            session.frame = session.base_frame
            session.last_request_end = time.time()
            if not session.transaction.is_open:
                session.transaction.release_locks()
        if session.transaction.status.value < 0:
            yield from self.report(error(3998), None)
            yield from self.execution.roll_back()
            yield Done(failed=True)

    # --- blocks and statements

    def _compiled(self, frame: Frame, statements: Sequence[st.Statement]) -> Iterator[Step]:
        """Run a batch or the body of a procedure, or nothing of it."""
        problem = unbound(self.plans, frame, statements)
        if problem is None:
            yield from self.block(frame, statements)
        elif frame.parent is not None and frame.parent.protected:
            yield from self.failed(frame, None, problem, ends_scope=True)
        else:
            self.session.last_error = problem.number
            yield from self.report(problem, Done(failed=True))  # XACT_ABORT does not heed it
            raise ScopeEnded

    def block(self, frame: Frame, statements: Sequence[st.Statement]) -> Iterator[Step]:
        for statement in statements:
            yield from self.statement(frame, statement)

    def statement(self, frame: Frame, statement: st.Statement) -> Iterator[Step]:
        session = self.session
        session.frame = frame
        if session.interrupted.is_set():
            raise Interrupted
        session.statement = type(statement)
        handler = self._handlers.get(session.statement)
        try:
            if handler is None:
                raise SqlError(
                    40517, f"{type(statement).__name__} is not supported by the embedded server."
                )
            if session.statement_hook is not None:
                self._admit(statement)
            if time.monotonic() > session.give_way_at:
                yield from self.execution.may_wait()
            yield from handler(self, frame, statement)
            self._settle(type(statement))
        except CompilationFailed as failed:
            yield from self.failed(frame, statement, failed.problem, ends_scope=True)
        except SqlError as problem:
            yield from self.failed(frame, statement, problem)
        except sqlite3.Error as problem:
            yield from self.failed(frame, statement, self.translate(problem))
        else:
            return
        finally:
            if not session.transaction.depth:
                session.transaction.release_locks()

    def _settle(self, statement: type) -> None:
        """What a statement that succeeded leaves in @@ERROR and @@ROWCOUNT, where it has not
        said so itself: "USE, SET <option>, … BEGIN TRANSACTION, or COMMIT TRANSACTION reset
        the ROWCOUNT value to 0" ("@@ROWCOUNT"), and @@ERROR "is cleared and reset on each
        statement executed" ("@@ERROR"). EXECUTE keeps what its statements left."""
        if statement in _SETTLES_ITSELF:
            return
        session = self.session
        session.last_error = 0
        if statement not in _COUNTS:
            session.row_count = 0

    def _admit(self, statement: st.Statement) -> None:
        """Ask whether a statement may run. Control of flow is asked by what it runs, and the
        procedures that order faults are not asked at all.

        :raises SqlError: the error that it has instead.
        """
        if isinstance(statement, _FLOW) or (
            isinstance(statement, st.Execute) and is_fault_procedure(statement.procedure)
        ):
            return
        self._ask(statement.text)

    def _ask(self, text: str) -> None:
        hook = self.session.statement_hook
        if hook is None:
            return
        try:
            problem = hook(text)
        except CutOff:
            raise Interrupted from None
        if problem is not None:
            raise problem

    def translate(self, problem: sqlite3.Error) -> SqlError:
        """The T-SQL error behind an exception of SQLite."""
        session = self.session
        if session.interrupted.is_set():
            raise Interrupted from problem
        known = session.runtime.translate(problem)
        if known is not None:
            return known
        code = getattr(problem, "sqlite_errorcode", None)
        if code == _SQLITE_BUSY_SNAPSHOT:
            return error(3960, "", session.database, state=2)
        if isinstance(problem, sqlite3.OperationalError | sqlite3.DatabaseError):
            return SqlError(8630, f"Internal error of the embedded server: {problem}", 16)
        raise problem

    def failed(
        self,
        frame: Frame,
        statement: st.Statement | None,
        problem: SqlError,
        *,
        ends_scope: bool = False,
    ) -> Iterator[Step]:
        """Say that a statement failed, and do to the batch and the transaction what that
        error does."""
        session = self.session
        if statement is not None and problem.line <= 1:
            problem.line = statement.line
        session.last_error = problem.number
        session.row_count = 0
        if problem.severity >= ENDS_CONNECTION:
            yield from self.report(problem, Done(failed=True))
            raise BatchAborted
        fatal = problem.number in ENDS_BATCH
        if session.options.xact_abort and problem.severity != SYNTAX_ERROR:
            fatal = fatal or not isinstance(problem, Raised)
        if problem.number in ROLLS_BACK and not frame.protected:
            yield from self.execution.roll_back()
        caught_by_outer = ends_scope and frame.parent is not None and frame.parent.protected
        if problem.severity >= LOWEST_CAUGHT and (
            caught_by_outer or (frame.protected and not ends_scope)
        ):
            if fatal or problem.number in ROLLS_BACK:
                session.transaction.doom()
            raise Caught(problem, frame if ends_scope else None)
        command = _command_of(statement)
        if problem.number in TERMINATES and command in _DML:
            yield from self.report(problem, None)
            yield Message(3621, message_text(3621), 0, 1, problem.line)
            yield Done(command, failed=True)
        else:
            yield from self.report(problem, Done(command, failed=True))
        if problem.severity < LOWEST_CAUGHT:
            return
        if fatal and session.transaction.is_open:
            yield from self.execution.roll_back()
        if fatal or isinstance(problem, Thrown) or problem.number in ROLLS_BACK:
            raise BatchAborted
        if ends_scope:
            raise ScopeEnded

    def report(self, problem: SqlError, done: Done | None) -> Iterator[Step]:
        yield _message(problem)
        if isinstance(problem, SeveralErrors):
            for other in problem.others:
                other.line = problem.line
                yield _message(other)
        if done is not None:
            yield done

    def scope(self, inner: Frame, statements: Sequence[st.Statement]) -> Iterator[Step]:
        """Run statements in a scope of their own."""
        session = self.session
        outer = session.frame
        before, depth_before = session.settings(), session.transaction.depth
        changes: Sequence[Event] = ()
        try:
            try:
                yield from self._compiled(inner, statements)
            except ScopeEnded:
                pass
            finally:
                if inner.tables:
                    session.drop_table_variables(inner)
                session.frame = outer
                if session.settings() != before:
                    changes = session.put_back(before)
        except (BatchAborted, Caught):
            yield from changes
            raise
        yield from changes
        depth = session.transaction.depth
        if depth != depth_before:
            options = session.options
            if not options.implicit_transactions and not options.xact_abort:
                raise error(266, depth_before, depth, state=2)


_OF_OPERATION: dict[TransactionOperation, type] = {
    TransactionOperation.BEGIN: st.BeginTransaction,
    TransactionOperation.COMMIT: st.CommitTransaction,
    TransactionOperation.ROLLBACK: st.RollbackTransaction,
    TransactionOperation.SAVE: st.SaveTransaction,
}


def _message(problem: SqlError) -> Message:
    return Message(
        problem.number,
        problem.text,
        problem.severity,
        problem.state,
        problem.line,
        problem.procedure,
    )


def _command_of(statement: st.Statement | None) -> Command:
    return _COMMANDS.get(type(statement), Command.NONE)


_COMMANDS: dict[type, Command] = {
    st.Query: Command.SELECT,
    st.Insert: Command.INSERT,
    st.InsertExec: Command.INSERT,
    st.Update: Command.UPDATE,
    st.Delete: Command.DELETE,
    st.Merge: Command.MERGE,
}
