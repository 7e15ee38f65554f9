"""What SET, USE and their like change in a session, for how long, and who sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.protocols import Isolation, TransactionOperation
from mssql_async.devserver.results import Environment
from tests.devserver.engine_door import Door, integer, numbers, opened, text

SERIALIZABLE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"


@pytest.fixture
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        yield engine


@pytest.fixture
def door(engine: SqlEngine) -> Door:
    return Door(engine)


def shown(door: Door, columns: str) -> tuple[Any, ...]:
    """Columns of the session's row in sys.dm_exec_sessions."""
    (row,) = door.rows(f"SELECT {columns} FROM sys.dm_exec_sessions WHERE session_id = @@SPID")
    return row


class TestOptions:
    def test_those_that_concern_dates_change_what_text_means(self, door: Door) -> None:
        door.run("SET DATEFORMAT dmy; SET DATEFIRST 1")
        assert door.rows(
            "SELECT MONTH(CAST('01/02/2024' AS datetime)), DATEPART(weekday, '2024-01-07')"
        ) == [(2, 7)]
        assert shown(door, "date_format, date_first") == ("dmy", 1)

    def test_a_language_brings_its_date_format_and_first_day(self, door: Door) -> None:
        outcome = door.run("SET LANGUAGE Deutsch")
        (change,) = outcome.changes
        assert (change.kind, change.new, change.old) == (
            Environment.LANGUAGE,
            "Deutsch",
            "us_english",
        )
        assert outcome.infos[0].number == 5703
        assert shown(door, "language, date_format, date_first") == ("Deutsch", "dmy", 1)
        assert door.value("SELECT @@LANGUAGE") == "Deutsch"

    def test_a_login_may_name_its_language_and_a_reset_goes_back_to_it(
        self, engine: SqlEngine
    ) -> None:
        door = Door(engine, language="British")
        assert shown(door, "language, date_format, date_first") == ("British", "dmy", 1)
        door.run("SET LANGUAGE us_english")
        door.session.reset(keep_transaction=False)
        assert shown(door, "language, date_format") == ("British", "dmy")

    def test_an_unknown_language_at_login_is_the_servers_default(self, engine: SqlEngine) -> None:
        assert Door(engine, language="Klingon").value("SELECT @@LANGUAGE") == "us_english"

    @pytest.mark.parametrize(
        ("option", "bit"),
        [
            ("IMPLICIT_TRANSACTIONS", 2),
            ("CURSOR_CLOSE_ON_COMMIT", 4),
            ("ARITHABORT", 64),
            ("NOCOUNT", 512),
            ("XACT_ABORT", 16384),
        ],
    )
    def test_switches_are_bits_of_the_options_variable(
        self, door: Door, option: str, bit: int
    ) -> None:
        assert door.value(f"SELECT @@OPTIONS & {bit}") == 0
        door.run(f"SET {option} ON")
        assert door.value(f"SELECT @@OPTIONS & {bit}") == bit
        door.run(f"SET {option} OFF; IF @@TRANCOUNT > 0 ROLLBACK")
        assert door.value(f"SELECT @@OPTIONS & {bit}") == 0

    def test_ansi_options_are_on_as_for_every_odbc_client(self, door: Door) -> None:
        door.run("SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, CONCAT_NULL_YIELDS_NULL ON")
        assert shown(
            door,
            "quoted_identifier, ansi_nulls, ansi_padding, ansi_warnings, ansi_null_dflt_on, "
            "concat_null_yields_null, ansi_defaults",
        ) == (1, 1, 1, 1, 1, 1, 0)
        assert door.value("SELECT SESSIONPROPERTY('ANSI_NULLS')") == 1

    @pytest.mark.parametrize("option", ["ANSI_NULLS", "ANSI_WARNINGS", "QUOTED_IDENTIFIER"])
    def test_the_other_value_of_an_ansi_option_is_refused_by_name(
        self, door: Door, option: str
    ) -> None:
        assert option in door.error(f"SET {option} OFF").text

    def test_ansi_defaults_begin_transactions_by_themselves(self, door: Door) -> None:
        door.run("SET ANSI_DEFAULTS ON; CREATE TABLE t (n int)")
        assert door.value("SELECT @@TRANCOUNT") == 1

    def test_lock_timeout_and_deadlock_priority_are_shown(self, door: Door) -> None:
        door.run("SET LOCK_TIMEOUT 1800; SET DEADLOCK_PRIORITY LOW")
        assert shown(door, "lock_timeout, deadlock_priority") == (1800, -5)
        assert door.value("SELECT @@LOCK_TIMEOUT") == 1800

    @pytest.mark.parametrize(
        ("name", "number"),
        [
            ("READ UNCOMMITTED", 1),
            ("READ COMMITTED", 2),
            ("REPEATABLE READ", 3),
            ("SERIALIZABLE", 4),
            ("SNAPSHOT", 5),
        ],
    )
    def test_the_isolation_level_is_shown(self, door: Door, name: str, number: int) -> None:
        door.run(f"SET TRANSACTION ISOLATION LEVEL {name}")
        assert shown(door, "transaction_isolation_level") == (number,)

    def test_a_transaction_request_leaves_its_isolation_level_to_the_session(
        self, door: Door
    ) -> None:
        door.transact(TransactionOperation.BEGIN, isolation=Isolation.SERIALIZABLE)
        door.transact(TransactionOperation.ROLLBACK)
        assert shown(door, "transaction_isolation_level") == (4,)

    def test_options_belong_to_one_session(self, engine: SqlEngine, door: Door) -> None:
        door.run(f"SET DATEFIRST 2; SET NOCOUNT ON; {SERIALIZABLE}")
        assert shown(Door(engine), "date_first, transaction_isolation_level") == (7, 2)

    def test_dbcc_useroptions_lists_what_is_on(self, door: Door) -> None:
        door.run("SET NOCOUNT ON; SET LANGUAGE British; SET LOCK_TIMEOUT 7")
        listed = dict(door.rows("DBCC USEROPTIONS"))
        assert listed["isolation level"] == "read committed snapshot"
        assert (listed["language"], listed["lock_timeout"]) == ("British", "7")
        assert listed["nocount"] == listed["ansi_nulls"] == "SET"
        assert "xact_abort" not in listed


