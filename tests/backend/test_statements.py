"""Round trips, counted at the server, and the prepared statements that save them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyodbc
import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError, transaction

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.session import statements
from mssql_async.session.statements import KeptStatements
from tests.shop.models import Author

from .default_alias import default_database, make_tables
from .test_connections import ask, do, messages_of

QUERY = "SELECT name FROM sys.databases WHERE database_id = %s"


@pytest.fixture
def default(server: DevServer) -> Iterator[DatabaseWrapper]:
    """The default alias, with a table, its connection open and proved."""
    with default_database(server, OPTIONS={"pool": {"health_check_window": 600}}) as wrapper:
        make_tables(wrapper, Author)
        wrapper.close()
        Author.objects.create(name="Le Guin")
        yield wrapper


def steady(server: DevServer, work: Any) -> dict[str, int]:
    """What ``work`` costs once it has run before."""
    work()
    return messages_of(server, work)


class TestBudget:
    def test_an_autocommit_query_with_parameters_is_one_message(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        assert steady(server, lambda: ask(default, QUERY, [1])) == {"rpc.sp_prepexec": 1}

    def test_it_would_be_two_if_its_statement_were_not_kept(
        self, server: DevServer, default: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control of the test above."""
        monkeypatch.setattr(
            KeptStatements, "put_back", lambda _kept, one, *, ended: statements.discard(one)
        )
        assert steady(server, lambda: ask(default, QUERY, [1])) == {
            "rpc.sp_prepexec": 1,
            "rpc.sp_unprepare": 1,
        }

    def test_a_model_is_fetched_by_its_key_in_one_message(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        assert steady(server, lambda: Author.objects.get(name="Le Guin")) == {"rpc.sp_prepexec": 1}

    def test_three_autocommit_queries_of_a_request_are_three_messages(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        def request() -> None:
            Author.objects.get(name="Le Guin")
            Author.objects.filter(name="Le Guin").update(email="u@example.org")
            assert Author.objects.filter(name__startswith="Le").count() == 1
            default.close_if_unusable_or_obsolete()

        assert steady(server, request) == {"rpc.sp_prepexec": 3}

    def test_atomic_with_two_statements_is_four_messages(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        def work() -> None:
            with transaction.atomic():
                author = Author.objects.get(name="Le Guin")
                author.save()

        assert steady(server, work) == {"tran.begin": 1, "rpc.sp_prepexec": 2, "tran.commit": 1}

    def test_with_a_savepoint_around_the_second_it_is_five(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        def work() -> None:
            with transaction.atomic():
                author = Author.objects.get(name="Le Guin")
                with transaction.atomic():
                    author.save()

        assert steady(server, work) == {
            "tran.begin": 1,
            "rpc.sp_prepexec": 2,
            "batch": 1,
            "tran.commit": 1,
        }

    def test_rolling_back_costs_no_more_than_committing(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        def work() -> None:
            with transaction.atomic():
                Author.objects.get(name="Le Guin")
                transaction.set_rollback(True)

        assert steady(server, work) == {"tran.begin": 1, "rpc.sp_prepexec": 1, "batch": 1}

    def test_the_statements_survive_the_proof_of_a_connection_past_the_window(
        self, server: DevServer
    ) -> None:
        with default_database(server, OPTIONS={"pool": {"health_check_window": 0}}) as wrapper:

            def request() -> None:
                ask(wrapper, QUERY, [1])
                wrapper.close()

            assert steady(server, request) == {"batch": 1, "rpc.sp_prepexec": 1}

    def test_the_type_of_none_is_asked_for_once_for_each_kept_statement(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        ask(default, "SELECT 1 FROM sys.databases WHERE database_id = %s", [1])

        def work() -> None:
            # Texts that are equal, but not the same object.
            ask(
                default, "".join(["SELECT count(*) FROM sys.databases ", "WHERE name = %s"]), [None]
            )

        assert messages_of(server, work) == {
            "rpc.sp_prepexec": 1,
            "rpc.sp_describe_undeclared_parameters": 1,
        }
        assert messages_of(server, work) == {"rpc.sp_prepexec": 1}

    def test_statements_without_parameters_do_not_unprepare_the_others(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        def work() -> None:
            ask(default, QUERY, [1])
            ask(default, "SELECT 1")
            ask(default, QUERY, [2])
            ask(default, "SELECT 2")

        assert steady(server, work) == {"rpc.sp_prepexec": 2, "batch": 2}

    def test_a_statement_for_which_another_makes_place_costs_no_message_more(
        self, server: DevServer, wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(statements, "CAPACITY", 3)
        texts = [f"SELECT {number} + %s" for number in range(10)]

        def work() -> None:
            assert [ask(wrapper, text, [1]) for text in texts] == [(n + 1,) for n in range(10)]

        ask(wrapper, "SELECT 1")
        assert messages_of(server, work) == {"rpc.sp_prepexec": 10}
        assert messages_of(server, work) == {"rpc.sp_prepexec": 10}
        assert len(kept_statements(wrapper)) == 3


class TestTextsThatDoNotCompile:
    def test_leave_the_statement_whose_place_they_took_usable(
        self, default: DatabaseWrapper
    ) -> None:
        """Found by Django's own suite: the server had let go of the old handle, and the driver
        named it with the next text."""
        kept_statements(default)._capacity = 1
        assert ask(default, "SELECT 1 + %s", [1]) == (2,)
        with pytest.raises(ProgrammingError, match="102"):
            ask(default, "SELECT < %s", [1])
        assert ask(default, "SELECT 2 + %s", [1]) == (3,)

    def test_the_handle_would_be_unknown(
        self, default: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control."""
        kept_statements(default)._capacity = 1
        monkeypatch.setattr(KeptStatements, "_park_statement", lambda _kept, _statement: None)
        ask(default, "SELECT 1 + %s", [1])
        with pytest.raises(ProgrammingError, match="102"):
            ask(default, "SELECT < %s", [1])
        with pytest.raises(ProgrammingError, match="8179"):
            ask(default, "SELECT 2 + %s", [1])

    def test_cost_no_cursor_where_nothing_was_prepared(self, default: DatabaseWrapper) -> None:
        for _ in range(3):
            with pytest.raises(ProgrammingError, match="102"):
                ask(default, "SELECT < %s", [1])
        assert parked(default) == 0


class TestReset:
    def test_after_a_reset_statements_are_prepared_anew_and_the_old_ones_left_alone(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        ask(default, QUERY, [1])

        def request_that_dirties() -> None:
            do(default, "SET LOCK_TIMEOUT 1000")
            ask(default, QUERY, [1])
            default.close()

        assert messages_of(server, request_that_dirties) == {
            "batch": 1,
            "rpc.sp_prepexec": 1,
            "batch+reset": 1,
        }
        assert messages_of(server, lambda: ask(default, QUERY, [1])) == {"rpc.sp_prepexec": 1}

    def test_one_that_the_reset_did_not_put_aside_fails_once_and_takes_the_others_with_it(
        self, server: DevServer, default: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control: the server has forgotten it. And what is done about a server
        that forgets for reasons of its own."""
        ask(default, QUERY, [1])
        ask(default, "SELECT 1 + %s", [1])
        with monkeypatch.context() as patch:
            patch.setattr(KeptStatements, "session_was_reset", lambda _kept: None)
            do(default, "SET LOCK_TIMEOUT 1000")
            default.close()
        with pytest.raises(ProgrammingError, match="8179"):
            ask(default, QUERY, [1])
        assert ask(default, "SELECT 1 + %s", [1]) == (2,)
        assert ask(default, QUERY, [1]) == ("master",)
        assert server.counters.logins == 1

    def test_sessions_that_are_reset_all_the_time_keep_few_statements(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        """What dies with a reset cannot be freed while the connection is open."""
        for request in range(10):
            do(default, "SET LOCK_TIMEOUT 1000")
            for number in range(20):
                ask(default, f"SELECT {request} * {number} + %s", [1])
            default.close()
        assert parked(default) <= 11
        assert server.counters.logins == 1

    def test_a_connection_worn_out_by_resets_is_replaced(
        self, server: DevServer, default: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(statements, "PARKED_LIMIT", 4)
        server.reset_counters()

        def request() -> int:
            for number in range(3):
                ask(default, f"SELECT {number} + %s", [1])
            do(default, "SET LOCK_TIMEOUT 1000")
            default.close()
            return server.counters.logins

        assert [request() for _ in range(4)] == [0, 0, 1, 1]


def kept_statements(wrapper: DatabaseWrapper) -> KeptStatements:
    """Of the connection that the pool lends next."""
    wrapper.ensure_connection()
    wrapper.connection.acquire()
    kept = wrapper.connection._hold.statements
    wrapper.close()
    assert isinstance(kept, KeptStatements)
    return kept


def parked(wrapper: DatabaseWrapper) -> int:
    return len(kept_statements(wrapper)._parked)


class TestASharedStatementIsLikeAFreshOne:
    """Whoever executes on a kept statement sees nothing of whoever did before."""

    def test_a_cursor_has_no_result_before_it_executes(self, default: DatabaseWrapper) -> None:
        ask(default, QUERY, [1])
        with default.cursor() as cursor:
            assert (cursor.description, cursor.rowcount, cursor.messages) == (None, -1, [])
            with pytest.raises(pyodbc.ProgrammingError, match="has executed nothing"):
                cursor.cursor.cursor.fetchone()

    def test_nor_after_a_statement_that_failed(self, default: DatabaseWrapper) -> None:
        text = "SELECT 1 WHERE %s = 1 / %s"
        ask(default, text, [1, 1])
        with default.cursor() as cursor:
            with pytest.raises(Exception, match="8134"):
                cursor.execute(text, [1, 0])
                cursor.fetchall()
            cursor.execute(text, [2, 1])
            assert cursor.fetchall() == []

    def test_a_failed_statement_is_kept_and_works_again(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        do(default, "CREATE TABLE ledger (id int PRIMARY KEY)")
        default.close()
        insert = "INSERT INTO ledger VALUES (%s)"

        def insert_all() -> None:
            for value in (1, 1, 2):
                with default.cursor() as cursor:
                    if ask(
                        default,
                        "SELECT 1 WHERE EXISTS (SELECT 1 FROM ledger WHERE id = %s)",
                        [value],
                    ):
                        with pytest.raises(IntegrityError):
                            cursor.execute(insert, [value])
                    else:
                        cursor.execute(insert, [value])

        assert messages_of(server, insert_all) == {"rpc.sp_prepexec": 6}

    def test_a_batch_that_failed_in_its_middle_leaves_its_connection_free(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        do(default, "CREATE TABLE ledger (id int PRIMARY KEY)")
        batch = "INSERT INTO ledger VALUES (%s); SELECT id FROM ledger"
        with default.cursor() as cursor:
            cursor.execute(batch, [1])
        with default.cursor() as cursor, pytest.raises(IntegrityError):
            cursor.execute(batch, [1])
        with default.cursor() as cursor:
            assert ask(default, QUERY, [1]) == ("master",)
        assert server.counters.logins == 1

    def test_settings_of_one_cursor_are_not_the_next_ones(self, default: DatabaseWrapper) -> None:
        text = "SELECT %s"
        with default.cursor() as cursor:
            cursor.execute(text, ["abc"])
            usual = cursor.description
        with default.cursor() as cursor:
            cursor.setinputsizes([(pyodbc.SQL_WVARCHAR, 77, 0)])
            cursor.cursor.cursor.arraysize = 5
            cursor.cursor.cursor.noscan = True
            cursor.execute(text, ["abc"])
            assert cursor.description != usual
        with default.cursor() as cursor:
            assert cursor.arraysize == 1
            assert cursor.noscan is False
            cursor.execute(text, ["abc"])
            assert cursor.description == usual

    def test_a_time_limit_set_later_holds_for_statements_that_were_kept_before(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        ask(default, QUERY, [1])
        default.connection.timeout = 1
        with server.faults.delay(600), pytest.raises(OperationalError, match="HYT00"):
            ask(default, QUERY, [1])
        default.close()
        assert ask(default, QUERY, [1]) == ("master",)

    BATCHES = {
        "rows": ("SELECT ? UNION ALL SELECT 2", [1]),
        "no rows": ("SELECT name FROM sys.databases WHERE database_id = ?", [-1]),
        "an insert": ("INSERT INTO ledger VALUES (?)", [5]),
        "an update of nothing": ("UPDATE ledger SET id = 3 WHERE id = ?", [-1]),
        "an insert that gives rows": ("INSERT INTO ledger OUTPUT INSERTED.id VALUES (?)", [6]),
        "no counts": ("SET NOCOUNT ON; INSERT INTO ledger VALUES (?); SELECT 7", [7]),
        "counts between rows": ("INSERT INTO ledger VALUES (?); SELECT 8; DELETE ledger", [8]),
        "three results": ("SELECT ?; SELECT 2 AS b, 'x' AS c; SELECT 3 WHERE 1 = 0", [1]),
        "messages": ("PRINT 'first'; SELECT ?; PRINT 'last'", [1]),
        "without parameters": ("SELECT 1; SELECT 2", []),
        "an error in the second result": ("SELECT ?; SELECT 1 / 0", [1]),
    }

    @pytest.mark.parametrize("what", BATCHES)
    def test_results_come_as_from_the_drivers_own_cursor(
        self, default: DatabaseWrapper, what: str
    ) -> None:
        sql, params = self.BATCHES[what]
        do(default, "CREATE TABLE ledger (id int)")
        default.connection.acquire()
        raw = default.connection._hold.raw
        first = transcript(default.connection.cursor(), sql, params)
        again = transcript(default.connection.cursor(), sql, params)
        assert first == again == transcript(raw.cursor(), sql, params)

    def test_executemany_runs_for_each_row(self, default: DatabaseWrapper) -> None:
        do(default, "CREATE TABLE ledger (id int, name nvarchar(10))")
        with default.cursor() as cursor:
            cursor.executemany("INSERT INTO ledger VALUES (%s, %s)", [(1, None), (2, "b")])
        assert ask(default, "SELECT count(*), max(name) FROM ledger") == (2, "b")

    def test_the_drivers_catalog_functions_take_part_in_the_lease(
        self, default: DatabaseWrapper
    ) -> None:
        do(default, "CREATE TABLE ledger (id int)")
        default.close()
        default.ensure_connection()
        cursor = default.connection.cursor()
        assert [row.table_name for row in cursor.tables(table="ledger")] == ["ledger"]
        assert default.connection.state.value == "free"


def transcript(cursor: Any, sql: str, params: list[Any]) -> list[Any]:
    """Everything that a caller can learn of an execution."""
    seen: list[Any] = []
    more = True
    cursor.execute(sql, *params)
    while more:
        seen.append((cursor.description, cursor.rowcount, cursor.messages))
        try:
            rows = [tuple(row) for row in cursor.fetchall()]
        except pyodbc.Error as error:
            seen.append(str(error))
        else:
            seen.extend((rows, cursor.fetchone(), cursor.fetchmany(2), cursor.description))
        try:
            more = cursor.nextset()
        except pyodbc.Error as error:
            seen.append(str(error))
            more = False
    seen.append((cursor.description, cursor.rowcount, bool(cursor.nextset())))
    cursor.close()
    return seen
