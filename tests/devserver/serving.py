"""A server around a scripted engine that ends its test with a search for leftovers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from mssql_async.devserver.server import DevServer

from .fake_engine import PATIENCE, FakeEngine


@contextlib.contextmanager
def serving(
    engine: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    *,
    worst: int = logging.INFO,
    **settings: Any,
) -> Iterator[DevServer]:
    """A running server with those ``settings``; afterwards nothing of it may be left, and
    nothing worse than ``worst`` in the log."""
    with caplog.at_level(logging.INFO), DevServer(engine=engine, **settings) as server:
        yield server
    assert engine.closed
    for session in engine.sessions:
        assert session.closed.wait(PATIENCE), "a session was left open"
        assert session.runs == session.closed_runs, "a run was left open"
    assert [record for record in caplog.records if record.levelno > worst] == []
