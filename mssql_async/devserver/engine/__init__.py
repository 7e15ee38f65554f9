"""The engine of the embedded SQL Server stand-in.

T-SQL comes in as batches, procedure calls and transaction requests; events go out. Each
database is a SQLite file; :mod:`mssql_async.devserver.tsql` turns statements into SQLite
SQL. Read :mod:`.session` first, then :mod:`.interpreter` and :mod:`.queries`, then
:mod:`.transactions`, then :mod:`.definitions`.
"""

from __future__ import annotations

from .engine import SqlEngine, open_engine

__all__ = ["SqlEngine", "open_engine"]
