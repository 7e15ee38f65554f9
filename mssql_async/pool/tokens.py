"""Access tokens: fetched once for all callers, renewed ahead of expiry, never used near it.

A token is a password for an hour. Its text is kept here, in no ``repr``, no log and no error;
what others get is the form that the driver takes.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
import re
import struct
import threading
import time
import types
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import PoolError
from .runtime import SYSTEM
from .secrets import SecretBytes

logger = logging.getLogger("mssql_async.pool")

AZURE_SQL_SCOPE = "https://database.windows.net/.default"
"""What a credential is asked for; right for SQL Server, Azure SQL and Fabric in the public
cloud. For another cloud give a function that asks for that one's scope."""

MARGIN = 60.0
"""Seconds before its expiry from which a token is not used any more: a login takes time, and
clocks differ."""

REFRESH_AHEAD = 300.0
"""Seconds before its expiry from which a token is renewed. Credentials of azure-identity answer
from their cache until the same moment, so asking them earlier would give the same token."""

PAUSE = 30.0
"""Seconds until a renewal is tried again that failed, or brought nothing new."""

#: expires_on below this is no time of day of this century, but a duration; above the other it
#: is in milliseconds.
_YEAR_2001, _YEAR_5138 = 10**9, 10**11

_SHAPE = (
    "An access token is an object with the attributes 'token' (text) and 'expires_on' (seconds "
    "since the epoch), such as azure.core.credentials.AccessToken, or a tuple of the two"
)
_NOT_ASYNC = (
    "is asynchronous, but tokens are fetched on a thread that has no event loop: give the "
    "synchronous one (of azure-identity, azure.identity instead of azure.identity.aio)"
)
#: Text that looks like a token (a JSON Web Token begins so).
_LIKE_A_TOKEN = re.compile(r"eyJ[\w.~+/=-]{8,}")


class TokenError(PoolError):
    """No access token could be had; the text says what the provider did."""


class TokenExpired(TokenError):
    """The provider gave a token nearer to its expiry than the margin: it opens nothing."""


class TokenProvider(Protocol):
    """Gives an access token when it is called.

    It returns an object with the attributes ``token`` and ``expires_on``, or a tuple of the
    two, and may answer from a cache of its own. It is called on a thread of its own, one
    call at a time.
    """

    def __call__(self) -> object: ...


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a provider may return, where azure-core's class is not at hand."""

    token: str = field(repr=False)
    expires_on: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class UsableToken:
    """A token as connections are opened with it."""

    encoded: bytes = field(repr=False)
    """For the driver's attribute SQL_COPT_SS_ACCESS_TOKEN."""

    expires_at: float
    """Reading of :func:`time.monotonic` from which it may not be used: its expiry, less
    the margin."""

    credential: int
    """Rises with every token whose text differs from the one before."""


class Provider:
    """A provider as the settings name it, called in one way.

    Equal to another one of the same object, so that aliases with the same provider share
    what depends on it.

    :param given: a callable without arguments, or a credential: an object with
        ``get_token(*scopes)``, as those of azure-identity.
    :raises TypeError: it is neither, or asynchronous. The text says which, and no value.
    """

    __slots__ = ("_call", "_given", "_key", "name")

    def __init__(self, given: object) -> None:
        get_token = getattr(given, "get_token", None)
        self._given = given  # kept, so that its id() stays its own
        # Two bound methods of one object are two objects, but equal.
        self._key: Hashable = given if isinstance(given, types.MethodType) else id(given)
        self.name = _name_of(given)
        self._call: Callable[[], object]
        if callable(get_token):
            self._call = functools.partial(get_token, AZURE_SQL_SCOPE)
            _require_synchronous(get_token, self.name)
        elif callable(given):
            self._call = given
            _require_synchronous(given, self.name)
            _require_no_arguments(given, self.name)
        else:
            raise TypeError(
                f"it is of type {type(given).__name__}, which can neither be called nor has a "
                "method get_token()"
            )

    def __call__(self) -> object:
        return self._call()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Provider) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<Provider {self.name}>"


class _Flight:
    """One call of the provider, and those who wait for it."""

    __slots__ = ("_done", "outcome")

    def __init__(self) -> None:
        self._done = threading.Event()
        self.outcome: UsableToken | TokenError | None = None

    def land(self, outcome: UsableToken | TokenError) -> None:
        self.outcome = outcome
        self._done.set()

    def wait(self, seconds: float) -> UsableToken | None:
        """What it brought; ``None`` where it goes on after that many seconds.

        :raises TokenError: what it brought. Each caller has an exception of its own, because
            raising one writes into it.
        """
        self._done.wait(min(max(seconds, 0.0), threading.TIMEOUT_MAX))
        if isinstance(self.outcome, TokenError):
            raise type(self.outcome)(*self.outcome.args) from self.outcome.__cause__
        return self.outcome


