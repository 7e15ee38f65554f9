"""Which statements leave something behind in their session."""

from __future__ import annotations

import pytest

from mssql_async.session.state import Effect, effect_of


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT [a].[id] FROM [a] WHERE [a].[name] = ?",
        "SELECT 'it''s a USE of EXEC' AS [SET]",
        "-- BEGIN TRANSACTION\nSELECT 1",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "INSERT INTO [a] ([b]) VALUES (?)",
        "UPDATE [a] SET [b] = ?, [c] = [c] + 1 WHERE [id] = ?",
        "UPDATE a SET b = 1",
        "UPDATE a SET a.b = 1",
        "UPDATE a SET b += 1",
        "DELETE FROM [a] WHERE [id] IN (?, ?)",
        "DECLARE @var0 INT = ?   SELECT [a] FROM [t] GROUP BY [a] HAVING COUNT(*) > @var0",
        "SELECT [a] FROM [t] ORDER BY 1 ASC OFFSET 5 ROWS FETCH FIRST 3 ROWS ONLY",
        "SELECT [created_at], [begin], [user] FROM [t]",
        "(SELECT 1) UNION (SELECT 2)",
    ],
)
def test_queries_and_data_changes_leave_nothing(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.CLEAN


@pytest.mark.parametrize(
    "sql",
    [
        "SET DATEFORMAT dmy",
        "SELECT 1; SET DATEFIRST 1",
        "UPDATE a SET b = 1; SET LANGUAGE french",
        "UPDATE a SET b = 1 SET ROWCOUNT 5",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET IDENTITY_INSERT [a] ON",
        "USE master",
        "BEGIN TRANSACTION",
        "begin tran",
        "COMMIT",
        "IF @@TRANCOUNT > 0 ROLLBACK",
        "CREATE TABLE #t (a int)",
        "SELECT * INTO #t FROM a",
        "SELECT * FROM #t",
        "EXEC sp_getapplock @Resource = 'x', @LockMode = 'Exclusive'",
        "INSERT INTO a EXEC p",
        "sp_who",
        "SELECT 1; EXECUTE AS USER = 'x'",
        "DECLARE c CURSOR FOR SELECT 1",
        "ALTER TABLE [a] NOCHECK CONSTRAINT ALL",
        "KILL 55",
        "",
        "-- nothing but a comment",
    ],
)
def test_everything_else_is_dirty(sql: str) -> None:
    assert effect_of(sql, parameterised=True) is Effect.DIRTY


def test_nocount_ends_with_a_parameterised_call_and_stays_after_a_plain_batch() -> None:
    insert = "SET NOCOUNT ON INSERT INTO [a] ([b]) VALUES (?); SELECT CAST(SCOPE_IDENTITY() AS int)"
    assert effect_of(insert, parameterised=True) is Effect.CLEAN
    assert effect_of("SET NOCOUNT OFF; DELETE FROM [a]", parameterised=False) is Effect.DIRTY


@pytest.mark.parametrize("verb", ["SAVE", "ROLLBACK"])
def test_a_savepoint_belongs_to_its_transaction(verb: str) -> None:
    assert effect_of(f"{verb} TRANSACTION s1_x2", parameterised=False) is Effect.SAVEPOINT
    assert effect_of(f"{verb} TRANSACTION", parameterised=False) is Effect.DIRTY
