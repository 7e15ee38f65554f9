"""What receivers of ``connection_created`` set belongs to their context, and costs nothing
where the pool has a connection at that profile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, ProgrammingError
from django.db.backends.signals import connection_created

from mssql_async.base import DatabaseWrapper, _proven_settings
from mssql_async.devserver import DevServer
from mssql_async.session.lease import LeasedConnection, LeaseState

from .conftest import wrapper_for
from .test_connections import ask, do, messages_of
from .test_retiring import atomic

ALWAYS_PROVED = {"pool": {"health_check_window": 600}}


@contextlib.contextmanager
def receiving(*statements: str | tuple[str, list[Any]]) -> Iterator[None]:
    """A receiver that executes these meanwhile."""

    def receiver(connection: DatabaseWrapper, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                if isinstance(statement, str):
                    cursor.execute(statement)
                else:
                    cursor.execute(*statement)

    with calling(receiver):
        yield


@contextlib.contextmanager
def calling(receiver: Callable[..., None]) -> Iterator[None]:
    connection_created.connect(receiver, weak=False)
    try:
        yield
    finally:
        connection_created.disconnect(receiver)


@pytest.fixture(autouse=True)
def nothing_is_proven() -> Iterator[None]:
    _proven_settings.clear()
    yield
    _proven_settings.clear()


@pytest.fixture
def wrapper(server: DevServer) -> Iterator[DatabaseWrapper]:
    one = wrapper_for(server, OPTIONS=ALWAYS_PROVED)
    yield one
    one.close()


def request(wrapper: DatabaseWrapper, sql: str = "SELECT 1") -> Any:
    """A request with one query: its connection is Django's to make and to close."""
    answer = ask(wrapper, sql)[0]
    wrapper.close_if_unusable_or_obsolete()
    return answer


SETTINGS = {
    "SET LANGUAGE Deutsch": ("SELECT @@LANGUAGE", "Deutsch"),
    "SET LOCK_TIMEOUT 1234": ("SELECT @@LOCK_TIMEOUT", 1234),
    "SET DATEFIRST 3": ("SELECT @@DATEFIRST", 3),
    "EXEC sp_set_session_context N'tenant', N'acme'": (
        "SELECT CAST(SESSION_CONTEXT(N'tenant') AS nvarchar(20))",
        "acme",
    ),
    "USE master": ("SELECT DB_NAME()", "master"),
}


