"""Two sessions: what they see of each other, who waits for whom, and how a wait ends."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.protocols import WouldWait
from mssql_async.devserver.tsql import statements as st
from tests.devserver.engine_door import Door, Outcome, numbers, opened

PATIENCE = 10.0


@pytest.fixture
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        setup = Door(engine)
        setup.run("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT t VALUES (1, 0), (2, 0)")
        setup.run("CREATE DATABASE second")
        setup.run("USE second; CREATE TABLE u (id int PRIMARY KEY); INSERT u VALUES (1)")
        setup.close()
        yield engine


@pytest.fixture
def one(engine: SqlEngine) -> Door:
    return Door(engine)


@pytest.fixture
def other(engine: SqlEngine) -> Door:
    return Door(engine)


class Background:
    """A batch running on a thread of its own."""

    def __init__(self, door: Door, sql: str) -> None:
        self.door = door
        self.outcome: Outcome | None = None
        self._thread = threading.Thread(target=self._run, args=(sql,))
        self._thread.start()

    def _run(self, sql: str) -> None:
        self.outcome = self.door.attempt(sql)

    def until_it_waits(self) -> Background:
        locks = self.door.session.engine.locks
        wait_until(lambda: locks.is_waiting(self.door.session))
        return self

    def result(self) -> Outcome:
        self._thread.join(PATIENCE)
        assert self.outcome is not None
        return self.outcome


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestVisibility:
    def test_uncommitted_rows_are_nobody_elses(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 5")
        assert other.rows("SELECT n FROM t WHERE id = 1") == [(0,)]
        one.run("COMMIT")
        assert other.rows("SELECT n FROM t WHERE id = 1") == [(5,)]

    def test_each_statement_of_a_transaction_sees_what_was_committed(
        self, one: Door, other: Door
    ) -> None:
        one.run("BEGIN TRAN")
        assert one.value("SELECT SUM(n) FROM t") == 0
        other.run("UPDATE t SET n = 1")
        assert one.value("SELECT SUM(n) FROM t") == 2
        one.run("COMMIT")

    def test_temporary_tables_do_not_freeze_what_is_seen(self, one: Door, other: Door) -> None:
        one.run("CREATE TABLE #t (a int); BEGIN TRAN; INSERT #t VALUES (1)")
        other.run("UPDATE t SET n = 1")
        assert one.value("SELECT SUM(n) FROM t") == 2
        one.run("ROLLBACK")

    def test_a_snapshot_stays_as_it_was(self, one: Door, other: Door) -> None:
        one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN")
        assert one.value("SELECT SUM(n) FROM t") == 0
        other.run("UPDATE t SET n = 1")
        assert one.value("SELECT SUM(n) FROM t") == 0
        assert one.error("UPDATE t SET n = n + 1").number == 3960
        assert one.value("SELECT @@TRANCOUNT") == 0
        assert one.value("SELECT SUM(n) FROM t") == 2

    def test_a_snapshot_without_a_conflict_writes(self, one: Door, other: Door) -> None:
        one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN")
        one.run("UPDATE t SET n = n + 1; COMMIT")
        assert other.value("SELECT SUM(n) FROM t") == 2

    def test_a_snapshot_in_conflict_loses_its_transaction(self, one: Door, other: Door) -> None:
        one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; SELECT * FROM t")
        other.run("UPDATE t SET n = 5 WHERE id = 1")
        assert one.value("SELECT n FROM t WHERE id = 1") == 0
        assert numbers(one.attempt("UPDATE t SET n = n + 1 WHERE id = 1")) == [3960]
        assert one.value("SELECT @@TRANCOUNT") == 0
        assert one.value("SELECT n FROM t WHERE id = 1") == 5

    def test_repeatable_reads_repeat(self, one: Door, other: Door) -> None:
        one.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN TRAN; SELECT * FROM t")
        other.run("SET LOCK_TIMEOUT 0")
        assert numbers(other.attempt("UPDATE t SET n = 5")) == [1222]
        assert one.rows("SELECT n FROM t") == [(0,), (0,)]
        one.run("COMMIT")
        other.run("UPDATE t SET n = 5")

    def test_serializable_reads_keep_writers_out(self, one: Door, other: Door) -> None:
        one.run("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN TRAN; SELECT COUNT(*) FROM t")
        waiting = Background(other, "INSERT t VALUES (3, 0)").until_it_waits()
        assert one.value("SELECT COUNT(*) FROM t") == 2
        one.run("COMMIT")
        assert waiting.result().counts == [1]


class TestWaiting:
    def test_a_writer_waits_for_the_one_before(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = n + 1 WHERE id = 1")
        waiting = Background(other, "UPDATE t SET n = n + 10 WHERE id = 1").until_it_waits()
        one.run("COMMIT")
        assert waiting.result().counts == [1]
        assert one.value("SELECT n FROM t WHERE id = 1") == 11

    def test_waiters_are_served_in_their_order(self, engine: SqlEngine, one: Door) -> None:
        one.run("CREATE TABLE log (n int); BEGIN TRAN; UPDATE t SET n = 1")
        waiting = [
            Background(Door(engine), f"INSERT log VALUES ({n})").until_it_waits() for n in range(5)
        ]
        one.run("COMMIT")
        for background in waiting:
            background.result()
        assert one.rows("SELECT n FROM log") == [(n,) for n in range(5)]

    def test_lock_timeout_ends_the_wait_and_the_statement_only(
        self, one: Door, other: Door
    ) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        other.run("SET LOCK_TIMEOUT 20; BEGIN TRAN")
        assert other.error("UPDATE t SET n = 2").number == 1222
        assert other.value("SELECT @@TRANCOUNT") == 1

    def test_a_lock_timeout_of_zero_waits_not_at_all(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        other.run("SET LOCK_TIMEOUT 0; BEGIN TRAN")
        outcome = other.attempt("UPDATE t SET n = 2")
        assert numbers(outcome) == [1222]
        assert other.value("SELECT @@TRANCOUNT") == 1
        assert other.value("SELECT n FROM t WHERE id = 1") == 0, "readers do not wait"
        other.run("COMMIT")

    def test_1222_can_be_caught_and_xact_abort_heeds_it(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        other.run("SET LOCK_TIMEOUT 0")
        assert (
            other.run(
                "BEGIN TRY UPDATE t SET n = 2 END TRY BEGIN CATCH SELECT ERROR_NUMBER() END CATCH"
            ).value
            == 1222
        )
        assert numbers(other.attempt("SET XACT_ABORT ON; BEGIN TRAN; DELETE t")) == [1222]
        assert other.value("SELECT @@TRANCOUNT") == 0

    def test_hints_of_select_for_update(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; SELECT * FROM t WITH (UPDLOCK, ROWLOCK) WHERE id = 1")
        assert numbers(other.attempt("SELECT * FROM t WITH (NOWAIT, UPDLOCK)")) == [1222]
        assert other.rows("SELECT * FROM t WITH (UPDLOCK, READPAST)") == []
        waiting = Background(other, "SELECT n FROM t WITH (UPDLOCK) WHERE id = 1").until_it_waits()
        one.run("UPDATE t SET n = 4 WHERE id = 1; COMMIT")
        assert waiting.result().rows == [(4,)]

    def test_where_waiting_is_not_allowed_nothing_happens(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        run = other.session.batch("INSERT t VALUES (9, 9)")
        with pytest.raises(WouldWait):
            run.advance(may_wait=False)
        with pytest.raises(WouldWait):
            run.advance(may_wait=False)
        one.run("ROLLBACK")
        events = run.advance(may_wait=True)
        assert events is not None
        assert one.value("SELECT COUNT(*) FROM t") == 3

    def test_short_reads_need_no_waiting_and_long_ones_start_over(self, one: Door) -> None:
        assert one.session.batch("SELECT n FROM t WHERE id = 1").advance(may_wait=False) is not None
        long = (
            "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
            "SELECT COUNT(*) FROM n AS a CROSS JOIN n AS b CROSS JOIN n AS c"
        )
        run = one.session.batch(long)
        with pytest.raises(WouldWait):
            run.advance(may_wait=False)
        events = run.advance(may_wait=True)
        assert events is not None
        assert any(getattr(event, "rows", None) == [(1_000_000,)] for event in events)

    def test_a_loop_that_says_nothing_goes_on_where_waiting_is_allowed(self, one: Door) -> None:
        run = one.session.batch("DECLARE @i int = 0; WHILE 1 = 1 IF @i = 7 SET @i = 2")
        with pytest.raises(WouldWait):
            run.advance(may_wait=False)
        one.session.interrupt()
        assert run.advance(may_wait=True) is None


class TestDeadlocks:
    def test_a_cycle_over_two_databases_has_a_victim(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE app.dbo.t SET n = 1")
        other.run("BEGIN TRAN; INSERT second.dbo.u VALUES (2)")
        waiting = Background(one, "INSERT second.dbo.u VALUES (3)").until_it_waits()
        victim = other.attempt("UPDATE app.dbo.t SET n = 2")
        assert numbers(victim) == [1205]
        assert victim.errors[0].severity == 13
        assert other.value("SELECT @@TRANCOUNT") == 0
        assert waiting.result().counts == [1]
        one.run("COMMIT")
        assert one.rows("SELECT id FROM second.dbo.u ORDER BY id") == [(1,), (3,)]

    def test_the_lower_priority_loses(self, one: Door, other: Door) -> None:
        one.run("SET DEADLOCK_PRIORITY LOW; BEGIN TRAN; UPDATE app.dbo.t SET n = 1")
        other.run("BEGIN TRAN; INSERT second.dbo.u VALUES (2)")
        waiting = Background(one, "INSERT second.dbo.u VALUES (3)").until_it_waits()
        assert other.run("UPDATE app.dbo.t SET n = 2").counts == [2]
        assert numbers(waiting.result()) == [1205]
        other.run("ROLLBACK")

    def test_application_locks_take_part(self, one: Door, other: Door) -> None:
        take = "DECLARE @r int; EXEC @r = sp_getapplock 'x', 'Exclusive'; SELECT @r"
        assert one.value(f"BEGIN TRAN; {take}") == 0
        other.run("BEGIN TRAN; UPDATE t SET n = 1")
        waiting = Background(one, "UPDATE t SET n = 2").until_it_waits()
        assert other.value(take) == -3
        other.run("ROLLBACK")
        assert waiting.result().counts == [2]

    def test_the_victim_may_try_again(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE app.dbo.t SET n = 1")
        other.run("BEGIN TRAN; INSERT second.dbo.u VALUES (2)")
        waiting = Background(one, "INSERT second.dbo.u VALUES (3)").until_it_waits()
        assert numbers(other.attempt("UPDATE app.dbo.t SET n = 2")) == [1205]
        waiting.result()
        one.run("COMMIT")
        other.run("BEGIN TRAN; INSERT second.dbo.u VALUES (2); UPDATE app.dbo.t SET n = 2; COMMIT")
        assert other.rows("SELECT n FROM app.dbo.t") == [(2,), (2,)]

    def test_catch_finds_the_transaction_of_a_victim_doomed(self, one: Door, other: Door) -> None:
        """ "TRY...CATCH": the transaction "enters an uncommittable state"."""
        one.run("BEGIN TRAN; UPDATE app.dbo.t SET n = 1")
        other.run("BEGIN TRAN; INSERT second.dbo.u VALUES (2)")
        waiting = Background(one, "INSERT second.dbo.u VALUES (3)").until_it_waits()
        outcome = other.run(
            "BEGIN TRY UPDATE app.dbo.t SET n = 2 END TRY BEGIN CATCH "
            "SELECT ERROR_NUMBER(), XACT_STATE(); IF XACT_STATE() = -1 ROLLBACK END CATCH"
        )
        assert outcome.rows == [(1205, -1)]
        waiting.result()
        one.run("COMMIT")


class TestKnownDifferences:
    """SQL Server locks rows, the stand-in whole databases: see docs/devserver.md."""

    def test_who_has_written_elsewhere_waits_with_reads_too(self, one: Door, other: Door) -> None:
        """SQLite would freeze what such a transaction sees."""
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        other.run("SET LOCK_TIMEOUT 0; BEGIN TRAN; INSERT second.dbo.u VALUES (7)")
        assert numbers(other.attempt("SELECT n FROM t")) == [1222]
        other.run("ROLLBACK")

    def test_writers_of_different_rows_wait_too(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1 WHERE id = 1")
        waiting = Background(other, "UPDATE t SET n = 1 WHERE id = 2").until_it_waits()
        one.run("COMMIT")
        assert waiting.result().counts == [1]

    def test_read_uncommitted_sees_committed_rows_only(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 9")
        other.run("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        assert other.rows("SELECT n FROM t WITH (NOLOCK)") == [(0,), (0,)]

    def test_updates_that_cross_wait_instead_of_a_deadlock(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = n + 1 WHERE id = 1")
        crossing = (
            "BEGIN TRAN; UPDATE t SET n = n + 1 WHERE id = 2; UPDATE t SET n = 0 WHERE id = 1"
        )
        waiting = Background(other, f"{crossing}; COMMIT").until_it_waits()
        one.run("UPDATE t SET n = n + 1 WHERE id = 2; COMMIT")
        assert waiting.result().errors == []

    def test_skip_locked_sees_no_row_while_anybody_writes(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1 WHERE id = 1")
        assert other.rows("SELECT id FROM t WITH (UPDLOCK, READPAST) WHERE id = 2") == []
        assert other.error("SELECT id FROM t WITH (UPDLOCK, NOWAIT) WHERE id = 2").number == 1222

    def test_the_second_serializable_reader_waits(self, one: Door, other: Door) -> None:
        read = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN TRAN; SELECT n FROM t"
        one.run(read)
        waiting = Background(other, read).until_it_waits()
        one.run("COMMIT")
        assert waiting.result().rows == [(0,), (0,)]

    def test_a_snapshot_conflicts_with_any_change_of_the_database(
        self, one: Door, other: Door
    ) -> None:
        one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; SELECT * FROM t")
        other.run("UPDATE t SET n = 5 WHERE id = 2")
        assert numbers(one.attempt("UPDATE t SET n = 1 WHERE id = 1")) == [3960]

    def test_readers_never_wait_for_a_writer_of_one_database(self, one: Door, other: Door) -> None:
        """READ_COMMITTED_SNAPSHOT is ON, as on Azure SQL Database, and cannot be OFF."""
        one.run("BEGIN TRAN; UPDATE t SET n = 1; ALTER TABLE t ADD m int")
        other.run("SET LOCK_TIMEOUT 0")
        assert other.rows("SELECT * FROM t") == [(1, 0), (2, 0)]


class TestApplicationLocks:
    TAKE = "DECLARE @r int; EXEC @r = sp_getapplock 'job', '{}', 'Session', {}; SELECT @r"

    def test_shared_ones_get_along_and_exclusive_ones_do_not(self, one: Door, other: Door) -> None:
        assert one.value(self.TAKE.format("Shared", 0)) == 0
        assert other.value(self.TAKE.format("Shared", 0)) == 0
        assert other.value(self.TAKE.format("Exclusive", 0)) == -1
        one.run("EXEC sp_releaseapplock 'job', 'Session'")
        assert other.value(self.TAKE.format("Exclusive", 0)) == 0
        again = one.attempt("DECLARE @r int; EXEC @r = sp_releaseapplock 'job'; SELECT @r")
        assert numbers(again) == [1223]
        assert again.value == -999

    def test_one_for_the_transaction_needs_a_transaction(self, one: Door) -> None:
        outcome = one.run("DECLARE @r int; EXEC @r = sp_getapplock 'job', 'Exclusive'; SELECT @r")
        assert [(info.number, info.severity) for info in outcome.infos] == [(15626, 10)]
        assert outcome.value == -999

    def test_waiting_is_told(self, one: Door, other: Door) -> None:
        one.run(self.TAKE.format("Exclusive", -1))
        waiting = Background(other, self.TAKE.format("Exclusive", 5000)).until_it_waits()
        one.run("EXEC sp_releaseapplock 'job', 'Session'")
        assert waiting.result().value == 1

    def test_a_transactions_lock_ends_with_it(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; EXEC sp_getapplock 'job', 'Exclusive'; COMMIT")
        assert other.value(self.TAKE.format("Exclusive", 0)) == 0


class TestInterrupting:
    def test_a_lock_wait_ends_at_once_and_the_transaction_stays(
        self, one: Door, other: Door
    ) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        other.run("BEGIN TRAN")
        waiting = Background(other, "UPDATE t SET n = 2; SELECT 'after'").until_it_waits()
        other.session.interrupt()
        assert waiting.result().events == []
        assert other.value("SELECT @@TRANCOUNT") == 1

    def test_with_xact_abort_the_transaction_goes_too(self, one: Door, other: Door) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        other.run("SET XACT_ABORT ON; BEGIN TRAN")
        waiting = Background(other, "UPDATE t SET n = 2").until_it_waits()
        other.session.interrupt()
        assert len(waiting.result().changes) == 1
        assert other.value("SELECT @@TRANCOUNT") == 0

    def test_a_wait_for_an_application_lock_ends_at_once(self, one: Door, other: Door) -> None:
        one.run("EXEC sp_getapplock 'job', 'Exclusive', 'Session'")
        waiting = Background(other, "EXEC sp_getapplock 'job', 'Shared', 'Session'")
        waiting.until_it_waits()
        other.session.interrupt()
        assert waiting.result().errors == []
        assert other.value("SELECT APPLOCK_MODE('public', 'job', 'Session')") == "NoLock"

    def test_waitfor_ends_at_once(self, one: Door) -> None:
        waiting = Background(one, "WAITFOR DELAY '00:01:00'")
        wait_until(lambda: one.session.status.value == "running")
        one.session.interrupt()
        assert waiting.result().errors == []

    def test_a_long_read_ends_at_once(self, one: Door) -> None:
        waiting = Background(
            one,
            "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT COUNT(*) "
            "FROM n a CROSS JOIN n b CROSS JOIN n c CROSS JOIN n d CROSS JOIN n e",
        )
        wait_until(lambda: one.session.interruptible)
        one.session.interrupt()
        assert waiting.result().sets == []
        assert one.value("SELECT 1") == 1

    def test_a_long_update_ends_and_leaves_its_transaction_as_it_was(self, one: Door) -> None:
        one.run(
            "CREATE TABLE big (n int, s nvarchar(9)); "
            "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 90) "
            "INSERT big SELECT a.i, 'x' FROM n AS a CROSS JOIN n AS b"
        )
        one.run("BEGIN TRAN; INSERT big VALUES (-1, 'kept')")
        waiting = Background(
            one,
            "UPDATE big SET s = 'y' WHERE EXISTS (SELECT 1 FROM big AS b "
            "WHERE UPPER(b.s) LIKE '%Z%' AND b.n > big.n)",
        )
        wait_until(lambda: one.session.statement is st.Update)
        one.session.interrupt()
        assert waiting.result().errors == []
        assert one.rows("SELECT @@TRANCOUNT, COUNT(*) FROM big WHERE n = -1 OR s = 'y'") == [(1, 1)]
        one.run("ROLLBACK")

    def test_a_killed_session_rolls_back_and_tells_its_connection(
        self, one: Door, other: Door
    ) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 7")
        gone = threading.Event()
        one.session.when_killed(gone.set)
        other.run(f"KILL {one.session.spid}")
        assert gone.wait(PATIENCE)
        assert other.run("UPDATE t SET n = n + 1").counts == [2]
        assert other.value("SELECT SUM(n) FROM t") == 2
        assert other.error(f"KILL {one.session.spid}").number == 6106
        assert other.error("KILL 51; KILL 52").number in (6104, 6106)

    def test_a_waiting_session_can_be_killed(
        self, one: Door, other: Door, engine: SqlEngine
    ) -> None:
        one.run("BEGIN TRAN; UPDATE t SET n = 1")
        waiting = Background(other, "UPDATE t SET n = 2").until_it_waits()
        Door(engine).run(f"KILL {other.session.spid}")
        waiting.result()
        wait_until(lambda: other.session not in engine.sessions())


def test_many_writers_lose_no_update(engine: SqlEngine) -> None:
    doors = [Door(engine) for _ in range(6)]
    batch = (
        "DECLARE @i int = 0; WHILE @i < 25 BEGIN "
        "BEGIN TRAN; UPDATE t SET n = n + 1 WHERE id = 1; COMMIT; SET @i = @i + 1 END"
    )
    for background in [Background(door, batch) for door in doors]:
        assert background.result().errors == []
    assert doors[0].value("SELECT n FROM t WHERE id = 1") == 150


def test_money_is_conserved_whatever_happens_to_the_sessions(engine: SqlEngine) -> None:
    """Transfers, some of them failing, interrupted or killed, while others look on."""
    setup = Door(engine)
    setup.run(
        "CREATE TABLE account (id int PRIMARY KEY, balance int CHECK (balance >= 0));"
        "INSERT account VALUES (1, 100), (2, 100), (3, 100), (4, 100)"
    )
    stop = threading.Event()
    totals: list[int] = []
    failures: list[str] = []

    def transfer(seed: int) -> None:
        chance = random.Random(seed)
        door = Door(engine, program_name="transfer")
        while not stop.is_set():
            source, target = chance.sample(range(1, 5), 2)
            amount = chance.randrange(120)
            outcome = door.attempt(
                f"SET XACT_ABORT ON; BEGIN TRAN; "
                f"UPDATE account SET balance = balance + {amount} WHERE id = {target}; "
                f"UPDATE account SET balance = balance - {amount} WHERE id = {source}; COMMIT"
            )
            failures.extend(
                message.text for message in outcome.errors if message.number not in (547, 3903)
            )
            if door.session.killed:
                door = Door(engine, program_name="transfer")
        door.close()

    def look() -> None:
        door = Door(engine)
        while not stop.is_set():
            totals.append(door.value("SELECT SUM(balance) FROM account"))
        door.close()

    def disturb() -> None:
        chance = random.Random(0)
        while not stop.is_set():
            victim = chance.choice(engine.sessions())
            if victim.login.program_name == "transfer":
                (victim.kill if chance.random() < 0.2 else victim.interrupt)()
            stop.wait(0.002)

    threads = [threading.Thread(target=transfer, args=(seed,)) for seed in range(4)]
    threads += [threading.Thread(target=look), threading.Thread(target=disturb)]
    for thread in threads:
        thread.start()
    stop.wait(1.5)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert set(totals) == {400}
    assert setup.value("SELECT SUM(balance) FROM account") == 400
    assert engine.locks.snapshot() == []
    assert [session.spid for session in engine.sessions()] == [setup.session.spid]
