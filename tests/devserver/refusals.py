"""What the embedded server refuses by name: the facts behind ``docs/devserver.md``.

A name is what the error says between its quotes. The statements are tried by
``test_engine_refusals.py``, which also holds that no refusal in the sources is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Refusals = Mapping[str, Sequence[str]]

QUERIES: Refusals = {
    "TOP … PERCENT": ["SELECT TOP 50 PERCENT * FROM t"],
    "TOP … WITH TIES": ["SELECT TOP 1 WITH TIES * FROM t ORDER BY n"],
    "PIVOT": ["SELECT * FROM t PIVOT (SUM(n) FOR id IN ([1],[2])) p"],
    "UNPIVOT": ["SELECT * FROM t UNPIVOT (v FOR c IN (id, n)) u"],
    "FOR XML": ["SELECT * FROM t FOR XML AUTO"],
    "FOR JSON": ["SELECT * FROM t FOR JSON PATH"],
    "FOR BROWSE": ["SELECT * FROM t FOR BROWSE"],
    "GROUP BY ROLLUP": ["SELECT n, COUNT(*) FROM t GROUP BY ROLLUP (n)"],
    "GROUP BY CUBE": ["SELECT n, COUNT(*) FROM t GROUP BY CUBE (n)"],
    "GROUP BY GROUPING SETS": ["SELECT n, COUNT(*) FROM t GROUP BY GROUPING SETS ((n), ())"],
    "GROUP BY … WITH ROLLUP": ["SELECT n, COUNT(*) FROM t GROUP BY n WITH ROLLUP"],
    "GROUP BY … WITH CUBE": ["SELECT n, COUNT(*) FROM t GROUP BY n WITH CUBE"],
    "named windows": ["SELECT SUM(n) OVER w FROM t WINDOW w AS (ORDER BY id)"],
    "IGNORE NULLS | RESPECT NULLS": ["SELECT LAG(n) IGNORE NULLS OVER (ORDER BY id) FROM t"],
    "APPLY of a query that reads the rows beside it": [
        "SELECT * FROM t CROSS APPLY (SELECT TOP 1 * FROM u WHERE u.id = t.id) x",
        "SELECT * FROM t OUTER APPLY (SELECT MAX(id) m FROM u WHERE u.id = t.id) x",
        "SELECT * FROM t CROSS APPLY (VALUES (t.n), (t.id)) v(x)",
    ],
    "the table-valued function …": ["SELECT * FROM dbo.f(1)"],
    "CONTAINS": ["SELECT * FROM t WHERE CONTAINS(n, 'x')"],
    "FREETEXT": ["SELECT * FROM t WHERE id = 1 AND FREETEXT(*, 'x')"],
    "CONTAINSTABLE": ["SELECT * FROM CONTAINSTABLE(t, n, 'x') c"],
    "FREETEXTTABLE": ["SELECT * FROM FREETEXTTABLE(t, n, 'x') c"],
    "TABLESAMPLE": ["SELECT * FROM t TABLESAMPLE (10 PERCENT)"],
    "FOR SYSTEM_TIME": ["SELECT * FROM t FOR SYSTEM_TIME ALL"],
    "NEXT VALUE FOR": ["SELECT NEXT VALUE FOR sq"],
    "a four-part name (linked servers)": ["SELECT * FROM srv.db.dbo.t"],
    "OPENQUERY": ["SELECT * FROM OPENQUERY(a,'b')"],
    "OPENROWSET": ["SELECT * FROM OPENROWSET(BULK 'x', SINGLE_CLOB) r"],
    "OPENXML": ["SELECT * FROM OPENXML(1, '/a')"],
    "OPENDATASOURCE": ["SELECT * FROM OPENDATASOURCE('a', 'b').d.s.t"],
    "a data modification statement in FROM": ["SELECT * FROM (DELETE t OUTPUT deleted.id) d"],
    "methods of xml and CLR types": ["DECLARE @x xml = '<a/>'; SELECT @x.value('.', 'int')"],
    "static methods of CLR types": ["SELECT geometry::Point(1, 2, 0)"],
    "a call through a name of more than two parts": ["SELECT app.dbo.f(1)"],
    "SELECT @x = @x … over the rows of a table": ["DECLARE @x int = 0; SELECT @x = @x + n FROM t"],
}

MODIFICATIONS: Refusals = {
    "MERGE with several actions": [
        "MERGE t USING u ON t.id=u.id WHEN MATCHED THEN UPDATE SET n=1 "
        "WHEN NOT MATCHED THEN INSERT (id,n) VALUES (u.id,1);"
    ],
    "MERGE … WHEN NOT MATCHED BY SOURCE THEN …": [
        "MERGE t USING u ON t.id=u.id WHEN NOT MATCHED BY SOURCE THEN DELETE;"
    ],
    "$action": ["MERGE t USING u ON t.id = u.id WHEN MATCHED THEN DELETE OUTPUT $action;"],
    "OUTPUT deleted.… of UPDATE": ["UPDATE t SET n=2 OUTPUT deleted.n"],
    "OUTPUT in INSERT … EXEC": ["INSERT t OUTPUT inserted.id EXEC sp_who"],
    "two OUTPUT clauses": [
        "DECLARE @o TABLE (id int); DELETE t OUTPUT deleted.id INTO @o OUTPUT deleted.n"
    ],
    "INSERT TOP": ["INSERT TOP (1) t SELECT 90,1"],
    "SET @variable = … in UPDATE": ["DECLARE @x int; UPDATE t SET @x = n = n+1"],
    "column.WRITE and methods in SET": ["UPDATE t SET n.write('x', 1, 2)"],
    "WHERE CURRENT OF": ["UPDATE t SET n = 1 WHERE CURRENT OF c"],
    "modifying a common table expression": [
        "WITH c AS (SELECT n FROM t) INSERT c VALUES (1)",
        "WITH c AS (SELECT DISTINCT n FROM t) DELETE c",
        "WITH c AS (SELECT t.n FROM t JOIN u ON u.id = t.id) UPDATE c SET n = 1",
        "WITH c AS (SELECT n FROM t) MERGE c USING u ON u.id = c.n WHEN MATCHED THEN DELETE;",
    ],
    "modifying a view": ["INSERT v VALUES (5,5)", "UPDATE v SET n=1", "DELETE v"],
    "SET ROWCOUNT with a modification": ["SET ROWCOUNT 1; DELETE u"],
    "BULK": ["BULK INSERT t FROM 'x'"],
}

DEFINITIONS: Refusals = {
    "CREATE PROCEDURE": ["CREATE PROCEDURE p AS SELECT 1"],
    "CREATE FUNCTION": ["CREATE FUNCTION f() RETURNS int AS BEGIN RETURN 1 END"],
    "the CLR function …": [
        "CREATE FUNCTION other(@a nvarchar(max)) RETURNS bit AS EXTERNAL NAME a.b.c"
    ],
    "CREATE TRIGGER": ["CREATE TRIGGER tr ON t AFTER INSERT AS SELECT 1"],
    "CREATE TYPE": ["CREATE TYPE ty FROM int"],
    "CREATE SEQUENCE": ["CREATE SEQUENCE sq"],
    "CREATE SYNONYM": ["CREATE SYNONYM sy FOR t"],
    "CREATE LOGIN": ["CREATE LOGIN l WITH PASSWORD='x'"],
    "CREATE USER": ["CREATE USER u1"],
    "CREATE PARTITION": ["CREATE PARTITION FUNCTION pf (int) AS RANGE LEFT FOR VALUES (1)"],
    "CREATE COLUMNSTORE": ["CREATE COLUMNSTORE INDEX cc ON t (n)"],
    "COLUMNSTORE indexes": ["CREATE CLUSTERED COLUMNSTORE INDEX cc ON t"],
    "CREATE DATABASE … ON": ["CREATE DATABASE d ON (NAME = x, FILENAME = 'x.mdf')"],
    "INDEX in CREATE TABLE": ["CREATE TABLE i1 (a int, INDEX ix (a))"],
    "CREATE TABLE … AS": ["CREATE TABLE i2 AS FILETABLE"],
    "temporal tables": [
        "CREATE TABLE i4 (a int, b datetime2, c datetime2, PERIOD FOR SYSTEM_TIME (b, c))",
        "CREATE TABLE i6 (a int, b datetime2 GENERATED ALWAYS AS ROW START NOT NULL)",
    ],
    "WITH (SYSTEM_VERSIONING = ON)": ["CREATE TABLE i7 (a int) WITH (SYSTEM_VERSIONING = ON)"],
    "WITH (LEDGER = ON)": ["CREATE TABLE i8 (a int) WITH (LEDGER = ON)"],
    "WITH (MEMORY_OPTIMIZED = ON)": ["CREATE TABLE i9 (a int) WITH (MEMORY_OPTIMIZED = ON)"],
    "WITH (DATA_DELETION = ON)": [
        "CREATE TABLE i10 (a date) WITH (DATA_DELETION = ON (FILTER_COLUMN = a))"
    ],
    "WITH (IGNORE_DUP_KEY = ON)": [
        "CREATE UNIQUE INDEX ix ON t (n) WITH (PAD_INDEX = ON, IGNORE_DUP_KEY = ON)",
        "CREATE TABLE i11 (a int PRIMARY KEY WITH (IGNORE_DUP_KEY = ON))",
    ],
    "SPARSE, MASKED and ENCRYPTED columns": [
        "CREATE TABLE i3 (a int SPARSE)",
        "CREATE TABLE i9 (a nvarchar(9) MASKED WITH (FUNCTION = 'default()'))",
    ],
    "a variable in a constraint, index or computed column": [
        "DECLARE @n int = 1; CREATE TABLE i5 (a int, CHECK (a > @n))"
    ],
    "global temporary tables (##)": ["CREATE TABLE ##g (a int)"],
    "indexed views": ["CREATE INDEX ix ON v (id)"],
    "ALTER INDEX": ["ALTER INDEX ALL ON t REBUILD"],
    "ALTER SCHEMA": ["ALTER SCHEMA dbo TRANSFER dbo.t"],
    "ALTER TABLE … SWITCH": ["ALTER TABLE t SWITCH TO u"],
    "ALTER COLUMN … ADD": ["ALTER TABLE t ALTER COLUMN n ADD SPARSE"],
    "ALTER DATABASE without SET": ["ALTER DATABASE app MODIFY NAME = other"],
    "ALTER DATABASE … SET READ_COMMITTED_SNAPSHOT OFF": [
        "ALTER DATABASE app SET READ_COMMITTED_SNAPSHOT OFF"
    ],
    "ALTER DATABASE … SET RESTRICTED_USER": ["ALTER DATABASE app SET RESTRICTED_USER"],
    "ALTER DATABASE … SET COMPATIBILITY_LEVEL 140": [
        "ALTER DATABASE app SET COMPATIBILITY_LEVEL = 140"
    ],
    "DROP TYPE": ["DROP TYPE ty"],
    "DROP INDEX of several indexes": ["DROP INDEX a ON t, b ON t"],
    "extended properties of …": [
        "EXEC sp_addextendedproperty 'a', 'b', 'SCHEMA', 'dbo', 'SEQUENCE', 'sq'"
    ],
}

STATEMENTS: Refusals = {
    "CURSOR": ["DECLARE c CURSOR FOR SELECT 1", "DECLARE @c CURSOR"],
    "OPEN": ["OPEN c"],
    "FETCH": ["FETCH NEXT FROM c"],
    "CLOSE": ["CLOSE c"],
    "DEALLOCATE": ["DEALLOCATE c"],
    "GOTO": ["GOTO x; x: SELECT 1"],
    "GRANT": ["GRANT SELECT ON t TO public"],
    "DENY": ["DENY SELECT ON t TO public"],
    "REVOKE": ["REVOKE SELECT ON t TO public"],
    "EXECUTE AS": ["EXECUTE AS USER='x'"],
    "EXECUTE … AT": ["EXEC ('SELECT 1') AT linked"],
    "EXECUTE of a procedure named by a variable": ["DECLARE @p sysname = 'sp_who'; EXEC @p"],
    "BACKUP": ["BACKUP DATABASE app TO DISK='x'"],
    "RESTORE": ["RESTORE DATABASE x FROM DISK='y'"],
    "CHECKPOINT": ["CHECKPOINT"],
    "DUMP": ["DUMP DATABASE app TO d"],
    "LOAD": ["LOAD DATABASE app FROM d"],
    "SHUTDOWN": ["SHUTDOWN WITH NOWAIT"],
    "REVERT": ["REVERT WITH COOKIE = @c"],
    "SETUSER": ["SETUSER 'x'"],
    "ENABLE": ["ENABLE TRIGGER tr ON t"],
    "DISABLE": ["DISABLE TRIGGER tr ON t"],
    "READTEXT": ["READTEXT t.n @p 0 0"],
    "UPDATETEXT": ["UPDATETEXT t.n @p 0 0 'x'"],
    "WRITETEXT": ["WRITETEXT t.n @p 'x'"],
    "BEGIN DISTRIBUTED TRANSACTION": ["BEGIN DISTRIBUTED TRAN"],
    "BEGIN TRANSACTION … WITH MARK": ["BEGIN TRAN a WITH MARK"],
    "a transaction named by a variable": ["DECLARE @n varchar(9) = 'a'; BEGIN TRAN @n"],
    "RAISERROR … WITH LOG": ["RAISERROR ('x', 16, 1) WITH LOG"],
    "WAITFOR (statement)": ["WAITFOR (RECEIVE * FROM q)"],
    "KILL of anything but a session": ["KILL UOW"],
    "DBCC CHECKDB": ["DBCC CHECKDB"],
    "SET ANSI_NULLS OFF": ["SET ANSI_NULLS OFF"],
    "SET ANSI_DEFAULTS OFF": ["SET ANSI_DEFAULTS OFF"],
    "SET LANGUAGE …": ["SET LANGUAGE Klingon"],
    "SET TEXTSIZE 10": ["SET TEXTSIZE 10"],
    "SET SHOWPLAN_XML ON": ["SET SHOWPLAN_XML ON"],
    "SET STATISTICS IO ON": ["SET STATISTICS IO ON"],
    "SET FMTONLY ON": ["SET FMTONLY ON"],
}

#: Functions that are refused whatever their arguments are those of ``functions.REFUSED``.
FUNCTIONS: Refusals = {
    "PARSE": ["SELECT PARSE('1' AS int)"],
    "TRY_PARSE": ["SELECT TRY_PARSE('1' AS int)"],
    "CONVERT with the Hijri styles 130 and 131": ["SELECT CONVERT(varchar(30), GETDATE(), 131)"],
    "CONVERT with a style that is not a constant": [
        "DECLARE @s int=112; SELECT CONVERT(varchar(10), GETDATE(), @s)"
    ],
}

AREAS: Mapping[str, Refusals] = {
    "Queries": QUERIES,
    "Modifications": MODIFICATIONS,
    "Definitions": DEFINITIONS,
    "Statements": STATEMENTS,
    "Functions": FUNCTIONS,
}

#: What the protocol has and this server does not; no statement asks for it.
WIRE = (
    "AttachDBFilename",
    "BulkLoad",
    "change of password at login",
    "federated authentication without a token",
    "distributed transaction (…)",
    "sp_prepexecrpc …",
    "table-valued parameter",
    "xml parameter with a schema",
    "CLR user-defined type",
    "Always Encrypted parameter",
    "RPC batch with NoExecFlag",
)
