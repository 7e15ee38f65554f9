"""Invariant 4: nothing of one context is visible to the next.

Each kind of state that the invariant names, and some more, is left behind by a context in one
connection, which the next context then gets; the control of each is a lease that leaves the same
alone.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import Error

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.session import lease as lease_module
from mssql_async.session.lease import LeasedConnection
from mssql_async.session.statements import KeptStatements
from tests.backend.test_connections import ask, do

ISOLATION = "SELECT transaction_isolation_level FROM sys.dm_exec_sessions WHERE session_id = @@SPID"

#: What a context does -> what shows it, in the same session.
STATE: dict[str, str] = {
    # settings
    "SET DATEFIRST 3": "SELECT @@DATEFIRST",
    "SET DATEFORMAT dmy": "SELECT date_format FROM sys.dm_exec_sessions WHERE session_id = @@SPID",
    "SET LANGUAGE Deutsch": "SELECT @@LANGUAGE",
    "SET LOCK_TIMEOUT 1234": "SELECT @@LOCK_TIMEOUT",
    "SET NOCOUNT ON": "SELECT @@OPTIONS & 512",
    "SET XACT_ABORT ON": "SELECT @@OPTIONS & 16384",
    # isolation level, which a reset alone does not restore
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE": ISOLATION,
    "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED": ISOLATION,
    "USE master": "SELECT DB_NAME()",
    "CREATE TABLE #mine (a int)": "SELECT OBJECT_ID('tempdb..#mine')",
    "SELECT 1 AS a INTO #mine": "SELECT OBJECT_ID('tempdb..#mine')",
    "BEGIN TRANSACTION": "SELECT @@TRANCOUNT",
    "EXEC sp_getapplock 'mine', 'Exclusive', 'Session'": (
        "SELECT APPLOCK_MODE('public', 'mine', 'Session')"
    ),
    "SET CONTEXT_INFO 0x2A": "SELECT CONTEXT_INFO()",
    "EXEC sp_set_session_context 'who', 'me'": "SELECT SESSION_CONTEXT(N'who')",
}


def left_by_one_context(wrapper: DatabaseWrapper, change: str) -> tuple[Any, Any, Any]:
    """What is shown before, within and after a context, all in one session."""
    shown_by = STATE[change]
    before = ask(wrapper, shown_by)
    (spid,) = ask(wrapper, "SELECT @@SPID")
    do(wrapper, change)
    within = ask(wrapper, shown_by)
    wrapper.close_if_unusable_or_obsolete()
    assert ask(wrapper, "SELECT @@SPID") == (spid,)
    return before, within, ask(wrapper, shown_by)


@pytest.mark.parametrize("change", STATE)
def test_state_of_the_session_ends_with_its_context(wrapper: DatabaseWrapper, change: str) -> None:
    before, within, after = left_by_one_context(wrapper, change)
    assert within != before
    assert after == before


@pytest.mark.parametrize("change", STATE)
def test_where_the_lease_does_not_say_that_it_is_dirty_it_is_seen(
    wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(LeasedConnection, "_watch", lambda *_: None)
    before, within, after = left_by_one_context(wrapper, change)
    assert within != before
    assert after == within


def row_of_an_open_transaction(wrapper: DatabaseWrapper) -> Any:
    """What the next context sees of a row, and of its own transaction."""
    do(wrapper, "CREATE TABLE ledger (id int)")
    wrapper.set_autocommit(False)
    do(wrapper, "INSERT INTO ledger VALUES (1)")
    wrapper.close()
    return ask(wrapper, "SELECT (SELECT count(*) FROM ledger), @@TRANCOUNT")


def test_an_open_transaction_is_rolled_back(wrapper: DatabaseWrapper) -> None:
    assert row_of_an_open_transaction(wrapper) == (0, 0)


def test_if_it_were_not_its_row_would_be_seen(
    wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(lease_module, "_roll_back", lambda _raw: None)
    count, open_transactions = row_of_an_open_transaction(wrapper)
    assert (count, open_transactions) == (1, 1)


def answer_after_unread_rows(wrapper: DatabaseWrapper) -> Any:
    cursor = wrapper.cursor()
    cursor.execute("SELECT 1 UNION ALL SELECT 2; SELECT 3")
    wrapper.close()
    # With a parameter: the driver has another cursor of its own for those.
    return ask(wrapper, "SELECT %s", [4])


def test_unread_rows_do_not_get_in_the_way(server: DevServer, wrapper: DatabaseWrapper) -> None:
    assert answer_after_unread_rows(wrapper) == (4,)
    assert server.counters.logins == 1


def test_if_they_were_left_the_connection_would_be_busy_with_them(
    wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(KeptStatements, "put_back", lambda *_, **__: None)
    with pytest.raises(Error, match="Connection is busy with results for another command"):
        answer_after_unread_rows(wrapper)
