"""What an operator looks at, and does: sys.dm_*, sp_who, sp_who2, KILL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mssql_async.devserver.engine import SqlEngine
from tests.devserver.engine_door import Door, Outcome, numbers, opened

PATIENCE = 10.0


@pytest.fixture
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        setup = Door(engine)
        setup.run("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT t VALUES (1, 0), (2, 0)")
        setup.close()
        yield engine


@pytest.fixture
def operator(engine: SqlEngine) -> Door:
    return Door(engine, program_name="operator", host_name="console", host_process_id=7)


@pytest.fixture
def shop(engine: SqlEngine) -> Door:
    return Door(engine, program_name="shop", host_name="web-1", host_process_id=4711)


class Running:
    """A batch on a thread of its own, until ``waiting`` says that it waits."""

    def __init__(self, door: Door, sql: str, waiting: Callable[[], bool]) -> None:
        self._door = door
        self._outcome: Outcome | None = None
        self._thread = threading.Thread(target=self._run, args=(sql,))
        self._thread.start()
        deadline = time.monotonic() + PATIENCE
        while not waiting():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def _run(self, sql: str) -> None:
        self._outcome = self._door.attempt(sql)

    def result(self) -> Outcome:
        self._thread.join(PATIENCE)
        assert self._outcome is not None
        return self._outcome


def waits_for_a_lock(door: Door) -> Callable[[], bool]:
    return lambda: door.session.engine.locks.is_waiting(door.session)


def of(door: Door, operator: Door, view: str, columns: str) -> tuple[Any, ...]:
    (row,) = operator.rows(
        f"SELECT {columns} FROM sys.{view} WHERE session_id = {door.session.spid}"
    )
    return row


class TestSessions:
    def test_they_say_who_they_are(self, operator: Door, shop: Door) -> None:
        columns = "program_name, host_name, host_process_id, login_name, original_login_name"
        assert of(shop, operator, "dm_exec_sessions", columns) == (
            *("shop", "web-1", 4711),
            *("sa", "sa"),
        )

    def test_an_idle_one_sleeps_and_a_running_one_runs(self, operator: Door, shop: Door) -> None:
        assert of(shop, operator, "dm_exec_sessions", "status") == ("sleeping",)
        assert of(operator, operator, "dm_exec_sessions", "status") == ("running",)

    def test_open_transactions_are_counted(self, operator: Door, shop: Door) -> None:
        look = ("dm_exec_sessions", "open_transaction_count")
        assert of(shop, operator, *look) == (0,)
        shop.run("BEGIN TRAN; BEGIN TRAN")
        assert of(shop, operator, *look) == (2,)
        shop.run("COMMIT; ROLLBACK")
        assert of(shop, operator, *look) == (0,)

    def test_requests_have_a_beginning_and_an_end(self, operator: Door, shop: Door) -> None:
        shop.run("WAITFOR DELAY '00:00:00.050'")
        times = "DATEDIFF(millisecond, last_request_start_time, last_request_end_time)"
        age = "DATEDIFF(second, last_request_start_time, SYSDATETIME())"
        (took, since) = of(shop, operator, "dm_exec_sessions", f"{times}, {age}")
        assert 45 <= took < 5000
        assert 0 <= since < 10

    def test_the_last_error_and_row_count_are_shown(self, operator: Door, shop: Door) -> None:
        shop.attempt("SELECT id FROM t")
        assert of(shop, operator, "dm_exec_sessions", "row_count, prev_error") == (2, 0)
        shop.attempt("SELECT 1 / 0")
        assert of(shop, operator, "dm_exec_sessions", "prev_error") == (8134,)

    def test_a_closed_one_is_gone(self, operator: Door, shop: Door) -> None:
        shop.close()
        assert operator.value("SELECT COUNT(*) FROM sys.dm_exec_sessions") == 1

    def test_connections_have_an_address_and_a_packet_size(self, engine: SqlEngine) -> None:
        door = Door(engine, client_address="127.0.0.1", packet_size=8192, encrypted=True)
        columns = "net_transport, encrypt_option, auth_scheme, client_net_address, net_packet_size"
        assert of(door, door, "dm_exec_connections", columns) == (
            *("TCP", "TRUE", "SQL", "127.0.0.1", 8192),
        )
        assert (
            door.value(
                "SELECT COUNT(*) FROM sys.dm_exec_sessions s JOIN sys.dm_exec_connections c "
                "ON c.session_id = s.session_id WHERE c.connection_id IS NOT NULL"
            )
            == 1
        )


class TestRequests:
    def test_an_idle_session_has_none(self, operator: Door, shop: Door) -> None:
        assert operator.rows("SELECT session_id, command FROM sys.dm_exec_requests") == [
            (operator.session.spid, "SELECT")
        ]

    def test_a_lock_wait_names_the_blocker(self, operator: Door, shop: Door) -> None:
        operator.run("BEGIN TRAN; UPDATE t SET n = 1 WHERE id = 1")
        waiting = Running(shop, "UPDATE t SET n = 2", waits_for_a_lock(shop))
        columns = "status, command, blocking_session_id, wait_type"
        assert of(shop, operator, "dm_exec_requests", columns) == (
            *("suspended", "UPDATE", operator.session.spid, "LCK_M_X"),
        )
        operator.run("ROLLBACK")
        waiting.result()

    def test_waitfor_is_a_wait_without_a_blocker(self, operator: Door, shop: Door) -> None:
        waiting = Running(shop, "WAITFOR DELAY '00:01'", lambda: shop.session.wait is not None)
        time.sleep(0.02)
        columns = "status, command, blocking_session_id, wait_type, IIF(wait_time >= 10, 1, 0)"
        assert of(shop, operator, "dm_exec_requests", columns) == (
            *("suspended", "WAITFOR", 0, "WAITFOR", 1),
        )
        shop.session.interrupt()
        waiting.result()
        assert shop.session.wait is None

    def test_its_transaction_and_settings_are_shown(self, operator: Door) -> None:
        operator.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCK_TIMEOUT 9")
        operator.run("BEGIN TRAN")
        columns = "open_transaction_count, transaction_isolation_level, lock_timeout"
        assert of(operator, operator, "dm_exec_requests", columns) == (1, 3, 9)


class TestTransactionsAndLocks:
    def test_an_open_transaction_is_listed_with_its_session(
        self, operator: Door, shop: Door
    ) -> None:
        assert operator.value("SELECT COUNT(*) FROM sys.dm_tran_session_transactions") == 0
        shop.run("BEGIN TRAN payment; UPDATE t SET n = 1")
        number = shop.value("SELECT CURRENT_TRANSACTION_ID()")
        columns = "transaction_id, is_user_transaction, open_transaction_count"
        assert of(shop, operator, "dm_tran_session_transactions", columns) == (number, 1, 1)
        assert operator.rows(
            "SELECT transaction_id, name FROM sys.dm_tran_active_transactions"
        ) == [(number, "payment")]
        shop.run("ROLLBACK")
        assert operator.value("SELECT COUNT(*) FROM sys.dm_tran_session_transactions") == 0

    def test_its_locks_are_listed_until_it_ends(self, operator: Door, shop: Door) -> None:
        locks = (
            "SELECT resource_type, DB_NAME(resource_database_id), request_mode, request_status, "
            "request_session_id, request_owner_type FROM sys.dm_tran_locks"
        )
        shop.run("BEGIN TRAN; UPDATE t SET n = 1 WHERE id = 1")
        assert operator.rows(locks) == [
            ("DATABASE", "app", "X", "GRANT", shop.session.spid, "TRANSACTION")
        ]
        shop.run("COMMIT")
        assert operator.rows(locks) == []

    def test_application_locks_are_listed_with_their_owner(
        self, operator: Door, shop: Door
    ) -> None:
        shop.run("EXEC sp_getapplock 'job', 'Shared', 'Session'")
        (row,) = operator.rows(
            "SELECT resource_type, LEFT(resource_description, 7), request_mode, "
            "request_owner_type FROM sys.dm_tran_locks"
        )
        assert row == ("APPLICATION", "0:[job]", "S", "SESSION")

    def test_who_waits_is_listed_too(self, operator: Door, shop: Door) -> None:
        operator.run("BEGIN TRAN; UPDATE t SET n = 1")
        waiting = Running(shop, "DELETE t", waits_for_a_lock(shop))
        assert operator.rows(
            "SELECT request_session_id, request_status FROM sys.dm_tran_locks "
            "ORDER BY request_status"
        ) == [(operator.session.spid, "GRANT"), (shop.session.spid, "WAIT")]
        operator.run("ROLLBACK")
        waiting.result()


class TestWho:
    def test_sp_who_lists_sessions_and_their_blockers(self, operator: Door, shop: Door) -> None:
        operator.run("BEGIN TRAN; UPDATE t SET n = 1")
        waiting = Running(shop, "UPDATE t SET n = 2", waits_for_a_lock(shop))
        outcome = operator.run(f"EXEC sp_who {shop.session.spid}")
        assert outcome.columns == (
            *("spid", "ecid", "status", "loginame", "hostname", "blk", "dbname", "cmd"),
            "request_id",
        )
        (row,) = outcome.rows
        assert [str(value).strip() for value in row] == [
            *(str(shop.session.spid), "0", "suspended", "sa", "web-1"),
            *(str(operator.session.spid), "app", "UPDATE", "0"),
        ]
        operator.run("ROLLBACK")
        waiting.result()

    def test_sp_who_may_be_asked_for_the_active_ones_or_a_login(
        self, operator: Door, shop: Door
    ) -> None:
        assert [row[0] for row in operator.rows("EXEC sp_who 'active'")] == [operator.session.spid]
        assert len(operator.rows("EXEC sp_who 'sa'")) == 2
        assert operator.error("EXEC sp_who 'nobody'").number == 15007

    def test_sp_who2_adds_the_program(self, operator: Door, shop: Door) -> None:
        outcome = operator.run("EXEC sp_who2")
        assert outcome.columns == (
            *("SPID", "Status", "Login", "HostName", "BlkBy", "DBName", "Command", "CPUTime"),
            *("DiskIO", "LastBatch", "ProgramName", "SPID", "REQUESTID"),
        )
        mine = next(row for row in outcome.rows if row[0].strip() == str(shop.session.spid))
        assert mine[1:7] == ("sleeping", "sa", "web-1", "  .  ", "app", "AWAITING COMMAND")
        assert mine[10] == "shop"


class TestKill:
    def test_an_idle_session_loses_its_transaction_and_its_connection(
        self, operator: Door, shop: Door
    ) -> None:
        told: list[bool] = []
        shop.session.when_killed(lambda: told.append(True))
        shop.run("BEGIN TRAN; UPDATE t SET n = 1")
        operator.run(f"KILL {shop.session.spid}")
        assert told == [True]
        assert operator.value("SELECT COUNT(*) FROM sys.dm_exec_sessions") == 1
        operator.run("SET LOCK_TIMEOUT 0; UPDATE t SET n = n + 5")
        assert operator.rows("SELECT n FROM t") == [(5,), (5,)]

    @pytest.mark.parametrize("sql", ["WAITFOR DELAY '00:01'", "UPDATE t SET n = 2"])
    def test_a_waiting_one_stops_at_once(self, operator: Door, shop: Door, sql: str) -> None:
        operator.run("BEGIN TRAN; UPDATE t SET n = 1; SAVE TRAN s")
        session = shop.session
        waiting = Running(
            shop, sql, lambda: session.wait is not None or session.engine.locks.is_waiting(session)
        )
        operator.run("COMMIT") if "WAITFOR" in sql else None
        third = Door(session.engine)
        third.run(f"KILL {session.spid}")
        waiting.result()
        assert (
            third.value(
                f"SELECT COUNT(*) FROM sys.dm_exec_sessions WHERE session_id = {session.spid}"
            )
            == 0
        )

    def test_not_oneself_nobody_and_not_in_a_transaction(self, operator: Door) -> None:
        assert operator.error(f"KILL {operator.session.spid}").number == 6104
        assert operator.error("KILL 999").number == 6106
        assert numbers(operator.attempt("BEGIN TRAN; KILL 999")) == [6115]
