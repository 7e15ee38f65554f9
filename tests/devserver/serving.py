"""A server around a scripted engine that ends its test with a search for leftovers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Literal

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
    assert [record for record in everything_logged(caplog) if record.levelno > worst] == []


def everything_logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Since the test began: a fixture that ends sees only its own end in the records."""
    phases: tuple[Literal["setup", "call", "teardown"], ...] = ("setup", "call", "teardown")
    return [record for phase in phases for record in caplog.get_records(phase)]
