"""Access tokens are fetched once for everybody, ahead of expiry, and never used near it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from mssql_async.pool import tokens
from mssql_async.pool.runtime import SYSTEM
from mssql_async.pool.tokens import (
    AZURE_SQL_SCOPE,
    MARGIN,
    PAUSE,
    REFRESH_AHEAD,
    AccessToken,
    Provider,
    TokenCache,
    TokenError,
    TokenExpired,
    UsableToken,
    encode_token,
)

PATIENCE = 30
"""Seconds after which a test that should have gone on by itself fails."""
HOUR = 3600.0
SECRET = "eyJ0eXAiOiJKV1QifQ.secret"


class Clocks:
    """The time of day, and the time that never goes back."""

    def __init__(self) -> None:
        self.epoch = 1_800_000_000.0
        self.monotonic = 5_000.0

    def advance(self, seconds: float) -> None:
        self.epoch += seconds
        self.monotonic += seconds

    @property
    def later(self) -> float:
        """A deadline that is far enough away."""
        return self.monotonic + PATIENCE


class Issuer:
    """A provider that gives the next of its answers, and the last one for ever.

    While ``open`` is not set, callers are held back in the middle of their call.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()

    def __call__(self) -> Any:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.entered.release()
        assert self.open.wait(PATIENCE)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def on_the_spot(job: Callable[[], None]) -> bool:
    """Calls the provider in the caller's thread, so that a test need not wait for it."""
    job()
    return True


def cache_of(clocks: Clocks, provider: Any, **settings: Any) -> TokenCache:
    settings = {"start": on_the_spot, **settings}
    return TokenCache(
        provider,
        clock=lambda: clocks.epoch,
        monotonic=lambda: clocks.monotonic,
        **settings,
    )


def text_of(token: UsableToken) -> str:
    return token.encoded[4:].decode("utf-16-le")


