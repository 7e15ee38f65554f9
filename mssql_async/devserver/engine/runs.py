"""A request being executed: turns the interpreter's stream into chunks of events."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..protocols import WouldWait
from ..results import Event, Rows
from .locks import Interrupted

if TYPE_CHECKING:
    from .session import EngineSession


class Control(enum.Enum):
    """What the interpreter says to the run between events."""

    FLUSH = "flush"
    """Something slow comes: hand out what there is."""
    WAIT = "wait"
    """The next step must not be done on a thread that may not wait."""


Step = Event | Control
Steps = Iterator[Step]

FULL_CHUNK = 1000
_MANY_EVENTS = 512


class EngineRun:
    """See :class:`mssql_async.devserver.protocols.Run`."""

    __slots__ = ("_session", "_steps")

    def __init__(self, session: EngineSession, steps: Steps) -> None:
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