class TestScopes:
    """sp_executesql, prepared statements and EXEC of a string: settings end with them."""

    @pytest.mark.parametrize(
        ("change", "look", "before"),
        [
            ("SET DATEFIRST 3", "@@DATEFIRST", 7),
            ("SET LOCK_TIMEOUT 5", "@@LOCK_TIMEOUT", -1),
            ("SET LANGUAGE Deutsch", "@@LANGUAGE", "us_english"),
            ("SET NOCOUNT ON", "@@OPTIONS & 512", 0),
            ("SET XACT_ABORT ON", "@@OPTIONS & 16384", 0),
            ("USE master", "DB_NAME()", "app"),
        ],
    )
    def test_what_is_set_inside_ends_with_it(
        self, door: Door, change: str, look: str, before: object
    ) -> None:
        door.execute(change)
        assert door.value(f"SELECT {look}") == before
        door.call("sp_prepexec", integer(None, output=True), text(""), text(change))
        assert door.value(f"SELECT {look}") == before
        assert door.value(f"EXEC ('{change}'); SELECT {look}") == before
        assert door.execute(f"{change}; SELECT {look}").value != before

    def test_the_isolation_level_too(self, door: Door) -> None:
        door.execute(SERIALIZABLE)
        assert shown(door, "transaction_isolation_level") == (2,)

    def test_they_are_put_back_after_an_error_too(self, door: Door) -> None:
        outcome = door.execute("SET DATEFIRST 3; USE master; SELECT CAST('x' AS int)")
        assert numbers(outcome) == [245]
        assert door.rows("SELECT @@DATEFIRST, DB_NAME()") == [(7, "app")]

    def test_the_client_is_told_which_database_it_is_in_again(self, door: Door) -> None:
        changes = door.execute("USE master").changes
        assert [(change.old, change.new) for change in changes] == [
            ("app", "master"),
            ("master", "app"),
        ]

    def test_identity_insert_ends_with_its_scope(self, door: Door) -> None:
        door.run("CREATE TABLE t (id int IDENTITY, n int)")
        door.execute("SET IDENTITY_INSERT t ON; INSERT t (id, n) VALUES (5, 1)")
        assert door.error("INSERT t (id, n) VALUES (6, 1)").number == 544

    def test_context_info_and_the_session_context_stay(self, door: Door) -> None:
        door.execute("SET CONTEXT_INFO 0x0102; EXEC sp_set_session_context 'who', 'me'")
        assert door.rows("SELECT CONTEXT_INFO(), SESSION_CONTEXT(N'who')")[0][1] == "me"
        assert door.value("SELECT CONTEXT_INFO()")[:2] == b"\x01\x02"

    def test_settings_of_the_batch_reach_into_its_scopes(self, door: Door) -> None:
        door.run("SET DATEFIRST 4")
        assert door.execute("SELECT @@DATEFIRST").value == 4

    def test_a_transaction_begun_inside_stays_open_with_error_266(self, door: Door) -> None:
        assert numbers(door.execute("BEGIN TRAN")) == [266]
        assert door.value("SELECT @@TRANCOUNT") == 1
        assert numbers(door.execute("ROLLBACK")) == [266]
        assert door.value("SELECT @@TRANCOUNT") == 0

    def test_one_begun_by_implicit_transactions_is_no_error(self, door: Door) -> None:
        door.run("CREATE TABLE t (n int); SET IMPLICIT_TRANSACTIONS ON")
        assert numbers(door.execute("INSERT t VALUES (1)")) == []
        assert door.value("SELECT @@TRANCOUNT") == 1


