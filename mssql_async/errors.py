"""The backend's own errors, each under the Django class that a caller would catch."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import InterfaceError, OperationalError

from . import pool
from .pool import tokens


class PoolTimeout(OperationalError):
    """No connection became free within ``acquire_timeout``; the message has the numbers."""


class WaitsForItself(OperationalError):
    """A context asked for a connection that only its own end could set free; the message has
    the numbers, and where it got those that it holds."""


class TooManyWaiters(OperationalError):
    """``max_waiting`` callers were already waiting for a connection: refused at once."""


class PoolClosed(InterfaceError):
    """The pool was closed, as at the interpreter's exit or before a database is dropped."""


class TokenError(OperationalError):
    """``OPTIONS["token_provider"]`` gave no access token; the message says what it did."""


class TokenExpired(TokenError):
    """It gave one that is too near to its expiry to open a connection with."""


class DriverNotFound(ImproperlyConfigured):
    """No usable ODBC driver or driver manager; the message says what to install."""


class InvalidSettings(ImproperlyConfigured):
    """A wrong value in ``DATABASES``; the message names the setting and the fix."""


_OURS: tuple[tuple[type[pool.PoolError], type[OperationalError] | type[InterfaceError]], ...] = (
    (pool.PoolTimeout, PoolTimeout),
    (pool.TooManyWaiters, TooManyWaiters),
    (pool.WaitsForItself, WaitsForItself),
    (pool.PoolClosed, PoolClosed),
    (tokens.TokenExpired, TokenExpired),
    (tokens.TokenError, TokenError),
)


def error_number(error: BaseException) -> int | None:
    """SQL Server's number of a database error, such as 1205 for a deadlock victim, whether it is
    Django's or the driver's. ``None``: the server did not write it."""
    from .pool import odbc  # it needs pyodbc, whose absence is to be explained by these

    for one in _as_the_driver_said_it(error):
        for diagnostic in odbc.diagnostics(one):
            if diagnostic.from_server and diagnostic.number:
                return diagnostic.number
    return None


def _as_the_driver_said_it(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it says in other words: a login's are explained to people, and all are
    wrapped by Django. Not what somebody's own error was raised from."""
    import pyodbc

    told: BaseException | None = error
    while told is not None:
        yield told
        cause = told.__cause__
        same = isinstance(cause, pyodbc.Error) and cause.args[:1] == told.args[:1]
        told = cause if same else None


def from_pool(error: pool.PoolError) -> OperationalError | InterfaceError:
    """The backend's error for one of the pool's, which knows nothing of Django."""
    for theirs, ours in _OURS:
        if isinstance(error, theirs):
            return ours(*error.args)
    return OperationalError(*error.args)
