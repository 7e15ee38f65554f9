"""Runs batches: control of flow, errors and transactions; queries are in :mod:`.queries`.

Everything here is generators of events. Where a step may have to wait, the generator
first says so (:class:`~.runs.Control`), so that a caller that must not block can hand
the rest to a thread that may.

Source: SQL Server documentation, "Control-of-flow language", "TRY...CATCH", "RAISERROR",
"THROW", "WAITFOR", "BEGIN TRANSACTION", "Transaction Manager Request" in MS-TDS 2.2.6.9.
"""

from __future__ import annotations

import datetime
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import SqlError, error, message_text
from ..protocols import CutOff, Isolation, Parameter, TransactionOperation, TransactionRequest
from ..results import (
    Command,
    Done,
    Environment,
    EnvironmentChange,
    Message,
    OutputValue,
    ReturnStatus,
)
from ..schema import Table
from ..sqltypes import StorageValue
from ..tsql import parser
from ..tsql import statements as st
from . import definitions, formatting
from .databases import Database
from .frames import Frame
from .locks import Interrupted
from .outcomes import (
    ENDS_BATCH,
    ENDS_CONNECTION,
    LOWEST_CAUGHT,
    ROLLS_BACK,
    TERMINATES,
    BatchAborted,
    Caught,
    CompilationFailed,
    Loop,
    LoopExit,
    Raised,
    ScopeEnded,
    SeveralErrors,
    Thrown,
)
from .procedures import Argument, Call, find_procedure, is_fault_procedure
from .queries import Queries
from .runs import Control, Step
from .storage import quote

if TYPE_CHECKING:
    from .session import EngineSession

Handler = Callable[[Any, Frame, Any], Iterator[Step]]

_FLOW = (st.If, st.While, st.Block, st.TryCatch)

_DML = frozenset({Command.INSERT, Command.UPDATE, Command.DELETE, Command.MERGE})
_SQLITE_BUSY_SNAPSHOT = 517
_LONGEST_REMEMBERED = 100_000
"""Characters of a batch that is worth a place in the cache."""
_HIGHEST_USER_SEVERITY = 18
_FIRST_USER_NUMBER = 50000


