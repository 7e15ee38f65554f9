"""What a pool raises. The backend turns these into Django's classes (``mssql_async.errors``)."""

from __future__ import annotations


class PoolError(Exception):
    """Base of the pool's own errors; errors of the driver pass through unchanged."""


class PoolTimeout(PoolError):
    """No connection became free before the deadline. The message carries the numbers."""


class WaitsForItself(PoolError):
    """Every connection is held by the caller, or by those who wait for it: none can come back."""


class TooManyWaiters(PoolError):
    """``max_waiting`` callers are already waiting: the call was refused at once."""


class WaitCalledOff(PoolError):
    """The call that waited for a connection was cancelled."""


class PoolClosed(PoolError):
    """The pool was closed before or while the caller waited."""
