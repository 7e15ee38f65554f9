"""The lease on a driver of stubs: what it sends, what it holds, and who may use it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

import pyodbc
import pytest

from mssql_async.pool.connection import PooledConnection
from mssql_async.session import interruption
from mssql_async.session.errors import LeaseOver, TransactionLost, UsedByAnotherContext
from mssql_async.session.interruption import Guard
from mssql_async.session.lease import LeasedConnection, LeaseState
from mssql_async.session.nulls import TypedNull
from mssql_async.session.scope import LeaseScope

from .attendants import HeldAttendants
from .drivers import StubCursor, StubLender, StubRaw

ROWS = [(1,), (2,), (3,)]
DEAD = pyodbc.OperationalError("08S01", "[08S01] [Microsoft][ODBC Driver] link failure (0)")
DEADLOCK = pyodbc.Error(
    "40001", "[40001] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]victim (1205)"
)
TOO_LATE = pyodbc.Error(
    "01S05",
    "[01S05] [Microsoft][ODBC Driver 18 for SQL Server]Cancel treated as FreeStmt/Close (0) "
    "(SQLExecDirectW)",
)


@pytest.fixture
def lender() -> StubLender:
    return StubLender(
        results={"SELECT rows": [ROWS], "SELECT two sets": [ROWS, [(4,)]], "UPDATE t": [None]}
    )


@pytest.fixture
def lease(lender: StubLender) -> LeasedConnection:
    return LeasedConnection(lender)


def raws(lender: StubLender) -> list[StubRaw]:
    return [connection.raw for connection in [*lender.lent, *lender.idle]]


def raised_by(call: str, error: pyodbc.Error) -> Any:
    """Results of a statement for which this call of its cursor raises the error."""
    return {"execute": error, "fetchone": [[error]], "nextset": [None, error]}[call]


class TestOneConnectionServesOneResult:
    def test_a_second_statement_gets_a_second_connection(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        streaming = lease.execute("SELECT rows")
        assert streaming.fetchone() == (1,)
        assert lease.execute("SELECT 1").fetchall() == [(1,)]
        assert len(lender.lent) == 1
        assert streaming.fetchall() == [(2,), (3,)]
        assert len(lender.lent) == 0

    def test_or_reads_the_first_into_memory_where_there_is_none(self, lender: StubLender) -> None:
        lender.size = 1
        lease = LeasedConnection(lender)
        streaming = lease.execute("SELECT two sets")
        assert streaming.fetchone() == (1,)
        assert lease.execute("SELECT 1").fetchall() == [(1,)]
        assert lender.lent == []
        assert streaming.fetchall() == [(2,), (3,)]
        assert streaming.nextset()
        assert streaming.fetchall() == [(4,)]
        assert not streaming.nextset()

    def test_a_pool_that_cannot_open_another_is_no_error(
        self, lender: StubLender, lease: LeasedConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        streaming = lease.execute("SELECT rows")

        def refuse(*_: Any, **__: Any) -> None:
            raise DEAD

        monkeypatch.setattr(lender, "acquire", refuse)
        assert lease.execute("SELECT 1").fetchall() == [(1,)]
        assert streaming.fetchall() == ROWS

    def test_a_stream_gives_its_connection_up_rather_than_wait_for_another(
        self, lender: StubLender
    ) -> None:
        """The lender fails the test when somebody waits while the pool is full."""
        lender.size = 2
        lease = LeasedConnection(lender)
        streams = [lease.execute("SELECT rows") for _ in range(4)]
        assert len(lender.lent) == 2
        assert [stream.fetchall() for stream in streams] == [ROWS] * 4
        assert lender.lent == []

    def test_a_statement_without_rows_needs_no_second_connection(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        kept_open = lease.execute("UPDATE t")
        lease.execute("UPDATE t")
        assert len(lender.lent) == 1
        assert kept_open.description is None

    @pytest.mark.parametrize("tie", ["transaction", "dirty", "context"])
    def test_a_session_that_is_somebodys_own_has_one_connection(
        self, lender: StubLender, tie: str
    ) -> None:
        scope = LeaseScope.CONTEXT if tie == "context" else LeaseScope.TRANSACTION
        lease = LeasedConnection(lender, scope)
        if tie == "transaction":
            lease.autocommit = False
        if tie == "dirty":
            lease.execute("CREATE TABLE #t (a int)").close()
        streaming = lease.execute("SELECT rows")
        assert lease.execute("SELECT 1").fetchall() == [(1,)]
        assert len(lender.lent) == 1
        assert streaming.fetchall() == ROWS

    def test_a_new_transaction_leaves_a_stream_alone(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        streaming = lease.execute("SELECT rows")
        lease.autocommit = False
        lease.execute("UPDATE t")
        assert [raw.autocommit for raw in raws(lender)] == [True, False]
        lease.commit()
        assert streaming.fetchall() == ROWS

    def test_a_forgotten_cursor_is_reclaimed_at_the_next_touch(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        forgotten = lease.execute("SELECT rows")
        forgotten.fetchone()
        lease.execute("SELECT 1").close()
        del forgotten
        gc.collect()
        assert len(lender.lent) == 1
        lease.execute("SELECT 1").close()
        assert lender.lent == []


class TestCancel:
    def test_reaches_the_statement_that_runs(
        self, lender: StubLender, lease: LeasedConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cancelled: list[StubCursor] = []
        monkeypatch.setattr(
            StubCursor, "cancel", lambda cursor: cancelled.append(cursor), raising=False
        )

        def execute(cursor: StubCursor, sql: str, *params: Any) -> None:
            canceller = threading.Thread(target=lease.cancel)
            canceller.start()
            canceller.join()

        monkeypatch.setattr(StubCursor, "execute", execute)
        lease.execute("SELECT rows")
        assert cancelled == lender.lent[0].raw.cursors

    def test_sends_nothing_where_nothing_runs(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        lease.execute("SELECT rows").fetchall()
        lease.cancel()  # the stub has no such method

    @pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "not guarded"])
    def test_holds_the_statement_until_it_is_sent(
        self,
        lender: StubLender,
        lease: LeasedConnection,
        monkeypatch: pytest.MonkeyPatch,
        guarded: bool,
    ) -> None:
        """Its cursor must not serve another context by then, as it would without the guard."""
        cursor = lease.execute("SELECT rows")
        guard = WatchedGuard() if guarded else OpenGuard()
        lease._guard = lease._hold.guard = guard  # type: ignore[union-attr]
        owner = threading.Thread(target=lease.close)
        held: list[bool] = []

        def cancel(_cursor: StubCursor) -> None:
            owner.start()
            assert guard.at_the_wait.wait(20)
            if not guarded:
                owner.join()
            held.append(len(lender.lent) == 1)

        monkeypatch.setattr(StubCursor, "cancel", cancel, raising=False)
        cursor.cancel()
        owner.join()
        assert held == [guarded]
        assert lender.lent == []

    @pytest.mark.parametrize("helped", [True, False], ids=["Microsoft's driver", "another one"])
    def test_is_asked_for_again_where_the_driver_has_it_wait_for_the_statement(
        self,
        lender: StubLender,
        monkeypatch: pytest.MonkeyPatch,
        helped: bool,
    ) -> None:
        """As it does while it is about to send that."""
        attendants = HeldAttendants()
        monkeypatch.setattr(interruption, "ATTENDANTS", attendants)
        lender.cancels_wait = helped
        lease = LeasedConnection(lender)  # which acquires at once
        statement, told = threading.Lock(), threading.Semaphore(0)
        stopped = threading.Event()

        def cancel(_cursor: StubCursor) -> None:
            told.release()
            if threading.current_thread() is first:
                with statement:
                    return
            stopped.set()

        def execute(cursor: StubCursor, sql: str, *params: Any) -> None:
            with statement:
                first.start()
                assert told.acquire(timeout=20)
                attendants.pass_time(10)
                for thread in attendants.threads:
                    thread.join()
                raise pyodbc.Error("HY008", "stopped" if stopped.is_set() else "by itself")

        first = threading.Thread(target=lease.cancel)
        monkeypatch.setattr(StubCursor, "cancel", cancel, raising=False)
        monkeypatch.setattr(StubCursor, "execute", execute)
        with pytest.raises(pyodbc.Error, match="stopped" if helped else "by itself"):
            lease.execute("SELECT rows")
        first.join()
        assert not lease.is_being_cancelled
        attendants.pass_time(10)  # what is due is not needed any more
        assert len(attendants.threads) == helped

    def test_that_helps_hits_nothing_that_begins_after_the_statement(
        self, lender: StubLender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attendants = HeldAttendants()
        held: list[Any] = []
        lender.cancels_wait = True
        lease = LeasedConnection(lender)
        monkeypatch.setattr(attendants, "soon", held.append)
        monkeypatch.setattr(interruption, "ATTENDANTS", attendants)
        cancelled: list[StubCursor] = []

        def cancel(cursor: StubCursor) -> None:
            cancelled.append(cursor)
            attendants.pass_time(10)

        monkeypatch.setattr(StubCursor, "cancel", cancel, raising=False)
        lease.execute("SELECT rows")
        lease.cancel()
        lease.execute("SELECT two sets")
        (late,) = held
        late()
        assert len(cancelled) == 1

    def test_an_interrupted_lease_begins_nothing_and_commits_nothing_until_it_is_resumed(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        lease.autocommit = False
        lease.execute("SELECT 1").fetchall()
        lease.interrupt()
        with pytest.raises(pyodbc.OperationalError, match="was cancelled"):
            lease.execute("SELECT 2")
        with pytest.raises(pyodbc.OperationalError, match="was cancelled"):
            lease.commit()
        (raw,) = raws(lender)
        assert raw.sent == ["SELECT 1"]
        lease.rollback()
        lease.resume()
        lease.execute("SELECT 2").fetchall()
        lease.commit()
        assert raw.sent[-1] == "SELECT 2"

    def test_an_interrupted_lease_reads_no_further_rows_until_it_is_resumed(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        cursor = lease.execute("SELECT rows")
        assert cursor.fetchone() is not None
        assert lease.interrupt() is False  # nothing runs at the moment
        for read in (cursor.fetchone, cursor.fetchmany, cursor.fetchall, cursor.nextset):
            with pytest.raises(pyodbc.OperationalError, match="was cancelled"):
                read()
        lease.resume()
        assert cursor.fetchone() is not None

    def test_a_lease_that_is_forsaken_takes_its_connections_with_it(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        lease.execute("SELECT rows")
        lent = list(lender.lent)
        lease.forsake()
        assert lender.forsaken == lent

    def test_one_that_holds_nothing_any_more_takes_nothing(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        """The connection may be another's by now."""
        lease.execute("SELECT rows").close()
        lease.forsake()
        assert lender.forsaken == []


