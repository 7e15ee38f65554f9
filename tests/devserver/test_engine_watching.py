"""What somebody who looks for leaks sees of other sessions: state, locks, text, leftovers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mssql_async.devserver import DevServer, sqltypes
from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.protocols import Parameter

from .engine_door import Door, integer, opened, text
from .faulty import connect


@pytest.fixture
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        yield engine


@pytest.fixture
def watcher(engine: SqlEngine) -> Door:
    return Door(engine, program_name="watcher")


@pytest.fixture
def watched(engine: SqlEngine) -> Door:
    return Door(engine, program_name="watched", host_process_id=4711)


def of(door: Door, columns: str, view: str = "dm_exec_sessions") -> str:
    """The query for these columns of that session's row."""
    return f"SELECT {columns} FROM sys.{view} WHERE session_id = {door.session.spid}"


class TestSessions:
    def test_the_whole_state_is_in_one_row(self, watcher: Door, watched: Door) -> None:
        watched.run(
            "SET DATEFIRST 1; SET DATEFORMAT ymd; SET LOCK_TIMEOUT 500; SET LANGUAGE british; "
            "SET DATEFIRST 3; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN TRAN; "
            "BEGIN TRAN; USE master"
        )
        assert watcher.rows(
            of(
                watched,
                "program_name, host_process_id, status, open_transaction_count, "
                "transaction_isolation_level, date_first, date_format, language, lock_timeout, "
                "database_id, is_user_process",
            )
        ) == [("watched", 4711, "sleeping", 2, 4, 3, "dmy", "British", 500, 1, 1)]

    def test_the_watcher_itself_is_running(self, watcher: Door) -> None:
        assert watcher.value(of(watcher, "status")) == "running"

    def test_a_request_ends_after_it_began_and_a_reset_is_none(
        self, watcher: Door, watched: Door
    ) -> None:
        times = of(watched, "last_request_start_time, last_request_end_time")
        watched.run("SELECT 1")
        first = watcher.rows(times)
        ((start, end),) = first
        assert start <= end
        watched.session.reset(keep_transaction=False)
        assert watcher.rows(times) == first
        assert watcher.value(of(watched, "status")) == "sleeping"

    def test_a_session_that_waits_shows_for_whom(self, watcher: Door, watched: Door) -> None:
        watcher.run("CREATE TABLE t (n int); BEGIN TRAN; INSERT t VALUES (1)")
        thread = threading.Thread(target=watched.run, args=("INSERT t VALUES (2)",))
        thread.start()
        waiting = of(watched, "blocking_session_id, status, wait_type", "dm_exec_requests")
        while not (rows := watcher.rows(waiting)) or rows[0][0] == 0:
            assert thread.is_alive()
        assert rows == [(watcher.session.spid, "suspended", "LCK_M_X")]
        watcher.run("COMMIT")
        thread.join()
        assert watcher.rows(waiting) == []


