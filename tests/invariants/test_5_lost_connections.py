"""Invariant 5: a dead connection is replaced unseen, as long as no transaction was open.

tests/backend and tests/pool have the proofs and the replacements; here is the end of the
sentence, for transactions that are not blocks: Django's ``set_autocommit(False)``.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import Error, OperationalError
from mssql import base as mssql

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop
from tests.backend.test_connections import ask, do


def lose_in_a_transaction(server: DevServer, wrapper: DatabaseWrapper) -> None:
    """Its second statement is told."""
    do(wrapper, "CREATE TABLE ledger (id int)")
    wrapper.set_autocommit(False)
    do(wrapper, "INSERT INTO ledger VALUES (1)")
    server.faults.drop(Drop.RST)
    with pytest.raises(OperationalError, match="08S01"):
        do(wrapper, "INSERT INTO ledger VALUES (2)")


def rows(wrapper: DatabaseWrapper) -> list[Any]:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT id FROM ledger")
        return [row[0] for row in cursor.fetchall()]


def test_what_comes_after_the_loss_does_not_run_alone(
    server: DevServer, wrapper: DatabaseWrapper
) -> None:
    lose_in_a_transaction(server, wrapper)
    for _ in range(2):
        with pytest.raises(OperationalError, match="08S01"):
            do(wrapper, "INSERT INTO ledger VALUES (3)")
    with pytest.raises(OperationalError, match="08S01"):
        wrapper.commit()
    wrapper.close()
    assert rows(wrapper) == []


def test_a_wrapper_that_forgot_its_connection_would_commit_the_second_half(
    server: DevServer, wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: the dialect's own way."""
    monkeypatch.setattr(DatabaseWrapper, "_on_error", mssql.DatabaseWrapper._on_error)
    lose_in_a_transaction(server, wrapper)
    do(wrapper, "INSERT INTO ledger VALUES (3)")
    wrapper.close()
    assert rows(wrapper) == [3]


def test_in_autocommit_the_next_statement_gets_another_connection(
    server: DevServer, wrapper: DatabaseWrapper
) -> None:
    do(wrapper, "CREATE TABLE ledger (id int)")
    server.faults.drop_at("INSERT%", Drop.RST)
    with pytest.raises(Error):
        do(wrapper, "INSERT INTO ledger VALUES (1)")
    do(wrapper, "INSERT INTO ledger VALUES (2)")
    assert rows(wrapper) == [2]
    assert ask(wrapper, "SELECT @@TRANCOUNT") == (0,)
