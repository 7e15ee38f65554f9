"""The limit: ASGI without a framework, and pyodbc by hand on threads that keep a connection.

A request is one call on one thread, however many statements it has. There is no check, no
reset, no reconnection and no ORM: nobody can be faster with this driver and these threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyodbc

from . import POOL_SIZE, database

SELECT = "SELECT id, name, amount, made_at, parent_id FROM bench_item WHERE id = ?"
HAS_CHILDREN = "SELECT TOP 1 1 FROM bench_item WHERE parent_id = ?"
COUNT = "SELECT COUNT(*) FROM bench_item WHERE amount = ?"
UPDATE = "UPDATE bench_item SET amount = ? WHERE id = ?"
DATETIMEOFFSET = -155

_of_thread = threading.local()


class _Session:
    """One connection. Each statement keeps its cursor, as the driver then sends one message
    and no ``sp_unprepare``."""

    def __init__(self) -> None:
        self.connection = pyodbc.connect(database.connection_string(), autocommit=True)
        # pyodbc knows no datetimeoffset; nobody looks at it here.
        self.connection.add_output_converter(DATETIMEOFFSET, bytes)
        self._cursors: dict[str, pyodbc.Cursor] = {}

    def execute(self, sql: str, *parameters: object) -> pyodbc.Cursor:
        cursor = self._cursors.get(sql)
        if cursor is None:
            cursor = self._cursors[sql] = self.connection.cursor()
        return cursor.execute(sql, *parameters)

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        found: list[Any] = self.execute(sql, *parameters).fetchall()
        return found


def _session() -> _Session:
    found: _Session | None = getattr(_of_thread, "session", None)
    if found is None:
        found = _of_thread.session = _Session()
    return found


def one_query(pk: int) -> str:
    name: str = _session().rows(SELECT, pk)[0].name
    return name


def three_queries(pk: int) -> str:
    session = _session()
    item = session.rows(SELECT, pk)[0]
    has_children = bool(session.rows(HAS_CHILDREN, pk))
    of_the_same_amount = session.rows(COUNT, item.amount)[0][0]
    return f"{item.name} {has_children} {of_the_same_amount}"


def atomic(pk: int) -> str:
    session = _session()
    session.execute("BEGIN TRANSACTION")
    try:
        item = session.rows(SELECT, pk)[0]
        session.execute(UPDATE, item.amount + 1, pk)
    except BaseException:
        session.execute("IF @@TRANCOUNT > 0 ROLLBACK")
        raise
    session.execute("COMMIT")
    return "ok"


WORKS: Mapping[str, Callable[[int], str]] = {
    "one-query": one_query,
    "three-queries": three_queries,
    "atomic": atomic,
}
_threads = ThreadPoolExecutor(POOL_SIZE)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    _, work, *rest = scope["path"].split("/")
    if work == "no-query":
        await _answer(send, 200, "ok")
    elif work in WORKS:
        loop = asyncio.get_running_loop()
        await _answer(send, 200, await loop.run_in_executor(_threads, WORKS[work], int(rest[0])))
    else:
        await _answer(send, 404, "nobody serves this")


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await asyncio.to_thread(_warm)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _warm() -> None:
    """Start every thread, each with its connection."""
    together = threading.Barrier(POOL_SIZE)

    def connect(_: int) -> None:
        _session()
        together.wait()

    list(_threads.map(connect, range(POOL_SIZE)))


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
