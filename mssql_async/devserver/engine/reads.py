"""Runs SELECT.

A SELECT that runs on a thread which may not wait gets a small budget of SQLite
operations; when it is used up, the SELECT starts over on a thread that may (nothing of
it was sent yet), and the plan is remembered as a slow one.

Source: SQL Server documentation, "SELECT", "INTO clause", "Table hints".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import cast

from ..errors import error
from ..results import Command, Rows
from ..schema import ObjectName
from ..tsql import statements as st
from ..tsql.plan import LockIntent
from .definitions.place import Place, sqlite_name
from .definitions.tables import create_from_columns
from .execution import Execution
from .formatting import fit
from .frames import Frame
from .plancache import CachedPlan
from .plans import Plans, Row
from .steps import FULL_CHUNK, Control, Step
from .storage import quote


class Reads:
    """The SELECTs of one session."""

    def __init__(self, execution: Execution, plans: Plans) -> None:
        self._execution = execution
        self._session = execution.session
        self._plans = plans

    def select(self, frame: Frame, statement: st.Query) -> Iterator[Step]:
        session = self._session
        entry = self._plans.statement_plan(frame, statement)
        plan = entry.plan
        if session.options.implicit_transactions and (entry.versions or plan.into):
            yield from self._execution.begin_implicitly()
        if plan.into is not None:
            yield from self._select_into(frame, entry)
            return
        if plan.lock is not LockIntent.NONE or session.transaction.depth:
            skip = False
            if plan.lock is LockIntent.UPDATE_NOWAIT and not self._plans.locked_without_waiting(
                entry
            ):
                raise error(1222, state=45)
            if plan.lock is LockIntent.UPDATE_SKIP:
                skip = not self._plans.locked_without_waiting(entry)
            if not skip:
                yield from self._plans.access(entry)
                entry = self._plans.statement_plan(frame, statement)
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
        yield self._execution.done(Command.SELECT, 0)

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
                    yield from self._execution.may_wait()
                except _SchemaMoved:
                    entry = self._plans.statement_plan(frame, statement)
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
        yield self._execution.done(Command.SELECT, count)

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
            cursor = session.connection.execute(entry.plan.sql, self._plans.binds(frame, entry))
            return cursor, cursor.fetchmany(FULL_CHUNK)
        except sqlite3.OperationalError as problem:
            if session.over_budget and not session.interrupted.is_set():
                entry.slow = True
                raise _OverBudget from None
            if not self._plans.is_valid(entry) and str(problem).startswith("no such"):
                raise _SchemaMoved from None
            raise
        finally:
            session.interruptible = False
            session.budgeted = False

    def _assign(self, frame: Frame, entry: CachedPlan, statement: st.Query) -> Iterator[Step]:
        session = self._session
        while True:
            try:
                cursor, rows = self._read(frame, entry)
                break
            except _OverBudget:
                yield from self._execution.may_wait()
            except _SchemaMoved:
                entry = self._plans.statement_plan(frame, statement)
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
        yield self._execution.done(Command.SELECT, count)

    def _select_into(self, frame: Frame, entry: CachedPlan) -> Iterator[Step]:
        execution, session = self._execution, self._session
        yield from execution.may_wait()
        place = Place(session, cast("ObjectName", entry.plan.into))
        for database in dict.fromkeys(
            [*([place.database] if place.database else []), *(d for d, _ in entry.versions)]
        ):
            if place.database is database or session.transaction.is_writing:
                yield from execution.lock(database)
        count = 0

        def work() -> None:
            nonlocal count
            table = create_from_columns(place, entry.plan.columns)
            names = ", ".join(quote(column.name) for column in table.columns)
            target = sqlite_name(place, table)
            cursor = session.connection.execute(
                f"INSERT INTO {target} ({names}) {entry.plan.sql}", self._plans.binds(frame, entry)
            )
            count = cursor.rowcount

        execution.write(work)
        session.row_count = count
        session.last_error = 0
        yield execution.done(Command.SELECT, count)


class _OverBudget(Exception):
    pass


class _SchemaMoved(Exception):
    pass
