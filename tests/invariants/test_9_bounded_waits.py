"""Invariant 9: no wait is unbounded, and every timeout error carries the pool's numbers and the
last connect error.

What keeps somebody waiting here is a server that lets nobody in, or answers nothing any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error

from mssql_async.devserver import DevServer
from mssql_async.errors import PoolTimeout
from mssql_async.pool import odbc
from mssql_async.pool.odbc_connector import OdbcConnector
from tests.backend.conftest import wrapper_for
from tests.backend.test_connections import ask, do

LONG = 60
"""Seconds after which a wait is taken for one without end. No time is asserted otherwise."""

NUMBERS = r"size \d+ of 1, in use \d+, idle \d+, opening \d+, waiting \d+"


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class TestAFullPool:
    pool = {"max_size": 1, "acquire_timeout": 2}  # a login must fit in

    def wait_in_vain(self, server: DevServer, **options: Any) -> PoolTimeout:
        """While another thread has the only connection."""
        has_it, is_over = threading.Event(), threading.Event()
        options = {"pool": self.pool, **options}

        def hold() -> None:
            holder = wrapper_for(server, OPTIONS=options)
            holder.ensure_connection()
            holder.set_autocommit(False)
            ask(holder, "SELECT 1")
            has_it.set()
            is_over.wait(LONG)
            holder.close()

        thread = in_thread(hold)
        assert has_it.wait(LONG)
        try:
            with pytest.raises(PoolTimeout) as raised:
                ask(wrapper_for(server, OPTIONS=options), "SELECT 1")
        finally:
            is_over.set()
            thread.join()
        return raised.value

    def test_says_its_numbers_and_who_holds(self, server: DevServer) -> None:
        text = str(self.wait_in_vain(server))
        assert "size 1 of 1, in use 1, idle 0, opening 0, waiting 0" in text
        assert "Held longest: connection #" in text
        assert "test_connections.py" in text  # which has ask()
        assert "Last connect error" not in text

    def test_and_the_last_connect_error_where_there_was_one(self, server: DevServer) -> None:
        server.faults.refuse_logins(18456, times=1)
        with pytest.raises(Error):
            wrapper_for(server, OPTIONS={"pool": self.pool}).ensure_connection()
        text = str(self.wait_in_vain(server))
        assert "Last connect error: InterfaceError: " in text
        assert "18456" in text


class TestAPeerThatAnswersNothing:
    """Frozen in the middle of a transaction whose owner goes."""

    def left_by_a_thread(self, server: DevServer) -> threading.Thread:
        began, frozen = threading.Event(), threading.Event()

        def use() -> None:
            wrapper = wrapper_for(server)
            wrapper.ensure_connection()
            wrapper.set_autocommit(False)
            do(wrapper, "SELECT 1")
            began.set()
            frozen.wait(LONG)

        thread = in_thread(use)
        assert began.wait(LONG)
        server.faults.freeze()
        frozen.set()
        return thread

    def test_does_not_keep_the_thread_that_dies_with_it(
        self, server: DevServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(odbc, "PROOF_TIMEOUT", 1)
        thread = self.left_by_a_thread(server)
        thread.join(LONG)
        assert not thread.is_alive()

    def test_would_if_nothing_bounded_its_rollback(
        self, server: DevServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control of the test above."""
        monkeypatch.setattr(odbc, "PROOF_TIMEOUT", 1)
        monkeypatch.setattr(OdbcConnector, "close", lambda _connector, raw: raw.close())
        thread = self.left_by_a_thread(server)
        thread.join(5)  # it takes 3 s above
        assert thread.is_alive()
        server.faults.thaw()
        thread.join()
