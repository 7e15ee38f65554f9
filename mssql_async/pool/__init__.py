"""The pool: a bounded set of physical connections, each proved before it is lent.

Neither Django nor asgiref is imported here: the pool can be read, tested and
measured alone, on any object with the shape of a connection; a driver is needed by
:mod:`.odbc` and :mod:`.odbc_connector` only.
"""

from .connection import ConnectionState, PooledConnection
from .connector import Connector, ConnectParameters
from .errors import PoolClosed, PoolError, PoolTimeout, TooManyWaiters
from .pool import NullPool, Pool, PoolState
from .settings import PoolSettings
from .statistics import PoolStatistics

__all__ = [
    "ConnectParameters",
    "ConnectionState",
    "Connector",
    "NullPool",
    "Pool",
    "PoolClosed",
    "PoolError",
    "PoolSettings",
    "PoolState",
    "PoolStatistics",
    "PoolTimeout",
    "PooledConnection",
    "TooManyWaiters",
]
