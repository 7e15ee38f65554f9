"""Runs compiled statements: SELECT, INSERT, UPDATE, DELETE, MERGE, and expressions.

A SELECT that runs on a thread which may not wait gets a small budget of SQLite
operations; when it is used up, the SELECT starts over on a thread that may (nothing of
it was sent yet), and the plan is remembered as a slow one.

Source: SQL Server documentation, "Transaction locking and row versioning guide",
"Table hints (Transact-SQL)" (NOWAIT, READPAST), "SELECT … INTO", "INSERT … EXEC".
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from sqlglot import exp

from ..errors import SqlError, error
from ..protocols import Isolation
from ..results import Columns, Command, Done, Rows
from ..schema import ObjectName, Table
from ..sqltypes import SqlType, StorageValue
from ..tsql import compiler
from ..tsql import statements as st
from ..tsql.plan import LockIntent, OutputBind, OutputInto, Plan, SystemRowsBind, VariableBind
from . import constraints, definitions
from .databases import Database
from .formatting import fit
from .frames import Frame
from .identities import IdentityCounters
from .outcomes import CompilationFailed
from .plancache import CachedPlan
from .runs import FULL_CHUNK, Control, Step
from .scope import CompileScope
from .storage import quote
from .systemviews import system_rows

if TYPE_CHECKING:
    from .interpreter import Interpreter

_SLOW = 0.002
"""Seconds of a modification that are too many for a thread that may not wait."""

Compile = Callable[[Any, CompileScope], Plan]
Row = tuple[StorageValue, ...]


def _compile_statement(node: Any, scope: CompileScope) -> Plan:
    return compiler.compile_statement(node, scope)


def _compile_predicate(node: Any, scope: CompileScope) -> Plan:
    return compiler.compile_predicate(node, scope)


class Queries:
    """The queries of one session."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._session = interpreter.session
        self._cache = interpreter.session.engine.plans

    # --- plans

    def plan(self, frame: Frame, node: Any, compile_node: Compile, variant: object) -> CachedPlan:
        """The plan of a parsed statement or expression, from the cache if it still holds.

        :raises CompilationFailed: the statement cannot be compiled.
        """
        session = self._session
        key = (
            id(node),
            session.current_database.schema_name,
            frame.signature,
            session.identity_insert,
            variant,
        )
        entry = self._cache.get(key)
        if entry is not None and self._is_valid(entry):
            return entry
        scope = CompileScope(session, frame)
        try:
            plan = compile_node(node, scope)
        except SqlError as problem:
            raise CompilationFailed(problem) from problem
        transaction = session.transaction
        entry = CachedPlan(
            plan=plan,
            owner=node,
            versions=tuple((d, transaction.catalog(d).version) for d in scope.databases),
            temporary_version=transaction.temporary.version if scope.uses_temporary else None,
            table_variables=scope.uses_table_variables,
            target_database=scope.home(plan.target) if plan.target is not None else None,
            binds=tuple(
                bind.name.casefold() if isinstance(bind, VariableBind) else bind
                for bind in plan.binds
            ),
            columns=Columns(plan.columns),
        )
        if not scope.uses_table_variables:
            self._cache.put(key, entry)
        return entry

    def _is_valid(self, entry: CachedPlan) -> bool:
        session = self._session
        transaction = session.transaction
        if (
            entry.temporary_version is not None
            and entry.temporary_version != transaction.temporary.version
        ):
            return False
        for database, version in entry.versions:
            if database.dropped or transaction.catalog(database).version != version:
                return False
            if not session.is_attached(database):
                session.attach(database)
        return True

    def _statement_plan(self, frame: Frame, statement: st.Statement) -> CachedPlan:
        return self.plan(frame, statement, _compile_statement, None)

    def predicate_plan(self, frame: Frame, condition: exp.Expression) -> CachedPlan:
        return self.plan(frame, condition, _compile_predicate, "predicate")

    def _binds(self, frame: Frame, entry: CachedPlan) -> list[StorageValue]:
        values = frame.values
        return [
            values[bind] if type(bind) is str else self._system_rows(bind) for bind in entry.binds
        ]

    def _system_rows(self, bind: object) -> str:
        return system_rows(self._session, cast("SystemRowsBind", bind).view)

    # --- locks of reads

    def access(self, entry: CachedPlan) -> Iterator[Step]:
        """Take what a read needs before it runs: nothing, most of the time."""
        interpreter, session = self._interpreter, self._session
        transaction = session.transaction
        if entry.plan.lock is LockIntent.UPDATE:
            for database, _ in entry.versions:
                yield from interpreter.lock(database)
        if not transaction.depth:
            return
        isolation = session.options.isolation
        if isolation is Isolation.SNAPSHOT:
            if entry.versions:
                transaction.begin_snapshot([database for database, _ in entry.versions])
        elif transaction.is_writing or isolation in (
            Isolation.REPEATABLE_READ,
            Isolation.SERIALIZABLE,
        ):
            for database, _ in entry.versions:
                yield from interpreter.lock(database)

    def _locked_without_waiting(self, entry: CachedPlan) -> bool:
        transaction = self._session.transaction
        return all(transaction.hold(database) for database, _ in entry.versions)

    # --- SELECT

    def select(self, frame: Frame, statement: st.Query) -> Iterator[Step]:
        session = self._session
        entry = self._statement_plan(frame, statement)
        plan = entry.plan
        if session.options.implicit_transactions and (entry.versions or plan.into):
            yield from self._interpreter.begin_implicitly()
        if plan.into is not None:
            yield from self._select_into(frame, entry)
            return
        if plan.lock is not LockIntent.NONE or session.transaction.depth:
            skip = False
            if plan.lock is LockIntent.UPDATE_NOWAIT and not self._locked_without_waiting(entry):
                raise error(1222, state=45)
            if plan.lock is LockIntent.UPDATE_SKIP:
                skip = not self._locked_without_waiting(entry)
            if not skip:
                yield from self.access(entry)
                entry = self._statement_plan(frame, statement)
            else:
                yield from self._no_rows(entry)
                return
        if entry.plan.assigns:
            yield from self._assign(frame, entry, statement)
        else:
            yield from self._send(frame, entry, statement)

    def _no_rows(self, entry: CachedPlan) -> Iterator[Step]:
        self._session.row_count = 0
        self._session.last_error = 0
        if not entry.plan.assigns:
            yield entry.columns
        yield self._interpreter.done(Command.SELECT, 0)

    def _send(self, frame: Frame, entry: CachedPlan, statement: st.Query) -> Iterator[Step]:
        session = self._session
        cursor: sqlite3.Cursor | None = None
        rows: list[Row] = []
        try:
            while True:
                try:
                    cursor, rows = self._read(frame, entry)
                    break
                except _OverBudget:
                    yield from self._interpreter.may_wait()
                except _SchemaMoved:
                    entry = self._statement_plan(frame, statement)
            yield entry.columns
            count = 0
            limit = session.options.row_count
            while rows:
                if limit and count + len(rows) >= limit:
                    rows = rows[: limit - count]
                    count += len(rows)
                    yield Rows(rows)
                    break
                count += len(rows)
                yield Rows(rows)
                if len(rows) < FULL_CHUNK:
                    break
                while not session.may_wait:
                    yield Control.WAIT
                session.interruptible = True
                try:
                    rows = cursor.fetchmany(FULL_CHUNK)
                finally:
                    session.interruptible = False
        except sqlite3.Error:
            if cursor is None and not session.interrupted.is_set():
                yield entry.columns
            raise
        finally:
            if cursor is not None:
                cursor.close()
        session.row_count = count
        session.last_error = 0
        yield self._interpreter.done(Command.SELECT, count)

    def _read(self, frame: Frame, entry: CachedPlan) -> tuple[sqlite3.Cursor, list[Row]]:
        """Start a read and fetch its first rows, within the budget of this thread."""
        session = self._session
        if entry.slow and not session.may_wait:
            raise _OverBudget
        session.interruptible = True
        session.budgeted = not session.may_wait
        session.over_budget = False
        session.ticks = 0
        try:
            cursor = session.connection.execute(entry.plan.sql, self._binds(frame, entry))
            return cursor, cursor.fetchmany(FULL_CHUNK)
        except sqlite3.OperationalError as problem:
            if session.over_budget and not session.interrupted.is_set():
                entry.slow = True
                raise _OverBudget from None
            if not self._is_valid(entry) and str(problem).startswith("no such"):
                raise _SchemaMoved from None
            raise
        finally:
            session.interruptible = False
            session.budgeted = False

    def _read_all(self, frame: Frame, entry: CachedPlan) -> list[Row]:
        """Every row of a read, on whatever thread."""
        session = self._session
        session.interruptible = True
        try:
            return session.connection.execute(entry.plan.sql, self._binds(frame, entry)).fetchall()
        finally:
            session.interruptible = False

    def _assign(self, frame: Frame, entry: CachedPlan, statement: st.Query) -> Iterator[Step]:
        session = self._session
        while True:
            try:
                cursor, rows = self._read(frame, entry)
                break
            except _OverBudget:
                yield from self._interpreter.may_wait()
            except _SchemaMoved:
                entry = self._statement_plan(frame, statement)
        names = [name.casefold() for name in entry.plan.assigns]
        count = 0
        while rows:
            count += len(rows)
            last = rows[-1]
            rows = cursor.fetchmany(FULL_CHUNK)
            if not rows:
                for name, value in zip(names, last, strict=True):
                    frame.values[name] = fit(value, frame.declared[name])
        cursor.close()
        session.row_count = count
        session.last_error = 0
        yield self._interpreter.done(Command.SELECT, count)

    def _select_into(self, frame: Frame, entry: CachedPlan) -> Iterator[Step]:
        interpreter, session = self._interpreter, self._session
        yield from interpreter.may_wait()
        place = definitions.Place(session, cast("ObjectName", entry.plan.into))
        for database in dict.fromkeys(
            [*([place.database] if place.database else []), *(d for d, _ in entry.versions)]
        ):
            if place.database is database or session.transaction.is_writing:
                yield from interpreter.lock(database)
        count = 0

        def work() -> None:
            nonlocal count
            table = definitions.create_from_columns(session, place, entry.plan.columns)
            names = ", ".join(quote(column.name) for column in table.columns)
            target = definitions.sqlite_name(place, table)
            cursor = session.connection.execute(
                f"INSERT INTO {target} ({names}) {entry.plan.sql}", self._binds(frame, entry)
            )
            count = cursor.rowcount

        interpreter.write(work)
        session.row_count = count
        session.last_error = 0
        yield interpreter.done(Command.SELECT, count)

    # --- INSERT, UPDATE, DELETE, MERGE

    def modify(self, frame: Frame, statement: st.Statement) -> Iterator[Step]:
        interpreter, session = self._interpreter, self._session
        if session.options.implicit_transactions:
            yield from interpreter.begin_implicitly()
        if session.options.row_count:
            raise SqlError(40517, "SET ROWCOUNT with a modification is not supported.")
        entry = self._statement_plan(frame, statement)
        yield from self._lock_for_writing(entry)
        entry = self._statement_plan(frame, statement)
        fast_enough = not entry.slow and entry.plan.command is Command.INSERT
        if not session.may_wait and not fast_enough and entry.measured_slow is not False:
            yield from interpreter.may_wait()
        rows, count = self.write_plan(frame, entry)
        session.row_count = count
        session.last_error = 0
        target = entry.plan.target
        inserted = entry.plan.command is Command.INSERT and target is not None
        if inserted and target is not None and target.identity_column is None:
            session.last_identity = None
        if not session.transaction.depth:
            session.transaction.release_locks()
        if entry.plan.columns:
            yield entry.columns
            for start in range(0, len(rows), FULL_CHUNK):
                yield Rows(rows[start : start + FULL_CHUNK])
        yield interpreter.done(entry.plan.command, count)

    def _lock_for_writing(self, entry: CachedPlan) -> Iterator[Step]:
        interpreter, session = self._interpreter, self._session
        transaction = session.transaction
        target = entry.target_database
        if target is not None:
            if target.options.read_only:
                raise error(3906, target.name)
            if entry.plan.lock is LockIntent.UPDATE_NOWAIT:
                if not transaction.hold(target):
                    raise error(1222, state=45)
            else:
                yield from interpreter.lock(target)
        for database, _ in entry.versions:
            snapshot = session.options.isolation is Isolation.SNAPSHOT and transaction.depth
            if database is not target and not snapshot:
                yield from interpreter.lock(database)
        if transaction.depth and session.options.isolation is Isolation.SNAPSHOT:
            transaction.begin_snapshot([database for database, _ in entry.versions])

    def write_plan(
        self, frame: Frame, entry: CachedPlan, binds: list[StorageValue] | None = None
    ) -> tuple[list[Row], int]:
        """Run a modification as one statement: its OUTPUT rows and its row count."""
        session = self._session
        plan = entry.plan
        values = self._binds(frame, entry) if binds is None else binds
        rows: list[Row] = []
        count = 0
        self.enter_target(plan.target, entry.target_database)

        def work() -> None:
            nonlocal rows, count
            rows, count = self._modify_now(entry, values)

        started = time.perf_counter()
        session.interruptible = not session.transaction.depth
        session.statement_command = plan.command.name
        try:
            self._interpreter.write(work)
        except sqlite3.IntegrityError as problem:
            session.interruptible = False
            return self._unique_violation(entry, values, problem)
        except sqlite3.Error as problem:
            raise self._check_violation(entry) or problem from problem
        finally:
            session.interruptible = False
            entry.measured_slow = time.perf_counter() - started > _SLOW
        return rows, count

    def _modify_now(self, entry: CachedPlan, values: list[StorageValue]) -> tuple[list[Row], int]:
        session, plan = self._session, entry.plan
        cursor = session.connection.execute(plan.sql, values)
        rows: list[Row] = []
        if plan.output_into is not None:
            stored = cursor.fetchall()
            count = len(stored)
            self._store_output(entry, plan.output_into, stored)
        elif plan.columns:
            rows = cursor.fetchall()
            count = len(rows)
        else:
            count = cursor.rowcount
        cursor.close()
        if session.pending.foreign_keys:
            self.verify_foreign_keys(entry.target_database, plan.command.name)
        return rows, max(count, 0)

    def _store_output(self, entry: CachedPlan, into: OutputInto, rows: list[Row]) -> None:
        """OUTPUT … INTO: store what the modification returned."""
        session = self._session
        host = session.host
        outer = host.target, host.counters
        temporary = into.target.name.startswith(("#", "@"))
        self.enter_target(into.target, None if temporary else entry.target_database)
        identities = session.frame.scope_identity, session.last_identity
        try:
            for row in rows:
                values = [
                    row[bind.position]
                    if isinstance(bind, OutputBind)
                    else session.frame.values[cast("VariableBind", bind).name.casefold()]
                    for bind in into.binds
                ]
                session.connection.execute(into.sql, values).close()
        finally:
            host.target, host.counters = outer
            session.frame.scope_identity, session.last_identity = identities

    def verify_foreign_keys(self, database: Database | None, command: str) -> None:
        session = self._session
        if database is not None:
            session.pending.verify(
                session.connection,
                session.transaction.catalog(database),
                database.schema_name,
                database.name,
                command,
            )

    def enter_target(self, target: Table | None, database: Database | None) -> None:
        """Tell the host which table's identity the statement draws on."""
        session = self._session
        session.host.target = target
        counters: IdentityCounters = session.temporary_identities
        if database is not None:
            counters = database.identities
        session.host.counters = counters

    def _check_violation(self, entry: CachedPlan) -> SqlError | None:
        session = self._session
        if entry.target_database is None:
            return None
        problem = session.failed_check_error(entry.target_database, entry.plan.command.name)
        if problem is not None:
            session.runtime.take_error()
        return problem

    def _unique_violation(
        self, entry: CachedPlan, values: list[StorageValue], problem: sqlite3.IntegrityError
    ) -> tuple[list[Row], int]:
        """Find out which key was violated, or that it was not.

        SQL Server looks at uniqueness when the statement has ended. An UPDATE that
        exchanges values violates SQLite's index in between: it is run again without the
        index, which is then made anew.
        """
        session = self._session
        table = entry.plan.target
        index = constraints.violated_index(table, str(problem)) if table is not None else None
        if table is None or index is None:
            raise problem
        database = entry.target_database
        schema = database.schema_name if database is not None else "temp"
        key = self._probe_key(entry, values, table, index, schema)
        duplicate = constraints.duplicate_key_error(table, index, key)
        if entry.plan.command not in (Command.UPDATE, Command.MERGE):
            raise duplicate
        if not constraints.can_rebuild(table, index):
            raise duplicate
        result: tuple[list[Row], int] = ([], 0)

        def run() -> None:
            nonlocal result
            result = self._modify_now(entry, values)

        def work() -> None:
            constraints.rebuild_unique_index(
                session.connection,
                table,
                index,
                schema,
                definitions.expression_compiler(session, database),
                run,
            )

        try:
            self._interpreter.write(work)
        except sqlite3.IntegrityError:
            raise duplicate from problem
        return result

    def _probe_key(
        self,
        entry: CachedPlan,
        values: list[StorageValue],
        table: Table,
        index: Any,
        schema: str,
    ) -> str:
        """The duplicate key: run the statement again with a trigger that notes each row's
        key before it is written, and undo it."""
        session = self._session
        connection = session.connection
        seen: list[tuple[StorageValue, ...]] = []
        connection.create_function("mssql_probe", -1, lambda *key: seen.append(key))
        columns = ", ".join(f"NEW.{quote(column.name)}" for column in index.columns)
        counters = session.host.counters
        state = counters.state(table.object_id) if counters is not None else None
        identities = session.frame.scope_identity, session.last_identity
        in_transaction = connection.in_transaction
        if not in_transaction:
            connection.execute("BEGIN")
        connection.execute("SAVEPOINT mssql_probe")
        target = f"{quote(schema)}.{quote(table.storage_name)}"
        try:
            for event in ("INSERT", "UPDATE"):
                connection.execute(
                    f"CREATE TEMP TRIGGER mssql_probe_{event} BEFORE {event} ON {target} "
                    f"BEGIN SELECT mssql_probe({columns}); END"
                )
            connection.execute(entry.plan.sql, values).fetchall()
        except sqlite3.Error:
            session.runtime.take_error()
        finally:
            connection.execute("ROLLBACK TO mssql_probe")
            connection.execute("RELEASE mssql_probe")
            if not in_transaction:
                connection.execute("ROLLBACK")
            if counters is not None:
                # Identity values of failed inserts are gone in SQL Server too, but only once.
                counters.restore(table.object_id, state)
            session.frame.scope_identity, session.last_identity = identities
            session.pending.clear()
        if not seen:
            return "(unknown)"
        return constraints.format_key(seen[-1], table, index)

    def insert_exec(self, frame: Frame, statement: st.InsertExec) -> Iterator[Step]:
        """INSERT … EXEC: collect the rows of the call, then insert them one by one."""
        interpreter, session = self._interpreter, self._session
        rows: list[Row] = []
        steps = (
            interpreter.run_execute(frame, statement.call)
            if isinstance(statement.call, st.Execute)
            else interpreter.run_execute_string(frame, statement.call)
        )
        for step in steps:
            if isinstance(step, Rows):
                rows.extend(step.rows)
            elif not isinstance(step, Columns | Done):
                yield step
        session.frame = frame
        count = 0
        for row in rows:
            inner = Frame(parent=frame)
            marks = []
            for position, value in enumerate(row):
                name = f"@mssql_{position}"
                inner.declare(name, _type_of(value), value)
                marks.append(name)
            columns = ", ".join(f"[{name}]" for name in statement.columns)
            target = ".".join(f"[{p}]" for p in _parts(statement))
            if statement.target.name.startswith("@"):
                target = statement.target.name
                inner.tables = frame.tables
            text = (
                f"INSERT INTO {target} {f'({columns})' if columns else ''} "
                f"VALUES ({', '.join(marks)})"
            )
            (parsed,) = interpreter.parse(text)
            entry = self._statement_plan(inner, parsed)
            yield from self._lock_for_writing(entry)
            self.write_plan(inner, entry)
            frame.scope_identity = inner.scope_identity or frame.scope_identity
            count += 1
        session.row_count = count
        yield interpreter.done(Command.INSERT, count)

    # --- expressions

    def evaluate(
        self, frame: Frame, expression: exp.Expression | None, target: SqlType | None
    ) -> StorageValue:
        """The value of a scalar expression, converted to ``target``."""
        return self.evaluate_typed(frame, expression, target)[0]

    def evaluate_typed(
        self, frame: Frame, expression: exp.Expression | None, target: SqlType | None = None
    ) -> tuple[StorageValue, SqlType]:
        entry = self.plan(
            frame,
            expression,
            lambda node, scope: compiler.compile_expression(node, scope, target),
            ("expression", target),
        )
        rows = self._read_all(frame, entry)
        return rows[0][0], entry.plan.columns[0].type

    def holds(self, frame: Frame, condition: exp.Expression) -> bool:
        """Whether a condition is true (unknown is not)."""
        rows = self._read_all(frame, self.predicate_plan(frame, condition))
        return bool(rows and rows[0][0])

    def convert(self, value: StorageValue, source: SqlType, target: SqlType) -> StorageValue:
        """Convert a value of a parameter or variable as an assignment does."""
        if value is None:
            return None
        if source == target:
            return value
        alike = source.kind is target.kind and source.scale == target.scale
        if alike and source.precision == target.precision and isinstance(value, str | bytes):
            return fit(value, target)
        sql = self._session.engine.conversion(source, target)
        row = self._session.connection.execute(f"SELECT {sql}", (value,)).fetchone()
        return fit(row[0], target)


class _OverBudget(Exception):
    pass


class _SchemaMoved(Exception):
    pass


def _parts(statement: st.InsertExec) -> list[str]:
    name = statement.target
    parts = [part for part in (name.database, name.schema, name.name) if part]
    return [part.replace("]", "]]") for part in parts]


def _type_of(value: StorageValue) -> SqlType:
    from .. import sqltypes

    if isinstance(value, int):
        return sqltypes.BIGINT
    if isinstance(value, float):
        return sqltypes.FLOAT
    if isinstance(value, bytes):
        return sqltypes.varbinary(sqltypes.MAX)
    return sqltypes.nvarchar(sqltypes.MAX)
