"""Other projects' pools on the stub connections. They are imported only when they are made, as
not all need be installed."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pyodbc

from .candidates import Candidate, Make
from .stubs import StubConnection, StubServer


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
    import psycopg_pool

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
    from psycopg_pool import AsyncConnectionPool as kind  # noqa: N813

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


async def make_sqlalchemy(server: StubServer, size: int, checked: bool) -> Candidate:
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.pool import QueuePool

    class Dialect(DefaultDialect):
        """What ``pre_ping`` pings with."""

        def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
            return True

    pool = QueuePool(
        lambda: StubConnection(server),  # type: ignore[arg-type]
        pool_size=size,
        max_overflow=0,
        pre_ping=checked,
        dialect=Dialect(dbapi=pyodbc),
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
    import aioodbc  # type: ignore[import-untyped]
    import aioodbc.connection  # type: ignore[import-untyped]

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


@dataclass(frozen=True, slots=True)
class Peer:
    """A project's pools. ``distributions``: whose versions belong to a result."""

    modules: tuple[str, ...]
    """What they import."""
    distributions: tuple[str, ...]
    makes: tuple[Make, ...]
    """The first is measured in a recovery."""


_PSYCOPG = ("psycopg", "psycopg_pool"), ("psycopg", "psycopg-pool")

PEERS = (
    Peer(*_PSYCOPG, (make_psycopg, make_async_psycopg)),
    Peer(("sqlalchemy",), ("SQLAlchemy",), (make_sqlalchemy,)),
    Peer(("aioodbc",), ("aioodbc",), (make_aioodbc,)),
)
