"""Logins, resets, databases, and what a file keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssql_async.devserver.config import DEVELOPMENT_PASSWORD, DEVELOPMENT_USER, EngineConfig
from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.errors import SqlError
from mssql_async.devserver.protocols import LoginRequest
from tests.devserver.engine_door import Door, integer, numbers, opened, text


@pytest.fixture
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        yield engine


class TestLogin:
    def test_user_names_heed_no_case_and_passwords_do(self, engine: SqlEngine) -> None:
        session = engine.login(LoginRequest("SA", DEVELOPMENT_PASSWORD))
        assert session.database == "app"
        with pytest.raises(SqlError) as refused:
            engine.login(LoginRequest(DEVELOPMENT_USER, DEVELOPMENT_PASSWORD.upper()))
        assert refused.value.number == 18456
        assert DEVELOPMENT_PASSWORD.upper() not in str(refused.value)

    def test_an_unknown_database_is_named(self, engine: SqlEngine) -> None:
        with pytest.raises(SqlError) as refused:
            Door(engine, "nowhere")
        assert refused.value.number == 4060

    def test_sessions_have_numbers_and_are_listed(self, engine: SqlEngine) -> None:
        door = Door(engine, program_name="tests", host_name="here")
        rows = door.rows(
            "SELECT session_id, program_name, host_name, DB_NAME(database_id) "
            "FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
        )
        assert rows == [(door.session.spid, "tests", "here", "app")]
        assert door.session.spid > 50


class TestReset:
    def test_nothing_of_before_is_left(self, engine: SqlEngine) -> None:
        door = Door(engine)
        door.run("CREATE TABLE t (id int IDENTITY, n int)")
        (handle,) = door.call(
            "sp_prepare", integer(None, output=True), text(""), text("SELECT 1")
        ).outputs
        door.run(
            "SET NOCOUNT ON; SET DATEFIRST 3; SET LOCK_TIMEOUT 5; SET XACT_ABORT ON; "
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; CREATE TABLE #mine (a int); "
            "EXEC sp_set_session_context 'who', 'me'; SET IDENTITY_INSERT t ON; "
            "EXEC sp_getapplock 'job', 'Exclusive', 'Session'; USE master; "
            "BEGIN TRAN; INSERT app.dbo.t (id, n) VALUES (1, 1)"
        )
        door.session.reset(keep_transaction=False)
        assert door.rows(
            "SELECT @@TRANCOUNT, @@DATEFIRST, @@LOCK_TIMEOUT, @@OPTIONS & 512, DB_NAME(), "
            "SESSION_CONTEXT(N'who'), OBJECT_ID('#mine')"
        ) == [(0, 7, -1, 0, "app", None, None)]
        assert (
            door.value(
                "SELECT transaction_isolation_level FROM sys.dm_exec_sessions WHERE "
                "session_id = @@SPID"
            )
            == 4
        ), "the isolation level survives: MS-TDS 2.2.3.1.2"
        assert numbers(door.call("sp_execute", integer(handle))) == [8179]
        assert door.value("SELECT COUNT(*) FROM t") == 0
        assert door.error("INSERT t (id, n) VALUES (1, 1)").number == 544
        other = Door(engine)
        assert (
            other.call(
                "sp_getapplock", text("job"), text("Exclusive"), text("Session"), integer(0)
            ).status
            == 0
        )

    def test_the_transaction_may_be_kept(self, engine: SqlEngine) -> None:
        door = Door(engine)
        door.run("CREATE TABLE t (n int); BEGIN TRAN; INSERT t VALUES (1); SET NOCOUNT ON")
        door.session.reset(keep_transaction=True)
        assert door.rows("SELECT @@TRANCOUNT, COUNT(*), @@OPTIONS & 512 FROM t") == [(1, 1, 0)]
        door.run("ROLLBACK")

    def test_a_closed_session_rolls_back(self, engine: SqlEngine) -> None:
        door, other = Door(engine), Door(engine)
        door.run("CREATE TABLE t (n int); BEGIN TRAN; INSERT t VALUES (1)")
        door.close()
        door.close()
        other.run("INSERT t VALUES (2)")
        assert other.rows("SELECT n FROM t") == [(2,)]
        assert door.session not in engine.sessions()

    def test_a_run_that_is_closed_early_ends_its_batch(self, engine: SqlEngine) -> None:
        door = Door(engine)
        run = door.session.batch("SELECT 1; CREATE TABLE never (a int)")
        run.close()
        assert run.advance(may_wait=True) is None
        assert door.value("SELECT OBJECT_ID('never')") is None


STATE = (
    "SELECT {} FROM sys.dm_exec_sessions AS s WHERE s.session_id = @@SPID"  # of the session itself
)

#: What a session may change: how, where it is seen, and what it is after a login.
CHANGES = {
    "NOCOUNT": ("SET NOCOUNT ON", "@@OPTIONS & 512", 0),
    "XACT_ABORT": ("SET XACT_ABORT ON", "@@OPTIONS & 16384", 0),
    "IMPLICIT_TRANSACTIONS": ("SET IMPLICIT_TRANSACTIONS ON", "@@OPTIONS & 2", 0),
    "ARITHABORT": ("SET ARITHABORT ON", "s.arithabort", 0),
    "CURSOR_CLOSE_ON_COMMIT": ("SET CURSOR_CLOSE_ON_COMMIT ON", "@@OPTIONS & 4", 0),
    "DATEFIRST": ("SET DATEFIRST 3", "s.date_first", 7),
    "DATEFORMAT": ("SET DATEFORMAT ymd", "s.date_format", "mdy"),
    "LANGUAGE": ("SET LANGUAGE German", "s.language", "us_english"),
    "LOCK_TIMEOUT": ("SET LOCK_TIMEOUT 5", "s.lock_timeout", -1),
    "DEADLOCK_PRIORITY": ("SET DEADLOCK_PRIORITY HIGH", "s.deadlock_priority", 0),
    "TEXTSIZE": ("SET TEXTSIZE 0", "@@TEXTSIZE", 2147483647),
    "database": ("USE master", "DB_NAME()", "app"),
    "context info": ("SET CONTEXT_INFO 0x01", "s.context_info", None),
    "session context": (
        "EXEC sp_set_session_context N'k', N'v', 1",
        "SESSION_CONTEXT(N'k')",
        None,
    ),
    "temporary table": ("CREATE TABLE #t (a int)", "OBJECT_ID('tempdb..#t')", None),
    "transaction": ("BEGIN TRAN", "@@TRANCOUNT", 0),
    "lock of the session": (
        "EXEC sp_getapplock 'job', 'Exclusive', 'Session'",
        "APPLOCK_MODE('public', 'job', 'Session')",
        "NoLock",
    ),
    "lock of the transaction": (
        "BEGIN TRAN; EXEC sp_getapplock 'job', 'Exclusive', 'Transaction'",
        "APPLOCK_MODE('public', 'job', 'Transaction')",
        "NoLock",
    ),
    "identity": ("INSERT ids DEFAULT VALUES", "@@IDENTITY", None),
    "row count": ("SELECT 1 AS a UNION SELECT 2", "@@ROWCOUNT", 0),
    "error": ("SELECT 1 / 0", "@@ERROR", 0),
}


class TestResetOfEachThing:
    """The baseline is what the login made it; every line is seen to differ before."""

    @pytest.fixture
    def door(self, engine: SqlEngine) -> Door:
        Door(engine).run("CREATE TABLE ids (id int IDENTITY)")
        return Door(engine)

    @pytest.mark.parametrize("what", CHANGES)
    def test_it_changes_and_comes_back(self, door: Door, what: str) -> None:
        change, expression, at_login = CHANGES[what]
        question = STATE.format(expression)
        door.attempt(change)
        assert door.value(question) != at_login
        door.session.reset(keep_transaction=False)
        assert door.value(question) == at_login

    def test_the_language_of_the_login_comes_back_with_its_dates(self, engine: SqlEngine) -> None:
        door = Door(engine, language="British")
        question = STATE.format("s.language, s.date_format, s.date_first")
        assert door.rows(question) == [("British", "dmy", 1)]
        door.run("SET LANGUAGE us_english; SET DATEFORMAT ymd")
        assert door.rows(question) == [("us_english", "ymd", 7)]
        door.session.reset(keep_transaction=False)
        assert door.rows(question) == [("British", "dmy", 1)]

    @pytest.mark.parametrize("level", ["READ UNCOMMITTED", "REPEATABLE READ", "SNAPSHOT"])
    def test_the_isolation_level_stays(self, door: Door, level: str) -> None:
        question = STATE.format("s.transaction_isolation_level")
        before = door.value(question)
        door.run(f"SET TRANSACTION ISOLATION LEVEL {level}")
        changed = door.value(question)
        assert changed != before
        door.session.reset(keep_transaction=False)
        assert door.value(question) == changed

    def test_a_read_only_key_may_be_set_again(self, door: Door) -> None:
        door.run("EXEC sp_set_session_context N'k', N'v', 1")
        assert door.error("EXEC sp_set_session_context N'k', N'w'").number == 15664
        door.session.reset(keep_transaction=False)
        door.run("EXEC sp_set_session_context N'k', N'w'")

    def test_what_a_transaction_wrote_and_locked_is_free_for_others(self, door: Door) -> None:
        other = Door(door.session.engine)  # type: ignore[arg-type]
        door.run(
            "BEGIN TRAN; INSERT ids DEFAULT VALUES; CREATE TABLE made (a int); "
            "EXEC sp_getapplock 'job', 'Exclusive', 'Transaction'"
        )
        assert other.error("SET LOCK_TIMEOUT 0; INSERT ids DEFAULT VALUES").number == 1222
        door.session.reset(keep_transaction=False)
        other.run("INSERT ids DEFAULT VALUES")
        assert other.rows("SELECT COUNT(*), OBJECT_ID('made') FROM ids") == [(1, None)]
        lock = "SELECT APPLOCK_TEST('public', 'job', 'Exclusive', 'Session')"
        assert other.value(lock) == 1

    def test_a_temporary_table_of_that_name_can_be_made_again(self, door: Door) -> None:
        door.run("CREATE TABLE #t (a int); INSERT #t VALUES (1)")
        assert door.error("CREATE TABLE #t (b int)").number == 2714
        door.session.reset(keep_transaction=False)
        assert door.error("SELECT a FROM #t").number == 208
        door.run("CREATE TABLE #t (b int)")
        assert door.rows("SELECT b FROM #t") == []

    def test_server_cursors_do_not_exist(self, door: Door) -> None:
        """Nothing to close: see "What is refused by name"."""
        assert numbers(door.call("sp_cursoropen", integer(None, output=True))) == [2812]

    def test_a_transaction_that_is_kept_keeps_its_locks_only(self, door: Door) -> None:
        door.run(
            "BEGIN TRAN; EXEC sp_getapplock 'mine', 'Exclusive', 'Transaction'; "
            "EXEC sp_getapplock 'sessions', 'Exclusive', 'Session'; SET CONTEXT_INFO 0x01"
        )
        door.session.reset(keep_transaction=True)
        assert door.rows(
            "SELECT @@TRANCOUNT, APPLOCK_MODE('public', 'mine', 'Transaction'), "
            "APPLOCK_MODE('public', 'sessions', 'Session'), CONTEXT_INFO()"
        ) == [(1, "Exclusive", "NoLock", None)]


class TestDatabases:
    def test_create_use_and_drop(self, engine: SqlEngine) -> None:
        door = Door(engine)
        door.run("CREATE DATABASE [other one]")
        assert door.error("CREATE DATABASE [OTHER ONE]").number == 1801
        door.run("USE [other one]; CREATE TABLE t (a int); INSERT t VALUES (1)")
        assert door.error("DROP DATABASE [other one]").number == 3702
        door.run("USE master; SELECT * FROM [other one].dbo.t; DROP DATABASE [other one]")
        assert door.error("SELECT * FROM [other one].dbo.t").number == 208
        door.run("CREATE DATABASE [other one]")
        assert door.error("SELECT * FROM [other one].dbo.t").number == 208
        assert door.error("DROP DATABASE nowhere").number == 3701
        assert door.error("DROP DATABASE master").number == 3708

    def test_single_user_with_rollback_immediate_throws_the_others_out(
        self, engine: SqlEngine
    ) -> None:
        Door(engine).run("CREATE DATABASE busy")
        victim, door = Door(engine, "busy"), Door(engine, "master")
        victim.run("CREATE TABLE t (a int); BEGIN TRAN; INSERT t VALUES (1)")
        assert door.error("DROP DATABASE busy").number == 3702
        assert door.error("ALTER DATABASE busy SET SINGLE_USER").number == 5070
        door.run("ALTER DATABASE busy SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
        assert victim.session not in engine.sessions()
        door.run("DROP DATABASE busy")

    def test_a_read_only_one_takes_no_writes(self, engine: SqlEngine) -> None:
        door = Door(engine)
        door.run("CREATE TABLE t (a int); ALTER DATABASE CURRENT SET READ_ONLY")
        assert door.error("INSERT t VALUES (1)").number == 3906
        assert door.error("CREATE TABLE u (a int)").number == 3906
        door.run("ALTER DATABASE CURRENT SET READ_WRITE; INSERT t VALUES (1)")

    def test_options_that_would_change_results_are_refused(self, engine: SqlEngine) -> None:
        message = Door(engine).error("ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT OFF")
        assert message.number == 40517

    def test_more_databases_than_sqlite_attaches_at_a_time(self, engine: SqlEngine) -> None:
        door = Door(engine)
        for number in range(14):
            door.run(f"CREATE DATABASE d{number}")
            door.run(f"CREATE TABLE d{number}.dbo.t (a int); INSERT d{number}.dbo.t VALUES (1)")
        assert all(door.value(f"SELECT a FROM d{n}.dbo.t") == 1 for n in range(14))


class TestFiles:
    def test_a_file_keeps_everything(self, tmp_path: Path) -> None:
        config = EngineConfig(database_file=tmp_path / "app.sqlite")
        with opened(config) as engine:
            door = Door(engine)
            door.run(
                "CREATE TABLE p (id int IDENTITY PRIMARY KEY, name nvarchar(9) UNIQUE);"
                "CREATE TABLE c (p int REFERENCES p (id), n decimal(5, 2) DEFAULT 1.5);"
                "CREATE DATABASE side"
            )
            door.run("CREATE VIEW v AS SELECT name FROM p")
            door.run(
                "INSERT p VALUES ('a'); INSERT c (p) VALUES (1); BEGIN TRAN; INSERT p "
                "VALUES ('b'); ROLLBACK"
            )
            door.run("USE side; CREATE TABLE s (x int); INSERT s VALUES (4)")
            ids = door.value("SELECT OBJECT_ID('app.dbo.p')")
            door.run("USE app; CREATE TABLE r (r rowversion, n int); INSERT r (n) VALUES (1)")
            door.run("INSERT r (n) VALUES (1); DELETE r")
            version = door.value("SELECT @@DBTS")
        with opened(config) as engine:
            door = Door(engine)
            assert door.rows("SELECT name FROM v") == [("a",)]
            assert door.value("SELECT @@DBTS") == version
            assert door.rows("SELECT p, n FROM c") == [(1, "1.50")]
            assert door.value("SELECT OBJECT_ID('p')") == ids
            assert door.error("INSERT p VALUES ('A')").number == 2627
            assert door.error("INSERT c (p) VALUES (9)").number == 547
            door.run("INSERT p VALUES ('c')")
            assert door.value("SELECT id FROM p WHERE name = 'c'") == 4
            assert door.value("SELECT x FROM side.dbo.s") == 4

    def test_a_temporary_one_leaves_nothing(self) -> None:
        with opened() as engine:
            paths = [database.path for database in engine.databases]
            assert all(path.exists() for path in paths)
        assert not any(path.exists() or path.parent.exists() for path in paths)
