"""What is one statement, and what may be more."""

from __future__ import annotations

import pytest

from mssql_async.session.single import is_single, only_reads

QUERIES = [
    "SELECT 1",
    "select * from t where a in (select b from u)",
    "SELECT a FROM t UNION ALL SELECT b FROM u UNION SELECT c FROM v;",
    "WITH c AS (SELECT 1 AS a) SELECT a FROM c",
    "SELECT '; DELETE FROM t', [into], \"update\" FROM [in;to]",
    "SELECT 1 -- it's one; DELETE FROM t",
    "SELECT größe AS Größe FROM t",
    "SELECT a.id FROM t AS a INNER MERGE JOIN u AS b ON a.id = b.id",
    "SELECT a FROM t /* it's; tagged */ ORDER BY a OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY",
]
CHANGES = [
    "INSERT INTO t (a, b) OUTPUT INSERTED.id VALUES (%s, %s)",
    "INSERT INTO t DEFAULT VALUES",
    "INSERT INTO t (a) SELECT a FROM u UNION ALL SELECT 1",
    "SET NOCOUNT ON; INSERT INTO t (a) VALUES (%s); SELECT CAST(SCOPE_IDENTITY() AS bigint)",
    "SET NOCOUNT ON INSERT INTO t (a) VALUES (%s); SELECT CAST(SCOPE_IDENTITY() AS bigint)",
    "SET NOCOUNT ON; INSERT INTO t DEFAULT VALUES; "
    "SELECT CAST(SCOPE_IDENTITY() AS bigint) WHERE 1 = %s",
    "SET IDENTITY_INSERT [t] ON; INSERT INTO [t] ([id]) VALUES (%s); SET IDENTITY_INSERT [t] OFF",
    "SET NOCOUNT OFF; UPDATE [t] SET [set] = CASE WHEN a = 1 THEN 2 ELSE 3 END WHERE x = N'it''s'",
    "UPDATE t SET a = (SELECT MAX(b) FROM u) FROM t JOIN u ON t.id = u.id",
    " DELETE FROM t WHERE a IN (SELECT b FROM u) ; ",
    "WITH c AS (SELECT TOP 1 * FROM t) DELETE FROM c",
]
MORE = [
    "INSERT INTO t VALUES (1) INSERT INTO t VALUES (2)",
    "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
    "INSERT INTO t VALUES (1); SELECT * FROM u",
    "INSERT INTO t VALUES (1) SELECT * FROM u",
    "INSERT INTO t SELECT 1 SELECT * FROM u",
    "INSERT INTO t VALUES (1); SELECT CAST((SELECT MAX(a) FROM u) AS bigint)",
    "INSERT INTO t VALUES (1) EXEC p",
    "INSERT INTO t VALUES (1) DROP TABLE u",
    "INSERT INTO t EXEC p",
    "UPDATE t SET a = 1 UPDATE t SET b = 1",
    "UPDATE t SET a = 1 SELECT a FROM u",
    "SELECT 1; DELETE FROM t",
    "SELECT 1\u2003DELETE FROM t",
    "SET IDENTITY_INSERT t ON; INSERT INTO t (id) VALUES (1); INSERT INTO t (id) VALUES (2); "
    "SET IDENTITY_INSERT t OFF",
    "SET IDENTITY_INSERT t ON; INSERT INTO t (id) VALUES (1); SET IDENTITY_INSERT u OFF",
    "SELECT 1 DELETE t",
    "SET NOCOUNT ON; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
    "SET NOCOUNT ON; SET NOCOUNT OFF",
    "BEGIN TRAN; INSERT INTO t VALUES (1); COMMIT",
    "MERGE t USING u ON t.id = u.id WHEN MATCHED THEN DELETE;",
    "EXEC p",
    "p",
    "",
    "IF 1 = 1 DELETE FROM t",
    "INSERT INTO t VALUES ('a' -- it's\n) INSERT INTO t VALUES (2) -- isn't",
    "SELECT 1 /* a /* b */ it's */ DELETE FROM t /* isn't */",
    "INSERT INTO t VALUES ('never closed)",
    "SELECT 1)",
    "\uff33\uff25LECT 1",
]  # fmt: skip


@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_only_reads(sql: str) -> None:
    assert only_reads(sql)


@pytest.mark.parametrize("sql", [*QUERIES, *CHANGES])
def test_one_statement_is_single(sql: str) -> None:
    assert is_single(sql)


@pytest.mark.parametrize("sql", CHANGES)
def test_a_change_is_no_query(sql: str) -> None:
    assert not only_reads(sql)


@pytest.mark.parametrize("sql", MORE)
def test_what_may_be_more_is_neither(sql: str) -> None:
    assert not is_single(sql)
    assert not only_reads(sql)


def test_a_query_that_makes_a_table_does_not_only_read() -> None:
    assert is_single("SELECT * INTO t FROM u")
    assert not only_reads("SELECT * INTO t FROM u")


def test_several_queries_only_read() -> None:
    assert only_reads("SELECT 1; SELECT 2")
    assert not is_single("SELECT 1; SELECT 2")
