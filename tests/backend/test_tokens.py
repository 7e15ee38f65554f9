"""Logging in with a provider's access tokens, from ``DATABASES`` down to the server."""

from __future__ import annotations

import datetime
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.utils import InterfaceError, OperationalError
from pytest_django import DjangoDbBlocker

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.errors import TokenError, TokenExpired
from mssql_async.pool import Opened, Pool, PooledConnection, PoolSettings
from mssql_async.pool.odbc_connector import OdbcConnector
from mssql_async.pool.registry import close_pools, pool_statistics
from mssql_async.pool.runtime import SystemRuntime
from mssql_async.pool.tokens import MARGIN, REFRESH_AHEAD, TokenCache

from .conftest import wrapper_for

pytest.importorskip("cryptography", reason="tokens travel encrypted: a certificate is needed")

TRUSTING = "Encrypt=yes;TrustServerCertificate=yes"
A, B = "eyJ0eXAiOiJKV1QifQ.secret-a", "eyJ0eXAiOiJKV1QifQ.secret-b"
#: Who the server takes their bearers for.
USERS = {A: "anna@contoso.example", B: "bert@contoso.example"}
ANNA, BERT = USERS.values()
HOUR = 3600.0
PATIENCE = 30


class Time:
    """The real one, and as much later as a test wants it to be."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def pass_by(self, seconds: float) -> None:
        self.ahead += seconds

    def epoch(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def utc(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.epoch(), datetime.UTC)


class Runtime(SystemRuntime):
    """A pool's, in that time."""

    def __init__(self, passing: Time) -> None:
        self._time = passing

    def now(self) -> float:
        return self._time.monotonic()


class Issuer:
    """A provider that gives the next of its answers, and the last one for ever.

    An answer is a token and the seconds it lives from now on, or an exception.
    """

    def __init__(self, passing: Time, *answers: tuple[str, float] | Exception) -> None:
        self._time = passing
        self._answers = list(answers)
        self.calls = 0

    def __call__(self) -> tuple[str, float]:
        self.calls += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        token, lifetime = answer
        return token, self._time.epoch() + lifetime


@pytest.fixture
def passing() -> Time:
    return Time()


@pytest.fixture
def server(
    django_db_blocker: DjangoDbBlocker, passing: Time, caplog: pytest.LogCaptureFixture
) -> Iterator[DevServer]:
    """One that lets the bearers of both tokens in, in whose log no secret may show."""
    caplog.set_level(logging.DEBUG)
    with django_db_blocker.unblock(), DevServer(clock=passing.utc) as own:
        for token, user in USERS.items():
            own.accept_token(token, user=user)
        yield own
        close_pools(lambda parameters: parameters.address == (own.host, own.port))
    assert "secret-" not in caplog.text


def with_provider(server: DevServer, provider: object, **settings: Any) -> DatabaseWrapper:
    options = {
        "extra_params": TRUSTING,
        "token_provider": provider,
        **settings.pop("OPTIONS", {}),
    }
    return wrapper_for(server, USER="", PASSWORD="", OPTIONS=options, **settings)


def who(wrapper: DatabaseWrapper) -> object:
    with wrapper.cursor() as cursor:
        return cursor.execute("SELECT SUSER_SNAME()").fetchone()[0]


def users(server: DevServer, count: int) -> list[str]:
    """Who is logged in, once that are so many: a session ends a moment after its client."""
    assert server.wait_for_sessions(count)
    return [session.user for session in server.sessions()]


# --- through DATABASES -----------------------------------------------------------------------


class Credential:
    """As those of azure-identity."""

    def get_token(self, *scopes: str, **kwargs: Any) -> tuple[str, int]:
        assert scopes == ("https://database.windows.net/.default",)
        return A, 4_000_000_000


credential = Credential()


@pytest.mark.parametrize("provider", [credential, f"{__name__}.credential", lambda: (A, 4e9)])
def test_a_project_logs_in_with_a_providers_token(server: DevServer, provider: object) -> None:
    wrapper = with_provider(server, provider)
    assert who(wrapper) == ANNA
    with wrapper._nodb_cursor() as cursor:
        assert cursor.execute("SELECT SUSER_SNAME()").fetchone()[0] == ANNA
    wrapper.close()


def test_wrappers_with_the_same_provider_share_a_connection(
    server: DevServer, passing: Time
) -> None:
    issuer = Issuer(passing, (A, HOUR))
    for _ in range(3):
        wrapper = with_provider(server, issuer)
        assert who(wrapper) == ANNA
        wrapper.close()
    assert (issuer.calls, server.counters.logins) == (1, 1)


def test_without_pooling_every_request_logs_in_with_the_token_fetched_once(
    server: DevServer, passing: Time, settings: Any
) -> None:
    settings.DATABASE_CONNECTION_POOLING = False
    issuer = Issuer(passing, (A, HOUR))
    wrapper = with_provider(server, issuer)
    for _ in range(3):
        assert who(wrapper) == ANNA
        wrapper.close()
    assert (issuer.calls, server.counters.logins) == (1, 3)


