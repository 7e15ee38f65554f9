"""Runs INSERT, UPDATE, DELETE and MERGE.

Source: SQL Server documentation, "OUTPUT clause", "INSERT" (EXEC), "SCOPE_IDENTITY".
"""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

from .. import sqltypes
from ..errors import SqlError
from ..results import Command, Rows
from ..schema import Table
from ..sqltypes import SqlType, StorageValue
from ..tsql import statements as st
from ..tsql.plan import Bind, Moves, OutputBind, OutputInto, VariableBind
from . import constraints
from .databases import Database
from .definitions.change import compile_expression
from .execution import Execution
from .frames import Frame
from .identities import IdentityCounters
from .plancache import CachedPlan
from .plans import Plans, Row
from .steps import FULL_CHUNK, Step
from .storage import quote

_SLOW = 0.002
"""Seconds of a modification that are too many for a thread that may not wait."""


class Modifications:
    """The modifications of one session."""

    def __init__(self, execution: Execution, plans: Plans) -> None:
        self._execution = execution
        self._session = execution.session
        self._plans = plans

    def modify(self, frame: Frame, statement: st.Statement) -> Iterator[Step]:
        execution, session = self._execution, self._session
        if session.options.implicit_transactions:
            yield from execution.begin_implicitly()
        if session.options.row_count:
            raise SqlError(40517, "SET ROWCOUNT with a modification is not supported.")
        entry = self._plans.statement_plan(frame, statement)
        yield from self._plans.lock_for_writing(entry)
        entry = self._plans.statement_plan(frame, statement)
        fast_enough = not entry.slow and entry.plan.command is Command.INSERT
        if not session.may_wait and not fast_enough and entry.measured_slow is not False:
            yield from execution.may_wait()
        rows, count = self._write_plan(frame, entry)
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
        yield execution.done(entry.plan.command, count)

    def _write_plan(
        self, frame: Frame, entry: CachedPlan, binds: list[StorageValue] | None = None
    ) -> tuple[list[Row], int]:
        """Run a modification as one statement: its OUTPUT rows and its row count."""
        session = self._session
        plan = entry.plan
        values = self._plans.binds(frame, entry) if binds is None else binds
        rows: list[Row] = []
        count = 0
        self._enter_target(plan.target, entry.target_database)

        def work() -> None:
            nonlocal rows, count
            rows, count = self._modify_now(entry, values)

        started = time.perf_counter()
        session.interruptible = not session.transaction.depth
        try:
            self._execution.write(work)
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
            if count < 0:  # sqlite3 counts for statements only that do not begin with WITH
                (count,) = session.connection.execute("SELECT changes()").fetchone()
        cursor.close()
        if session.pending.foreign_keys:
            self._verify_foreign_keys(entry.target_database, plan.command.name)
        return rows, max(count, 0)

    def _store_output(self, entry: CachedPlan, into: OutputInto, rows: list[Row]) -> None:
        """OUTPUT … INTO: store what the modification returned."""
        session = self._session
        outer = session.identity_target, session.identity_counters
        temporary = into.target.name.startswith(("#", "@"))
        self._enter_target(into.target, None if temporary else entry.target_database)
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
            session.identity_target, session.identity_counters = outer
            session.frame.scope_identity, session.last_identity = identities

    def _verify_foreign_keys(self, database: Database | None, command: str) -> None:
        session = self._session
        if database is not None:
            session.pending.verify(
                session.connection,
                session.transaction.catalog(database),
                database.schema_name,
                database.name,
                command,
            )

    def _enter_target(self, target: Table | None, database: Database | None) -> None:
        """Tell the host which table's identity the statement draws on."""
        session = self._session
        session.identity_target = target
        counters: IdentityCounters = session.temporary_identities
        if database is not None:
            counters = database.identities
        session.identity_counters = counters

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
            if entry.plan.moves is None:
                raise duplicate
            return self._move(entry, entry.plan.moves, duplicate)
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
                compile_expression,
                run,
            )

        try:
            self._execution.write(work)
        except sqlite3.IntegrityError:
            raise duplicate from problem
        return result

    def _move(self, entry: CachedPlan, moves: Moves, duplicate: SqlError) -> tuple[list[Row], int]:
        """An UPDATE that exchanges keys which are SQLite's numbers of the rows."""
        connection = self._session.connection
        result: tuple[list[Row], int] = ([], 0)
        arriving = dataclasses.replace(
            entry, plan=dataclasses.replace(entry.plan, sql=moves.arrive)
        )

        def work() -> None:
            nonlocal result
            connection.execute(moves.collect, self._values(moves.collect_binds))
            connection.execute(moves.leave)
            result = self._modify_now(arriving, self._values(moves.arrive_binds))
            connection.execute(moves.forget)

        try:
            self._execution.write(work)
        except sqlite3.Error as problem:
            raise duplicate from problem
        return result

    def _values(self, binds: Sequence[Bind]) -> list[StorageValue]:
        values = self._session.frame.values
        return [
            values[bind.name.casefold()]
            if isinstance(bind, VariableBind)
            else self._plans.system_rows(bind)
            for bind in binds
        ]

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
        counters = session.identity_counters
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

    def insert_rows(
        self, frame: Frame, statement: st.InsertExec, rows: list[Row]
    ) -> Iterator[Step]:
        """The second half of INSERT … EXEC: the rows are there, insert them one by one."""
        session = self._session
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
            (parsed,) = session.engine.parse(text)
            entry = self._plans.statement_plan(inner, parsed)
            yield from self._plans.lock_for_writing(entry)
            self._write_plan(inner, entry)
            frame.scope_identity = inner.scope_identity or frame.scope_identity
            count += 1
        session.row_count = count
        yield self._execution.done(Command.INSERT, count)


def _parts(statement: st.InsertExec) -> list[str]:
    name = statement.target
    parts = [part for part in (name.database, name.schema, name.name) if part]
    return [part.replace("]", "]]") for part in parts]


def _type_of(value: StorageValue) -> SqlType:
    if isinstance(value, int):
        return sqltypes.BIGINT
    if isinstance(value, float):
        return sqltypes.FLOAT
    if isinstance(value, bytes):
        return sqltypes.varbinary(sqltypes.MAX)
    return sqltypes.nvarchar(sqltypes.MAX)
