"""mssql-django's compilers, with nulls that know their type.

Django finds the compilers by name in the module that ``ops.compiler_module`` names.
"""

from __future__ import annotations

from typing import Any

from django.db.models import BinaryField, Expression
from mssql import compiler as mssql
from mssql.compiler import SQLAggregateCompiler, SQLCompiler, SQLDeleteCompiler

from .session.nulls import TypedNull, TypedParameters, null_of

__all__ = [
    "SQLAggregateCompiler",
    "SQLCompiler",
    "SQLDeleteCompiler",
    "SQLInsertCompiler",
    "SQLUpdateCompiler",
]


class SQLInsertCompiler(mssql.SQLInsertCompiler):  # type: ignore[misc]
    """An ``INSERT`` that does not ask the server for the types of its nulls."""

    def field_as_sql(self, field: Any, *placeholder_and_value: Any) -> tuple[str, Any]:
        sql, params = super().field_as_sql(field, *placeholder_and_value)
        # A placeholder of the field's own may give its parameter another type than the column's.
        if sql == "%s" and len(params) == 1 and params[0] is None:
            params = [_null_for(field, self.connection)]
        return sql, params

    def as_sql(self) -> list[tuple[str, Any]]:
        return [_as_a_call(sql, _as_seen(sql, params)) for sql, params in super().as_sql()]


class SQLUpdateCompiler(mssql.SQLUpdateCompiler):  # type: ignore[misc]
    """An ``UPDATE`` that does not ask either. Until Django 6.0 it wrote ``= NULL``, in another
    text for each combination of nulls; since 6.1 the null is a parameter."""

    def as_sql(self) -> tuple[str, Any]:
        values = self.query.values
        self.query.values = [
            (field, model, self._prepared(field, value) if value is None else value)
            for field, model, value in values
        ]
        try:
            sql, params = super().as_sql()
        finally:
            self.query.values = values
        return sql, _as_seen(sql, params)

    def _prepared(self, field: Any, value: None) -> Any:
        if _has_its_own_placeholder(field):
            return value
        if field.get_db_prep_save(value, connection=self.connection) is not None:
            return value  # a field that saves None as something else
        null = _null_for(field, self.connection)
        return value if null is None else NullParameter(field, null)


class NullParameter(Expression):
    """A null as a parameter, where Django's ``Value(None)`` writes ``NULL``. No ``Value``: a
    ``JSONField`` takes those for JSON."""

    def __init__(self, field: Any, null: TypedNull) -> None:
        super().__init__(output_field=field)
        self._null = null

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", (self._null,)


def _has_its_own_placeholder(field: Any) -> bool:
    """Such a placeholder may make something of a null that is a value. ``BinaryField``'s, which
    is there for other databases, does not. The name is another one since Django 6.1."""
    return any(
        getattr(type(field), name, None) is not getattr(BinaryField, name, None)
        for name in ("get_placeholder", "get_placeholder_sql")
        if hasattr(field, name)
    )


def _null_for(field: Any, connection: Any) -> TypedNull | None:
    """The null of the field's column; None where the driver has to ask, or is not Microsoft's."""
    if not connection._is_microsoft_driver:  # noqa: SLF001 - the dialect's word for it
        return None
    column_type = field.db_type(connection)
    return None if column_type is None else null_of(column_type)


_ITS_KEY = "SELECT CAST(SCOPE_IDENTITY() AS bigint)"


def _as_a_call(sql: str, params: Any) -> tuple[str, Any]:
    """The dialect's ``SET NOCOUNT ON; INSERT … DEFAULT VALUES`` for a model that has nothing but
    its key, with a parameter: sent bare, the option would outlive it and the session have to
    be reset."""
    if not params and sql.startswith("SET NOCOUNT ON") and sql.endswith(_ITS_KEY):
        return f"{sql} WHERE 1 = %s", (1,)
    return sql, params


def _as_seen(sql: str, params: Any) -> Any:
    """The parameters as ``execute_wrapper`` and the logs are to see them.

    The dialect's cursor puts those of a statement with ``GROUP BY`` into variables, by their
    Python types; it knows ``None`` and nothing of our nulls."""
    if not params or not any(type(value) is TypedNull for value in params):
        return params
    seen = TypedParameters.of(params)
    return tuple(seen) if "GROUP BY" in sql else seen