@pytest.fixture
def landed(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released whenever an answer of the provider has been dealt with."""
    semaphore = threading.Semaphore(0)
    fetch = TokenCache._fetch

    def fetch_and_tell(self: TokenCache, flight: Any) -> None:
        fetch(self, flight)
        semaphore.release()

    monkeypatch.setattr(TokenCache, "_fetch", fetch_and_tell)
    return semaphore


class Callers:
    """Threads that ask a cache at the same time."""

    def __init__(self, cache: TokenCache, count: int, deadline: float) -> None:
        self.tokens: list[UsableToken] = []
        self.errors: list[TokenError] = []
        self._threads = [
            threading.Thread(target=self._ask, args=(cache, deadline)) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, cache: TokenCache, deadline: float) -> None:
        try:
            self.tokens.append(cache.get(deadline))
        except TokenError as error:
            self.errors.append(error)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released by every caller that is about to wait for the provider."""
    semaphore = threading.Semaphore(0)
    wait = tokens._Flight.wait

    def tell_and_wait(self: Any, seconds: float) -> Any:
        semaphore.release()
        return wait(self, seconds)

    monkeypatch.setattr(tokens._Flight, "wait", tell_and_wait)
    return semaphore


def wait_for(semaphore: threading.Semaphore, times: int = 1) -> None:
    for _ in range(times):
        assert semaphore.acquire(timeout=PATIENCE)


# --- one call for everybody ------------------------------------------------------------------


class Unshared(TokenCache):
    """Broken: every caller has a flight of its own."""

    def _take_off(self, flight: Any) -> None:
        self._flight = None
        super()._take_off(flight)


def calls_for_20_callers(
    kind: type[TokenCache], clocks: Clocks, waiting: threading.Semaphore
) -> tuple[Issuer, Callers]:
    issuer = Issuer((SECRET, clocks.epoch + HOUR))
    issuer.open.clear()
    cache = kind(issuer, clock=lambda: clocks.epoch, monotonic=lambda: clocks.monotonic)
    callers = Callers(cache, 20, clocks.later)
    wait_for(waiting, 20)
    issuer.open.set()
    callers.join()
    return issuer, callers


def test_the_provider_is_called_once_for_all_callers(
    clocks: Clocks, waiting: threading.Semaphore
) -> None:
    issuer, callers = calls_for_20_callers(TokenCache, clocks, waiting)
    assert issuer.calls == 1
    assert {text_of(token) for token in callers.tokens} == {SECRET}
    assert len(callers.tokens) == 20


def test_callers_that_did_not_share_a_flight_would_call_it_each(
    clocks: Clocks, waiting: threading.Semaphore
) -> None:
    """The positive control of the test above."""
    issuer, _ = calls_for_20_callers(Unshared, clocks, waiting)
    assert issuer.calls == 20


def test_a_token_is_kept_until_it_is_due(clocks: Clocks) -> None:
    issuer = Issuer((SECRET, clocks.epoch + HOUR))
    cache = cache_of(clocks, issuer)
    first = cache.get(clocks.later)
    clocks.advance(HOUR - REFRESH_AHEAD - 1)
    assert cache.get(clocks.later) is first
    assert issuer.calls == 1


def test_every_caller_gets_an_exception_of_its_own_with_the_providers_as_its_cause(
    clocks: Clocks, waiting: threading.Semaphore
) -> None:
    failure = OSError("the identity service is away")
    issuer = Issuer(failure)
    issuer.open.clear()
    callers = Callers(cache_of(clocks, issuer, start=SYSTEM.start), 5, clocks.later)
    wait_for(waiting, 5)
    issuer.open.set()
    callers.join()
    assert issuer.calls == 1
    assert len({id(error) for error in callers.errors}) == 5
    assert all(error.__cause__ is failure for error in callers.errors)
    assert all("OSError: the identity service is away" in str(e) for e in callers.errors)


def test_after_a_failure_the_next_caller_asks_again(clocks: Clocks) -> None:
    cache = cache_of(clocks, Issuer(OSError("away"), (SECRET, clocks.epoch + HOUR)))
    with pytest.raises(TokenError, match="away"):
        cache.get(clocks.later)
    assert text_of(cache.get(clocks.later)) == SECRET


def test_who_waits_for_the_provider_waits_no_longer_than_its_deadline(
    clocks: Clocks, landed: threading.Semaphore
) -> None:
    issuer = Issuer((SECRET, clocks.epoch + HOUR))
    issuer.open.clear()
    cache = cache_of(clocks, issuer, start=SYSTEM.start)
    for _ in range(2):  # the one that called it, and one that joined
        with pytest.raises(TokenError, match="Issuer has not answered within"):
            cache.get(clocks.monotonic)
    issuer.open.set()
    wait_for(landed)
    assert text_of(cache.get(clocks.monotonic)) == SECRET
    assert issuer.calls == 1


def test_where_no_thread_can_be_started_the_caller_asks_itself(clocks: Clocks) -> None:
    cache = cache_of(clocks, Issuer((SECRET, clocks.epoch + HOUR)), start=lambda job: False)
    assert text_of(cache.get(clocks.later)) == SECRET


def test_an_interrupt_while_the_thread_starts_leaves_nobody_waiting(clocks: Clocks) -> None:
    starts: list[Callable[[Callable[[], None]], bool]] = [on_the_spot]

    def interrupted(job: Callable[[], None]) -> bool:
        raise KeyboardInterrupt

    cache = cache_of(
        clocks,
        Issuer((SECRET, clocks.epoch + HOUR)),
        start=lambda job: starts.pop()(job),
    )
    starts.append(interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.get(clocks.later)
    assert text_of(cache.get(clocks.later)) == SECRET


def test_a_provider_that_wants_to_end_the_thread_is_an_error_like_any_other(
    clocks: Clocks,
) -> None:
    with pytest.raises(TokenError, match="raised SystemExit") as raised:
        cache_of(clocks, Issuer(SystemExit(3))).get(clocks.later)
    assert isinstance(raised.value.__cause__, SystemExit)


# --- ahead of expiry -------------------------------------------------------------------------


def test_while_one_renewal_is_under_way_the_others_go_on_with_the_old_token(
    clocks: Clocks, landed: threading.Semaphore
) -> None:
    issuer = Issuer(("old", clocks.epoch + HOUR), ("new", clocks.epoch + 2 * HOUR))
    cache = cache_of(clocks, issuer, start=SYSTEM.start)
    cache.get(clocks.later)
    wait_for(landed)
    issuer.open.clear()
    clocks.advance(HOUR - REFRESH_AHEAD)
    callers = Callers(cache, 20, clocks.later)
    callers.join()  # none waits for the provider, which is held back
    assert {text_of(token) for token in callers.tokens} == {"old"}
    issuer.open.set()
    wait_for(landed)
    assert text_of(cache.get(clocks.later)) == "new"
    assert issuer.calls == 2


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    with caplog.at_level(logging.DEBUG):
        yield lambda: [record.getMessage() for record in caplog.records]
    assert SECRET not in caplog.text


def test_a_renewal_that_fails_is_a_warning_and_tried_again_after_a_pause(
    clocks: Clocks, warnings: Callable[[], list[str]]
) -> None:
    issuer = Issuer((SECRET, clocks.epoch + HOUR), OSError(f"refused {SECRET}"))
    cache = cache_of(clocks, issuer)
    old = cache.get(clocks.later)
    clocks.advance(HOUR - REFRESH_AHEAD)
    for _ in range(5):
        assert cache.get(clocks.later) is old
    assert issuer.calls == 2
    (warning,) = warnings()
    assert "could not be renewed" in warning
    assert "OSError: refused (token)" in warning
    clocks.advance(PAUSE)
    assert cache.get(clocks.later) is old
    assert issuer.calls == 3
    assert len(warnings()) == 2


def test_once_the_old_token_cannot_be_used_either_the_failure_is_everybodys(
    clocks: Clocks, warnings: Callable[[], list[str]]
) -> None:
    cache = cache_of(clocks, Issuer((SECRET, clocks.epoch + HOUR), OSError("away")))
    cache.get(clocks.later)
    clocks.advance(HOUR - MARGIN)
    with pytest.raises(TokenError, match="OSError: away"):
        cache.get(clocks.later)
    assert warnings() == []


def test_a_renewal_that_brings_the_same_token_is_tried_again_after_a_pause(
    clocks: Clocks,
) -> None:
    """Credentials have caches of their own, with ideas of their own about what is due."""
    issuer = Issuer((SECRET, clocks.epoch + HOUR))
    cache = cache_of(clocks, issuer)
    cache.get(clocks.later)
    clocks.advance(HOUR - REFRESH_AHEAD)
    for _ in range(5):
        cache.get(clocks.later)
    assert issuer.calls == 2
    clocks.advance(PAUSE)
    cache.get(clocks.later)
    assert issuer.calls == 3


def test_a_token_that_lives_shorter_than_it_is_renewed_ahead_is_not_fetched_at_every_call(
    clocks: Clocks,
) -> None:
    issuer = Issuer((SECRET, clocks.epoch + MARGIN + 1))
    cache = cache_of(clocks, issuer)
    for _ in range(5):
        cache.get(clocks.later)
    assert issuer.calls == 1


def test_it_must_be_renewed_before_it_cannot_be_used(clocks: Clocks) -> None:
    with pytest.raises(ValueError, match="0 <= margin <= refresh_ahead"):
        cache_of(clocks, Issuer(), margin=60, refresh_ahead=59)


# --- near expiry -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (MARGIN, "expires in 60 s, but at least 60 s must be left"),
        (1, "expires in 1 s"),
        (-30, "expired 30 s ago"),
    ],
)
def test_a_token_nearer_to_its_expiry_than_the_margin_opens_nothing(
    clocks: Clocks, left: float, said: str
) -> None:
    cache = cache_of(clocks, Issuer((SECRET, clocks.epoch + left)))
    with pytest.raises(TokenExpired) as raised:
        cache.get(clocks.later)
    assert said in str(raised.value)
    assert "Have the provider fetch a new token" in str(raised.value)
    assert SECRET not in str(raised.value)
    assert cache.credential == 0