class WatchedGuard(Guard):
    """Tells when somebody comes to wait for a cancellation that is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.at_the_wait = threading.Event()

    def _sit_out(self, cancellation: threading.Event) -> None:
        self.at_the_wait.set()
        super()._sit_out(cancellation)


class OpenGuard(WatchedGuard):
    """The twin that lets go at once."""

    def _sit_out(self, cancellation: threading.Event) -> None:
        self.at_the_wait.set()


class TestErrors:
    def test_in_the_middle_of_the_rows_come_at_their_row(self, lender: StubLender) -> None:
        wrong = pyodbc.DataError("22003", "overflow")
        lender.results["SELECT fails"] = [[(1,), (2,), wrong, (4,)]]
        for read_into_memory in (False, True):
            lease = LeasedConnection(lender, LeaseScope.CONTEXT)
            cursor = lease.execute("SELECT fails")
            if read_into_memory:
                lease.execute("UPDATE t")
            assert [cursor.fetchone(), cursor.fetchone()] == [(1,), (2,)]
            with pytest.raises(pyodbc.DataError, match="overflow"):
                cursor.fetchone()
            lease.close()

    def test_of_an_output_converter_too(self, lender: StubLender) -> None:
        lender.results["SELECT fails"] = [[(1,), ValueError("year 0")]]
        lease = LeasedConnection(lender, LeaseScope.CONTEXT)
        cursor = lease.execute("SELECT fails")
        lease.execute("UPDATE t")
        assert cursor.fetchone() == (1,)
        with pytest.raises(ValueError, match="year 0"):
            cursor.fetchone()

    def test_of_a_later_result_come_with_it(self, lender: StubLender) -> None:
        lender.results["SELECT fails"] = [ROWS, pyodbc.DataError("22012", "by zero")]
        lease = LeasedConnection(lender)
        cursor = lease.execute("SELECT fails")
        assert cursor.fetchall() == ROWS
        assert lender.lent == []
        with pytest.raises(pyodbc.DataError, match="by zero"):
            cursor.nextset()
        assert not cursor.nextset()

    @pytest.mark.parametrize("call", ["execute", "fetchone", "fetchall", "nextset"])
    def test_that_end_the_connection_condemn_it_at_once(
        self, lender: StubLender, lease: LeasedConnection, call: str
    ) -> None:
        lender.results["SELECT dies"] = DEAD if call == "execute" else [[DEAD]]
        if call == "nextset":
            lender.results["SELECT dies"] = [None, DEAD]
        with pytest.raises(pyodbc.OperationalError, match="08S01"):
            cursor = lease.execute("SELECT dies")
            getattr(cursor, call)()
        assert len(lender.condemned) == 1
        assert lease.execute("SELECT 1").fetchall() == [(1,)]
        assert lender.idle[0] not in lender.condemned

    def test_that_do_not_leave_it(self, lender: StubLender, lease: LeasedConnection) -> None:
        """The control of the test above."""
        lender.results["SELECT fails"] = pyodbc.ProgrammingError("42000", "syntax")
        with pytest.raises(pyodbc.ProgrammingError):
            lease.execute("SELECT fails")
        assert (lender.condemned, len(lender.idle)) == ([], 1)

    @pytest.mark.parametrize("call", ["execute", "fetchone", "nextset"])
    def test_of_a_conflict_are_operational(
        self, lender: StubLender, lease: LeasedConnection, call: str
    ) -> None:
        lender.results["SELECT loses"] = raised_by(call, DEADLOCK)
        with pytest.raises(pyodbc.OperationalError, match="1205") as raised:
            getattr(lease.execute("SELECT loses"), call)()
        assert raised.value.__cause__ is DEADLOCK

    @pytest.mark.parametrize("call", ["execute", "fetchone", "nextset"])
    def test_that_a_late_cancel_has_overwritten_say_that_it_was_cancelled(
        self, lender: StubLender, lease: LeasedConnection, call: str
    ) -> None:
        lender.results["SELECT"] = raised_by(call, TOO_LATE)
        lease.autocommit = False
        with pytest.raises(pyodbc.OperationalError, match="cancelled") as raised:
            getattr(lease.execute("SELECT"), call)()
        assert raised.value.args[0] == "HY008"
        assert raised.value.__cause__ is TOO_LATE
        with pytest.raises(TransactionLost):  # it may have been a deadlock
            lease.execute("SELECT rows")

    def test_of_a_missing_result_leave_the_results_that_follow(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        lender.results["UPDATE t; SELECT"] = [None, ROWS]
        cursor = lease.execute("UPDATE t; SELECT")
        with pytest.raises(pyodbc.ProgrammingError, match="No results"):
            cursor.fetchall()
        assert cursor.nextset()
        assert cursor.fetchall() == ROWS

    def test_of_the_caller_leave_nothing_behind(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        lender.results["SELECT interrupted"] = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            lease.execute("SELECT interrupted")
        assert lender.lent == []
        assert lender.idle[0].raw.busy is None


class TestPinning:
    def test_impersonation_retires_the_connection_even_where_it_is_dirty_already(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        lease.execute("SET LANGUAGE Deutsch").close()
        lease.execute("EXECUTE AS USER = 'somebody'").close()
        assert lease.pinned
        lease.close()
        assert (lender.lent, lender.idle) == ([], [])

    def test_what_only_dirties_comes_back_reset(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        """The control of the test above."""
        lease.execute("SET LANGUAGE Deutsch").close()
        lease.close()
        assert lender.resets == lender.idle != []


class TestNulls:
    def test_of_a_known_type_are_bound_as_such_and_leave_no_sizes_behind(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        for value in (1, TypedNull(pyodbc.SQL_INTEGER), 2):
            lease.execute("SELECT ?", value).fetchall()
        (cursor,) = lender.idle[0].raw.cursors
        assert cursor.sizes_of_each == [None, [(pyodbc.SQL_INTEGER, 0, 0)], None]

    def test_that_fail_clear_their_sizes_while_the_connection_is_still_theirs(self) -> None:
        lender = Inspecting(results={"INSERT ?": pyodbc.IntegrityError("23000", "duplicate")})
        lease = LeasedConnection(lender)
        with pytest.raises(pyodbc.IntegrityError):
            lease.execute("INSERT ?", TypedNull(pyodbc.SQL_INTEGER))
        assert lender.sizes_at_release == [None]


@dataclass(eq=False)
class Inspecting(StubLender):
    """Looks at what the next one would find, just when a connection comes back."""

    sizes_at_release: list[Any] = field(default_factory=list)

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
        self.sizes_at_release += [cursor._sizes for cursor in connection.raw.cursors]
        super().release(connection, reset=reset)


class TestOwner:
    """Use of a lease by another context raises, and sends nothing."""

    def elsewhere(self, work: Any) -> BaseException | None:
        raised: list[BaseException] = []

        def call() -> None:
            try:
                work()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=call, name="intruder")
        thread.start()
        thread.join()
        return raised[0] if raised else None

    @pytest.mark.parametrize(
        "use",
        [
            "execute",
            "executemany",
            "tables",
            "fetchone",
            "fetchmany",
            "fetchall",
            "nextset",
            "skip",
        ],
    )
    def test_another_threads_use_of_a_cursor_raises(
        self, lender: StubLender, lease: LeasedConnection, use: str
    ) -> None:
        cursor = lease.execute("SELECT rows")
        sent = list(lender.lent[0].raw.sent)
        arguments = {"execute": ["SELECT 1"], "executemany": ["SELECT ?", [(1,)]], "skip": [1]}
        error = self.elsewhere(lambda: getattr(cursor, use)(*arguments.get(use, [])))
        assert isinstance(error, UsedByAnotherContext)
        assert lender.lent[0].raw.sent == sent
        assert cursor.fetchall() == ROWS

    def test_without_the_question_it_would_run(
        self, lender: StubLender, lease: LeasedConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control of the test above."""
        monkeypatch.setattr(LeasedConnection, "refuse_others", lambda _lease: None)
        cursor = lease.execute("SELECT rows")
        assert self.elsewhere(lambda: cursor.fetchone()) is None
        assert cursor.fetchall() == ROWS[1:]

    @pytest.mark.parametrize("use", ["commit", "rollback"])
    def test_another_threads_end_of_a_transaction_raises(
        self, lender: StubLender, lease: LeasedConnection, use: str
    ) -> None:
        lease.autocommit = False
        lease.execute("UPDATE t")
        error = self.elsewhere(getattr(lease, use))
        assert isinstance(error, UsedByAnotherContext)
        assert lender.lent[0].raw.autocommit is False

    def test_the_error_says_whose_lease_it_is_who_used_it_and_what_to_do(
        self, lease: LeasedConnection
    ) -> None:
        error = self.elsewhere(lambda: lease.execute("SELECT 1"))
        state, text = error.args if error else ("", "")
        assert state == "HY010"
        assert f"belongs to thread {threading.current_thread().name!r}" in text
        assert "was used by thread 'intruder'" in text
        assert "<LeasedConnection held" in text
        assert "use django.db.connections in the context that runs the query" in text

    def test_it_may_be_shared_on_the_owners_word(self, lender: StubLender) -> None:
        shared = LeasedConnection(lender, may_be_shared=lambda: True)
        assert self.elsewhere(lambda: shared.execute("SELECT 1").fetchall()) is None

    def test_who_asks_is_whoever_the_caller_says(self, lender: StubLender) -> None:
        now = "first task"
        lease = LeasedConnection(lender, identify=lambda: now)
        lease.execute("SELECT 1").close()
        now = "second task"
        with pytest.raises(
            UsedByAnotherContext, match="'first task' and was used by 'second task'"
        ):
            lease.execute("SELECT 1")

    def test_closing_the_connection_is_allowed_from_anywhere(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        lease.autocommit = False
        lease.execute("SELECT rows")
        assert self.elsewhere(lease.close) is None
        assert lender.lent == []
        assert lease.state is LeaseState.CLOSED

    def test_closing_a_cursor_elsewhere_leaves_the_rest_to_the_owner(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        cursor = lease.execute("SELECT rows")
        assert self.elsewhere(cursor.close) is None
        assert lender.lent[0].raw.busy is not None
        lease.execute("SELECT 1").close()
        assert lender.lent == []


class TestTheEnd:
    def test_a_lease_nobody_closed_is_abandoned_with_all_it_held(self, lender: StubLender) -> None:
        lease = LeasedConnection(lender)
        cursors = [lease.execute("SELECT rows") for _ in range(3)]
        assert len(lender.lent) == 3
        del lease, cursors
        gc.collect()
        assert (len(lender.abandoned), lender.lent) == (3, [])

    def test_one_that_was_closed_is_not(self, lender: StubLender) -> None:
        """The control of the test above."""
        lease = LeasedConnection(lender)
        lease.execute("SELECT rows")
        lease.close()
        del lease
        gc.collect()
        assert lender.abandoned == []

    def test_a_closed_cursor_executes_nothing(
        self, lender: StubLender, lease: LeasedConnection
    ) -> None:
        cursor = lease.execute("SELECT 1")
        cursor.close()
        for again in (
            lambda: cursor.execute("SELECT 1"),
            lambda: cursor.executemany("SELECT ?", [(1,)]),
            cursor.tables,
        ):
            with pytest.raises(pyodbc.ProgrammingError, match="This cursor is closed"):
                again()
        assert lender.lent == []

    def test_after_it_cursors_say_so(self, lender: StubLender, lease: LeasedConnection) -> None:
        read, unread = lease.execute("SELECT rows"), lease.execute("SELECT rows")
        read.fetchall()
        lease.close()
        assert read.fetchone() is None
        with pytest.raises(LeaseOver, match="its lease ended with its context"):
            unread.fetchone()
        with pytest.raises(LeaseOver, match="This connection is closed"):
            unread.execute("SELECT 1")
        assert lender.lent == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_touches_nothing_of_its_parents() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.session.forking"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert process.stdout.splitlines() == [
        "state: inherited",
        "fetch: LeaseOver",
        "fetch in the transaction: LeaseOver",
        "execute: LeaseOver",
        "commit: None",
        "rollback: None",
        "lent: 2",
        "untouched: True",
        "parent: [2, 2]",
    ]
