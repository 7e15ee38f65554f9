"""The dialect's operations, with compilers of our own."""

from __future__ import annotations

from mssql.operations import DatabaseOperations as MssqlOperations


class DatabaseOperations(MssqlOperations):  # type: ignore[misc]
    compiler_module = "mssql_async.compiler"
