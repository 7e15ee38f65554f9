"""The dialect's operations, with compilers of our own."""

from __future__ import annotations

from typing import Any

from mssql.operations import DatabaseOperations as MssqlOperations


class DatabaseOperations(MssqlOperations):  # type: ignore[misc]
    compiler_module = "mssql_async.compiler"

    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        """With ``NULL`` for a null; the dialect writes ``None``."""
        if params:
            params = tuple("NULL" if value is None else value for value in params)
        shown: str = super().last_executed_query(cursor, sql, params)
        return shown