class TokenCache:
    """The current token of one provider. Every method may be called from any thread.

    The provider is called on a thread of its own, outside the lock, once for all callers.
    Those who need its answer wait for it until their deadline, also when it never
    comes back; while the old token is still good nobody waits.

    :param margin: seconds before a token's expiry from which it is not used.
    :param refresh_ahead: seconds before it from which a caller has it renewed.
    :param clock: seconds since the epoch, which expiries are given in.
    :param monotonic: what deadlines and :attr:`UsableToken.expires_at` are readings of.
    :param start: runs a job on another thread; false where none can be started.
    """

    def __init__(
        self,
        provider: TokenProvider,
        *,
        margin: float = MARGIN,
        refresh_ahead: float = REFRESH_AHEAD,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], bool] = SYSTEM.start,
    ) -> None:
        if not 0 <= margin <= refresh_ahead:
            raise ValueError(
                f"0 <= margin <= refresh_ahead must hold, got {margin} and {refresh_ahead}"
            )
        self.credential = 0
        """The number of the newest token; 0 before the first."""
        self._provider = provider
        self._name = _name_of(provider)
        self._margin = margin
        self._refresh_ahead = refresh_ahead
        self._clock = clock
        self._monotonic = monotonic
        self._start = start
        self._start_unlocked()
        # Read and written under the lock only.
        self._current: UsableToken | None = None
        self._newest: bytes | None = None  # the text of that number, also once it was rejected
        self._renew_at = 0.0
        _caches.add(self)

    def _start_unlocked(self) -> None:
        """No flight, and a lock that nobody holds; also what a forked child begins with: the
        threads of its parent do not exist there."""
        self._lock = threading.Lock()
        self._flight: _Flight | None = None

    def __repr__(self) -> str:
        return f"<TokenCache of {self._name}: token {self.credential}>"

    def get(self, deadline: float) -> UsableToken:
        """A token that is not near its expiry; by ``deadline``, a reading of ``monotonic``.

        :raises TokenExpired: the provider's token is nearer to its expiry than the margin.
        :raises TokenError: the provider failed, or did not answer in time.
        """
        started = self._monotonic()
        with self._lock:
            token = self._usable(started)
            if token is not None and started < self._renew_at:
                return token
            flight = self._flight
            mine = flight is None
            if flight is None:
                flight = self._flight = _Flight()
        if mine:
            self._take_off(flight)
        if token is not None:
            return token
        token = flight.wait(deadline - self._monotonic())
        if token is None:
            waited = self._monotonic() - started
            raise TokenError(
                f"The token provider {self._name} has not answered within {waited:.1f} s. Look "
                "at what it waits for: it must not use the database that needs its token."
            )
        return token

    def reject(self, credential: int) -> None:
        """The server refused a login with that token: it is fetched again by the next
        :meth:`get`, unless that has happened already."""
        with self._lock:
            if self._current is not None and self._current.credential == credential:
                self._current = None

    def _usable(self, now: float) -> UsableToken | None:
        token = self._current
        return token if token is not None and now < token.expires_at else None

    # --- the flight ------------------------------------------------------------------------

    def _take_off(self, flight: _Flight) -> None:
        job = functools.partial(self._fetch, flight)
        try:
            started = self._start(job)
        except BaseException:
            self._land(flight, TokenError("The call of the token provider was interrupted."))
            raise
        if not started:
            job()

    def _fetch(self, flight: _Flight) -> None:
        outcome: UsableToken | TokenError
        try:
            outcome = self._adopt(*self._read(self._provider()))
        except TokenError as error:
            outcome = error.with_traceback(None)  # its frames have what the provider returned
        except BaseException as error:
            # Whatever it was, somebody waits for an answer.
            outcome = TokenError(
                f"The token provider {self._name} raised {type(error).__name__}"
                f"{self._said_by(error)}"
            )
            outcome.__cause__ = error
        self._land(flight, outcome)

    def _land(self, flight: _Flight, outcome: UsableToken | TokenError) -> None:
        now = self._monotonic()
        with self._lock:
            if self._flight is flight:  # not that of a parent process
                self._flight = None
            old = self._usable(now) if isinstance(outcome, TokenError) else None
            if old is not None:
                self._renew_at = now + PAUSE
        flight.land(outcome)
        if old is not None:
            logger.warning(
                "The access token could not be renewed; the old one can be used for another "
                "%.0f s, and the next attempt is made in %.0f s at the earliest: %s",
                old.expires_at - now, PAUSE, outcome,
            )  # fmt: skip

    def _adopt(self, text: bytes, expires_on: float) -> UsableToken:
        left = expires_on - self._clock()
        now = self._monotonic()
        if left <= self._margin:
            raise TokenExpired(self._expired(expires_on, left))
        with self._lock:
            if text != self._newest:
                self._newest = text
                self.credential += 1
            token = UsableToken(encode_token(text), now + left - self._margin, self.credential)
            self._current = token
            self._renew_at = now + max(left - self._refresh_ahead, PAUSE)
        return token

    # --- what the provider returned --------------------------------------------------------

    def _read(self, returned: object) -> tuple[bytes, float]:
        """Text and expiry; errors name types, never values."""
        if inspect.isawaitable(returned):
            if inspect.iscoroutine(returned):
                returned.close()  # or Python complains that nobody awaited it
            raise self._bad("something to await", f"It {_NOT_ASYNC}.")
        if isinstance(returned, tuple) and len(returned) == 2:
            token, expires_on = returned
        elif hasattr(returned, "token") and hasattr(returned, "expires_on"):
            token, expires_on = returned.token, returned.expires_on
        else:
            raise self._bad(f"an object of type {type(returned).__name__}", f"{_SHAPE}.")
        return self._read_text(token), self._read_expiry(expires_on)

    def _read_text(self, token: object) -> bytes:
        if not isinstance(token, str):
            raise self._bad(f"a token of type {type(token).__name__}", "It must be a str.")
        if not token:
            raise self._bad("an empty token", "It must be the text of an access token.")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise self._bad(
                "a token with white space, or with other characters than ASCII's",
                "Leave out the word 'Bearer', and the line end where it comes from a file.",
            )
        return token.encode("ascii")

    def _read_expiry(self, given: Any) -> float:
        expires_on = given
        if isinstance(given, str) and given.isdecimal() and given.isascii() and len(given) < 20:
            expires_on = int(given)
        if isinstance(expires_on, bool) or not isinstance(expires_on, int | float):
            kind = "a text other than digits" if isinstance(given, str) else type(given).__name__
            raise self._bad(f"expires_on as {kind}", "It must be seconds since the epoch.")
        if isinstance(expires_on, float) and not math.isfinite(expires_on):
            raise self._bad(
                "an expires_on that is no number", "It must be seconds since the epoch."
            )
        if expires_on >= _YEAR_5138:
            raise self._bad(
                "an expires_on beyond the year 5000",
                "It must be seconds since the epoch, not milliseconds.",
            )
        return float(expires_on)

    def _bad(self, what: str, fix: str) -> TokenError:
        return TokenError(f"The token provider {self._name} returned {what}. {fix}")

    def _expired(self, expires_on: float, left: float) -> str:
        if expires_on < _YEAR_2001:
            return (
                f"The token provider {self._name} returned an access token that expired before "
                "the year 2002: expires_on must be seconds since the epoch, not a duration."
            )
        when = f"expires in {left:.0f} s" if left > 0 else f"expired {abs(left):.0f} s ago"
        return (
            f"The token provider {self._name} returned an access token that {when}, but at least "
            f"{self._margin:.0f} s must be left to open a connection with it. Have the provider "
            "fetch a new token where it keeps old ones, and compare this machine's clock."
        )

    def _said_by(self, error: BaseException) -> str:
        """Its message in one line, without anything that looks like a token."""
        try:
            text = " ".join(str(error).split())
        except Exception:
            return "."
        newest = self._newest
        if newest is not None:
            text = text.replace(newest.decode("ascii"), "(token)")
        text = _LIKE_A_TOKEN.sub("(token)", text)
        return f": {text[:300]}" if text else "."


