"""What a process knows of its own connections, with this backend and with any other."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteWrapper
from pytest_django import DjangoDbBlocker

from loadtests.leaks.adapters import PoolAdapter, WrapperAdapter
from loadtests.leaks.place import CURRENT
from loadtests.leaks.recorder import Recorder
from mssql_async.base import DatabaseWrapper
from mssql_async.contrib.leaks.record import Session
from mssql_async.devserver import DevServer
from mssql_async.pool import Pool
from tests.backend.conftest import server, wrapper_for

__all__ = ["server"]

SESSION = Session(51, "2024-01-01T00:00:00")


class TestPools:
    def test_a_statement_runs_on_a_lease_that_has_a_beginning(self, server: DevServer) -> None:
        adapter, wrapper = PoolAdapter(), wrapper_for(server)
        assert adapter.lease(wrapper) is None
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            first = adapter.lease(wrapper)
            assert first is not None
            assert first[0] in adapter.connections()
        assert adapter.lease(wrapper) is None
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            second = adapter.lease(wrapper)
        assert second is not None
        assert (second[0], second[1] > first[1]) == (first[0], True)
        wrapper.close()

    def test_a_lease_that_is_kept_is_held(
        self, server: DevServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Pool, "notes_in_full", True)
        recorder, adapter, wrapper = Recorder(), PoolAdapter(), wrapper_for(server)
        before = {each.since for each in adapter.held(recorder)}
        cursor = wrapper.cursor()
        cursor.execute("SELECT 1 UNION ALL SELECT 2")
        lease = adapter.lease(wrapper)
        assert lease is not None
        recorder.used(lease[0], SESSION, 17, "x.py:1 in view")
        assert not adapter.is_at_rest()
        (held,) = [each for each in adapter.held(recorder) if each.since not in before]
        assert (held.token, held.session) == (17, SESSION)
        assert "test_adapters.py" in held.place
        assert SESSION in adapter.known(recorder).sessions
        wrapper.close()
        assert held not in adapter.held(recorder)


@pytest.fixture
def adapter(django_db_blocker: DjangoDbBlocker) -> Iterator[WrapperAdapter]:
    adapter = WrapperAdapter()
    with django_db_blocker.unblock():
        yield adapter
    adapter.close()


@pytest.fixture
def recorder(adapter: WrapperAdapter) -> Recorder:
    recorder = Recorder()
    recorder.adapter = adapter
    return recorder


def sqlite(path: Path, *, age: int = 0) -> SqliteWrapper:
    settings = {**connections["default"].settings_dict, "NAME": path / "db", "CONN_MAX_AGE": age}
    return SqliteWrapper({**settings, "OPTIONS": {}}, "default")


def open_as(token: int, wrapper: SqliteWrapper | DatabaseWrapper) -> None:
    reset = CURRENT.set(token)
    try:
        wrapper.ensure_connection()
    finally:
        CURRENT.reset(reset)


@pytest.fixture
def wrapper(tmp_path: Path, adapter: WrapperAdapter) -> Iterator[SqliteWrapper]:
    wrapper = sqlite(tmp_path)
    yield wrapper
    wrapper.close()


class TestOtherBackends:
    def test_a_connection_has_a_number_that_does_not_come_back(
        self, adapter: WrapperAdapter, wrapper: SqliteWrapper
    ) -> None:
        assert adapter.lease(wrapper) is None
        wrapper.ensure_connection()
        first = adapter.lease(wrapper)
        wrapper.close()
        assert adapter.lease(wrapper) is None
        wrapper.ensure_connection()
        second = adapter.lease(wrapper)
        assert first is not None
        assert second is not None
        assert first[0] != second[0]
        assert adapter.connections() == [second[0]]

    def test_what_a_context_leaves_open_is_held_by_it(
        self, recorder: Recorder, adapter: WrapperAdapter, wrapper: SqliteWrapper
    ) -> None:
        open_as(17, wrapper)
        (held,) = adapter.held(recorder)
        assert (held.token, held.what) == (17, "a connection (unused)")
        assert "test_adapters.py" in held.place
        assert adapter.known(recorder).count == 1
        wrapper.close()
        assert adapter.held(recorder) == []

    def test_what_no_context_has_opened_is_known_and_not_held(
        self, recorder: Recorder, adapter: WrapperAdapter, wrapper: SqliteWrapper
    ) -> None:
        wrapper.ensure_connection()
        assert (adapter.held(recorder), adapter.known(recorder).count) == ([], 1)

    def test_a_connection_outlives_its_thread_until_the_collector_comes(
        self, recorder: Recorder, adapter: WrapperAdapter, tmp_path: Path
    ) -> None:
        gc.collect()
        gc.disable()
        try:
            thread = threading.Thread(target=lambda: open_as(17, sqlite(tmp_path)))
            thread.start()
            thread.join()
            assert [held.what for held in adapter.held(recorder)] == [
                "a connection (of a thread that has ended)"
            ]
        finally:
            gc.enable()
        gc.collect()
        assert adapter.held(recorder) == []

    def test_one_that_conn_max_age_keeps_for_others_is_in_order(
        self, recorder: Recorder, adapter: WrapperAdapter, tmp_path: Path
    ) -> None:
        kept = sqlite(tmp_path, age=600)
        open_as(17, kept)
        lease = adapter.lease(kept)
        assert lease is not None
        recorder.used(lease[0], SESSION, 17, "")
        assert [held.token for held in adapter.held(recorder)] == [17]
        recorder.used(lease[0], SESSION, 18, "")
        assert adapter.held(recorder) == []
        kept.set_autocommit(False)
        assert [held.token for held in adapter.held(recorder)] == [18]
        kept.close()