class TestTexts:
    LAST = (
        "SELECT t.text FROM sys.dm_exec_connections AS c "
        "CROSS APPLY sys.dm_exec_sql_text(c.most_recent_sql_handle) AS t WHERE c.session_id = {}"
    )
    BUFFER = (
        "SELECT b.event_type, b.parameters, b.event_info FROM sys.dm_exec_sessions AS s "
        "CROSS APPLY sys.dm_exec_input_buffer(s.session_id, NULL) AS b WHERE s.session_id = {}"
    )

    def test_a_batch_is_seen_after_its_end(self, watcher: Door, watched: Door) -> None:
        spid = watched.session.spid
        watched.run("SELECT 1 AS [żółć]")
        assert watcher.value(self.LAST.format(spid)) == "SELECT 1 AS [żółć]"
        assert watcher.rows(self.BUFFER.format(spid)) == [
            ("Language Event", 0, "SELECT 1 AS [żółć]")
        ]

    def test_a_parameterised_statement_shows_its_declarations_and_no_values(
        self, watcher: Door, watched: Door
    ) -> None:
        spid = watched.session.spid
        watched.execute("SELECT @P1", "@P1 nvarchar(9)", text("a secret"))
        assert watcher.value(self.LAST.format(spid)) == "(@P1 nvarchar(9))SELECT @P1"
        assert watcher.rows(self.BUFFER.format(spid)) == [
            ("RPC Event", 3, "(@P1 nvarchar(9))SELECT @P1")
        ]

    def test_so_do_prepared_ones(self, watcher: Door, watched: Door) -> None:
        spid = watched.session.spid
        prepared = watched.call(
            "sp_prepexec",
            integer(None, output=True),
            text("@P1 int"),
            text("SELECT @P1"),
            integer(1),
        )
        assert watcher.value(self.LAST.format(spid)) == "(@P1 int)SELECT @P1"
        watched.call("sp_execute", integer(prepared.outputs[0]), integer(2))
        assert watcher.value(self.LAST.format(spid)) == "(@P1 int)SELECT @P1"
        watched.call("sp_unprepare", integer(prepared.outputs[0]))
        assert watcher.value(self.LAST.format(spid)) == "sp_unprepare"

    def test_a_running_request_shows_its_own(self, watcher: Door) -> None:
        query = (
            "SELECT t.text FROM sys.dm_exec_requests AS r "
            "CROSS APPLY sys.dm_exec_sql_text(r.sql_handle) AS t WHERE r.session_id = @@SPID"
        )
        assert watcher.value(query) == query

    def test_a_session_that_was_asked_nothing(self, watcher: Door, watched: Door) -> None:
        spid = watched.session.spid
        assert watcher.value(of(watched, "most_recent_sql_handle", "dm_exec_connections")) is None
        assert watcher.rows(self.LAST.format(spid)) == []
        outer = self.LAST.format(spid).replace("CROSS", "OUTER")
        assert watcher.rows(outer) == [(None,)]
        assert watcher.rows(self.BUFFER.format(spid)) == [("No Event", 0, None)]

    def test_a_handle_outlives_its_request(self, watcher: Door, watched: Door) -> None:
        watched.run("SELECT 'the first'")
        handle = watcher.value(of(watched, "most_recent_sql_handle", "dm_exec_connections"))
        watched.run("SELECT 'the second'")
        found = watcher.execute(
            "SELECT * FROM sys.dm_exec_sql_text(@h)",
            "@h varbinary(64)",
            Parameter("", sqltypes.varbinary(64), handle),
        )
        assert found.columns == ("dbid", "objectid", "number", "encrypted", "text")
        assert found.rows == [(None, None, None, 0, "SELECT 'the first'")]

    def test_an_unknown_handle_and_session_have_no_rows(self, watcher: Door) -> None:
        assert watcher.rows("SELECT * FROM sys.dm_exec_sql_text(0x0102)") == []
        assert watcher.rows("SELECT * FROM sys.dm_exec_sql_text(NULL)") == []
        assert watcher.rows("SELECT * FROM sys.dm_exec_input_buffer(9999, NULL)") == []
        assert watcher.rows("SELECT * FROM sys.dm_exec_input_buffer(@@SPID, 7)") == []

    def test_arguments_are_counted(self, watcher: Door) -> None:
        assert watcher.error("SELECT * FROM sys.dm_exec_input_buffer(51)").number == 313
        assert watcher.error("SELECT * FROM sys.dm_exec_sql_text(0x01, 2)").number == 8144
        assert watcher.error("SELECT * FROM dm_exec_sql_text(0x01)").number == 40517


