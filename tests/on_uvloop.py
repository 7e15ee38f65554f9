"""A plugin, ``-p tests.on_uvloop``: asynchronous tests run in the loops of uvloop, which
``uvicorn[standard]`` installs and Uvicorn then serves with."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # also for asyncio.run


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()
