"""Invariant 2: no lease outlives its context.

Every owner here goes without a word: its thread ends, it is collected, alone or in a cycle, or
Django closes for it. The server shows what has become of the session: the transaction is
rolled back, its locks are free, its temporary table is gone. tests/context has cancellation and
disconnect, :mod:`.test_13_fork` has fork.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core import signals
from django.db import connection, connections, transaction

from mssql_async.base import DatabaseWrapper
from mssql_async.session import lease as lease_module
from mssql_async.session.lease import LeasedConnection
from tests.context.project import Project, ask, do, until

LOCK = "EXEC sp_getapplock 'the lock', 'Exclusive', 'Session'"


# --- what an owner may be in the middle of ------------------------------------------------------


def in_a_transaction() -> None:
    connection.ensure_connection()
    connection.set_autocommit(False)
    do("INSERT INTO ledger VALUES (1)")


def in_a_block() -> None:
    transaction.atomic().__enter__()
    do("INSERT INTO ledger VALUES (1)")


def with_unread_rows() -> Any:
    cursor = connection.cursor()
    cursor.execute("SELECT 1 UNION ALL SELECT 2")
    return cursor


def with_two_streams() -> Any:
    return with_unread_rows(), with_unread_rows()


def with_a_temporary_table() -> None:
    do("CREATE TABLE #mine (id int)")


def with_an_application_lock() -> None:
    do(LOCK)


MIDDLES: list[Callable[[], Any]] = [
    in_a_transaction,
    in_a_block,
    with_unread_rows,
    with_two_streams,
    with_a_temporary_table,
    with_an_application_lock,
]


# --- how it goes --------------------------------------------------------------------------------


def its_thread_ends(begin: Callable[[], Any]) -> None:
    def use() -> None:
        kept.append(begin())

    kept: list[Any] = []
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()


def it_is_collected(begin: Callable[[], Any]) -> None:
    begin()
    del connections["default"]
    gc.collect()  # Django's wrappers are cycles of their own


def it_is_collected_in_a_cycle(begin: Callable[[], Any]) -> None:
    """As an exception's traceback holds frames, which hold the exception."""
    cycle: list[Any] = [begin(), connections["default"]]
    cycle.append(cycle)
    del connections["default"], cycle
    gc.collect()


def its_request_ends(begin: Callable[[], Any]) -> None:
    """Outside of our entry points. Of a transaction that Django believes to be in a block
    it leaves the end to the block."""
    begin()
    connection.in_atomic_block = False
    signals.request_finished.send(sender=None)


def its_wrapper_is_closed(begin: Callable[[], Any]) -> None:
    begin()
    connection.in_atomic_block = False
    connection.close()


ENDS: list[Callable[[Callable[[], Any]], None]] = [
    its_thread_ends,
    it_is_collected,
    it_is_collected_in_a_cycle,
    its_request_ends,
    its_wrapper_is_closed,
]


@pytest.fixture
def ledger(project: Project) -> Project:
    project.use(max_size=2, acquire_timeout=20)
    do("CREATE TABLE ledger (id int)")
    connection.close()
    return project


def what_is_left(ledger: Project) -> dict[str, Any]:
    """As the pool counts it, and as the server shows it to somebody else."""
    gc.collect()
    in_use = ledger.pool.in_use
    # A session ends a moment after its client hung up.
    assert until(lambda: len(ledger.server.sessions()) == ledger.pool.size)
    found = {
        "leases": in_use,
        "transactions": ask(
            "SELECT count(*) FROM sys.dm_exec_sessions WHERE open_transaction_count > 0"
        ),
        "rows": ask("SELECT count(*) FROM ledger"),
        "locks": ask(
            "DECLARE @r int; EXEC @r = sp_getapplock 'the lock', 'Exclusive', 'Session', 0; "
            "SELECT @r"
        ),
    }
    connection.close()
    return found


NOTHING = {"leases": 0, "transactions": 0, "rows": 0, "locks": 0}


@pytest.mark.parametrize("begin", MIDDLES)
@pytest.mark.parametrize("end", ENDS)
def test_however_its_owner_goes(
    ledger: Project, end: Callable[[Callable[[], Any]], None], begin: Callable[[], Any]
) -> None:
    end(begin)
    assert what_is_left(ledger) == NOTHING


@pytest.mark.parametrize("end", [its_thread_ends, it_is_collected, it_is_collected_in_a_cycle])
def test_its_place_goes_to_whoever_waits(
    ledger: Project, end: Callable[[Callable[[], Any]], None]
) -> None:
    ledger.use(max_size=1, acquire_timeout=20)
    answers: list[Any] = []

    def wait() -> None:
        answers.append(ask("SELECT 1"))

    def begin_and_let_wait() -> None:
        in_a_transaction()
        thread.start()
        assert until(lambda: ledger.pool.waiting == 1)

    thread = threading.Thread(target=wait)
    end(begin_and_let_wait)
    thread.join()
    assert answers == [1]
    assert ledger.server.counters.logins == 3  # the table's, the owner's, the waiter's


class TestControls:
    """Each end without what looks after it."""

    @pytest.mark.parametrize("end", [its_thread_ends, it_is_collected, it_is_collected_in_a_cycle])
    def test_a_lease_without_its_finalizer(
        self,
        ledger: Project,
        end: Callable[[Callable[[], Any]], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(lease_module, "_abandon", lambda _source, _held: None)
        end(in_a_transaction)
        left = what_is_left(ledger)
        assert (left["leases"], left["transactions"]) == (1, 1)

    def test_a_request_whose_end_closes_nothing(
        self, ledger: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(DatabaseWrapper, "close_if_unusable_or_obsolete", lambda _wrapper: None)
        its_request_ends(with_a_temporary_table)
        assert ledger.pool.in_use == 1

    def test_a_close_that_gives_nothing_back(
        self, ledger: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(LeasedConnection, "_give_everything_back", lambda _lease: None)
        monkeypatch.setattr(lease_module, "_abandon", lambda _source, _held: None)
        its_wrapper_is_closed(with_an_application_lock)
        left = what_is_left(ledger)
        assert (left["leases"], left["locks"]) == (1, -1)
