"""The engine of the embedded SQL Server stand-in.

T-SQL comes in as batches, procedure calls and transaction requests; events go out. Each
database is a SQLite file; :mod:`mssql_async.devserver.tsql` turns statements into SQLite
SQL. Imports point one way, from the top of this list to its end:

- :mod:`.engine`: logins; :mod:`.session`: one session's requests, reset and end
- :mod:`.statements`: what each statement does; :mod:`.interpreter`: requests and errors
- :mod:`.procedures`: system procedures; :mod:`.functions`: ``@@spid``, ``object_id`` …
- :mod:`.reads`, :mod:`.modifications`, :mod:`.expressions` over :mod:`.plans`
- :mod:`.definitions`: CREATE, ALTER, DROP; :mod:`.systemviews`: ``sys.*``
- :mod:`.execution`: wait, lock, write; :mod:`.sessionstate`: what a session is
- :mod:`.instance`: what sessions share
- :mod:`.transactions`, :mod:`.locks`, :mod:`.databases`, :mod:`.catalog`, :mod:`.storage`
"""

from __future__ import annotations

from .engine import SqlEngine, open_engine

__all__ = ["SqlEngine", "open_engine"]