class Interpreter:
    """The execution of one session's requests."""

    def __init__(self, session: EngineSession) -> None:
        self.session = session
        self.queries = Queries(self)

    # --- requests

    def batch(self, sql: str) -> Iterator[Step]:
        session = self.session
        frame = session.base_frame
        try:
            statements = self.parse(sql)
        except SqlError as problem:
            yield from self.report(problem, Done(failed=True))
            if session.options.xact_abort and session.transaction.is_open:
                yield from self.roll_back()
            return
        frame.values.clear()
        frame.types.clear()
        frame.declared.clear()
        frame.signature = 0
        frame.in_try = 0
        frame.handling = None
        said_done = False
        for step in self._top(frame, self.block(frame, statements)):
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
            procedure = find_procedure(call.name)
            if procedure is None:
                raise error(2812, call.name, state=62)
            call.status = 0
            yield from procedure(call)
        except CompilationFailed as failed:
            call.status = failed.problem.number
            yield from self._failed(frame, None, failed.problem)
        except SqlError as problem:
            call.status = problem.number
            yield from self._failed(frame, None, problem)
        except sqlite3.Error as problem:
            call.status = 1
            yield from self._failed(frame, None, self.translate(problem))

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
            if operation is TransactionOperation.BEGIN:
                self._set_isolation(request.isolation)
                yield from self.begin(request.name)
            elif operation is TransactionOperation.COMMIT:
                yield from self.commit()
            elif operation is TransactionOperation.ROLLBACK:
                yield from self.roll_back_named(request.name)
            else:
                session.transaction.save(request.name)
            if request.begin and not session.transaction.is_open:
                self._set_isolation(request.isolation)
                yield from self.begin("")
        except SqlError as problem:
            if problem.number in ROLLS_BACK:
                yield from self.roll_back()
            yield from self.report(problem, Done(command, failed=True))
            return
        yield Done(command)

    def _set_isolation(self, isolation: Isolation) -> None:
        if isolation is not Isolation.UNCHANGED:
            self.session.options.isolation = isolation

    def _top(self, frame: Frame, steps: Iterator[Step]) -> Iterator[Step]:
        """Run ``steps`` as a whole request: what ends a batch ends here."""
        session = self.session
        session.frame = frame
        session.last_request_start = time.time()
        try:
            yield from steps
        except (BatchAborted, ScopeEnded, LoopExit):
            pass
        except Caught as caught:
            yield from self.report(caught.problem, Done(failed=True))
        finally:
            session.drop_table_variables(frame)
            session.frame = session.base_frame
            session.last_request_end = time.time()
            if not session.transaction.is_open:
                session.transaction.release_locks()
        if session.transaction.status.value < 0:
            yield from self.report(error(3998), None)
            yield from self.roll_back()
            yield Done(failed=True)

    # --- blocks and statements

    def parse(self, sql: str) -> tuple[st.Statement, ...]:
        cache = self.session.engine.parsed
        found = cache.get(sql)
        if found is None:
            found = parser.parse_batch(sql)
            if len(sql) <= _LONGEST_REMEMBERED:
                cache.put(sql, found)
        return found

    def block(self, frame: Frame, statements: Sequence[st.Statement]) -> Iterator[Step]:
        for statement in statements:
            yield from self.statement(frame, statement)

    def statement(self, frame: Frame, statement: st.Statement) -> Iterator[Step]:
        session = self.session
        session.frame = frame
        if session.interrupted.is_set():
            raise Interrupted
        handler = _HANDLERS.get(type(statement))
        try:
            if handler is None:
                raise SqlError(
                    40517, f"{type(statement).__name__} is not supported by the embedded server."
                )
            self._admit(statement)
            yield from handler(self, frame, statement)
        except CompilationFailed as failed:
            yield from self._failed(frame, statement, failed.problem, ends_scope=True)
        except SqlError as problem:
            yield from self._failed(frame, statement, problem)
        except sqlite3.Error as problem:
            yield from self._failed(frame, statement, self.translate(problem))
        else:
            return
        finally:
            if not session.transaction.depth:
                session.transaction.release_locks()

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

    def _failed(
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
        if problem.severity >= ENDS_CONNECTION:
            yield from self.report(problem, Done(failed=True))
            raise BatchAborted
        fatal = problem.number in ENDS_BATCH
        if session.options.xact_abort and not isinstance(problem, Raised):
            fatal = True
        if problem.number in ROLLS_BACK and not frame.protected:
            yield from self.roll_back()
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
            yield from self.roll_back()
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

    def done(self, command: Command, count: int | None = None) -> Done:
        """The end of a statement; NOCOUNT holds the count back."""
        if self.session.options.no_count:
            count = None
        return Done(command, count)

    # --- transactions

    def begin(self, name: str) -> Iterator[Step]:
        descriptor = self.session.transaction.begin(name)
        if descriptor is not None:
            yield EnvironmentChange(Environment.BEGIN_TRANSACTION, descriptor, b"")

    def commit(self) -> Iterator[Step]:
        session = self.session
        descriptor = session.transaction.commit()
        if descriptor is not None:
            session.release_application_locks(transaction_only=True)
            yield EnvironmentChange(Environment.COMMIT_TRANSACTION, b"", descriptor)

    def roll_back(self) -> Iterator[Step]:
        session = self.session
        descriptor = session.transaction.rollback()
        session.release_application_locks(transaction_only=True)
        if descriptor is not None:
            yield EnvironmentChange(Environment.ROLLBACK_TRANSACTION, b"", descriptor)

    def roll_back_named(self, name: str) -> Iterator[Step]:
        transaction = self.session.transaction
        if not transaction.is_open:
            raise error(3903)
        outermost = name.casefold() == transaction.name.casefold()
        if name and not (outermost and not transaction.has_savepoint(name)):
            transaction.rollback_to(name)
        else:
            yield from self.roll_back()

    def begin_implicitly(self) -> Iterator[Step]:
        """SET IMPLICIT_TRANSACTIONS ON: the statement opens the transaction."""
        session = self.session
        if session.options.implicit_transactions and not session.transaction.is_open:
            yield from self.begin("")

    def lock(self, database: Database) -> Iterator[Step]:
        """Take a database's write lock, waiting where that is allowed."""
        session = self.session
        if session.transaction.hold(database):
            return
        yield from self.may_wait()
        timeout = session.options.lock_timeout
        session.transaction.wait_for(database, None if timeout < 0 else timeout / 1000)

    def may_wait(self) -> Iterator[Step]:
        """Go on only on a thread that may wait."""
        yield Control.FLUSH
        while not self.session.may_wait:
            yield Control.WAIT

    def write(self, work: Callable[[], object]) -> None:
        """See :meth:`Transaction.write`; a doomed transaction writes no more (3930)."""
        transaction = self.session.transaction
        if transaction.status.value < 0:
            raise error(3930)
        self.session.pending.clear()
        transaction.write(work)

    # --- statements that are not queries

    def run_begin_transaction(self, frame: Frame, statement: st.BeginTransaction) -> Iterator[Step]:
        yield from self.begin(statement.name)
        yield self.done(Command.BEGIN_TRANSACTION)

    def run_commit_transaction(
        self, frame: Frame, statement: st.CommitTransaction
    ) -> Iterator[Step]:
        yield from self.commit()
        yield self.done(Command.COMMIT)

    def run_rollback_transaction(
        self, frame: Frame, statement: st.RollbackTransaction
    ) -> Iterator[Step]:
        yield from self.roll_back_named(statement.name)
        yield self.done(Command.ROLLBACK)

    def run_save_transaction(self, frame: Frame, statement: st.SaveTransaction) -> Iterator[Step]:
        self.session.transaction.save(statement.name)
        yield self.done(Command.OTHER)

    def run_use(self, frame: Frame, statement: st.Use) -> Iterator[Step]:
        session = self.session
        database = session.engine.databases.find(statement.database)
        if database is None:
            raise error(911, statement.database)
        session.engine.check_access(session, database)
        old = session.database
        session.use(database)
        yield EnvironmentChange(Environment.DATABASE, database.name, old)
        yield Message(5701, message_text(5701, database.name), 0, 2, statement.line)
        yield self.done(Command.OTHER)

    def run_set_option(self, frame: Frame, statement: st.SetOption) -> Iterator[Step]:
        session = self.session
        old = session.options.language
        if statement.name == "CONTEXT_INFO":
            session.context_info = formatting.context_info(statement.value)
        else:
            value = statement.value
            if value.startswith("@"):
                value = str(frame.values.get(value.casefold()))
            session.options.set(statement.name, value, statement.line)
        if session.options.language != old:
            new = session.options.language
            yield EnvironmentChange(Environment.LANGUAGE, new, old)
            yield Message(5703, message_text(5703, new), 0, 1, statement.line)
        yield Done(Command.SET)

    def run_isolation(self, frame: Frame, statement: st.SetIsolation) -> Iterator[Step]:
        self.session.options.isolation = statement.level
        yield Done(Command.SET)

    def run_identity_insert(self, frame: Frame, statement: st.SetIdentityInsert) -> Iterator[Step]:
        session = self.session
        place = definitions.Place(session, statement.table)
        table = place.table
        if table is None:
            raise error(1088, str(statement.table))
        if table.identity_column is None:
            raise error(8106, str(statement.table))
        if statement.on:
            if session.identity_insert and session.identity_insert[1] != table.object_id:
                raise error(8107, session.identity_insert_name, str(statement.table))
            session.identity_insert = (place.database, table.object_id)
            session.identity_insert_name = f"{session.database}.{table.schema}.{table.name}"
        elif session.identity_insert and session.identity_insert[1] == table.object_id:
            session.identity_insert = None
        yield Done(Command.SET)

    def run_declare(self, frame: Frame, statement: st.Declare) -> Iterator[Step]:
        for name, declared, value in statement.variables:
            frame.declare(name, declared, None, exact=True)
            if value is not None:
                frame.values[name.casefold()] = self.queries.evaluate(frame, value, declared)
        return
        yield

    def run_declare_table(self, frame: Frame, statement: st.DeclareTable) -> Iterator[Step]:
        if statement.name.casefold() in frame.tables or statement.name.casefold() in frame.types:
            raise error(134, statement.name)
        definitions.declare_table(self.session, frame, statement)
        return
        yield

    def restore_table_variable(self, table: Table, rows: list[tuple[StorageValue, ...]]) -> None:
        """Put a table variable back as it was before a rollback."""
        definitions.ensure_table_variable(self.session, table)
        name = f"temp.{quote(table.storage_name)}"
        self.session.connection.execute(f"DELETE FROM {name}")
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.session.connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)

    def run_set_variable(self, frame: Frame, statement: st.SetVariable) -> Iterator[Step]:
        folded = statement.name.casefold()
        declared = frame.declared.get(folded)
        if declared is None:
            raise CompilationFailed(error(137, statement.name, line=statement.line))
        value = self.queries.evaluate(frame, statement.value, declared)
        frame.values[folded] = formatting.fit(value, declared)
        self.session.row_count = 1
        self.session.last_error = 0
        yield Done(Command.SET)

    def run_if(self, frame: Frame, statement: st.If) -> Iterator[Step]:
        yield from self._condition_access(frame, statement.condition)
        if self.queries.holds(frame, statement.condition):
            yield from self.block(frame, statement.then)
        else:
            yield from self.block(frame, statement.otherwise)

    def run_while(self, frame: Frame, statement: st.While) -> Iterator[Step]:
        while True:
            self.session.frame = frame
            if self.session.interrupted.is_set():
                raise Interrupted
            yield from self._condition_access(frame, statement.condition)
            if not self.queries.holds(frame, statement.condition):
                return
            try:
                yield from self.block(frame, statement.body)
            except LoopExit as leave:
                if leave.kind is Loop.BREAK:
                    return

    def _condition_access(self, frame: Frame, condition: Any) -> Iterator[Step]:
        """Wait for locks that a condition with a subquery needs."""
        if self.session.transaction.depth:
            entry = self.queries.predicate_plan(frame, condition)
            yield from self.queries.access(entry)

    def run_block(self, frame: Frame, statement: st.Block) -> Iterator[Step]:
        yield from self.block(frame, statement.body)

    def run_break(self, frame: Frame, statement: st.Break) -> Iterator[Step]:
        raise LoopExit(Loop.BREAK)
        yield

    def run_continue(self, frame: Frame, statement: st.Continue) -> Iterator[Step]:
        raise LoopExit(Loop.CONTINUE)
        yield

    def run_return(self, frame: Frame, statement: st.Return) -> Iterator[Step]:
        if statement.value is not None:
            value = self.queries.evaluate(frame, statement.value, None)
            frame.return_status = int(value) if isinstance(value, int | float | str) else 0
        raise ScopeEnded
        yield

    def run_try_catch(self, frame: Frame, statement: st.TryCatch) -> Iterator[Step]:
        frame.in_try += 1
        outer = frame.handling
        try:
            try:
                yield from self.block(frame, statement.body)
            finally:
                frame.in_try -= 1
                self.session.frame = frame
        except Caught as caught:
            if caught.not_by is frame:
                raise
            frame.handling = caught.problem
        else:
            return
        try:
            yield from self.block(frame, statement.handler)
        finally:
            frame.handling = outer

    def run_print(self, frame: Frame, statement: st.Print) -> Iterator[Step]:
        value = self.queries.evaluate(frame, statement.value, formatting.MESSAGE_TYPE)
        text = "" if value is None else str(value)
        yield Message(0, text or " ", 0, 1, statement.line)
        yield self.done(Command.OTHER)

    def run_raise_error(self, frame: Frame, statement: st.RaiseError) -> Iterator[Step]:
        evaluate = self.queries.evaluate
        message = evaluate(frame, statement.message, None)
        severity = _whole(evaluate(frame, statement.severity, None))
        state = _whole(evaluate(frame, statement.state, None))
        arguments = [evaluate(frame, argument, None) for argument in statement.arguments]
        if severity > _HIGHEST_USER_SEVERITY:
            raise error(2754, _HIGHEST_USER_SEVERITY)
        if isinstance(message, int):
            raise error(18054, message, severity, state)
        text = formatting.format_message(str(message or ""), arguments)
        state = 1 if state < 0 else min(state, 255)
        if severity < LOWEST_CAUGHT:
            yield Message(_FIRST_USER_NUMBER, text, max(severity, 0), state, statement.line)
            yield self.done(Command.OTHER)
            return
        raise Raised(_FIRST_USER_NUMBER, text, severity, state, statement.line)

    def run_throw(self, frame: Frame, statement: st.Throw) -> Iterator[Step]:
        if statement.number is None:
            current = frame.current_error
            if current is None:
                raise CompilationFailed(error(10704, line=statement.line))
            raise Thrown(
                current.number,
                current.text,
                current.severity,
                current.state,
                current.line,
                current.procedure,
            )
        evaluate = self.queries.evaluate
        number = _whole(evaluate(frame, statement.number, None))
        if number < _FIRST_USER_NUMBER:
            raise SqlError(
                35100,
                f"Error number {number} in the THROW statement is outside the "
                "valid range. Specify an error number in the valid range of 50000 to "
                "2147483647.",
                16,
                10,
                statement.line,
            )
        text = evaluate(frame, statement.message, formatting.MESSAGE_TYPE)
        state = _whole(evaluate(frame, statement.state, None))
        raise Thrown(number, str(text or ""), 16, state, statement.line)
        yield

    def run_wait_for(self, frame: Frame, statement: st.WaitFor) -> Iterator[Step]:
        value = self.queries.evaluate(frame, statement.value, formatting.MESSAGE_TYPE)
        seconds = formatting.delay(str(value or ""))
        if statement.until:
            now = datetime.datetime.now()  # noqa: DTZ005  the server's local time
            passed = datetime.timedelta(
                hours=now.hour, minutes=now.minute, seconds=now.second
            ).total_seconds()
            seconds = (seconds - passed) % 86400
        yield from self.may_wait()
        if self.session.interrupted.wait(seconds):
            raise Interrupted
        yield self.done(Command.OTHER)

    def run_kill(self, frame: Frame, statement: st.Kill) -> Iterator[Step]:
        session = self.session
        if statement.session_id == session.spid:
            raise error(6104)
        victim = session.engine.session_by_id(statement.session_id)
        if victim is None:
            raise error(6106, statement.session_id, state=2)
        victim.kill()
        yield self.done(Command.OTHER)

    # --- dynamic SQL and procedures

    def run_execute_string(self, frame: Frame, statement: st.ExecuteString) -> Iterator[Step]:
        text = self.queries.evaluate(frame, statement.sql, formatting.MESSAGE_TYPE)
        inner = frame.nested()
        yield from self.scope(inner, self.parse(str(text or "")))
        self.session.frame = frame

    def scope(self, inner: Frame, statements: Sequence[st.Statement]) -> Iterator[Step]:
        """Run statements in a scope of their own."""
        session = self.session
        outer = session.frame
        try:
            yield from self.block(inner, statements)
        except ScopeEnded:
            pass
        finally:
            session.drop_table_variables(inner)
            session.frame = outer

    def run_execute(self, frame: Frame, statement: st.Execute) -> Iterator[Step]:
        arguments = []
        for given in statement.arguments:
            argument = Argument(given.name, formatting.MESSAGE_TYPE, None, output=given.output)
            if given.value is None:
                argument.default = True
            else:
                argument.value, argument.type = self.queries.evaluate_typed(frame, given.value)
            arguments.append(argument)
        call = Call(self, frame, str(statement.procedure), arguments)
        procedure = find_procedure(call.name)
        if procedure is None:
            raise error(2812, call.name, state=62)
        yield from procedure(call)
        self.session.frame = frame
        for given, argument in zip(statement.arguments, arguments, strict=True):
            name = _variable_name(given.value)
            if given.output and name and name.casefold() in frame.declared:
                declared = frame.declared[name.casefold()]
                frame.values[name.casefold()] = self.queries.convert(
                    argument.value, argument.type, declared
                )
        if statement.result:
            frame.values[statement.result.casefold()] = call.status


