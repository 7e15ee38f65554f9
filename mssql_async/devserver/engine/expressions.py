"""Expressions outside of queries: conditions, assignments, arguments."""

from __future__ import annotations

from sqlglot import exp

from ..sqltypes import SqlType, StorageValue
from ..tsql import compiler, nodes
from .formatting import fit
from .frames import Frame
from .plancache import CachedPlan
from .plans import Plans, Row
from .sessionstate import SessionState


class Expressions:
    """The expressions of one session."""

    def __init__(self, session: SessionState, plans: Plans) -> None:
        self._session = session
        self._plans = plans

    def evaluate(
        self, frame: Frame, expression: exp.Expression | None, target: SqlType | None
    ) -> StorageValue:
        """The value of a scalar expression, converted to ``target``."""
        return self.evaluate_typed(frame, expression, target)[0]

    def evaluate_typed(
        self, frame: Frame, expression: exp.Expression | None, target: SqlType | None = None
    ) -> tuple[StorageValue, SqlType]:
        entry = self._plans.plan(
            frame,
            expression,
            lambda node, scope: compiler.compile_expression(node, scope, target),
            ("expression", target),
        )
        rows = self._read_all(frame, entry)
        return rows[0][0], entry.plan.columns[0].type

    def holds(self, frame: Frame, condition: exp.Expression) -> bool:
        """Whether a condition is true (unknown is not)."""
        rows = self._read_all(frame, self._plans.predicate_plan(frame, condition))
        return bool(rows and rows[0][0])

    @staticmethod
    def reads_tables(expression: exp.Expression) -> bool:
        """Whether an expression may take any time: it must not on a thread that may not wait."""
        return expression.find(nodes.SelectQuery) is not None

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

    def _read_all(self, frame: Frame, entry: CachedPlan) -> list[Row]:
        """Every row of a read, on whatever thread."""
        session = self._session
        session.interruptible = True
        try:
            return session.connection.execute(
                entry.plan.sql, self._plans.binds(frame, entry)
            ).fetchall()
        finally:
            session.interruptible = False