def test_twenty_connections_opened_at_once_fetch_one_token(
    server: DevServer, passing: Time
) -> None:
    issuer = Issuer(passing, (A, HOUR))
    together = threading.Barrier(20)
    found: list[object] = []

    def request() -> None:
        wrapper = with_provider(server, issuer, OPTIONS={"pool": {"lease": "context"}})
        try:
            found.append(who(wrapper))
            together.wait(PATIENCE)  # so that each holds a connection of its own
        finally:
            wrapper.close()

    threads = [threading.Thread(target=request) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [ANNA] * 20
    assert server.counters.logins == 20
    assert issuer.calls == 1


def no_secret_in(error: BaseException) -> bool:
    return "secret-" not in "".join(traceback.format_exception(error)) + repr(error.args)


def test_an_expired_token_of_the_provider_is_a_clear_error_and_no_login(
    server: DevServer, passing: Time
) -> None:
    wrapper = with_provider(server, Issuer(passing, (A, -30)))
    with pytest.raises(TokenExpired) as raised:
        who(wrapper)
    assert isinstance(raised.value, OperationalError)
    said = str(raised.value)
    assert f"Cannot log in to SQL Server at {server.host},{server.port}, database 'app'" in said
    assert "Issuer returned an access token that expired 30 s ago" in said
    assert no_secret_in(raised.value)
    assert server.counters.logins == 0


def test_a_provider_that_raises_is_told_with_what_it_raised(
    server: DevServer, passing: Time
) -> None:
    failure = OSError("the identity service is away")
    wrapper = with_provider(server, Issuer(passing, failure, (A, HOUR)))
    with pytest.raises(TokenError, match=r"Issuer raised OSError: the identity service") as raised:
        who(wrapper)
    causes = []
    error: BaseException | None = raised.value
    while error is not None:
        causes.append(error)
        error = error.__cause__
    assert failure in causes
    assert who(wrapper) == ANNA
    wrapper.close()


def test_a_token_the_server_refuses_is_replaced_unseen(server: DevServer, passing: Time) -> None:
    issuer = Issuer(passing, (A, HOUR), (B, HOUR))
    server.revoke_token(A)
    wrapper = with_provider(server, issuer)
    assert who(wrapper) == BERT
    wrapper.close()
    assert issuer.calls == 2
    assert (server.counters.refused_logins, server.counters.logins) == (1, 1)


def test_a_token_that_has_expired_by_the_servers_clock_only_is_replaced_too(
    server: DevServer, passing: Time
) -> None:
    issuer = Issuer(passing, (A, HOUR), (B, HOUR))
    server.accept_token(A, expires_at=passing.utc())
    wrapper = with_provider(server, issuer)
    assert who(wrapper) == BERT
    wrapper.close()


def test_where_the_provider_has_no_other_token_the_servers_refusal_is_told(
    server: DevServer, passing: Time
) -> None:
    issuer = Issuer(passing, (A, HOUR))
    server.accept_token(A, expires_at=passing.utc())
    with pytest.raises(InterfaceError) as raised:
        who(with_provider(server, issuer))
    state, said = raised.value.args
    assert state == "28000"
    assert "Token is expired" in said
    assert (
        "The server refused the access token, and OPTIONS['token_provider'] gave no other" in said
    )
    assert no_secret_in(raised.value)
    assert (issuer.calls, server.counters.refused_logins) == (2, 1)


def test_what_is_shown_of_an_alias_shows_no_token(server: DevServer, passing: Time) -> None:
    wrapper = with_provider(server, Issuer(passing, (A, HOUR)))
    who(wrapper)
    parameters = wrapper._connect_parameters(wrapper.get_connection_params())
    assert "secret-" not in f"{wrapper.connection!r} {parameters!r} {pool_statistics()!r}"
    wrapper.close()


# --- in an hour ------------------------------------------------------------------------------


class Forgetful(OdbcConnector):
    """Broken: does not say when its tokens expire."""

    def open(self, deadline: float) -> Opened:
        opened = super().open(deadline)
        return Opened(opened.raw, credential=opened.credential)


class Eager(OdbcConnector):
    """Broken: takes every renewal for a change."""

    @property
    def credential(self) -> int:
        return super().credential + self.renewals

    renewals = 0


MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool(server: DevServer, passing: Time) -> Iterator[MakePool]:
    """Pools in a time that passes when the test says so; tokens are fetched on the spot."""
    made: list[Pool] = []

    def on_the_spot(job: Callable[[], None]) -> bool:
        job()
        return True

    def make(issuer: Issuer, kind: type[OdbcConnector] = OdbcConnector) -> Pool:
        wrapper = with_provider(server, issuer)
        tokens = TokenCache(
            issuer, clock=passing.epoch, monotonic=passing.monotonic, start=on_the_spot
        )
        connector = kind(
            wrapper._connect_parameters(wrapper.get_connection_params()), tokens=tokens
        )
        settings = PoolSettings(max_idle=10 * HOUR, max_lifetime=None, health_check_window=0)
        made.append(Pool(connector, settings, runtime=Runtime(passing)))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def acquire(pool: Pool) -> PooledConnection:
    connection = pool.acquire()
    assert connection is not None
    return connection


def owner(connection: PooledConnection) -> object:
    return connection.raw.execute("SELECT SUSER_SNAME()").fetchval()


def lent_within_the_margin(
    kind: type[OdbcConnector], server: DevServer, passing: Time, make_pool: MakePool
) -> object:
    """Whose connection is lent when the first token comes near its end."""
    pool = make_pool(Issuer(passing, (A, HOUR), (B, HOUR)), kind)
    pool.release(acquire(pool))
    assert users(server, 1) == [ANNA]
    passing.pass_by(HOUR - MARGIN)
    connection = acquire(pool)
    found = owner(connection)
    pool.release(connection)
    return found


def test_a_connection_is_not_lent_within_the_margin_of_its_tokens_expiry(
    server: DevServer, passing: Time, make_pool: MakePool
) -> None:
    assert lent_within_the_margin(OdbcConnector, server, passing, make_pool) == BERT
    assert users(server, 1) == [BERT]


def test_a_connector_that_did_not_tell_the_expiry_would_have_it_lent(
    server: DevServer, passing: Time, make_pool: MakePool
) -> None:
    """The positive control of the test above."""
    assert lent_within_the_margin(Forgetful, server, passing, make_pool) == ANNA


def test_just_outside_the_margin_it_still_is(
    server: DevServer, passing: Time, make_pool: MakePool
) -> None:
    pool = make_pool(Issuer(passing, (A, HOUR), (B, HOUR)))
    pool.release(acquire(pool))
    passing.pass_by(HOUR - MARGIN - PATIENCE)
    connection = acquire(pool)
    assert owner(connection) == ANNA
    pool.release(connection)


def test_a_connection_that_comes_back_within_the_margin_is_closed(
    server: DevServer, passing: Time, make_pool: MakePool
) -> None:
    pool = make_pool(Issuer(passing, (A, HOUR), (B, HOUR)))
    connection = acquire(pool)
    passing.pass_by(HOUR - MARGIN)
    assert owner(connection) == ANNA  # as with SQL Server, the session outlives its token
    pool.release(connection)
    assert (pool.statistics().size, pool.statistics().closed) == (0, 1)


def test_a_token_is_renewed_ahead_of_its_expiry_and_nobody_waits_for_it(
    server: DevServer, passing: Time, make_pool: MakePool
) -> None:
    issuer = Issuer(passing, (A, HOUR), (B, HOUR))
    pool = make_pool(issuer)
    first = acquire(pool)
    passing.pass_by(HOUR - REFRESH_AHEAD)
    second, third = acquire(pool), acquire(pool)
    assert [owner(one) for one in (first, second, third)] == [ANNA, ANNA, BERT]
    assert issuer.calls == 2
    for connection in (first, second, third):
        pool.release(connection)


def test_while_a_renewal_fails_connections_are_opened_with_the_old_token(
    server: DevServer, passing: Time, make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(Issuer(passing, (A, HOUR), OSError("away")))
    first = acquire(pool)
    passing.pass_by(HOUR - REFRESH_AHEAD)
    second = acquire(pool)
    assert owner(second) == ANNA
    assert "could not be renewed" in caplog.text
    for connection in (first, second):
        pool.release(connection)


def siblings_live_on(
    renewed: str,
    passing: Time,
    make_pool: MakePool,
    kind: type[OdbcConnector] = OdbcConnector,
) -> bool:
    """Whether two idle connections are lent again after a renewal."""
    pool = make_pool(Issuer(passing, (A, HOUR), (renewed, HOUR)), kind)
    siblings = [acquire(pool), acquire(pool)]
    for connection in siblings:
        pool.release(connection)
    passing.pass_by(HOUR - REFRESH_AHEAD)
    held = [acquire(pool) for _ in range(3)]  # the third is opened, which renews the token
    if kind is Eager:
        Eager.renewals = 1
    for connection in held:
        pool.release(connection)
    again = [acquire(pool) for _ in range(3)]
    for connection in again:
        pool.release(connection)
    return set(siblings) <= set(again)


def test_siblings_live_on_when_a_renewal_brings_the_same_token(
    server: DevServer, passing: Time, make_pool: MakePool
) -> None:
    assert siblings_live_on(A, passing, make_pool)
    assert server.counters.logins == 3


def test_siblings_are_replaced_once_the_token_has_really_changed(
    server: DevServer, passing: Time, make_pool: MakePool
) -> None:
    assert not siblings_live_on(B, passing, make_pool)
    assert users(server, 3) == [BERT] * 3


def test_a_connector_that_took_every_renewal_for_a_change_would_replace_them(
    server: DevServer, passing: Time, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control of the test before the last."""
    monkeypatch.setattr(Eager, "renewals", 0)
    assert not siblings_live_on(A, passing, make_pool, Eager)