class TestSettings:
    @pytest.mark.parametrize("setting", SETTINGS)
    def test_hold_for_every_query_of_the_context(
        self, wrapper: DatabaseWrapper, setting: str
    ) -> None:
        shown_by, expected = SETTINGS[setting]
        with receiving(setting):
            for _ in range(3):
                assert [ask(wrapper, shown_by)[0] for _ in range(3)] == [expected] * 3
                wrapper.close()

    @pytest.mark.parametrize("setting", SETTINGS)
    def test_neither_pin_nor_dirty_the_session(
        self, wrapper: DatabaseWrapper, setting: str
    ) -> None:
        with receiving(setting):
            for _ in range(2):
                ask(wrapper, "SELECT 1")
                assert wrapper.connection.state is LeaseState.FREE
                wrapper.close()

    @pytest.mark.parametrize("setting", SETTINGS)
    def test_cost_nothing_in_the_steady_state(
        self, server: DevServer, wrapper: DatabaseWrapper, setting: str
    ) -> None:
        with receiving(setting):
            request(wrapper)
            assert messages_of(server, lambda: request(wrapper)) == {"batch": 1}

    @pytest.mark.parametrize("setting", SETTINGS)
    def test_hold_after_a_reset_that_costs_one_message(
        self, server: DevServer, wrapper: DatabaseWrapper, setting: str
    ) -> None:
        shown_by, expected = SETTINGS[setting]

        def dirty_request() -> None:
            do(wrapper, "SET DATEFORMAT dmy")
            wrapper.close()

        with receiving(setting):
            request(wrapper)
            assert messages_of(server, dirty_request) == {"batch": 1, "batch+reset": 1}
            assert messages_of(server, lambda: request(wrapper)) == {"batch": 1}
            assert request(wrapper, shown_by) == expected
        assert server.counters.logins == 0

    def test_are_not_seen_by_contexts_without_them(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        before = request(wrapper, "SELECT @@LANGUAGE")
        with receiving("SET LANGUAGE Deutsch"):
            assert request(wrapper, "SELECT @@LANGUAGE") == "Deutsch"
        assert request(wrapper, "SELECT @@LANGUAGE") == before
        assert server.counters.logins == 1

    def test_a_lease_that_did_not_say_its_profile_would_show_it_to_them(
        self, wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control of the test above."""
        request(wrapper)
        with receiving("SET LANGUAGE Deutsch"):
            wrapper.ensure_connection()
            wrapper.connection._hold.connection.profile = ()
            request(wrapper)
        assert request(wrapper, "SELECT @@LANGUAGE") == "Deutsch"

    def test_several_are_replayed_in_their_order(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        with receiving("SET DATEFIRST 3", "SET LANGUAGE Deutsch; SET LOCK_TIMEOUT 5"):
            for _ in range(2):
                assert ask(wrapper, "SELECT @@DATEFIRST, @@LANGUAGE, @@LOCK_TIMEOUT") == (
                    1,
                    "Deutsch",
                    5,
                )
                do(wrapper, "SET DATEFORMAT mdy")
                wrapper.close()
        with receiving("SET LANGUAGE Deutsch; SET LOCK_TIMEOUT 5", "SET DATEFIRST 3"):
            assert request(wrapper, "SELECT @@DATEFIRST") == 3

    def test_hold_in_a_transaction_too(self, server: DevServer, wrapper: DatabaseWrapper) -> None:
        with receiving("SET LOCK_TIMEOUT 77"):
            request(wrapper)

            def work() -> None:
                wrapper.ensure_connection()
                wrapper.set_autocommit(False)
                assert ask(wrapper, "SELECT @@LOCK_TIMEOUT") == (77,)
                wrapper.commit()
                wrapper.close()

            assert messages_of(server, work) == {"tran.begin": 1, "batch": 1, "tran.commit": 1}

    def test_hold_for_the_second_connection_of_a_loop(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        with receiving("SET LOCK_TIMEOUT 77"), wrapper.cursor() as cursor:
            cursor.execute("SELECT name FROM sys.databases")
            assert ask(wrapper, "SELECT @@LOCK_TIMEOUT") == (77,)
            assert len(server.sessions()) == 2

    def test_without_pooling_are_sent_for_every_connection(
        self, server: DevServer, wrapper: DatabaseWrapper, settings: Any
    ) -> None:
        settings.DATABASE_CONNECTION_POOLING = False
        with receiving("SET LOCK_TIMEOUT 77"):
            for _ in range(3):
                assert request(wrapper, "SELECT @@LOCK_TIMEOUT") == 77


SET_TENANT = "EXEC sp_set_session_context N'tenant', %s, @read_only = 1"
TENANT = "SELECT CAST(SESSION_CONTEXT(N'tenant') AS nvarchar(20))"


class TestTenants:
    """A setting whose parameters differ from context to context."""

    @pytest.fixture(autouse=True)
    def tenant(self) -> Iterator[threading.local]:
        current = threading.local()

        def receiver(connection: DatabaseWrapper, **kwargs: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute(SET_TENANT, [current.name])

        with calling(receiver):
            yield current

    def test_each_sees_itself_and_never_the_other(
        self, server: DevServer, wrapper: DatabaseWrapper, tenant: threading.local
    ) -> None:
        names = ["acme", "o'brien", "acme", "acme", "Ω", "o'brien"]
        for tenant.name in names:
            assert request(wrapper, TENANT) == tenant.name
        assert server.counters.logins == 1

    def test_in_threads_at_once(self, server: DevServer, tenant: threading.local) -> None:
        wrong: list[Any] = []

        def serve(name: str) -> None:
            tenant.name = name
            own = wrapper_for(server, OPTIONS={"pool": {"max_size": 2}})
            seen = [request(own, TENANT) for _ in range(30)]
            wrong.extend(each for each in seen if each != name)

        threads = [threading.Thread(target=serve, args=(f"tenant {n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_the_same_tenant_again_costs_nothing_and_another_one_message(
        self, server: DevServer, wrapper: DatabaseWrapper, tenant: threading.local
    ) -> None:
        tenant.name = "acme"
        request(wrapper, TENANT)
        assert messages_of(server, lambda: request(wrapper, TENANT)) == {"batch": 1}
        tenant.name = "other"
        assert messages_of(server, lambda: request(wrapper, TENANT)) == {
            "batch+reset": 1,
            "batch": 1,
        }


class TestReceivers:
    def test_may_read_and_write(self, server: DevServer, wrapper: DatabaseWrapper) -> None:
        do(wrapper, "CREATE TABLE visits (language nvarchar(50))")
        wrapper.close()
        with receiving(
            "SET LANGUAGE Deutsch", "INSERT INTO visits SELECT @@LANGUAGE", "SET LOCK_TIMEOUT 7"
        ):
            for _ in range(3):
                assert request(wrapper, "SELECT @@LOCK_TIMEOUT") == 7
            assert ask(wrapper, "SELECT count(*), max(language) FROM visits") == (4, "Deutsch")

    def test_that_read_after_their_settings_cost_what_they_read(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        with receiving("SET LANGUAGE Deutsch", "SET LOCK_TIMEOUT 7", "SELECT 1"):
            request(wrapper)
            assert messages_of(server, lambda: request(wrapper)) == {"batch": 2}

    def test_that_read_before_them_read_under_the_settings_of_nobody_else(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        """Which costs two messages more: back to the settings so far, and on to the others."""
        seen: list[Any] = []

        def receiver(connection: DatabaseWrapper, **kwargs: Any) -> None:
            seen.append(ask(connection, "SELECT @@LOCK_TIMEOUT"))
            do(connection, "SET LOCK_TIMEOUT 7")

        with calling(receiver):
            request(wrapper)
            assert messages_of(server, lambda: request(wrapper)) == {"batch+reset": 2, "batch": 2}
        assert seen == [(-1,), (-1,)]

    def test_may_leave_their_cursor_open(self, server: DevServer, wrapper: DatabaseWrapper) -> None:
        def receiver(connection: DatabaseWrapper, **kwargs: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("SELECT name FROM sys.databases")
            connection.kept = cursor  # type: ignore[attr-defined]
            connection.cursor().execute("SET LOCK_TIMEOUT 7")

        with calling(receiver):
            for _ in range(2):
                assert ask(wrapper, "SELECT @@LOCK_TIMEOUT") == (7,)
                assert ("master",) in wrapper.kept.fetchall()  # type: ignore[attr-defined]
                wrapper.close()

    def test_that_leave_something_else_behind_pin_as_everybody_does(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        with receiving("SET LOCK_TIMEOUT 7", "CREATE TABLE #mine (a int)", "SET DATEFIRST 3"):
            for _ in range(2):
                assert ask(wrapper, "SELECT @@LOCK_TIMEOUT, @@DATEFIRST") == (7, 3)
                assert ask(wrapper, "SELECT count(*) FROM #mine") == (0,)
                assert wrapper.connection.pinned
                wrapper.close()
        assert ask(wrapper, "SELECT OBJECT_ID('tempdb..#mine')") == (None,)

    def test_see_the_error_of_a_setting_that_never_worked(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        errors: list[str] = []

        def receiver(connection: DatabaseWrapper, **kwargs: Any) -> None:
            with connection.cursor() as cursor:
                try:
                    cursor.execute("SET LANGUAGE Klingon")
                except ProgrammingError as error:
                    errors.append(str(error))

        with calling(receiver):
            for _ in range(3):
                assert request(wrapper) == 1
        assert len(errors) == 3
        assert "Klingon" in errors[0]

    def test_that_raise_fail_the_connect_and_leave_nothing_behind(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        def receiver(connection: DatabaseWrapper, **kwargs: Any) -> None:
            connection.cursor().execute("SET LOCK_TIMEOUT 7")
            raise LookupError("no tenant")

        with calling(receiver), pytest.raises(LookupError, match="no tenant"):
            wrapper.ensure_connection()
        wrapper.close()
        assert request(wrapper, "SELECT @@LOCK_TIMEOUT") == -1
        assert server.counters.logins == 1

    def test_settings_after_them_dirty_the_session_again(self, wrapper: DatabaseWrapper) -> None:
        with receiving("SET LOCK_TIMEOUT 7"):
            wrapper.ensure_connection()
            do(wrapper, "SET LOCK_TIMEOUT 8")
            assert wrapper.connection.pinned
            wrapper.close()
            assert request(wrapper, "SELECT @@LOCK_TIMEOUT") == 7

    def test_a_server_that_lets_nobody_in_fails_the_connect(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        with receiving("SET LOCK_TIMEOUT 7"):
            request(wrapper)
            server.kill()
            with server.faults.refuse_logins(18456), pytest.raises(InterfaceError):
                wrapper.ensure_connection()
            assert wrapper.connection is None
            assert request(wrapper, "SELECT @@LOCK_TIMEOUT") == 7

    def test_without_receivers_the_connection_is_there_when_connect_returns(
        self, wrapper: DatabaseWrapper
    ) -> None:
        wrapper.ensure_connection()
        lease: LeasedConnection = wrapper.connection
        assert lease.state is LeaseState.HELD


def test_xact_abort_in_a_profile_has_any_error_end_the_transaction(
    wrapper: DatabaseWrapper,
) -> None:
    do(wrapper, "CREATE TABLE ledger (id int PRIMARY KEY)")
    wrapper.close()
    for _ in range(2):  # where the setting is sent, and where the connection has it already
        with receiving("SET XACT_ABORT ON"):
            with pytest.raises(OperationalError, match="has rolled this"), atomic(wrapper):
                do(wrapper, "INSERT INTO ledger VALUES (1)")
                with pytest.raises(IntegrityError):
                    do(wrapper, "INSERT INTO ledger VALUES (1)")
                do(wrapper, "INSERT INTO ledger VALUES (2)")
            wrapper.close()
    assert ask(wrapper, "SELECT COUNT(*) FROM ledger") == (0,)
