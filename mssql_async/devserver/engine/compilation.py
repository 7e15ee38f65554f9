"""A batch is compiled as a whole before anything of it runs, as far as its tables are there.

Source: SQL Server documentation, "Batches of SQL statements" ("A compile error, such as a
syntax error, prevents the compilation of the execution plan. Therefore, no statements in the
batch are executed"); deferred name resolution: "can only be used when you reference nonexistent
table objects. … you can't reference nonexistent columns of existing tables".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from ..errors import SqlError
from ..tsql import statements as st
from .frames import Frame
from .outcomes import CompilationFailed
from .plans import Plans

_OF_NAMES = frozenset({107, 137, 207, 209, 4104})
"""Names that mean nothing, in statements whose tables are there. What else a statement may be
refused for can depend on what runs before it, and waits until it runs."""

_COMPILED = (st.Query, st.Insert, st.Update, st.Delete, st.Merge)


def unbound(plans: Plans, frame: Frame, statements: Sequence[st.Statement]) -> SqlError | None:
    """The error that keeps the whole batch from running, if there is one. Plans that were made
    to find it are kept, and run."""
    if len(statements) == 1 and isinstance(statements[0], _COMPILED):
        return None  # it is compiled before it runs in any case
    scope = dataclasses.replace(
        frame,
        values=dict(frame.values),
        types=dict(frame.types),
        declared=dict(frame.declared),
    )
    for statement in _in_order(statements):
        try:
            if isinstance(statement, st.Use):
                return None  # what follows is of another database
            if isinstance(statement, st.Declare):
                for name, declared, _ in statement.variables:
                    scope.declare(name, declared, None, exact=True)
            elif isinstance(statement, _COMPILED):
                plans.statement_plan(scope, statement)
            elif isinstance(statement, st.If | st.While):
                plans.predicate_plan(scope, statement.condition)
        except CompilationFailed as failed:
            if failed.problem.number in _OF_NAMES:
                if failed.problem.line <= 1:
                    failed.problem.line = statement.line
                return failed.problem
        except SqlError:
            return None  # declared twice: said where it runs
    return None


def _in_order(statements: Sequence[st.Statement]) -> Iterator[st.Statement]:
    for statement in statements:
        yield statement
        if isinstance(statement, st.If):
            yield from _in_order(statement.then)
            yield from _in_order(statement.otherwise)
        elif isinstance(statement, st.While | st.Block):
            yield from _in_order(statement.body)
        elif isinstance(statement, st.TryCatch):
            yield from _in_order(statement.body)
            yield from _in_order(statement.handler)
