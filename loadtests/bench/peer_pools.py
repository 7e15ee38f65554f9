"""Other projects' pools on the stub connections. Imported only where they are installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aioodbc  # type: ignore[import-untyped]
import aioodbc.connection  # type: ignore[import-untyped]
import psycopg_pool
import pyodbc
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import QueuePool

from .candidates import Candidate
from .stubs import StubConnection, StubServer

#: Distributions whose versions belong to a result.
DISTRIBUTIONS = ("psycopg", "psycopg-pool", "SQLAlchemy", "aioodbc")


class _PsycopgConnection(StubConnection):
    @classmethod
    def connect(cls, conninfo: str, server: StubServer) -> _PsycopgConnection:
        return cls(server)


class _AsyncPsycopgConnection:
    """The same, awaited."""

    def __init__(self, server: StubServer) -> None:
        self._stub = StubConnection(server)
        self.pgconn = self._stub.pgconn
        self.autocommit = True

    @classmethod
    async def connect(cls, conninfo: str, server: StubServer) -> _AsyncPsycopgConnection:
        return cls(server)

    async def execute(self, sql: str) -> StubConnection:
        return self._stub.execute(sql)

    async def close(self) -> None:
        self._stub.close()


async def make_psycopg(server: StubServer, size: int, checked: bool) -> Candidate:
    pool = psycopg_pool.ConnectionPool(
        connection_class=_PsycopgConnection,  # type: ignore[type-var]
        kwargs={"server": server},
        min_size=size,
        max_size=size,
        check=psycopg_pool.ConnectionPool.check_connection if checked else None,  # type: ignore[arg-type]
        open=True,
    )
    pool.wait()

    async def close() -> None:
        pool.close()

    return Candidate(
        name="psycopg_pool",
        acquire=pool.getconn,
        release=pool.putconn,
        waiting=lambda: pool.get_stats()["requests_waiting"],
        close=close,
    )


async def make_async_psycopg(server: StubServer, size: int, checked: bool) -> Candidate:
    kind = psycopg_pool.AsyncConnectionPool
    pool = kind(
        connection_class=_AsyncPsycopgConnection,  # type: ignore[type-var]
        kwargs={"server": server},
        min_size=size,
        max_size=size,
        check=kind.check_connection if checked else None,  # type: ignore[arg-type]
        open=False,
    )
    await pool.open(wait=True)
    return Candidate(
        name="psycopg_pool, async",
        acquire=pool.getconn,
        release=pool.putconn,
        waiting=lambda: pool.get_stats()["requests_waiting"],
        close=pool.close,
        asynchronous=True,
    )


class _Dialect(DefaultDialect):
    """What ``pre_ping`` pings with."""

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        return True


async def make_sqlalchemy(server: StubServer, size: int, checked: bool) -> Candidate:
    pool = QueuePool(
        lambda: StubConnection(server),  # type: ignore[arg-type]
        pool_size=size,
        max_overflow=0,
        pre_ping=checked,
        dialect=_Dialect(dbapi=pyodbc),
    )

    async def close() -> None:
        pool.dispose()

    first = pool.connect()
    release = type(first).close
    release(first)
    return Candidate(
        name="SQLAlchemy QueuePool",
        acquire=pool.connect,
        release=release,
        waiting=lambda: len(pool._pool.not_empty._waiters),  # type: ignore[attr-defined]  # noqa: SLF001
        close=close,
    )


def _connect_stub(server: StubServer, **options: Any) -> StubConnection:
    return StubConnection(server)


async def make_aioodbc(server: StubServer, size: int, checked: bool) -> Candidate:
    """It has no check to turn on."""
    # Its connections call pyodbc.connect(dsn) in a thread. The stub stands there for good, as
    # nothing else of this process uses aioodbc, and takes the server where a DSN would be.
    aioodbc.connection.pyodbc = SimpleNamespace(connect=_connect_stub, Error=pyodbc.Error)
    pool = await aioodbc.create_pool(dsn=server, minsize=size, maxsize=size, autocommit=True)

    async def close() -> None:
        pool.close()
        await pool.wait_closed()

    return Candidate(
        name="aioodbc",
        acquire=pool.acquire,
        release=pool.release,
        waiting=lambda: len(pool._cond._waiters),  # noqa: SLF001
        close=close,
        execute=lambda connection: connection.execute("SELECT 1"),
        asynchronous=True,
    )