def _message(problem: SqlError) -> Message:
    return Message(
        problem.number,
        problem.text,
        problem.severity,
        problem.state,
        problem.line,
        problem.procedure,
    )


def _whole(value: StorageValue) -> int:
    return 0 if value is None or isinstance(value, bytes) else int(float(value))


def _variable_name(value: Any) -> str:
    """The name of ``@x`` where an argument is nothing else."""
    name = getattr(value, "name", "") if value is not None else ""
    return name if isinstance(name, str) and name.startswith("@") else ""


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


def _definition(self: Interpreter, frame: Frame, statement: st.Statement) -> Iterator[Step]:
    yield from definitions.execute(self, frame, statement)


def _query(self: Interpreter, frame: Frame, statement: st.Query) -> Iterator[Step]:
    return self.queries.select(frame, statement)


def _modification(self: Interpreter, frame: Frame, statement: st.Statement) -> Iterator[Step]:
    return self.queries.modify(frame, statement)


def _insert_exec(self: Interpreter, frame: Frame, statement: st.InsertExec) -> Iterator[Step]:
    return self.queries.insert_exec(frame, statement)


_HANDLERS: dict[type, Handler] = {
    st.Query: _query,
    st.Insert: _modification,
    st.Update: _modification,
    st.Delete: _modification,
    st.Merge: _modification,
    st.InsertExec: _insert_exec,
    st.BeginTransaction: Interpreter.run_begin_transaction,
    st.CommitTransaction: Interpreter.run_commit_transaction,
    st.RollbackTransaction: Interpreter.run_rollback_transaction,
    st.SaveTransaction: Interpreter.run_save_transaction,
    st.Use: Interpreter.run_use,
    st.SetOption: Interpreter.run_set_option,
    st.SetIsolation: Interpreter.run_isolation,
    st.SetIdentityInsert: Interpreter.run_identity_insert,
    st.Declare: Interpreter.run_declare,
    st.DeclareTable: Interpreter.run_declare_table,
    st.SetVariable: Interpreter.run_set_variable,
    st.If: Interpreter.run_if,
    st.While: Interpreter.run_while,
    st.Block: Interpreter.run_block,
    st.Break: Interpreter.run_break,
    st.Continue: Interpreter.run_continue,
    st.Return: Interpreter.run_return,
    st.TryCatch: Interpreter.run_try_catch,
    st.Print: Interpreter.run_print,
    st.RaiseError: Interpreter.run_raise_error,
    st.Throw: Interpreter.run_throw,
    st.WaitFor: Interpreter.run_wait_for,
    st.Kill: Interpreter.run_kill,
    st.Execute: Interpreter.run_execute,
    st.ExecuteString: Interpreter.run_execute_string,
    **dict.fromkeys(definitions.STATEMENTS, _definition),
}