def test_a_token_just_outside_the_margin_opens_connections(clocks: Clocks) -> None:
    cache = cache_of(clocks, Issuer((SECRET, clocks.epoch + MARGIN + 1)))
    assert cache.get(clocks.later).expires_at == clocks.monotonic + 1


def uses_a_token_one_second_before_its_expiry(clocks: Clocks, margin: float) -> bool:
    issuer = Issuer(("old", clocks.epoch + HOUR), ("new", clocks.epoch + 2 * HOUR))
    cache = cache_of(clocks, issuer, margin=margin, start=SYSTEM.start)
    cache.get(clocks.later)
    clocks.advance(HOUR - 1)
    return text_of(cache.get(clocks.later)) == "old"


def test_a_kept_token_within_the_margin_is_not_used(clocks: Clocks) -> None:
    assert not uses_a_token_one_second_before_its_expiry(clocks, MARGIN)


def test_without_a_margin_it_would_be(clocks: Clocks) -> None:
    """The positive control of the test above."""
    assert uses_a_token_one_second_before_its_expiry(clocks, 0.0)


def test_a_renewal_that_brings_a_token_within_the_margin_leaves_the_old_one(
    clocks: Clocks, warnings: Callable[[], list[str]]
) -> None:
    now = clocks.epoch
    cache = cache_of(clocks, Issuer(("old", now + HOUR), ("new", now + HOUR - REFRESH_AHEAD)))
    old = cache.get(clocks.later)
    clocks.advance(HOUR - REFRESH_AHEAD)
    assert cache.get(clocks.later) is old
    assert cache.credential == 1
    (warning,) = warnings()
    assert "expired 0 s ago" in warning


