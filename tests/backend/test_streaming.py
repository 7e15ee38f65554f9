"""Iterating over a query and running others in the loop, without MARS."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pyodbc
import pytest
from django.db import DataError, Error, OperationalError, connections, transaction
from django.db.models import Prefetch

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.pool.statistics import PoolStatistics
from tests.shop.models import Author, Book, Tag

from .conftest import wrapper_for
from .default_alias import default_database, make_tables
from .test_connections import ask, do, messages_of
from .test_faults import the_pool

NAMES = [f"Author {number:02}" for number in range(20)]
ALWAYS_PROVED = {"health_check_window": 600}


def fill(wrapper: DatabaseWrapper) -> None:
    make_tables(wrapper, Author, Tag, Book)
    Author.objects.bulk_create(Author(name=name) for name in NAMES)
    Book.objects.bulk_create(
        Book(title=f"Of {author}", author=author, price=1) for author in Author.objects.all()
    )
    wrapper.close()


@pytest.fixture
def default(server: DevServer) -> Iterator[DatabaseWrapper]:
    with default_database(server, OPTIONS={"pool": ALWAYS_PROVED}) as wrapper:
        fill(wrapper)
        yield wrapper


@pytest.fixture
def only_one(server: DevServer) -> Iterator[DatabaseWrapper]:
    """A pool of one connection, which must never be waited for by whoever holds it."""
    pool = {**ALWAYS_PROVED, "max_size": 1, "acquire_timeout": 0.2}
    with default_database(server, OPTIONS={"pool": pool}) as wrapper:
        fill(wrapper)
        yield wrapper


def numbers(wrapper: DatabaseWrapper) -> PoolStatistics:
    return the_pool(wrapper)


def names_with_a_query_each(chunk_size: int = 2) -> list[str]:
    """A query in each turn of the loop over another's rows."""
    found = []
    for author in Author.objects.order_by("name").iterator(chunk_size=chunk_size):
        assert Author.objects.get(pk=author.pk).name == author.name
        found.append(author.name)
    return found


