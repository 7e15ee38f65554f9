"""Compiled statements of a session: found or made, bound, and given the locks they need.

Source: SQL Server documentation, "Transaction locking and row versioning guide",
"Table hints (Transact-SQL)" (NOWAIT, READPAST).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from sqlglot import exp

from ..errors import SqlError, error
from ..protocols import Isolation
from ..results import Columns
from ..sqltypes import StorageValue
from ..tsql import compiler
from ..tsql import statements as st
from ..tsql.plan import LockIntent, Plan, SystemRowsBind, VariableBind
from .execution import Execution
from .frames import Frame
from .outcomes import CompilationFailed
from .plancache import CachedPlan
from .scope import CompileScope
from .steps import Step
from .systemviews import system_rows

Compile = Callable[[Any, CompileScope], Plan]
Row = tuple[StorageValue, ...]


def _compile_statement(node: Any, scope: CompileScope) -> Plan:
    return compiler.compile_statement(node, scope)


def _compile_predicate(node: Any, scope: CompileScope) -> Plan:
    return compiler.compile_predicate(node, scope)


class Plans:
    """The compiled statements of one session; the cache is shared by all."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._session = execution.session
        self._cache = execution.session.engine.plans

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
        if entry is not None and self.is_valid(entry):
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

    def is_valid(self, entry: CachedPlan) -> bool:
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

    def statement_plan(self, frame: Frame, statement: st.Statement) -> CachedPlan:
        return self.plan(frame, statement, _compile_statement, None)

    def predicate_plan(self, frame: Frame, condition: exp.Expression) -> CachedPlan:
        return self.plan(frame, condition, _compile_predicate, "predicate")

    def binds(self, frame: Frame, entry: CachedPlan) -> list[StorageValue]:
        """What a statement that begins now is run with. Its clock starts."""
        self._session.runtime.begin_statement()
        values = frame.values
        return [
            values[bind] if type(bind) is str else self.system_rows(bind) for bind in entry.binds
        ]

    def system_rows(self, bind: object) -> str:
        return system_rows(self._session, cast("SystemRowsBind", bind).view)

    # --- locks

    def access(self, entry: CachedPlan) -> Iterator[Step]:
        """Take what a read needs before it runs: nothing, most of the time."""
        session = self._session
        transaction = session.transaction
        if entry.plan.lock is LockIntent.UPDATE:
            for database, _ in entry.versions:
                yield from self._execution.lock(database)
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
                yield from self._execution.lock(database)

    def locked_without_waiting(self, entry: CachedPlan) -> bool:
        transaction = self._session.transaction
        return all(transaction.hold(database) for database, _ in entry.versions)

    def lock_for_writing(self, entry: CachedPlan) -> Iterator[Step]:
        session = self._session
        transaction = session.transaction
        target = entry.target_database
        if target is not None:
            if target.options.read_only:
                raise error(3906, target.name)
            if entry.plan.lock is LockIntent.UPDATE_NOWAIT:
                if not transaction.hold(target):
                    raise error(1222, state=45)
            else:
                yield from self._execution.lock(target)
        for database, _ in entry.versions:
            snapshot = session.options.isolation is Isolation.SNAPSHOT and transaction.depth
            if database is not target and not snapshot:
                yield from self._execution.lock(database)
        if transaction.depth and session.options.isolation is Isolation.SNAPSHOT:
            transaction.begin_snapshot([database for database, _ in entry.versions])
