"""What code leaves at the server for good, told to whoever runs that code.

A trace is held in a context variable: it sees what is done by everything that is called, awaited
or started inside, on whatever thread.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator


class Trace:
    """Told on the thread that did it, at once."""

    def committed(self, alias: str) -> None:
        """A transaction was committed."""

    def may_have_committed(self, alias: str) -> None:
        """A commit failed, and not by the server's word: nobody knows."""

    def executed_alone(self, alias: str, sql: str) -> None:
        """A statement was executed outside of a transaction block."""

    def failed_alone(
        self, alias: str, sql: str, error: BaseException, *, many: bool = False
    ) -> None:
        """Outside of a transaction block one failed; ``many``: one of the executions of
        ``executemany``, each of which commits by itself."""


_traces: contextvars.ContextVar[tuple[Trace, ...]] = contextvars.ContextVar(
    "mssql_async.traces", default=()
)


@contextlib.contextmanager
def traced(trace: Trace) -> Iterator[None]:
    token = _traces.set((*_traces.get(), trace))
    try:
        yield
    finally:
        _traces.reset(token)


def traces() -> tuple[Trace, ...]:
    return _traces.get()