class TestQueriesInTheLoop:
    def test_in_autocommit_get_a_second_connection(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        server.reset_counters()
        assert names_with_a_query_each() == NAMES
        assert len(server.sessions()) == 2
        assert numbers(default).in_use == 0

    def test_and_cost_one_message_each(self, server: DevServer, default: DatabaseWrapper) -> None:
        names_with_a_query_each()
        assert messages_of(server, names_with_a_query_each) == {"rpc.sp_prepexec": 20, "batch": 1}

    def test_in_a_transaction_run_on_its_connection(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        def work() -> None:
            with transaction.atomic():
                assert names_with_a_query_each() == NAMES

        work()
        assert messages_of(server, work) == {
            "tran.begin": 1,
            "batch": 1,
            "rpc.sp_prepexec": 20,
            "tran.commit": 1,
        }
        assert len(server.sessions()) == 1

    def test_would_find_that_connection_busy(
        self, default: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control of the test above."""
        default.ensure_connection()
        monkeypatch.setattr(type(default.connection), "_make_room", lambda _lease, hold: hold)
        with pytest.raises(Error, match="Connection is busy with results"), transaction.atomic():
            for author in Author.objects.raw(LARGE.replace("a.name", "a.*")).iterator():
                Author.objects.get(pk=author.pk)

    def test_see_what_the_transaction_wrote(self, default: DatabaseWrapper) -> None:
        with transaction.atomic():
            for author in Author.objects.order_by("name").iterator(chunk_size=2):
                Author.objects.filter(pk=author.pk).update(email=f"{author.pk}@example.org")
                assert Author.objects.get(pk=author.pk).email == f"{author.pk}@example.org"

    def test_with_a_temporary_table_run_where_it_is(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        do(default, "CREATE TABLE #seen (name nvarchar(100))")
        for author in Author.objects.order_by("name").iterator(chunk_size=2):
            with default.cursor() as cursor:
                cursor.execute("INSERT INTO #seen VALUES (%s)", [author.name])
        assert ask(default, "SELECT count(*), max(name) FROM #seen") == (20, NAMES[-1])
        assert len(server.sessions()) == 1

    def test_with_leases_that_last_as_long_as_the_context_stay_on_one_connection(
        self, server: DevServer
    ) -> None:
        pool = {**ALWAYS_PROVED, "lease": "context"}
        with default_database(server, OPTIONS={"pool": pool}) as wrapper:
            fill(wrapper)
            assert names_with_a_query_each() == NAMES
            assert len(server.sessions()) == 1

    def test_do_not_wait_for_a_connection_that_their_own_loop_holds(
        self, server: DevServer, only_one: DatabaseWrapper
    ) -> None:
        assert names_with_a_query_each() == NAMES
        assert numbers(only_one).timeouts == 0

    def test_a_lease_that_waited_for_its_own_loop_would_time_out(
        self, only_one: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control of the test above."""
        only_one.ensure_connection()
        monkeypatch.setattr(
            type(only_one.connection),
            "_acquire_another",
            lambda lease: lease._adopt(lease._source.acquire(lease._profile)),
        )
        with pytest.raises(OperationalError, match="held by the context that asks for another"):
            names_with_a_query_each()
        only_one.close()

    def test_two_contexts_that_stream_with_a_pool_of_two_do_not_wait_for_each_other(
        self, server: DevServer
    ) -> None:
        pool = {**ALWAYS_PROVED, "max_size": 2, "acquire_timeout": 5}
        with default_database(server, OPTIONS={"pool": pool}) as wrapper:
            fill(wrapper)
        both_stream = threading.Barrier(2, timeout=20)
        failures: list[BaseException] = []

        def context() -> None:
            try:
                with default_database(server, OPTIONS={"pool": pool}):
                    rows = Author.objects.order_by("name").iterator(chunk_size=2)
                    next(rows)
                    both_stream.wait()
                    for author in rows:
                        assert Author.objects.get(pk=author.pk).name == author.name
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=context) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(server.sessions()) == 2

    def test_may_nest_three_deep(self, server: DevServer, default: DatabaseWrapper) -> None:
        found = [
            (author.name, Author.objects.get(pk=again.pk).name)
            for author in Author.objects.order_by("name")[:3].iterator(chunk_size=1)
            for book in Book.objects.filter(author=author).iterator(chunk_size=1)
            for again in Author.objects.filter(books=book).iterator(chunk_size=1)
        ]
        assert found == [(name, name) for name in NAMES[:3]]
        assert numbers(default).in_use == 0

    def test_may_open_a_transaction_of_their_own(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        for author in Author.objects.order_by("name").iterator(chunk_size=2):
            with transaction.atomic():
                Author.objects.filter(pk=author.pk).update(email="x@example.org")
        assert Author.objects.filter(email="x@example.org").count() == 20
        assert len(server.sessions()) == 2

    def test_are_right_with_values_and_prefetches_too(self, default: DatabaseWrapper) -> None:
        rows = Author.objects.order_by("name").values_list("pk", "name").iterator(chunk_size=3)
        assert [(Author.objects.get(pk=pk).name, name) for pk, name in rows] == [
            (name, name) for name in NAMES
        ]
        authors = Author.objects.order_by("name").prefetch_related(
            Prefetch("books", queryset=Book.objects.order_by("title"))
        )
        assert [
            [book.title for book in author.books.all()] for author in authors.iterator(chunk_size=3)
        ] == [[f"Of {name}"] for name in NAMES]

    def test_raw_queries_may_be_iterated_over_as_well(self, default: DatabaseWrapper) -> None:
        found = [
            Author.objects.get(pk=author.pk).name
            for author in Author.objects.raw("SELECT * FROM shop_author ORDER BY name").iterator()
        ]
        assert found == NAMES


LARGE = (
    "SELECT a.name, replicate('x', 2000) FROM shop_author a CROSS JOIN shop_author b "
    "CROSS JOIN shop_author c"
)
LARGE_BYTES = 20**3 * 2000


class TestStreaming:
    def test_the_first_row_comes_long_before_the_server_has_sent_the_last(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        with default.cursor() as cursor:
            ask(default, "SELECT 1")
            server.reset_counters()
            cursor.execute(LARGE)
            assert cursor.fetchone()[0] == NAMES[0]
            assert server.counters.bytes_sent < LARGE_BYTES / 4
            assert len(cursor.fetchall()) == 20**3 - 1
        assert server.counters.bytes_sent > LARGE_BYTES

    def test_an_iterator_reads_no_more_than_it_is_asked_for(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        everything = Author.objects.raw(LARGE.replace("a.name", "a.*"))
        server.reset_counters()
        rows = everything.iterator()
        assert next(rows).name == NAMES[0]
        assert server.counters.bytes_sent < LARGE_BYTES / 4

    def test_a_queryset_that_is_not_streamed_reads_everything(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        """The control of the two tests above."""
        with default.cursor() as cursor:
            server.reset_counters()
            cursor.execute(LARGE)
            default.connection._read_into_memory(default.connection._hold)
            assert server.counters.bytes_sent > LARGE_BYTES
            assert len(cursor.fetchall()) == 20**3

    def test_leaving_the_loop_early_tells_the_server_to_stop(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        def leave_early() -> None:
            with default.cursor() as cursor:
                cursor.execute(LARGE)
                for _row in cursor:
                    break

        assert messages_of(server, leave_early) == {"batch": 1, "attention": 1}
        assert numbers(default).in_use == 0
        assert ask(default, "SELECT 1") == (1,)
        assert len(server.sessions()) == 1


class TestTheLeaseOfACursor:
    def test_ends_with_its_last_row(self, default: DatabaseWrapper) -> None:
        with default.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            assert cursor.fetchone() == (1,)
            assert numbers(default).in_use == 1
            assert cursor.fetchall() == [(2,)]
            assert numbers(default).in_use == 0
            assert cursor.fetchone() is None
            assert cursor.description[0][1] is int

    @pytest.mark.parametrize("read", ["fetchone", "fetchmany", "iteration"])
    def test_however_the_end_is_found(self, default: DatabaseWrapper, read: str) -> None:
        with default.cursor() as cursor:
            cursor.execute("SELECT 1")
            if read == "fetchone":
                assert [cursor.fetchone(), cursor.fetchone()] == [(1,), None]
            elif read == "fetchmany":
                assert cursor.fetchmany(2) == [(1,)]
            else:
                assert [tuple(row) for row in cursor] == [(1,)]
            assert numbers(default).in_use == 0

    def test_does_not_end_while_another_result_follows(self, default: DatabaseWrapper) -> None:
        with default.cursor() as cursor:
            cursor.execute("SELECT 1; SELECT 2 AS two")
            assert cursor.fetchall() == [(1,)]
            assert numbers(default).in_use == 1
            assert cursor.nextset()
            assert cursor.description[0][0] == "two"
            assert cursor.fetchall() == [(2,)]
            assert numbers(default).in_use == 0
            assert not cursor.nextset()

    def test_ends_when_the_loop_is_left_early(self, default: DatabaseWrapper) -> None:
        for author in Author.objects.order_by("name").iterator(chunk_size=2):
            Author.objects.get(pk=author.pk)
            break
        assert numbers(default).in_use == 0

    def test_ends_when_the_loop_raises(self, default: DatabaseWrapper) -> None:
        with pytest.raises(ZeroDivisionError):
            for author in Author.objects.order_by("name").iterator(chunk_size=2):
                Author.objects.get(pk=author.pk)
                _ = 1 / 0
        gc.collect()
        assert numbers(default).in_use == 0

    def test_is_reclaimed_at_the_next_touch_when_the_cursor_is_forgotten(
        self, default: DatabaseWrapper
    ) -> None:
        cursor = default.cursor()
        cursor.execute("SELECT name FROM shop_author")
        assert ask(default, "SELECT 1") == (1,)  # on a second connection
        assert numbers(default).in_use == 1
        del cursor
        gc.collect()
        assert ask(default, "SELECT 1") == (1,)
        assert numbers(default).in_use == 0

    def test_and_at_the_latest_when_the_context_ends(self, default: DatabaseWrapper) -> None:
        kept = [default.cursor() for _ in range(3)]
        for cursor in kept:
            cursor.execute("SELECT name FROM shop_author")
        assert numbers(default).in_use == 3
        default.close_if_unusable_or_obsolete()
        assert numbers(default).in_use == 0
        with pytest.raises(pyodbc.ProgrammingError, match="its lease ended"):
            kept[0].cursor.cursor.fetchone()

    def test_survives_the_collection_of_a_wrapper_nobody_closed(self, server: DevServer) -> None:
        pool = {"max_size": 2, "acquire_timeout": 5}
        forgotten = wrapper_for(server, OPTIONS={"pool": pool})
        cursors = [forgotten.cursor(), forgotten.cursor()]
        for cursor in cursors:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
        assert numbers(forgotten).in_use == 2
        del cursors, cursor
        forgotten.connection = None  # as when a thread dies with its wrapper
        gc.collect()
        assert numbers(forgotten).in_use == 0
        assert numbers(forgotten).abandoned == 2

    def test_a_generator_collected_by_another_thread_leaves_it_to_the_owner(
        self, default: DatabaseWrapper
    ) -> None:
        rows = Author.objects.order_by("name").iterator(chunk_size=2)
        next(rows)
        assert numbers(default).in_use == 1
        holder = [rows]
        del rows
        closer = threading.Thread(target=holder.clear)
        closer.start()
        closer.join()
        assert numbers(default).in_use == 1
        assert ask(default, "SELECT 1") == (1,)
        assert numbers(default).in_use == 0


class TestRowsReadIntoMemory:
    """In a transaction, before another statement runs. Nobody sees the difference."""

    @pytest.fixture(autouse=True)
    def in_transaction(self, default: DatabaseWrapper) -> Iterator[None]:
        default.set_autocommit(False)
        yield
        default.rollback()
        default.set_autocommit(True)

    BATCH = "SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3; SELECT 4 AS b; PRINT 'done'"

    @pytest.mark.parametrize("interrupted_after", range(5))
    def test_every_fetch_goes_on_as_if_nothing_had_happened(
        self, default: DatabaseWrapper, interrupted_after: int
    ) -> None:
        def steps(cursor: Any) -> list[Any]:
            return [
                cursor.fetchone,
                lambda: cursor.fetchmany(1),
                cursor.fetchall,
                cursor.nextset,
                lambda: (cursor.description, cursor.rowcount),
                cursor.fetchone,
                cursor.fetchone,
                cursor.nextset,
                lambda: (cursor.description, cursor.rowcount, cursor.nextset()),
            ]

        def run(interrupt: int | None) -> list[Any]:
            seen = []
            with default.cursor() as cursor:
                cursor.execute(self.BATCH)
                for number, step in enumerate(steps(cursor)):
                    if number == interrupt:
                        assert ask(default, "SELECT 'another'") == ("another",)
                    seen.append(step())
            return seen

        assert run(interrupted_after) == run(None)

    def test_an_error_in_a_later_row_comes_where_that_row_would_have_come(
        self, default: DatabaseWrapper
    ) -> None:
        failing = (
            "SELECT 10 / (3 - n.value) FROM (VALUES (1), (2), (3), (4)) AS n(value) "
            "ORDER BY n.value"
        )

        def until_it_fails(interrupt: bool) -> list[Any]:
            seen: list[Any] = []
            with default.cursor() as cursor:
                try:
                    cursor.execute(failing)
                    if interrupt:
                        ask(default, "SELECT 1")
                    while True:
                        seen.append(cursor.fetchone())
                except DataError as error:
                    seen.append(str(error))
            return seen

        plain = until_it_fails(interrupt=False)
        assert "8134" in plain[-1]
        assert until_it_fails(interrupt=True) == plain

    def test_rows_outlive_the_commit(self, default: DatabaseWrapper) -> None:
        with default.cursor() as cursor:
            cursor.execute("SELECT name FROM shop_author ORDER BY name")
            assert cursor.fetchone() == (NAMES[0],)
            default.commit()
            assert numbers(default).in_use == 0
            assert [row[0] for row in cursor.fetchall()] == NAMES[1:]

    def test_rows_are_lost_with_a_transaction_that_is_rolled_back(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        with default.cursor() as cursor:
            cursor.execute(LARGE)
            server.reset_counters()
            default.rollback()
            assert server.counters.bytes_sent < LARGE_BYTES / 4
            with pytest.raises(Exception, match="lost when its transaction was rolled back"):
                cursor.fetchone()

    def test_a_connection_that_dies_meanwhile_fails_the_fetch_and_the_statement(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        with default.cursor() as cursor:
            cursor.execute(LARGE)
            cursor.fetchone()
            server.kill()
            with pytest.raises(OperationalError, match="08S01"):
                ask(default, "SELECT 1")
        default.close()


def test_a_stream_whose_connection_dies_fails_alone(
    server: DevServer, default: DatabaseWrapper
) -> None:
    (spid,) = ask(default, "SELECT @@SPID")
    with default.cursor() as cursor:
        cursor.execute(LARGE)
        cursor.fetchone()
        assert ask(default, "SELECT 1") == (1,)
        server.kill(spid)
        with pytest.raises(OperationalError, match="08S01"):
            cursor.fetchall()
        assert ask(default, "SELECT 1") == (1,)
    assert numbers(default).in_use == 0
    assert connections["default"] is default