def test_a_clock_that_is_set_moves_no_expiry(clocks: Clocks) -> None:
    issuer = Issuer((SECRET, clocks.epoch + HOUR))
    cache = cache_of(clocks, issuer)
    token = cache.get(clocks.later)
    assert token.expires_at == clocks.monotonic + HOUR - MARGIN
    clocks.epoch += 10 * HOUR
    assert cache.get(clocks.later) is token


# --- which connections it concerns -----------------------------------------------------------


def test_another_token_is_another_credential(clocks: Clocks) -> None:
    issuer = Issuer(("old", clocks.epoch + HOUR), ("new", clocks.epoch + 2 * HOUR))
    cache = cache_of(clocks, issuer)
    assert (cache.get(clocks.later).credential, cache.credential) == (1, 1)
    clocks.advance(HOUR)
    assert (cache.get(clocks.later).credential, cache.credential) == (2, 2)


def test_the_same_token_with_a_later_expiry_is_the_same_credential(clocks: Clocks) -> None:
    issuer = Issuer((SECRET, clocks.epoch + HOUR), (SECRET, clocks.epoch + 2 * HOUR))
    cache = cache_of(clocks, issuer)
    first = cache.get(clocks.later)
    clocks.advance(HOUR)
    second = cache.get(clocks.later)
    assert second.credential == first.credential == cache.credential
    assert second.expires_at == first.expires_at + HOUR


def test_a_rejected_token_is_fetched_again(clocks: Clocks) -> None:
    issuer = Issuer(("revoked", clocks.epoch + HOUR), ("new", clocks.epoch + HOUR))
    cache = cache_of(clocks, issuer)
    cache.reject(cache.get(clocks.later).credential)
    token = cache.get(clocks.later)
    assert (text_of(token), token.credential) == ("new", 2)


def test_a_rejected_token_that_comes_back_is_known_by_its_number(clocks: Clocks) -> None:
    issuer = Issuer((SECRET, clocks.epoch + HOUR))
    cache = cache_of(clocks, issuer)
    for calls in (1, 2, 3):
        token = cache.get(clocks.later)
        assert (token.credential, issuer.calls) == (1, calls)
        cache.reject(token.credential)


def test_a_late_rejection_of_an_old_token_does_not_drop_the_new_one(clocks: Clocks) -> None:
    issuer = Issuer(("revoked", clocks.epoch + HOUR), ("new", clocks.epoch + HOUR))
    cache = cache_of(clocks, issuer)
    cache.get(clocks.later)
    cache.reject(1)
    new = cache.get(clocks.later)
    cache.reject(1)
    assert cache.get(clocks.later) is new
    assert issuer.calls == 2


# --- what a provider may be and return -------------------------------------------------------


class TwoFields(NamedTuple):
    token: str
    expires_on: int


