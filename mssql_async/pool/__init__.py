"""The pool: a bounded set of physical connections, each proved before it is lent.

Neither Django nor asgiref is imported here: the pool can be read, tested and
measured alone, on any object with the shape of a connection; a driver is needed by
:mod:`.odbc` and :mod:`.odbc_connector` only.
"""

from .books import PoolState
from .breaker import BreakerState
from .connection import ConnectionState, PooledConnection
from .connector import NO_PROFILE, Connector, ConnectParameters, Opened, Profile, Replay
from .errors import (
    PoolClosed,
    PoolError,
    PoolTimeout,
    TooManyWaiters,
    WaitCalledOff,
    WaitsForItself,
)
from .nullpool import NullPool
from .pool import Pool
from .settings import PoolSettings, RetryPolicy
from .statistics import Histogram, PoolStatistics

__all__ = [
    "NO_PROFILE",
    "BreakerState",
    "ConnectParameters",
    "ConnectionState",
    "Connector",
    "Histogram",
    "NullPool",
    "Opened",
    "Pool",
    "PoolClosed",
    "PoolError",
    "PoolSettings",
    "PoolState",
    "PoolStatistics",
    "PoolTimeout",
    "PooledConnection",
    "Profile",
    "Replay",
    "RetryPolicy",
    "TooManyWaiters",
    "WaitCalledOff",
    "WaitsForItself",
]
