"""What the engine does not do it refuses by name: the list of docs/devserver.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mssql_async.devserver.engine import SqlEngine
from tests.devserver.engine_door import Door, numbers, opened

REFUSED = [
    "SELECT TOP 50 PERCENT * FROM t",
    "SELECT TOP 1 WITH TIES * FROM t ORDER BY n",
    "SELECT * FROM t PIVOT (SUM(n) FOR id IN ([1],[2])) p",
    "SELECT * FROM t UNPIVOT (v FOR c IN (id, n)) u",
    "SELECT * FROM t FOR XML AUTO",
    "SELECT * FROM t FOR JSON PATH",
    "SELECT n, COUNT(*) FROM t GROUP BY ROLLUP (n)",
    "SELECT n, COUNT(*) FROM t GROUP BY CUBE (n)",
    "SELECT n, COUNT(*) FROM t GROUP BY GROUPING SETS ((n), ())",
    "SELECT n, COUNT(*) FROM t GROUP BY n WITH ROLLUP",
    "SELECT SUM(n) OVER w FROM t WINDOW w AS (ORDER BY id)",
    "SELECT LAG(n) IGNORE NULLS OVER (ORDER BY id) FROM t",
    "SELECT * FROM t WHERE n IS DISTINCT FROM 1",
    "SELECT * FROM t CROSS APPLY (SELECT TOP 1 * FROM u WHERE u.id = t.id) x",
    "SELECT * FROM t OUTER APPLY (SELECT MAX(id) m FROM u WHERE u.id = t.id) x",
    "SELECT * FROM t CROSS APPLY (VALUES (t.n), (t.id)) v(x)",
    "MERGE t USING u ON t.id=u.id "
    "WHEN MATCHED THEN UPDATE SET n=1 WHEN NOT MATCHED THEN INSERT (id,n) VALUES (u.id,1);",
    "UPDATE t SET n=2 OUTPUT deleted.n",
    "INSERT TOP (1) t SELECT 90,1",
    "DECLARE @x int; UPDATE t SET @x = n = n+1",
    "INSERT v VALUES (5,5)",
    "UPDATE v SET n=1",
    "SELECT FORMAT(1,'N')",
    "SELECT SOUNDEX('a')",
    "SELECT DIFFERENCE('a','b')",
    "SELECT CHECKSUM(1)",
    "SELECT BINARY_CHECKSUM(1)",
    "SELECT PARSENAME('a.b',1)",
    "SELECT PARSE('1' AS int)",
    "SELECT TRY_PARSE('1' AS int)",
    "DECLARE @s int=112; SELECT CONVERT(varchar(10), GETDATE(), @s)",
    "CREATE PROCEDURE p AS SELECT 1",
    "CREATE FUNCTION f() RETURNS int AS BEGIN RETURN 1 END",
    "CREATE TRIGGER tr ON t AFTER INSERT AS SELECT 1",
    "CREATE TYPE ty FROM int",
    "CREATE SEQUENCE sq",
    "CREATE SYNONYM sy FOR t",
    "CREATE LOGIN l WITH PASSWORD='x'",
    "CREATE USER u1",
    "DECLARE c CURSOR FOR SELECT 1",
    "GRANT SELECT ON t TO public",
    "BACKUP DATABASE app TO DISK='x'",
    "GOTO x; x: SELECT 1",
    "CREATE TABLE i1 (a int, INDEX ix (a))",
    "CREATE TABLE i3 (a int SPARSE)",
    "CREATE FUNCTION other(@a nvarchar(max)) RETURNS bit AS EXTERNAL NAME a.b.c",
    "CREATE TABLE ##g (a int)",
    "CREATE INDEX ix ON v (id)",
    "CREATE COLUMNSTORE INDEX cc ON t (n)",
    "SET ROWCOUNT 1; DELETE u",
    "SET TEXTSIZE 10",
    "DBCC CHECKDB",
    "DECLARE @x xml = '<a/>'; SELECT @x.value('.', 'int')",
    "SELECT * FROM t TABLESAMPLE (10 PERCENT)",
    "SELECT NEXT VALUE FOR sq",
    "SELECT * FROM srv.db.dbo.t",
    "SELECT * FROM OPENQUERY(a,'b')",
    "BULK INSERT t FROM 'x'",
    "BEGIN DISTRIBUTED TRAN",
    "EXECUTE AS USER='x'",
    "SET ANSI_NULLS OFF",
    "ALTER DATABASE app SET READ_COMMITTED_SNAPSHOT OFF",
    "RESTORE DATABASE x FROM DISK='y'",
    "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY n) OVER () FROM t",
    "SELECT COMPRESS('a')",
    "SELECT DATE_BUCKET(day,1,GETDATE())",
    "ALTER INDEX ALL ON t REBUILD",
    "CHECKPOINT",
    "CREATE PARTITION FUNCTION pf (int) AS RANGE LEFT FOR VALUES (1)",
    "ALTER SCHEMA dbo TRANSFER dbo.t",
    "DECLARE @x int = 0; SELECT @x = @x + n FROM t",
    "ALTER DATABASE app SET RESTRICTED_USER",
    "SET SHOWPLAN_XML ON",
    "SET STATISTICS IO ON",
    "SET FMTONLY ON",
    "ALTER DATABASE app SET COMPATIBILITY_LEVEL = 140",
    "CREATE TABLE i9 (a nvarchar(9) MASKED WITH (FUNCTION = 'default()'))",
    "SELECT GROUPING(n) FROM t GROUP BY n",
    "SELECT BIT_COUNT(1)",
    "SELECT CHECKSUM_AGG(n) FROM t",
]


@pytest.fixture(scope="module")
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        door = Door(engine)
        door.run("CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (id int)")
        door.run("CREATE VIEW v AS SELECT id, n FROM t")
        door.close()
        yield engine


@pytest.mark.parametrize("sql", REFUSED)
def test_it_is_refused_and_changes_nothing(engine: SqlEngine, sql: str) -> None:
    door = Door(engine)
    outcome = door.attempt(sql)
    assert numbers(outcome) == [40517]
    assert "not supported" in outcome.errors[0].text
    assert door.rows("SELECT @@TRANCOUNT, COUNT(*) FROM t") == [(0, 0)]
    door.close()


@pytest.mark.parametrize("name", ["sp_help", "sp_helptext", "sp_spaceused", "xp_cmdshell"])
def test_an_unknown_procedure_could_not_be_found(engine: SqlEngine, name: str) -> None:
    message = Door(engine).error(f"EXEC {name}")
    assert (message.number, name in message.text) == (2812, True)


@pytest.mark.parametrize("name", ["geography", "geometry", "hierarchyid"])
def test_a_type_of_the_clr_cannot_be_found(engine: SqlEngine, name: str) -> None:
    assert Door(engine).error(f"CREATE TABLE c (c {name})").number == 2715