@dataclass
class MoreFields:
    expires_on: Any
    token: str
    refresh_on: int = 0


@pytest.mark.parametrize(
    "shape",
    [
        lambda text, at: (text, at),
        lambda text, at: (text, float(at)),
        lambda text, at: (text, str(at)),
        TwoFields,
        AccessToken,
        lambda text, at: MoreFields(at, text),
    ],
)
def test_a_token_has_one_of_these_shapes(
    clocks: Clocks, shape: Callable[[str, int], object]
) -> None:
    cache = cache_of(clocks, Issuer(shape(SECRET, int(clocks.epoch + HOUR))))
    token = cache.get(clocks.later)
    assert text_of(token) == SECRET
    assert token.expires_at == clocks.monotonic + HOUR - MARGIN


def test_azures_token_has_that_shape(clocks: Clocks) -> None:
    azure = pytest.importorskip("azure.core.credentials")
    for kind in (azure.AccessToken, azure.AccessTokenInfo):
        cache = cache_of(clocks, Issuer(kind(SECRET, int(clocks.epoch + HOUR))))
        assert text_of(cache.get(clocks.later)) == SECRET


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "an object of type NoneType. An access token is"),
        (SECRET, "an object of type str"),
        ({"token": SECRET}, "an object of type dict"),
        ((SECRET,), "an object of type tuple"),
        ((SECRET, 1, 2), "an object of type tuple"),
        ((SECRET.encode(), HOUR), "a token of type bytes. It must be a str"),
        ((None, HOUR), "a token of type NoneType"),
        (("", HOUR), "an empty token"),
        (("Bearer " + SECRET, HOUR), "a token with white space, or .*'Bearer'"),
        ((SECRET + "\n", HOUR), "a token with white space, or .*line end"),
        ((SECRET + "\ud800", HOUR), "other characters than ASCII's"),
        ((SECRET, None), "expires_on as NoneType. It must be seconds since the epoch"),
        ((SECRET, True), "expires_on as bool"),
        ((SECRET, float("nan")), "an expires_on that is no number"),
        ((SECRET, "2026-11-23T12:00:00Z"), "expires_on as a text other than digits"),
        (("1800003600", SECRET), "expires_on as a text other than digits"),
        ((SECRET, 1_800_003_600_000), "not milliseconds"),
        ((SECRET, HOUR), "expired before the year 2002: .* not a duration"),
    ],
)
def test_anything_else_is_named_by_its_type_only(clocks: Clocks, answer: Any, said: str) -> None:
    with pytest.raises(TokenError, match=rf"Issuer returned .*{said}") as raised:
        cache_of(clocks, Issuer(answer)).get(clocks.later)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@dataclass
class Credential:
    """As those of azure-identity; not hashable, as theirs are."""

    asked_for: tuple[str, ...] = ()

    def get_token(self, *scopes: str, claims: str | None = None, **kwargs: Any) -> TwoFields:
        self.asked_for = scopes
        return TwoFields(SECRET, 1_800_003_600)


def test_a_credential_is_asked_for_azure_sqls_scope(clocks: Clocks) -> None:
    credential = Credential()
    cache = cache_of(clocks, Provider(credential))
    assert text_of(cache.get(clocks.later)) == SECRET
    assert credential.asked_for == (AZURE_SQL_SCOPE,)


def test_azures_credential_is_a_provider() -> None:
    identity = pytest.importorskip("azure.identity")
    credential = identity.ClientSecretCredential("tenant", "client", "secret")
    assert repr(Provider(credential)).endswith("ClientSecretCredential>")


async def coroutine_function() -> object:
    return None


class AsyncCredential:
    async def get_token(self, *scopes: str) -> object:
        return None


class AsyncCallable:
    async def __call__(self) -> object:
        return None