class TestTemporaryTables:
    def test_one_made_in_a_scope_ends_with_it(self, door: Door) -> None:
        assert door.execute("CREATE TABLE #t (n int); SELECT COUNT(*) FROM #t").value == 0
        assert door.error("SELECT * FROM #t").number == 208
        assert door.error("EXEC ('SELECT 1 AS n INTO #u'); SELECT * FROM #u").number == 208

    def test_one_made_before_is_seen_and_changed_in_a_scope(self, door: Door) -> None:
        door.run("CREATE TABLE #t (n int)")
        door.execute("INSERT #t VALUES (1); ALTER TABLE #t ADD m int")
        assert door.rows("SELECT n, m FROM #t") == [(1, None)]

    def test_one_made_in_a_transaction_goes_with_its_scope_not_its_rollback(
        self, door: Door
    ) -> None:
        door.run("BEGIN TRAN")
        door.execute("CREATE TABLE #t (n int)")
        assert door.error("SELECT * FROM #t").number == 208
        door.run("CREATE TABLE #t (m int); ROLLBACK")
        assert door.value("SELECT OBJECT_ID('tempdb..#t')") is None

    def test_the_same_statement_may_make_it_again(self, door: Door) -> None:
        sql = "CREATE TABLE #t (n int); INSERT #t VALUES (1); SELECT COUNT(*) FROM #t"
        assert [door.execute(sql).value for _ in range(3)] == [1, 1, 1]

    def test_sessions_have_their_own(self, engine: SqlEngine, door: Door) -> None:
        door.run("CREATE TABLE #t (n int); INSERT #t VALUES (1)")
        other = Door(engine)
        other.run("CREATE TABLE #t (other int)")
        assert door.rows("SELECT n FROM #t") == [(1,)]


class TestContext:
    def test_context_info_is_128_bytes_of_the_session(self, engine: SqlEngine, door: Door) -> None:
        door.run("SET CONTEXT_INFO 0xCAFE")
        assert door.value("SELECT CONTEXT_INFO()") == b"\xca\xfe" + b"\0" * 126
        assert shown(door, "context_info") == (b"\xca\xfe" + b"\0" * 126,)
        assert Door(engine).value("SELECT CONTEXT_INFO()") is None

    def test_a_key_of_the_session_context_may_be_read_only(self, door: Door) -> None:
        door.run("EXEC sp_set_session_context 'tenant', 7, 1")
        assert door.value("SELECT SESSION_CONTEXT(N'tenant')") == 7
        assert door.error("EXEC sp_set_session_context 'tenant', 8").number == 15664

    def test_identity_insert_is_for_one_table_of_one_session(
        self, engine: SqlEngine, door: Door
    ) -> None:
        door.run("CREATE TABLE t (id int IDENTITY, n int); CREATE TABLE u (id int IDENTITY)")
        door.run("SET IDENTITY_INSERT t ON; INSERT t (id, n) VALUES (9, 1)")
        assert door.error("SET IDENTITY_INSERT u ON").number == 8107
        assert Door(engine).error("INSERT t (id, n) VALUES (10, 1)").number == 544
        door.run("SET IDENTITY_INSERT t OFF; SET IDENTITY_INSERT u ON")


