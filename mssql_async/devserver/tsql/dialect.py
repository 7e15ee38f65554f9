"""sqlglot's dialect of the stand-in: T-SQL and nothing else.

sqlglot's own ``tsql`` is made to translate between dialects: it accepts what SQL Server
refuses (``LIMIT``, ``||``, ``QUALIFY``, words such as ``SET`` as aliases) and rewrites what
must be told apart (ISNULL and COALESCE, GETDATE and SYSDATETIME, COUNT and COUNT_BIG). This
one has T-SQL's reserved words only, keeps every function under its name, refuses with SQL
Server's errors, and makes the trees of :mod:`.nodes`.

>>> StandInTSQL().parse("SELECT TOP 1 name FROM sys.tables UPDATE t SET a = 1")

gives two trees: T-SQL needs no semicolon between statements.
"""

from __future__ import annotations

from sqlglot.dialects.tsql import TSQL

from . import tokenizer
from .statements_parser import StatementParser


class StandInTSQL(TSQL):
    Tokenizer = tokenizer.Tokenizer
    Parser = StatementParser


#: A dialect holds settings only, so that one serves every thread.
DIALECT = StandInTSQL()
