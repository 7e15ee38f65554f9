"""Servers whose faults run on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mssql_async.devserver import DevServer

from .faulty import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def faulty(clock: Clock) -> Iterator[DevServer]:
    """A server with its real engine, to be made to fail."""
    with DevServer(faults_clock=clock) as server:
        yield server