class TestImplicitTransactions:
    def test_begin_comes_after_an_unseen_one(self, door: Door) -> None:
        """ "Equivalent to an unseen BEGIN TRANSACTION being executed first"."""
        door.run("SET IMPLICIT_TRANSACTIONS ON; BEGIN TRAN")
        assert door.value("SELECT @@TRANCOUNT") == 2

    def test_a_select_without_a_table_begins_nothing(self, door: Door) -> None:
        assert door.value("SET IMPLICIT_TRANSACTIONS ON; SELECT @@TRANCOUNT") == 0


class TestReset:
    def test_the_isolation_level_survives(self, door: Door) -> None:
        """MS-TDS 2.2.3.1.2: "Distributed transactions and isolation levels are not reset."."""
        door.run(SERIALIZABLE)
        for keep in (False, True):
            door.session.reset(keep_transaction=keep)
            assert shown(door, "transaction_isolation_level") == (4,)

    def test_a_kept_transaction_keeps_its_application_locks_and_no_others(
        self, engine: SqlEngine, door: Door
    ) -> None:
        door.run("BEGIN TRAN; EXEC sp_getapplock 'of the transaction', 'Exclusive'")
        door.run("EXEC sp_getapplock 'of the session', 'Exclusive', 'Session'")
        door.session.reset(keep_transaction=True)
        held = "SELECT APPLOCK_TEST('public', '{}', 'Exclusive', 'Session')"
        other = Door(engine)
        assert other.value(held.format("of the transaction")) == 0
        assert other.value(held.format("of the session")) == 1
        door.run("ROLLBACK")
        assert other.value(held.format("of the transaction")) == 1

    def test_the_number_and_the_login_stay(self, engine: SqlEngine) -> None:
        door = Door(engine, program_name="shop", host_process_id=42)
        before = shown(door, "session_id, program_name, host_process_id, login_time")
        door.session.reset(keep_transaction=False)
        assert shown(door, "session_id, program_name, host_process_id, login_time") == before


class TestDatesOfTheOldTypes:
    """ "If the dateformat is set to DMY", datetime reads yyyy-dd-mm; the newer types never do."""

    @pytest.mark.parametrize("of", ["datetime", "smalldatetime"])
    def test_follow_dateformat_even_with_the_year_first(self, door: Door, of: str) -> None:
        door.run("SET DATEFORMAT dmy")
        read = "SELECT CONVERT(varchar(10), CAST('{}' AS {}), 120)"
        assert door.value(read.format("2020-02-01", of)) == "2020-01-02"
        assert door.value(read.format("2020-02-01 10:00", of)) == "2020-01-02"
        assert door.value(read.format("2020-02-01T10:00:00", of)) == "2020-02-01"
        assert door.value(read.format("20200201", of)) == "2020-02-01"
        assert door.error(read.format("2020-01-13", of)).number == 242
        assert door.value(f"SELECT MONTH(CONVERT({of}, '2020-02-01', 120))") == 2
        assert door.value("SELECT ISDATE('2020-01-13')") == 0

    @pytest.mark.parametrize("of", ["date", "datetime2", "datetimeoffset"])
    def test_the_newer_ones_do_not(self, door: Door, of: str) -> None:
        door.run("SET DATEFORMAT dmy")
        assert door.value(f"SELECT MONTH(CAST('2020-02-01' AS {of}))") == 2
        assert door.value(f"SELECT DAY(CAST('2020-01-13' AS {of}))") == 13
