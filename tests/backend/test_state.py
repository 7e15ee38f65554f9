"""What a new wrapper pays, and what statements leave in their session at the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import Error, models
from django.db.models import F, Q

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.session.state import Effect, effect_of
from tests.shop.models import Author, Book, Everything, Tag

from .conftest import wrapper_for
from .default_alias import default_database, make_tables
from .test_connections import ask, messages_of

IN_THE_WINDOW = {"pool": {"health_check_window": 600}}


@pytest.fixture
def filled(server: DevServer) -> Iterator[DatabaseWrapper]:
    with default_database(server, OPTIONS=IN_THE_WINDOW) as wrapper:
        make_tables(wrapper, Author, Tag, Book, Everything)
        ada = Author.objects.create(name="Ada", email="ada@example.org")
        Book.objects.create(title="Notes", author=ada, price=1)
        yield wrapper


def messages_of_a_new_wrapper(server: DevServer, work: Any) -> dict[str, int]:
    """As of a request's, which finds a connection of the pool that is clean and proved."""
    with default_database(server, OPTIONS=IN_THE_WINDOW):
        return messages_of(server, work)


class TestANewWrapper:
    @pytest.mark.parametrize(
        "work",
        [
            lambda: Author.objects.get(name="Ada"),
            lambda: Author.objects.create(name="Grace"),
            lambda: Author.objects.create(name="Grace", email=None, born=None),
            lambda: Author.objects.create(id=500, name="Grace"),
            lambda: Author.objects.filter(name="Ada").update(email=None),
            lambda: Author.objects.filter(Q(email=None) | Q(born=None)).exists(),
            lambda: Author.objects.count(),
            lambda: list(Author.objects.order_by("name")[1:2]),
            lambda: list(Book.objects.select_related("author").filter(price__lt=F("pages") + 5)),
            lambda: list(Author.objects.annotate(n=models.Count("books")).filter(n__gt=0)),
            lambda: list(Everything.objects.filter(data__a=1)),
            lambda: list(Book.objects.dates("created", "month")),
        ],
        ids=[
            *("get", "create", "create with nulls", "create with a key", "update with a null"),
            *("exists", "count", "a page", "a join", "a group", "JSON", "dates"),
        ],
    )
    def test_sends_its_statement_and_nothing_else(
        self, server: DevServer, filled: DatabaseWrapper, work: Any
    ) -> None:
        messages = messages_of_a_new_wrapper(server, work)
        assert sum(messages.values()) == 1
        assert not any("reset" in kind for kind in messages)

    def test_the_next_one_finds_the_session_clean(
        self, server: DevServer, filled: DatabaseWrapper
    ) -> None:
        for number in range(3):
            messages_of_a_new_wrapper(server, lambda n=number: Author.objects.create(name=f"{n}"))
            messages = messages_of_a_new_wrapper(server, lambda: Author.objects.get(name="Ada"))
            assert messages == {"rpc.sp_prepexec": 1}

    def test_a_dirty_session_costs_one_message_more(
        self, server: DevServer, filled: DatabaseWrapper
    ) -> None:
        def two_requests(sql: str) -> None:
            with default_database(server, OPTIONS=IN_THE_WINDOW) as one, one.cursor() as cursor:
                cursor.execute(sql)
            with default_database(server, OPTIONS=IN_THE_WINDOW):
                Author.objects.get(name="Ada")

        clean = messages_of(server, lambda: two_requests("SELECT 1"))
        assert clean == {"batch": 1, "rpc.sp_prepexec": 1}
        dirty = messages_of(server, lambda: two_requests("SET LANGUAGE French"))
        assert dirty == {**clean, "batch+reset": 1}

    def test_the_first_one_of_all_learns_the_version_from_the_login(
        self, server: DevServer, filled: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = filled.sql_server_version
        monkeypatch.setattr(DatabaseWrapper, "_known_versions", {})
        page = lambda: list(Author.objects.order_by("name")[1:2])  # noqa: E731
        assert messages_of_a_new_wrapper(server, page) == {"batch": 1}
        assert DatabaseWrapper._known_versions == {"default": known}

    def test_where_the_login_does_not_say_enough_the_server_is_asked(
        self, server: DevServer, filled: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(DatabaseWrapper, "_known_versions", {})
        monkeypatch.setattr("mssql_async.base.AMBIGUOUS_VERSION", 16)
        page = lambda: list(Author.objects.order_by("name")[1:2])  # noqa: E731
        assert messages_of_a_new_wrapper(server, page)["batch"] > 1
        assert messages_of_a_new_wrapper(server, page) == {"batch": 1}

    def test_whether_it_is_azure_is_still_asked(
        self, server: DevServer, filled: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(DatabaseWrapper, "_known_azures", {})
        assert wrapper_for(server).to_azure_sql_db is False


SNAPSHOT = (
    "SELECT @@OPTIONS, @@DATEFIRST, @@LANGUAGE, @@TRANCOUNT, @@LOCK_TIMEOUT, @@TEXTSIZE, DB_NAME(),"
    " CONTEXT_INFO(), OBJECT_ID('tempdb..#t'), OBJECT_ID('tempdb..#django_returning_insert'),"
    " SESSION_CONTEXT(N'k'),"
    " (SELECT transaction_isolation_level FROM sys.dm_exec_sessions WHERE session_id = @@SPID)"
)


def session_is_changed_by(wrapper: DatabaseWrapper, sql: str, params: list[Any]) -> bool:
    """Compare the session with itself, in one lease that never ends between."""
    raw = wrapper._connection_source(wrapper.get_connection_params())
    lent = raw.acquire()
    assert lent is not None
    try:
        cursor = lent.raw.cursor()
        before = tuple(cursor.execute(SNAPSHOT).fetchone())
        cursor.execute(sql, params)
        while cursor.nextset():
            pass
        return tuple(lent.raw.cursor().execute(SNAPSHOT).fetchone()) != before
    finally:
        lent.broken = True
        raw.release(lent)


#: Statement and parameters; the verdict is compared with what the server's session shows.
COMPARED: list[tuple[str, list[Any]]] = [
    ("SELECT ?", [1]),
    ("SET NOCOUNT ON; SELECT ?", [1]),
    ("SET NOCOUNT ON; SELECT 1", []),
    ("SELECT ? AS a INTO #t", [1]),
    ("SELECT 1 AS a INTO #t", []),
    ("SELECT 1 AS a INTO [#t]", []),
    ("SET DATEFIRST 3", []),
    ("SET LANGUAGE French", []),
    ("SET LOCK_TIMEOUT 50", []),
    ("SET CONTEXT_INFO 0x01", []),
    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", []),
    ("USE master", []),
    ("BEGIN TRANSACTION", []),
    ("EXEC sp_set_session_context N'k', N'v'", []),
    ("DECLARE @use int = 1; SET @use = 2; SELECT @use", []),
    ("SELECT 'SET LANGUAGE French' AS [USE master]", []),
    ("/* USE master /* */ ' */ SELECT 1 -- SET LANGUAGE French", []),
    ("UPDATE [shop_author] SET [name] = 'x'", []),
    ("CREATE TABLE [lasting] (a int)", []),
    ("TRUNCATE TABLE [shop_everything]", []),
    ("EXEC sp_rename 'shop_tag', 'shop_label'", []),
]


@pytest.mark.parametrize(("sql", "params"), COMPARED, ids=[sql for sql, _ in COMPARED])
def test_the_verdict_is_what_the_servers_session_shows(
    server: DevServer, filled: DatabaseWrapper, sql: str, params: list[Any]
) -> None:
    changed = session_is_changed_by(filled, sql, params)
    assert effect_of(sql, bool(params)) is (Effect.DIRTY if changed else Effect.CLEAN)


def test_inserting_a_key_of_ones_own_ends_with_the_call(
    server: DevServer, filled: DatabaseWrapper
) -> None:
    """Were it left on, another table of the same session could not have it on."""
    Author.objects.create(id=700, name="Grace")
    with filled.cursor() as cursor:
        cursor.execute("SET IDENTITY_INSERT [shop_author] ON; SELECT %s", [1])
        cursor.execute("SET IDENTITY_INSERT [shop_tag] ON; SELECT %s", [1])
    Tag.objects.create(id=700, name="x")
    assert Author.objects.get(id=700).name == "Grace"


def test_a_model_that_has_nothing_but_its_key_is_saved_in_one_message(server: DevServer) -> None:
    class Bare(models.Model):
        class Meta:
            app_label = "nothing_but_keys"

    def create() -> None:
        assert Bare.objects.create().pk
        connection.close()

    with default_database(server, OPTIONS=IN_THE_WINDOW) as connection:
        make_tables(connection, Bare)
        connection.close()
        assert messages_of(server, create) == {"rpc.sp_prepexec": 1}
        assert Bare.objects.all().delete()[0] == 1  # NOCOUNT did not outlive it


def test_rows_without_values_are_sent_bare_and_may_leave_a_temporary_table(
    server: DevServer,
) -> None:
    wrapper = wrapper_for(server)
    with wrapper.cursor() as cursor:
        cursor.executemany("CREATE TABLE #leak (n int)", [()])
    wrapper.close()
    with pytest.raises(Error, match="#leak"):
        ask(wrapper, "SELECT COUNT(*) FROM #leak")
    wrapper.close()