def encode_token(text: bytes) -> bytes:
    """ASCII text as SQL_COPT_SS_ACCESS_TOKEN takes it: the length in four bytes, UTF-16LE."""
    wide = text.decode("ascii").encode("utf-16-le")
    return SecretBytes(struct.pack("<I", len(wide)) + wide)


def _name_of(provider: object) -> str:
    """What errors call it. Not its ``repr``, which may show a secret."""
    if isinstance(provider, Provider):
        return provider.name
    named = provider if hasattr(provider, "__qualname__") else type(provider)
    return f"{named.__module__}.{named.__qualname__}"


def _require_synchronous(provider: Callable[..., object], name: str) -> None:
    for one in (provider, getattr(provider, "__call__", None)):  # noqa: B004 - an object's own
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError(f"{name} {_NOT_ASYNC}")


def _require_no_arguments(provider: Callable[..., object], name: str) -> None:
    try:
        signature = inspect.signature(provider)
    except (ValueError, TypeError):
        return  # some built-in ones tell nothing
    try:
        signature.bind()
    except TypeError as error:
        raise TypeError(f"{name} cannot be called without arguments ({error})") from None


_caches: weakref.WeakSet[TokenCache] = weakref.WeakSet()


def _start_unlocked_after_fork() -> None:
    for cache in list(_caches):
        cache._start_unlocked()  # noqa: SLF001 - a part of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_unlocked_after_fork)
