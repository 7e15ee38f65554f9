"""What ``docs/connections.md`` says that things cost, in messages, where no other test says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyodbc
import pytest
from django.db.models import Value
from django.db.models.functions import Replace

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from tests.backend.conftest import wrapper_for
from tests.backend.default_alias import default_database, make_tables
from tests.backend.killable import KillableServer
from tests.backend.test_connections import ask, do, messages_of
from tests.shop.models import Tag

INSERT = "INSERT INTO [shop_tag] ([name]) VALUES (%s)"


@pytest.fixture
def database(server: DevServer) -> Iterator[DatabaseWrapper]:
    with default_database(server, OPTIONS={"pool": {"health_check_window": 600}}) as wrapper:
        make_tables(wrapper, Tag)
        Tag.objects.create(name="one")
        wrapper.close()
        yield wrapper


def those_with(count: int) -> Callable[[], Any]:
    return lambda: list(Tag.objects.filter(id__in=range(count)))


def test_a_list_of_2048_values_is_one_message(server: DevServer, database: DatabaseWrapper) -> None:
    assert messages_of(server, those_with(2048)) == {"rpc.sp_prepexec": 1}
    assert not database.connection.pinned


def test_a_longer_one_is_a_temporary_table_which_pins_and_is_reset(
    server: DevServer, database: DatabaseWrapper
) -> None:
    # Drop, create and select; 1000 rows in each message.
    assert messages_of(server, those_with(2049)) == {"batch": 3, "rpc.sp_prepexec": 3}
    assert database.connection.pinned
    assert messages_of(server, database.close) == {"batch+reset": 1}


def test_replace_asks_for_the_collation_each_time(
    server: DevServer, database: DatabaseWrapper
) -> None:
    query = Tag.objects.annotate(other=Replace("name", Value("o"), Value("e")))
    for _ in range(2):
        messages = messages_of(server, lambda: list(query.all()))
        assert messages == {"batch": 1, "rpc.sp_prepexec": 1}


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_executemany_is_a_message_for_each_row_and_one(
    server: DevServer, database: DatabaseWrapper, rows: int
) -> None:
    def insert() -> None:
        with database.cursor() as cursor:
            cursor.executemany(INSERT, [["a"]] * rows)

    assert messages_of(server, insert) == {"rpc.sp_prepexec": rows, "rpc.sp_unprepare": 1}


def test_fast_executemany_is_set_on_the_cursor_of_the_lease(server: DevServer) -> None:
    """With a server in a process of its own: pyodbc keeps the interpreter to itself meanwhile."""
    with KillableServer() as elsewhere:
        wrapper = wrapper_for(elsewhere)  # type: ignore[arg-type]
        do(wrapper, "CREATE TABLE shop_tag (name nvarchar(50))")
        with wrapper.cursor() as cursor:
            cursor.cursor.cursor.fast_executemany = True
            cursor.executemany(INSERT, [["a"], [None]] * 50)
        assert ask(wrapper, "SELECT count(*), count(name) FROM shop_tag") == (100, 50)
        with wrapper.cursor() as another:
            assert another.cursor.cursor.fast_executemany is False
        wrapper.close()


def test_a_bulk_insert_is_one_for_each_batch(server: DevServer, database: DatabaseWrapper) -> None:
    messages = messages_of(server, lambda: Tag.objects.bulk_create([Tag(name="a")] * 50))
    assert messages["rpc.sp_prepexec"] == 1


@pytest.mark.skipif("FreeTDS" not in pyodbc.drivers(), reason="FreeTDS is not installed")
def test_a_driver_that_cannot_reset_pays_a_login_for_a_dirty_session(server: DevServer) -> None:
    wrapper = wrapper_for(server, OPTIONS={"driver": "FreeTDS", "host_is_server": True})
    before = ask(wrapper, "SELECT @@DATEFIRST")
    wrapper.close()
    ask(wrapper, "SELECT 1")
    assert server.counters.logins == 1  # a clean one is kept
    do(wrapper, "SET DATEFIRST 3")
    wrapper.close()
    assert ask(wrapper, "SELECT @@DATEFIRST") == before
    assert server.counters.logins == 2
    wrapper.close()
