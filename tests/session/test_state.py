"""Which statements leave something behind in their session."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssql_async.session.state import Effect, effect_of

DJANGO_SQL = Path(__file__).parent.parent / "devserver" / "test_tsql_django_sql.json"

QUERIES_AND_CHANGES = [
    "SELECT [a].[id] FROM [a] WHERE [a].[name] = ?",
    "SELECT 'it''s a USE of EXEC' AS [SET]",
    "-- BEGIN TRANSACTION\nSELECT 1",
    "-- BEGIN TRANSACTION\r\nSELECT 1",
    "/* USE master /* EXEC p */ ' */ SELECT 1",
    "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
    "WITH [use] AS (SELECT 1 AS [exec]) SELECT [use].[exec] FROM [use]",
    'SELECT "begin""use" FROM "commit"',
    "SELECT [a]]b use] FROM [t]",
    "INSERT INTO [a] ([b]) VALUES (?)",
    "INSERT INTO [a] ([b]) VALUES (N'żółć; USE x')",
    "UPDATE [a] SET [b] = ?, [c] = [c] + 1 WHERE [id] = ?",
    "UPDATE a SET b = 1",
    "UPDATE a SET a.b = 1",
    "UPDATE a SET b += 1",
    "UPDATE a SET language = 'x'",
    "UPDATE t SET [t].[c] = 1 FROM [t]",
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET a.x = b.x;",
    "DELETE FROM [a] WHERE [id] IN (?, ?)",
    "DECLARE @var0 INT = ?   SELECT [a] FROM [t] GROUP BY [a] HAVING COUNT(*) > @var0",
    "DECLARE @x int; SET @x = 5; SELECT @x",
    "DECLARE @t TABLE (id int); INSERT INTO @t VALUES (1); SELECT * FROM @t",
    "DECLARE @use int = 1; SELECT @use",
    "SELECT [a] FROM [t] ORDER BY 1 ASC OFFSET 5 ROWS FETCH FIRST 3 ROWS ONLY",
    "SELECT [created_at], [begin], [user] FROM [t]",
    "SELECT users, executed, settings, reuse FROM t",
    "SELECT 1.5e3, 0xAB, 1e5, .5, $1.20, 5 FROM t",
    "SELECT $action, $rowguid FROM t",
    "(SELECT 1) UNION (SELECT 2)",
    "SELECT a FROM t OPTION (USE HINT('FORCE_LEGACY_CARDINALITY_ESTIMATION'))",
    "SELECT a COLLATE DATABASE_DEFAULT FROM t WITH (ROWLOCK, UPDLOCK)",
    "BEGIN TRY INSERT INTO a VALUES (1) END TRY BEGIN CATCH THROW END CATCH",
    "IF EXISTS (SELECT 1 FROM t) BEGIN DELETE FROM t END",
    "WAITFOR DELAY '00:00:01'",
    "BEGIN again: DELETE TOP (1) FROM t; IF @@ROWCOUNT > 0 GOTO again END",
]


@pytest.mark.parametrize("sql", QUERIES_AND_CHANGES)
def test_queries_and_data_changes_leave_nothing(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.CLEAN


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE [a] ([id] int IDENTITY (1, 1), [b] int DEFAULT 5)",
        "ALTER TABLE [a] NOCHECK CONSTRAINT ALL",
        "ALTER TABLE [a] ALTER COLUMN [b] nvarchar(20) NULL",
        "ALTER TABLE [a] DROP CONSTRAINT [b]; DROP INDEX [c] ON [a]",
        "ALTER TABLE a SET (LOCK_ESCALATION = AUTO)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c (id) ON DELETE SET NULL",
        "CREATE UNIQUE NONCLUSTERED INDEX [i] ON [a] ([b]) WHERE [b] IS NOT NULL",
        "DROP TABLE IF EXISTS [a]",
        "CREATE SCHEMA [s]",
        "TRUNCATE TABLE [a]",
        "GRANT SELECT ON [a] TO [u]",
        "DBCC CHECKIDENT ('[a]', RESEED, 0) WITH NO_INFOMSGS",
        "SELECT * INTO [b] FROM [a]",
    ],
)
def test_definitions_of_lasting_things_leave_nothing_in_the_session(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.CLEAN


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE PROCEDURE p AS SET LANGUAGE french; EXEC q; CREATE TABLE #t (a int)",
        "create or alter proc [dbo].[p] with execute as owner as use x",
        "ALTER FUNCTION dbo.f() RETURNS int AS BEGIN DECLARE @x int; RETURN 1 END",
        "CREATE TRIGGER t ON a AFTER INSERT AS EXEC p",
        "CREATE VIEW [v] AS SELECT 1 AS [#]",
    ],
)
def test_the_body_of_a_module_does_not_run_when_it_is_created(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.CLEAN


#: Each leaves something in its session, wherever it stands in a batch.
LEAVE_SOMETHING = [
    "SET DATEFORMAT dmy",
    "SET ROWCOUNT 0",
    "SET LANGUAGE [French]",
    "SET [NOCOUNT] ON",
    "SET NULL_DFLT ON",
    "SET CONTEXT_INFO 0x01",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET XACT_ABORT, NOCOUNT ON",
    "USE master",
    "USE [master]",
    "USE hint",
    "BEGIN TRANSACTION",
    "BEGIN TRAN t1",
    "BEGIN DISTRIBUTED TRANSACTION",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK TRANSACTION",
    "SAVE TRANSACTION",
    "IF @@TRANCOUNT > 0 ROLLBACK",
    "SELECT * INTO ##t FROM a",
    "CREATE TABLE [##t] (a int)",
    "EXEC sp_getapplock @Resource = 'x', @LockMode = 'Exclusive'",
    "EXEC sp_set_session_context N'k', N'v'",
    "EXEC [sp_rename] 'a', 'b'",
    "EXEC dbo.sp_rename 'a', 'b'",
    "EXEC sp_rename.p",
    "EXEC sp_rename2 'a', 'b'",
    "EXEC other.master.sys.sp_who",
    "EXEC ('SET LANGUAGE french')",
    "EXEC @p",
    "EXEC sp_executesql N'SELECT 1'",
    "EXEC xp_sprintf @x OUTPUT, 'a'",
    "EXECUTE sys.sp_executesql N'SELECT 1'",
    "EXEC sp_prepare @h OUTPUT, N'', N'SELECT 1'",
    "INSERT INTO a EXEC p",
    "DECLARE c CURSOR FOR SELECT 1",
    "DECLARE c CURSOR GLOBAL FOR SELECT 1 OPEN c",
    "OPEN SYMMETRIC KEY k DECRYPTION BY CERTIFICATE c",
    "ALTER DATABASE x SET SINGLE_USER WITH ROLLBACK IMMEDIATE",
    "ALTER DATABASE CURRENT SET COMPATIBILITY_LEVEL = 150",
    "DROP DATABASE x",
    "CREATE LOGIN l WITH PASSWORD = 'x'",
    "CREATE PROCEDURE #p AS SELECT 1",
    "CREATE PROC [#p] AS SELECT 1",
    "CREATE PROC dbo.#p AS SELECT 1",
    "BACKUP DATABASE x TO DISK = 'y'",
    "BULK INSERT a FROM 'b'",
    "DBCC TRACEON (1204)",
    "KILL 55",
    "REVERT",
    "SELECT * FROM OPENROWSET('x', 'y', 'z')",
    "WAITFOR (RECEIVE TOP (1) * FROM q)",
    "SELECT 1 {call p}",
    "SELECT 1USE master",
    "SELECT 1.USE master",
    "SELECT 'a'USE master",
    "SELECT $USE master",
    "SELECT 0xUSE master",
    "SELECT 1EXEC p",
    "SELECT 1 EXEC@p",
    "SELECT 1 \uff35\uff33\uff25 master",
]
#: These leave something when they are not inside a parameterised call.
LEAVE_SOMETHING_IN_A_BATCH = [
    "SET NOCOUNT ON",
    "SET IDENTITY_INSERT [a] ON",
    "CREATE TABLE #t (a int)",
    "CREATE TABLE [#t] (a int)",
    'CREATE TABLE "#t" (a int)',
    "CREATE TABLE tempdb..#t (a int)",
    "SELECT * INTO #t FROM a",
    "INSERT INTO [#t] VALUES (1)",
]
#: Nothing can stand before these, or they are another statement.
ONLY_ALONE = [
    "sp_getapplock 'x'",
    "dbo.p",
    "[dbo].[p] 1",
    "label: SELECT 1",
    "{call p}",
    "{? = call p (?)}",
    "",
    "-- nothing but a comment",
    ";",
    "WHATEVER x",
    "SELECT 'open",
    "SELECT [open",
    'SELECT "open',
    "SELECT 1 /* open",
    "SELECT 1 /* /* */",
    "SELECT 1 -- what ends this line?\rUSE master",
    "SELECT 1 -- what ends this line?\u2028USE master",
    "SELECT 1 \x00",
    "SELECT \x02",
]


@pytest.mark.parametrize("sql", LEAVE_SOMETHING + ONLY_ALONE)
def test_everything_else_is_dirty(sql: str) -> None:
    assert effect_of(sql, parameterised=True) is Effect.DIRTY
    assert effect_of(sql, parameterised=False) is Effect.DIRTY


@pytest.mark.parametrize("sql", LEAVE_SOMETHING_IN_A_BATCH)
def test_a_parameterised_call_puts_back_options_and_drops_its_temporary_tables(sql: str) -> None:
    assert effect_of(sql, parameterised=True) is Effect.CLEAN
    assert effect_of(sql, parameterised=False) is Effect.DIRTY


def test_the_dialects_inserts_are_clean_where_they_have_parameters() -> None:
    insert = "SET NOCOUNT ON INSERT INTO [a] ([b]) VALUES (?); SELECT CAST(SCOPE_IDENTITY() AS int)"
    assert effect_of(insert, parameterised=True) is Effect.CLEAN
    explicit = f"SET IDENTITY_INSERT [s].[a] ON; {insert}; SET IDENTITY_INSERT [s].[a] OFF"
    assert effect_of(explicit, parameterised=True) is Effect.CLEAN
    assert effect_of("SET NOCOUNT OFF; DELETE FROM [a]", parameterised=False) is Effect.DIRTY
    other = "SET IDENTITY_INSERT [a] ON LANGUAGE french SET LANGUAGE french"
    assert effect_of(other, parameterised=True) is Effect.DIRTY


@pytest.mark.parametrize("sql", ["EXEC sp_rename 'a.b', 'c', 'COLUMN'", "sp_help 'a'"])
def test_known_procedures_of_the_catalog_leave_nothing(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.CLEAN


@pytest.mark.parametrize(
    "sql",
    [
        "IF NOT EXISTS (SELECT NULL) EXECUTE sp_addextendedproperty @name = 'x', @value = 'y'",
        "EXEC sys.sp_spaceused 'a', 'true'",
        "INSERT INTO log EXEC sp_who2",
        "EXEC sp_columns 'a'; EXEC sp_pkeys 'a'; EXEC sp_fkeys 'a'",
    ],
)
def test_they_may_stand_anywhere(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.CLEAN
    assert effect_of(f"{sql} USE x", parameterised=False) is Effect.DIRTY


@pytest.mark.parametrize("verb", ["SAVE", "ROLLBACK"])
@pytest.mark.parametrize("name", ["s1_x2", "[s1]", "?"])
def test_a_savepoint_belongs_to_its_transaction(verb: str, name: str) -> None:
    assert effect_of(f"{verb} TRANSACTION {name}", parameterised=False) is Effect.SAVEPOINT
    assert effect_of(f"{verb} tran {name};", parameterised=False) is Effect.SAVEPOINT
    assert effect_of(f"{verb} TRANSACTION {name} USE x", parameterised=False) is Effect.DIRTY


@pytest.mark.parametrize(
    "sql",
    [
        "EXECUTE AS USER = 'x'",
        "EXEC AS LOGIN = 'x'",
        "exec/**/as caller",
        "SELECT 1; EXECUTE AS USER = 'x' WITH NO REVERT; SELECT 2",
        "SETUSER 'x'",
        "SELECT 1 SETUSER",
        "EXEC sp_setapprole 'a', 'b'",
        "sp_setapprole 'a', 'b'",
        "{call sys.[sp_setapprole] ('a', 'b')}",
        "-- doubtful\rEXECUTE AS USER = 'x'",
    ],
)
def test_another_identity_is_more_than_a_reset_can_undo(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.RETIRES
    assert effect_of(sql, parameterised=True) is Effect.RETIRES


def test_of_all_that_django_sends_only_the_settings_of_a_new_connection_are_dirty() -> None:
    recorded = json.loads(DJANGO_SQL.read_text())
    effects = {
        entry["sql"]: effect_of(entry["sql"], bool(entry["params"]))
        for part in ("migrate", "orm")
        for entry in recorded[part]
    }
    assert len(effects) > 300
    tied = {sql for sql, effect in effects.items() if effect is not Effect.CLEAN}
    savepoints = {sql for sql in tied if effects[sql] is Effect.SAVEPOINT}
    assert tied - savepoints == {"SET DATEFORMAT ymd; SET DATEFIRST 7"}
    assert savepoints
    assert all(re.fullmatch(r"(SAVE|ROLLBACK) TRANSACTION \w+", sql) for sql in savepoints)


# --- dirty statements in hostile surroundings --------------------------------------------------

_BLANKS = st.sampled_from(
    [" ", "\n", "\t", "\r\n", "/**/", "/* ' */", '/* /* [ */ " */', "-- it's\n", "--[\r\n", " \n "]
)
_HARMLESS_STATEMENTS = st.sampled_from(
    [
        *("SELECT 1", "SELECT N'/*'", "SELECT '--'", "SELECT [a'b], [--], [/*] FROM t"),
        *("SELECT 'it''s'", 'SELECT "a]b\'" FROM [x]]y]', "UPDATE t SET a = '['", "SELECT ''"),
        *("DECLARE @a int = 1", "INSERT INTO t VALUES (N'żółć''', ?)", 'DELETE FROM [a"b]'),
    ]
)
_WORD_OR_OTHER = re.compile(r"('[^']*'|\[[^\]]*\]|\"[^\"]*\")|\s+")


@st.composite
def _statements_in_surroundings(draw: st.DrawFn, statements: list[str]) -> str:
    """One of the statements in another case, with other blanks, between harmless ones."""

    def blank(match: re.Match[str]) -> str:
        return match[1] or draw(_BLANKS)

    parts = [draw(_HARMLESS_STATEMENTS) for _ in range(draw(st.integers(0, 2)))]
    chosen = draw(st.sampled_from(statements))
    cased = draw(st.sampled_from([str, str.lower, str.upper, str.title, str.swapcase]))
    chosen = re.sub(r"0X", "0x", cased(chosen))
    parts.append(_WORD_OR_OTHER.sub(blank, chosen))
    parts += [draw(_HARMLESS_STATEMENTS) for _ in range(draw(st.integers(0, 2)))]
    blanks = [draw(_BLANKS) + draw(st.sampled_from(["", ";"])) + draw(_BLANKS) for _ in parts]
    text = "".join(between + part for between, part in zip(blanks, parts, strict=True))
    return text + draw(st.sampled_from(["", ";", "\n", " -- end", "/* ' */"]))


_FIRST_IN_ITS_BATCH = [sql for sql in LEAVE_SOMETHING if "PROC" not in sql]
_LEAVING = _statements_in_surroundings(_FIRST_IN_ITS_BATCH)
_HARMLESS = _statements_in_surroundings(["SELECT 1", "UPDATE t SET a = 'SET x'", "SELECT [use]"])
_Judge = Callable[[str, bool], Effect]


def _demand_that_it_is_noticed(judge: _Judge) -> None:
    @settings(max_examples=500, deadline=None, database=None)
    @given(sql=_LEAVING, parameterised=st.booleans())
    def noticed(sql: str, parameterised: bool) -> None:
        assert judge(sql, parameterised) in (Effect.DIRTY, Effect.RETIRES)

    noticed()


def test_what_leaves_something_is_noticed_in_any_surroundings() -> None:
    _demand_that_it_is_noticed(effect_of)


@settings(max_examples=300, deadline=None, database=None)
@given(sql=_HARMLESS)
def test_harmless_statements_stay_harmless_in_any_surroundings(sql: str) -> None:
    assert effect_of(sql, parameterised=False) is Effect.CLEAN


def _by_the_first_word(sql: str, parameterised: bool) -> Effect:
    words = sql.split(maxsplit=1)
    changes = words and words[0].upper() in ("SET", "USE", "EXEC", "EXECUTE", "BEGIN", "CREATE")
    return Effect.DIRTY if changes else Effect.CLEAN


def _by_words_outside_of_literals(sql: str, parameterised: bool) -> Effect:
    """Takes a quote inside a comment for the beginning of a literal."""
    return effect_of(re.sub(r"'[^']*'", "''", sql), parameterised)


def _by_words_outside_of_flat_comments(sql: str, parameterised: bool) -> Effect:
    """Knows no nested comments, and takes a comment mark inside a literal for one."""
    return effect_of(re.sub(r"/\*.*?(?:\*/|\Z)|--[^\n]*", " ", sql, flags=re.DOTALL), parameterised)


@pytest.mark.parametrize(
    "careless",
    [_by_the_first_word, _by_words_outside_of_literals, _by_words_outside_of_flat_comments],
)
def test_a_careless_judge_is_caught_in_such_surroundings(careless: _Judge) -> None:
    with pytest.raises(AssertionError):
        _demand_that_it_is_noticed(careless)


MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "'",
            "''",
            "[",
            "a]]",
            '"',
            "/*",
            "/**/",
            "-",
            "--\n",
            "SET ",
            "1a",
            "e1",
            "a.",
            " ",
            "$",
        ),
        *("#", "(", "(?, ?), ", "[abc], ", "EXEC sys . ", "CREATE ", "\u00e9", "SAVE TRAN a "),
    ],
)
@pytest.mark.parametrize(
    "start", ["", "SELECT ", "SELECT '", "SET IDENTITY_INSERT ", "CREATE PROC "]
)
def test_a_megabyte_of_anything_is_judged(start: str, unit: str) -> None:
    """In time that grows with its length: a quadratic one would not come to an end here."""
    text = start + unit * (MEGABYTE // len(unit))
    assert effect_of(text, parameterised=True) in Effect


def test_the_judgements_that_are_kept_are_bounded() -> None:
    from mssql_async.session import state

    bounds = [
        kept.cache_parameters()["maxsize"] for kept in (state._effect_of, state._effect_of_long)
    ]
    assert None not in bounds
    kept = state._effect_of_long.cache_info().currsize
    effect_of("SELECT '" + "x" * MEGABYTE + "'", parameterised=False)
    assert state._effect_of_long.cache_info().currsize == kept
