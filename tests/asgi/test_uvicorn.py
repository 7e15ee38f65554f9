"""Through a real server and real sockets: clients that hang up, start and end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from django.test import override_settings

from mssql_async.asgi import get_asgi_application
from tests.context.project import Project, until


@pytest.fixture(autouse=True)
def addresses() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.asgi.apps", ALLOWED_HOSTS=["*"]):
        yield


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The port of a server that runs on this loop until the block ends."""
    config = uvicorn.Config(get_asgi_application(), port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    assert await asyncio.to_thread(until, lambda: server.started or running.done())
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(running, 20)


async def ask_for(port: int, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{address} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("address", ["long/async", "long/sync", "long/stream"])
async def test_a_client_that_hangs_up_leaves_no_statement_running(
    project: Project, address: str
) -> None:
    async with served() as port:
        _, writer = await ask_for(port, address)
        assert await asyncio.to_thread(until, lambda: len(project.running) == 1)
        writer.close()
        assert await asyncio.to_thread(until, project.is_quiet)
        reader, writer = await ask_for(port, "one")
        assert b"200 OK" in await reader.readline()
        writer.close()


async def test_the_pool_is_warm_when_the_server_has_started_and_empty_when_it_has_stopped(
    project: Project,
) -> None:
    project.use(min_size=1)
    async with served():
        assert project.pool.idle == 1
    assert await asyncio.to_thread(project.server.wait_for_sessions, 0)
