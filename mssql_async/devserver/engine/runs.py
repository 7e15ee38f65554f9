"""A request being executed: turns the interpreter's stream into chunks of events."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from ..protocols import WouldWait
from ..results import Event, Rows
from .locks import Interrupted
from .steps import FULL_CHUNK, Control, Steps

_MANY_EVENTS = 512
_INLINE_SECONDS = 0.02
"""What a request may spend on a thread that may not wait, before a worker goes on with it: a
loop that says nothing must neither keep others waiting nor an attention from being read."""


class Runner(Protocol):
    """What a run asks of its session."""

    busy: threading.RLock
    may_wait: bool
    give_way_at: float

    @property
    def spid(self) -> int: ...

    def interrupt(self) -> None: ...

    def after_interrupt(self) -> list[Event]: ...

    def run_ended(self, run: EngineRun) -> None: ...

    def release_busy(self) -> None: ...

    def clean_up_if_closing(self) -> None: ...


class EngineRun:
    """See :class:`mssql_async.devserver.protocols.Run`."""

    __slots__ = ("_session", "_steps")

    def __init__(self, session: Runner, steps: Steps) -> None:
        self._session = session
        self._steps: Steps | None = steps

    def __repr__(self) -> str:
        state = "ended" if self._steps is None else "open"
        return f"<EngineRun {state} of session {self._session.spid}>"

    def advance(self, *, may_wait: bool) -> Sequence[Event] | None:
        session = self._session
        if self._steps is None:
            return None
        if not session.busy.acquire(blocking=may_wait):
            raise WouldWait
        try:
            if self._steps is None:  # closed meanwhile
                return None
            session.may_wait = may_wait
            session.give_way_at = math.inf if may_wait else time.monotonic() + _INLINE_SECONDS
            return self._collect(self._steps)
        finally:
            session.release_busy()

    def _collect(self, steps: Steps) -> Sequence[Event] | None:
        events: list[Event] = []
        try:
            for step in steps:
                if step is Control.WAIT:
                    if events:
                        return events
                    raise WouldWait
                if step is Control.FLUSH:
                    if events:
                        return events
                    continue
                events.append(step)
                full = type(step) is Rows and len(step.rows) >= FULL_CHUNK
                if full or len(events) >= _MANY_EVENTS:
                    return events
        except Interrupted:
            events.extend(self._session.after_interrupt())
        self._end()
        return events or None

    def close(self) -> None:
        session = self._session
        if self._steps is None:
            return
        session.interrupt()
        with session.busy:
            steps, self._steps = self._steps, None
            if steps is not None:
                steps.close()  # type: ignore[attr-defined]
            session.run_ended(self)
        session.clean_up_if_closing()

    def _end(self) -> None:
        self._steps = None
        self._session.run_ended(self)