def needs_a_scope(scope: str) -> object:
    return None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (coroutine_function, "coroutine_function is asynchronous, but"),
        (functools.partial(coroutine_function), "is asynchronous, but"),
        (AsyncCredential(), "AsyncCredential is asynchronous, but .* azure.identity.aio"),
        (AsyncCallable(), "AsyncCallable is asynchronous, but"),
        (needs_a_scope, "needs_a_scope cannot be called without arguments .*'scope'"),
        (SECRET, "of type str, which can neither be called nor has a method get_token"),
        (None, "of type NoneType"),
    ],
)
def test_what_cannot_be_a_provider_is_refused(given: object, said: str) -> None:
    with pytest.raises(TypeError, match=said) as raised:
        Provider(given)
    assert SECRET not in str(raised.value)


def test_a_provider_that_turns_out_to_be_asynchronous_is_refused_when_it_is_called(
    clocks: Clocks,
) -> None:
    coroutine = coroutine_function()
    with pytest.raises(TokenError, match=r"returned something to await\. It is asynchronous"):
        cache_of(clocks, lambda: coroutine).get(clocks.later)
    # Closed, or Python would complain that nobody awaited it.
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(TokenError, match="returned something to await"):
            cache_of(clocks, loop.create_future).get(clocks.later)
    finally:
        loop.close()


def test_providers_of_one_object_are_equal_and_of_two_are_not() -> None:
    one, other = Credential(), Credential()
    assert one == other  # but two sign-ins
    assert Provider(one) == Provider(one)
    assert hash(Provider(one)) == hash(Provider(one))
    assert Provider(one) != Provider(other)
    assert Provider(Issuer) != Issuer

    def provide(self: Credential) -> object:
        return None

    assert Provider(provide.__get__(one)) == Provider(provide.__get__(one))
    assert Provider(provide.__get__(one)) != Provider(provide.__get__(other))


def test_the_driver_gets_what_mssql_django_would_give_it() -> None:
    mssql = pytest.importorskip("mssql.base")
    assert encode_token(SECRET.encode()) == mssql.prepare_token_for_odbc(SECRET)


# --- secrets ---------------------------------------------------------------------------------


def test_no_repr_shows_the_token(clocks: Clocks) -> None:
    provider = Provider(functools.partial(TwoFields, SECRET, int(clocks.epoch + HOUR)))
    cache = cache_of(clocks, provider)
    token = cache.get(clocks.later)
    shown = f"{AccessToken(SECRET, 1)} {token} {cache} {provider}"
    assert "secret" not in shown
    assert token.encoded.hex() not in shown


def test_an_error_of_the_providers_that_shows_the_token_is_told_without_it(
    clocks: Clocks,
) -> None:
    opaque = "opaque-0123456789"
    issuer = Issuer((opaque, clocks.epoch + HOUR), OSError(f"old {opaque}\n new {SECRET}."))
    cache = cache_of(clocks, issuer)
    cache.reject(cache.get(clocks.later).credential)
    with pytest.raises(TokenError) as raised:
        cache.get(clocks.later)
    assert "OSError: old (token) new (token)" in str(raised.value)


# --- fork ------------------------------------------------------------------------------------

FORKING = """
import os, sys, threading
from mssql_async.pool import tokens
from mssql_async.pool.runtime import SYSTEM

main = os.getpid()
entered, never = threading.Event(), threading.Event()

def provider():
    if os.getpid() == main:
        entered.set()
        never.wait()
    return "child", 4_000_000_000

cache = tokens.TokenCache(provider, monotonic=lambda: 0.0)
threading.Thread(target=cache.get, args=(60.0,), daemon=True).start()
entered.wait()
if "broken" in sys.argv:
    tokens._caches.clear()
else:
    cache._lock.acquire()  # as another thread may at that moment
child = os.fork()
if child == 0:
    try:
        os.write(1, cache.get(1.0).encoded[4:].replace(b"\\0", b""))
    except tokens.TokenError as error:
        os.write(1, str(error).encode())
    os._exit(0)
os.waitpid(child, 0)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestFork:
    """In a process of its own: a forked copy of one with threads may hang."""

    def said_by_the_child(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKING, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    def test_a_child_fetches_its_token_whatever_the_parents_threads_were_doing(self) -> None:
        assert self.said_by_the_child() == "child"

    def test_a_child_that_kept_the_parents_flight_would_wait_in_vain(self) -> None:
        """The positive control of the test above."""
        assert "has not answered" in self.said_by_the_child("broken")
