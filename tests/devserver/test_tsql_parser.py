"""Batches into statements, the shapes of definitions, and syntax errors."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sqlglot import exp

from mssql_async.devserver.errors import NotSupportedByStandIn, SqlError
from mssql_async.devserver.protocols import Isolation
from mssql_async.devserver.schema import IndexColumn, IndexKind, ObjectName, ReferentialAction
from mssql_async.devserver.tsql import nodes
from mssql_async.devserver.tsql import statements as st
from mssql_async.devserver.tsql.parser import (
    parse_batch,
    parse_expression,
    parse_object_name,
    parse_parameter_declarations,
    parse_type,
)

CORPUS = json.loads((Path(__file__).parent / "test_tsql_django_sql.json").read_text())


def numbered(sql: str) -> str:
    """The driver sends ``?`` as ``@P1``, ``@P2`` …"""
    parts = sql.split("?")
    return "".join(f"{part}@P{i}" for i, part in enumerate(parts[:-1], start=1)) + parts[-1]


def kinds(sql: str) -> list[str]:
    return [type(statement).__name__ for statement in parse_batch(sql)]


def one(sql: str) -> st.Statement:
    (statement,) = parse_batch(sql)
    return statement


@pytest.mark.parametrize("group", sorted(CORPUS))
def test_everything_mssql_django_sends_is_understood(group: str) -> None:
    for entry in CORPUS[group]:
        assert parse_batch(numbered(entry["sql"]))


# --- splitting ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (";;", []),
        ("SELECT 1 SELECT 2", ["Query", "Query"]),
        ("SET NOCOUNT ON INSERT INTO t (a) VALUES (1); SELECT 2", ["SetOption", "Insert", "Query"]),
        ("SET DATEFORMAT ymd; SET DATEFIRST 7", ["SetOption", "SetOption"]),
        ("DECLARE @a INT = @P1 \n SELECT @a", ["Declare", "Query"]),
        ("SELECT a FROM t EXEC sp_who", ["Query", "Execute"]),
        ("UPDATE t SET a = 1 WHERE b = 2 DELETE t", ["Update", "Delete"]),
        ("IF 1 = 1 SELECT 1 ELSE SELECT 2 SELECT 3", ["If", "Query"]),
        ("IF 1 = 1 BEGIN SELECT 1; SELECT 2 END SELECT 3", ["If", "Query"]),
        ("WHILE 1 = 1 BREAK PRINT 'x'", ["While", "Print"]),
        ("BEGIN TRY SELECT 1 END TRY BEGIN CATCH THROW END CATCH", ["TryCatch"]),
        (
            "BEGIN TRAN SAVE TRAN s ROLLBACK TRAN s COMMIT",
            ["BeginTransaction", "SaveTransaction", "RollbackTransaction", "CommitTransaction"],
        ),
        ("WITH c AS (SELECT 1 AS x) SELECT * FROM c", ["Query"]),
        ("WITH c AS (SELECT 1 AS x) DELETE t WHERE a IN (SELECT x FROM c)", ["Delete"]),
        ("sp_who", ["Execute"]),
        ("SELEC 1", ["Execute"]),
        ("sp_configure 'clr enabled', 1", ["Execute"]),
        ("USE [a b]; SELECT 1", ["Use", "Query"]),
        ("-- nothing\n/* at /* all */ */ SELECT 1", ["Query"]),
        ("RETURN SELECT 1", ["Return", "Query"]),
        ("INSERT t (a) EXEC p 1", ["InsertExec"]),
        ("TRUNCATE TABLE t DROP TABLE t", ["TruncateTable", "Drop"]),
        ("SET XACT_ABORT, NOCOUNT ON", ["SetOption", "SetOption"]),
    ],
)
def test_a_batch_splits_without_semicolons(sql: str, expected: list[str]) -> None:
    assert kinds(sql) == expected


def test_statements_know_their_line_and_text() -> None:
    first, second = parse_batch("SELECT 1\n\nSELECT  2")
    assert (first.line, first.text) == (1, "SELECT 1")
    assert (second.line, second.text) == (3, "SELECT  2")


def test_the_table_deletion_script_of_mssql_django_is_understood() -> None:
    script = """
        DECLARE @name nvarchar(128)
        DECLARE @drop nvarchar(300)
        WHILE EXISTS(SELECT 1 FROM sys.foreign_keys WHERE referenced_object_id = object_id('t'))
        BEGIN
            SELECT TOP 1 @name = name FROM sys.foreign_keys
            WHERE referenced_object_id = object_id('t')
            SELECT @drop = 'ALTER TABLE [' + OBJECT_NAME(parent_object_id) + '] ' +
            'DROP CONSTRAINT [' + @name + '] '
            FROM sys.foreign_keys WHERE name = @name
            exec sp_executesql @drop
        END
        DROP TABLE [t]
    """
    declare, other, loop, drop = parse_batch(script)
    assert isinstance(declare, st.Declare)
    assert isinstance(other, st.Declare)
    assert isinstance(loop, st.While)
    assert [type(s).__name__ for s in loop.body] == ["Query", "Query", "Execute"]
    assert isinstance(drop, st.Drop)


def test_the_comment_script_of_mssql_django_is_understood() -> None:
    statement = one(
        "IF NOT EXISTS (SELECT NULL FROM sys.extended_properties ep WHERE ep.minor_id = 0)\n"
        "EXECUTE sp_addextendedproperty @name = 'MS_Description', @value = N'x',\n"
        "@level0type = 'SCHEMA', @level0name = 'dbo', @level1type = 'TABLE', @level1name = [t]\n"
        "ELSE EXECUTE sp_updateextendedproperty @name = 'MS_Description', @value = 'y'"
    )
    assert isinstance(statement, st.If)
    (add,) = statement.then
    assert isinstance(add, st.Execute)
    assert [a.name for a in add.arguments][:2] == ["@name", "@value"]
    last = add.arguments[-1].value
    assert isinstance(last, exp.Literal)
    assert last.this == "t"


# --- session and transactions -----------------------------------------------------------------


def test_settings_are_upper_case_names_with_their_value() -> None:
    assert one("SET LOCK_TIMEOUT -1") == st.SetOption(
        name="LOCK_TIMEOUT", value="-1", text="SET LOCK_TIMEOUT -1"
    )
    statement = one("set nocount on")
    assert isinstance(statement, st.SetOption)
    assert (statement.name, statement.value) == ("NOCOUNT", "ON")


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ("READ UNCOMMITTED", Isolation.READ_UNCOMMITTED),
        ("READ COMMITTED", Isolation.READ_COMMITTED),
        ("REPEATABLE READ", Isolation.REPEATABLE_READ),
        ("SNAPSHOT", Isolation.SNAPSHOT),
        ("SERIALIZABLE", Isolation.SERIALIZABLE),
    ],
)
def test_isolation_levels(words: str, level: Isolation) -> None:
    statement = one(f"SET TRANSACTION ISOLATION LEVEL {words}")
    assert isinstance(statement, st.SetIsolation)
    assert statement.level is level


def test_identity_insert_names_its_table() -> None:
    statement = one("SET IDENTITY_INSERT [dbo].[t] OFF")
    assert isinstance(statement, st.SetIdentityInsert)
    assert (statement.table, statement.on) == (ObjectName("t", "dbo"), False)


def test_compound_assignment_is_spelled_out() -> None:
    statement = one("SET @x += 1")
    assert isinstance(statement, st.SetVariable)
    assert isinstance(statement.value, exp.Add)


def test_a_call_keeps_names_outputs_and_defaults() -> None:
    statement = one("EXEC @r = dbo.p 1, @b = N'x', @c = @v OUTPUT, @d = DEFAULT, e")
    assert isinstance(statement, st.Execute)
    assert statement.result == "@r"
    assert statement.procedure == ObjectName("p", "dbo")
    assert [(a.name, a.output, a.value is None) for a in statement.arguments] == [
        ("", False, False),
        ("@b", False, False),
        ("@c", True, False),
        ("@d", False, True),
        ("", False, False),
    ]


def test_reseeding_is_a_call_of_its_own() -> None:
    statement = one("DBCC CHECKIDENT ('[t]', RESEED, 0) WITH NO_INFOMSGS;")
    assert isinstance(statement, st.Execute)
    assert statement.procedure.name == "dbcc_checkident"
    values = [a.value.this for a in statement.arguments if a.value is not None]
    assert values == ["[t]", "RESEED", "0"]


# --- definitions ------------------------------------------------------------------------------


def test_a_table_with_everything_schema_editors_write() -> None:
    statement = one(
        "CREATE TABLE [t] ([id] bigint NOT NULL PRIMARY KEY IDENTITY (1, 1), "
        "[name] nvarchar(100) COLLATE Latin1_General_CS_AS NOT NULL UNIQUE, "
        '[data] nvarchar(max) NULL CONSTRAINT c1 CHECK ((ISJSON ("data") = 1)), '
        "[n] int NOT NULL CONSTRAINT d1 DEFAULT ((7)), [twice] AS ([n] * 2) PERSISTED, "
        "[other_id] bigint NULL REFERENCES [o] ([id]) ON DELETE CASCADE, "
        "CONSTRAINT [u] UNIQUE ([name], [n]), CONSTRAINT [k] CHECK ([n] >= 0), "
        "CONSTRAINT f FOREIGN KEY ([n]) REFERENCES dbo.p ([id]) ON DELETE SET NULL)"
    )
    assert isinstance(statement, st.CreateTable)
    key, name, data, n, twice, other = statement.columns
    assert (key.identity, key.nullable) == ((1, 1), False)
    assert key.constraints[0] == st.KeyDefinition(
        kind=IndexKind.PRIMARY_KEY, columns=(IndexColumn("id"),)
    )
    assert name.type is not None
    assert name.type.collation == "Latin1_General_CS_AS"
    (check,) = data.constraints
    assert check == st.CheckDefinition(expression='(ISJSON ("data") = 1)', name="c1", column="data")
    assert n.default == st.DefaultDefinition(expression="((7))", name="d1")
    assert (twice.computed, twice.persisted, twice.type) == ("([n] * 2)", True, None)
    (foreign,) = other.constraints
    assert isinstance(foreign, st.ForeignKeyDefinition)
    assert foreign.on_delete is ReferentialAction.CASCADE
    unique, checked, reference = statement.constraints
    assert isinstance(unique, st.KeyDefinition)
    assert unique.columns == (IndexColumn("name"), IndexColumn("n"))
    assert checked == st.CheckDefinition(expression="[n] >= 0", name="k")
    assert isinstance(reference, st.ForeignKeyDefinition)
    assert reference.on_delete is ReferentialAction.SET_NULL


def test_an_index_with_order_include_filter_and_options() -> None:
    statement = one(
        "CREATE UNIQUE NONCLUSTERED INDEX [i] ON [t] ([a], [b] DESC) INCLUDE ([c]) "
        "WHERE [a] IS NOT NULL AND [b] IS NOT NULL WITH (FILLFACTOR = 80) ON [PRIMARY]"
    )
    assert isinstance(statement, st.CreateIndex)
    assert statement.unique
    assert statement.columns == (IndexColumn("a"), IndexColumn("b", descending=True))
    assert statement.include == ("c",)
    assert statement.filter == "[a] IS NOT NULL AND [b] IS NOT NULL"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ALTER TABLE t ADD c int NOT NULL DEFAULT 5", "AddColumns"),
        ("ALTER TABLE t ADD CONSTRAINT u UNIQUE (a)", "AddColumns"),
        ("ALTER TABLE t ADD DEFAULT 'x' FOR c", "AddColumns"),
        (
            "ALTER TABLE t WITH NOCHECK ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES b (c)",
            "AddColumns",
        ),
        (
            "ALTER TABLE t ALTER COLUMN c nvarchar(5) COLLATE Latin1_General_CI_AI NULL",
            "AlterColumn",
        ),
        ("ALTER TABLE t DROP CONSTRAINT IF EXISTS a, COLUMN b", "DropFromTable"),
        ("ALTER TABLE t WITH CHECK CHECK CONSTRAINT ALL", "ToggleConstraints"),
        ("ALTER TABLE t NOCHECK CONSTRAINT f;", "ToggleConstraints"),
        ("ALTER DATABASE d SET SINGLE_USER WITH ROLLBACK IMMEDIATE", "AlterDatabase"),
        ("CREATE DATABASE [d] COLLATE Latin1_General_CS_AS", "CreateDatabase"),
        ("CREATE VIEW v (a) AS SELECT 1", "CreateView"),
        ("CREATE SCHEMA s", "CreateSchema"),
        ("DROP INDEX i ON t", "Drop"),
        ("DROP TABLE IF EXISTS a, b", "Drop"),
    ],
)
def test_definitions_are_recognized(sql: str, expected: str) -> None:
    assert kinds(sql) == [expected]


def test_toggling_constraints_tells_validation_from_enabling() -> None:
    checked = one("ALTER TABLE t WITH CHECK CHECK CONSTRAINT ALL")
    off = one("ALTER TABLE t NOCHECK CONSTRAINT f")
    assert isinstance(checked, st.ToggleConstraints)
    assert isinstance(off, st.ToggleConstraints)
    assert (checked.enable, checked.validate, checked.names) == (True, True, ())
    assert (off.enable, off.validate, off.names) == (False, False, ("f",))


# --- types and names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nvarchar(max)", "nvarchar(max)"),
        ("NVARCHAR", "nvarchar(1)"),
        ("numeric(8, 2)", "numeric(8,2)"),
        ("decimal", "decimal(18,0)"),
        ("double precision", "float"),
        ("float(24)", "real"),
        ("datetimeoffset", "datetimeoffset(7)"),
        ("datetime2(3)", "datetime2(3)"),
        ("[int]", "int"),
        ("character varying(5)", "varchar(5)"),
        ("sysname", "nvarchar(128)"),
        ("rowversion", "timestamp"),
    ],
)
def test_types_read_back_as_t_sql_writes_them(text: str, expected: str) -> None:
    assert str(parse_type(text)) == expected


@pytest.mark.parametrize("text", ["varchar(8001)", "decimal(39,0)", "datetime2(8)", "nvarchar()"])
def test_types_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(SqlError):
        parse_type(text)


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(SqlError, match="zork") as caught:
        parse_type("zork")
    assert caught.value.number == 2715


def test_object_names_of_one_to_three_parts() -> None:
    assert parse_object_name("t") == ObjectName("t")
    assert parse_object_name("[a b].[c.d]") == ObjectName("c.d", "a b")
    assert parse_object_name("tempdb..#t") == ObjectName("#t", "", "tempdb")


def test_parameter_declarations() -> None:
    first, second = parse_parameter_declarations("@P1 int,@P2 nvarchar(6) output")
    assert (first.name, str(first.type), first.output) == ("@P1", "int", False)
    assert (second.name, str(second.type), second.output) == ("@P2", "nvarchar(6)", True)
    assert parse_parameter_declarations("") == ()


def test_a_parameter_declared_twice_is_refused() -> None:
    with pytest.raises(SqlError) as caught:
        parse_parameter_declarations("@a int, @A int")
    assert caught.value.number == 134


# --- expressions ------------------------------------------------------------------------------


def test_addition_and_bit_operators_have_one_precedence() -> None:
    tree = parse_expression("1 + 2 & 3")
    assert isinstance(tree, exp.BitwiseAnd)


def test_and_binds_tighter_than_or_and_not_tighter_than_both() -> None:
    tree = parse_expression("NOT a = 1 AND b = 2 OR c = 3")
    assert isinstance(tree, exp.Or)
    assert isinstance(tree.this, exp.And)
    assert isinstance(tree.this.this, exp.Not)


def test_functions_keep_their_names() -> None:
    for text in ("ISNULL(a, b)", "GETDATE()", "COUNT_BIG(*)", "JSON_VALUE(a, '$.x')"):
        tree = parse_expression(text)
        assert isinstance(tree, nodes.Call)
        assert tree.args["this"] == text.split("(")[0]


def test_thousands_of_conditions_do_not_exhaust_the_stack() -> None:
    tree = parse_expression(" OR ".join(f"a = {i}" for i in range(5000)))
    assert isinstance(tree, exp.Or)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "number", "fragment"),
    [
        ("SELECT FROM t", 156, "FROM"),
        ("SELECT 'abc", 105, "abc"),
        ("SELECT [abc", 105, "abc"),
        ("SELECT 1 /* x", 113, "comment"),
        ("SELECT * FROM t WHERE", 156, "WHERE"),
        ("SELECT a FROM t LIMIT 5", 102, "5"),
        ("SELECT a || b", 102, "|"),
        ("SELECT ?", 102, "?"),
        ("INSERT INTO t (a) VALUES", 156, "VALUES"),
        ("UPDATE t a = 1", 102, "a"),
        ("CREATE TABLE t (a int,, b int)", 102, ","),
        ("BEGIN SELECT 1", 102, "1"),
        ("BEGIN END", 156, "END"),
        ("SELECT 1 WHERE a", 4145, "a"),
        ("IF 1 SELECT 1", 4145, "SELECT"),
        ("COMMIT TRAN SAVE", 156, "SAVE"),
        ("MERGE t USING s ON 1 = 1 WHEN MATCHED THEN DELETE", 10713, "MERGE"),
    ],
)
def test_syntax_errors_have_sql_servers_number(sql: str, number: int, fragment: str) -> None:
    with pytest.raises(SqlError) as caught:
        parse_batch(sql)
    assert caught.value.number == number
    assert fragment in caught.value.text


def test_a_syntax_error_tells_its_line() -> None:
    with pytest.raises(SqlError) as caught:
        parse_batch("SELECT 1\nGO\n\nSELECT FROM")
    assert caught.value.line == 4


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT TOP 5 PERCENT a FROM t", "PERCENT"),
        ("SELECT a FROM t FOR JSON AUTO", "JSON"),
        ("SELECT * FROM t PIVOT (SUM(a) FOR b IN ([x])) p", "PIVOT"),
        ("CREATE PROCEDURE p AS SELECT 1", "PROCEDURE"),
        ("CREATE FUNCTION f() RETURNS int AS BEGIN RETURN 1 END", "FUNCTION"),
        ("CREATE TRIGGER r ON t AFTER INSERT AS SELECT 1", "TRIGGER"),
        ("DECLARE c CURSOR FOR SELECT 1", "CURSOR"),
        ("GRANT SELECT ON t TO u", "GRANT"),
        ("BACKUP DATABASE d TO DISK = 'x'", "BACKUP"),
        ("SELECT a FROM t GROUP BY a WITH ROLLUP", "ROLLUP"),
        ("SELECT NEXT VALUE FOR s", "NEXT VALUE FOR"),
        ("UPDATE t SET @x = a", "SET @variable"),
    ],
)
def test_what_the_stand_in_lacks_is_refused_by_name(sql: str, what: str) -> None:
    with pytest.raises(NotSupportedByStandIn, match=what):
        parse_batch(sql)


@given(some.text(alphabet="abSELECTFROM()[]'\",.=@#0123456789 \n-/*+;", max_size=60))
def test_nothing_but_a_sql_error_comes_of_nonsense(text: str) -> None:
    with contextlib.suppress(SqlError):
        parse_batch(text)
