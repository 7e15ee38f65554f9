"""Starlette with fastmssql, a client written in Rust that needs no threads of Python's.

Its pool serves single statements. A transaction of its has a connection of its own, opened for
each by the documented ``async with Transaction(...)``; here those connections are kept and used
again, as whoever measures it soon does. ``BENCH_TRANSACTIONS=documented`` opens them each time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastmssql import Connection, EncryptionLevel, PoolConfig, SslConfig, Transaction
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from . import POOL_SIZE, database

SELECT = "SELECT id, name, amount, made_at, parent_id FROM bench_item WHERE id = @P1"
HAS_CHILDREN = "SELECT TOP 1 1 AS one FROM bench_item WHERE parent_id = @P1"
COUNT = "SELECT COUNT(*) AS items FROM bench_item WHERE amount = @P1"
UPDATE = "UPDATE bench_item SET amount = @P1 WHERE id = @P2"

_server: dict[str, Any] = {
    "server": database.HOST,
    "port": database.PORT,
    "database": database.NAME,
    "username": database.USER,
    "password": database.PASSWORD,
    "ssl_config": SslConfig(
        encryption_level=(
            EncryptionLevel.Required if database.is_encrypted() else EncryptionLevel.Disabled
        ),
        trust_server_certificate=True,
    ),
}
# By default it sends a query before each query, to see whether the connection is alive.
pool = Connection(**_server, pool_config=PoolConfig(max_size=POOL_SIZE, test_on_check_out=False))


async def no_query(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def _item(on: Connection | Transaction, pk: int) -> Any:
    return (await on.query(SELECT, [pk])).fetchone()


async def one_query(request: Request) -> PlainTextResponse:
    item = await _item(pool, request.path_params["pk"])
    return PlainTextResponse(item["name"])


async def three_queries(request: Request) -> PlainTextResponse:
    item = await _item(pool, request.path_params["pk"])
    has_children = (await pool.query(HAS_CHILDREN, [item["id"]])).fetchone() is not None
    of_the_same_amount = (await pool.query(COUNT, [item["amount"]])).fetchone()["items"]
    return PlainTextResponse(f"{item['name']} {has_children} {of_the_same_amount}")


class _Transactions:
    """At most ``POOL_SIZE`` connections for transactions, used again, newest first."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(POOL_SIZE)
        self._idle: list[Transaction] = []

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        async with self._room:
            transaction = self._idle.pop() if self._idle else Transaction(**_server)
            try:
                await transaction.begin()
                yield transaction
                await transaction.commit()
            except BaseException:
                await transaction.close()  # which rolls back
                raise
            self._idle.append(transaction)

    async def close(self) -> None:
        for transaction in self._idle:
            await transaction.close()


class _DocumentedTransactions(_Transactions):
    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        async with self._room, Transaction(**_server) as transaction:
            yield transaction


_are_documented = os.environ.get("BENCH_TRANSACTIONS") == "documented"
transactions = _DocumentedTransactions() if _are_documented else _Transactions()


async def atomic(request: Request) -> PlainTextResponse:
    pk = request.path_params["pk"]
    async with transactions.begin() as transaction:
        item = await _item(transaction, pk)
        await transaction.execute(UPDATE, [item["amount"] + 1, pk])
    return PlainTextResponse("ok")


@asynccontextmanager
async def lifespan(application: Starlette) -> AsyncIterator[None]:
    async with pool:
        yield
    await transactions.close()


application = Starlette(
    routes=[
        Route("/no-query", no_query),
        Route("/one-query/{pk:int}", one_query),
        Route("/three-queries/{pk:int}", three_queries),
        Route("/atomic/{pk:int}", atomic),
    ],
    lifespan=lifespan,
)