class TestLeftovers:
    def test_the_temporary_tables_of_all_sessions_are_in_tempdb(
        self, watcher: Door, watched: Door
    ) -> None:
        watcher.run("CREATE TABLE #mine (a int)")
        watched.run("CREATE TABLE #left (a int, b int)")
        names = watcher.rows("SELECT name FROM tempdb.sys.tables ORDER BY name")
        assert [(name.rstrip("0123456789ABCDEF").rstrip("_"), len(name)) for (name,) in names] == [
            ("#left", 128),
            ("#mine", 128),
        ]
        assert watcher.rows(
            "SELECT c.name FROM tempdb.sys.tables AS t JOIN tempdb.sys.columns AS c "
            "ON c.object_id = t.object_id WHERE t.name LIKE '#left[_]%' ORDER BY c.column_id"
        ) == [("a",), ("b",)]
        assert watcher.value("SELECT COUNT(*) FROM tempdb.sys.objects WHERE type = 'U'") == 2
        watched.session.reset(keep_transaction=False)
        assert watcher.value("SELECT COUNT(*) FROM tempdb.sys.tables") == 1
        assert watcher.value("SELECT COUNT(*) FROM sys.tables") == 0

    def test_a_name_finds_only_ones_own(self, watcher: Door, watched: Door) -> None:
        watched.run("CREATE TABLE #left (a int)")
        assert watcher.value("SELECT OBJECT_ID('tempdb..#left')") is None
        assert watched.value("SELECT OBJECT_ID('tempdb..#left', 'U')") == watcher.value(
            "SELECT object_id FROM tempdb.sys.tables"
        )

    def test_two_sessions_have_tables_of_different_numbers(
        self, watcher: Door, watched: Door
    ) -> None:
        for door in (watcher, watched):
            door.run("CREATE TABLE #same (a int)")
        numbers = watcher.rows("SELECT object_id FROM tempdb.sys.tables")
        assert len(set(numbers)) == 2

    def test_application_locks_name_their_holder(self, watcher: Door, watched: Door) -> None:
        watched.run(
            "BEGIN TRAN; EXEC sp_getapplock 'of the transaction', 'Shared', 'Transaction'; "
            "EXEC sp_getapplock 'job', 'Exclusive', 'Session'"
        )
        assert watcher.rows(
            "SELECT request_session_id, request_mode, request_status, request_owner_type "
            "FROM sys.dm_tran_locks WHERE resource_type = 'APPLICATION' ORDER BY request_mode"
        ) == [
            (watched.session.spid, "S", "GRANT", "TRANSACTION"),
            (watched.session.spid, "X", "GRANT", "SESSION"),
        ]
        modes = (
            "SELECT APPLOCK_MODE('public', 'job', 'Session'), "
            "APPLOCK_MODE('public', 'job', 'Transaction')"
        )
        assert watched.rows(modes) == [("Exclusive", "NoLock")]
        assert watcher.rows(modes) == [("NoLock", "NoLock")]

    def test_an_open_transaction_is_listed(self, watcher: Door, watched: Door) -> None:
        listed = of(watched, "open_transaction_count", "dm_tran_session_transactions")
        watched.run("BEGIN TRAN")
        assert watcher.rows(listed) == [(1,)]
        watched.session.reset(keep_transaction=False)
        assert watcher.rows(listed) == []

    def test_context_info_is_seen_from_outside(self, watcher: Door, watched: Door) -> None:
        watched.run("SET CONTEXT_INFO 0x0102")
        assert watcher.value(of(watched, "context_info"))[:2] == b"\x01\x02"
        watched.session.reset(keep_transaction=False)
        assert watcher.value(of(watched, "context_info")) is None
        assert watched.value("SELECT CONTEXT_INFO()") is None


class TestConnections:
    def test_a_connection_has_its_port_and_counts_its_messages(self) -> None:
        with DevServer() as server:
            connection = connect(server)
            query = (
                "SELECT client_net_address, client_tcp_port, net_packet_size, num_reads, "
                "num_writes, DATALENGTH(most_recent_sql_handle) "
                "FROM sys.dm_exec_connections WHERE session_id = @@SPID"
            )
            address, port, size, reads, writes, handle = connection.execute(query).fetchone()
            assert (address, size, handle) == ("127.0.0.1", 4096, 44)
            assert 0 < port < 65536
            assert writes == reads - 1
            again = connection.execute(query).fetchone()
            assert again[3] == reads + 1
            connection.close()
