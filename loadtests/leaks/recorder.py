"""Where a process keeps what it has seen until the harness asks for it, once a wave.

Appending to a list is all that a context pays; no lock is needed for that.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from mssql_async.contrib.leaks.record import (
    Answer,
    Record,
    Sample,
    Seen,
    Session,
    Sight,
    State,
    Story,
    Token,
    Unit,
    Written,
)

from .adapters import Adapter, Connection
from .clock import now
from .numbers import forget_all_but

_Part = TypeVar("_Part", Unit, Sight, Answer, Written, Seen)

STEP = 0.005
"""Seconds between two looks whether the process is at rest."""


UNKNOWN = Session(0)
"""Of what does not tell its session, where nothing is known of its connection either."""


class _User(NamedTuple):
    """Who was seen on a connection last."""

    token: Token
    since: float
    """When the pool lent it; 0: nobody tells."""
    place: str
    """Where the first statement of that lease was asked for, and when it ran."""
    acquired_at: float
    several: bool
    """Whether others were before."""
    session: Session | None = None
    """``None``: nobody has looked."""
    statement: str = ""
    """The last one."""


class Recorder:
    """What the contexts of this process have seen, and which of them are open."""

    def __init__(self) -> None:
        self._start_empty()
        self.adapter: Adapter | None = None
        """What the process itself knows of its connections; ``None``: nobody asks."""
        self.baseline: dict[str, State] = {}

    def _start_empty(self) -> None:
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._open: dict[Token, Story] = {}
        self._ended: list[Story] = []
        self._contexts = 0
        self.units: list[Unit] = []
        self.sights: list[Sight] = []
        self.answers: list[Answer] = []
        self.written: list[Written] = []
        self.seen: list[Seen] = []
        self._users: dict[Connection, _User] = {}

    def __repr__(self) -> str:
        return f"<Recorder of process {self.process}: {len(self._open)} contexts are open>"

    # --- contexts ------------------------------------------------------------------------------

    def began(self, story: Story) -> None:
        with self._lock:
            self._open[story.token] = story

    def ended(self, story: Story) -> None:
        with self._lock:
            self._ended.append(story)
            self._contexts += 1
            if self._open.get(story.token) is story:
                del self._open[story.token]

    @property
    def running(self) -> int:
        """Contexts that have begun and not ended."""
        return len(self._open)

    def is_open(self, token: Token) -> bool:
        """Whether that one has."""
        return token in self._open

    # --- connections ---------------------------------------------------------------------------

    def acquired(
        self, connection: Connection, since: float, token: Token, place: str, at: float,
        statement: str = "",
    ) -> tuple[str, float]:  # fmt: skip
        """A context uses that connection, which it was lent at ``since``: says where and when it
        did so first."""
        before = self._users.get(connection)
        if before is None or (before.token, before.since) != (token, since):
            several = before is not None and (before.several or before.token != token)
            session = None if before is None else before.session
            before = _User(token, since, place, since or at, several, session)
        self._users[connection] = before._replace(statement=statement or before.statement)
        return before.place, before.acquired_at

    def used(
        self,
        connection: Connection | None,
        session: Session | None,
        token: Token,
        place: str,
        statement: str = "",
    ) -> None:
        """A context was seen on that connection. The server may have said which session it is."""
        if connection is None:
            return
        user = self._users.get(connection)
        if user is None or user.token != token:
            self.acquired(connection, 0.0, token, place, now())
            user = self._users[connection]
        self._users[connection] = user._replace(
            session=session or user.session, statement=statement or user.statement
        )

    def session_of(self, connection: Connection | None) -> Session | None:
        """As the server has said it to whoever looked last; ``None``: nobody has looked."""
        if connection is None:
            return None
        user = self._users.get(connection)
        if user is not None and user.session is not None:
            return user.session
        return None if self.adapter is None else self.adapter.session_of(connection)

    def session_on(self, connection: Connection | None) -> Session:
        """For what runs there now: its session, if that is known. Otherwise something that
        :meth:`drain` replaces, as somebody may look after this and before that."""
        if connection is None:
            return UNKNOWN
        return self.session_of(connection) or Session(-connection)

    def user_of(self, connection: Connection) -> Token:
        """Who was seen on it last; 0: nobody."""
        user = self._users.get(connection)
        return 0 if user is None else user.token

    def place_of(self, connection: Connection, since: float = 0.0) -> str:
        """Where that context acquired it; empty: not known, or in a lease that is older."""
        user = self._users.get(connection)
        return "" if user is None or user.since < since else user.place

    def statement_of(self, connection: Connection) -> str:
        """What that context had done on it; empty: not known."""
        user = self._users.get(connection)
        return "" if user is None else user.statement

    def was_used_by_several(self, connection: Connection) -> bool:
        user = self._users.get(connection)
        return user is not None and user.several

    # --- what the harness asks for ---------------------------------------------------------------

    def drain(self) -> Record:
        """All that was seen since the last time. Contexts that are open come as far as they are,
        and again when they have ended."""
        record = Record(baseline=dict(self.baseline))
        with self._lock:
            record.stories = [*self._ended, *(_copy(story) for story in self._open.values())]
            self._ended.clear()
        record.units = [unit for unit in self._named(self.units) if unit.session.spid]
        record.sights = self._named(self.sights)
        record.answers = self._named(self.answers)
        record.written = self._named(self.written)
        record.seen = self._named(self.seen)
        return record

    def collect(self, patience: float = 5.0) -> Record:
        """:meth:`drain`, once nothing runs here any more or ``patience`` seconds are over, with
        what the process holds and knows then and how large it is."""
        self.rest(patience)
        if self.adapter is None:
            record = self.drain()
        else:
            # Before the collector of cycles: what only that would free is held.
            held, known = self.adapter.held(self), self.adapter.known(self)
            record = self.drain()
            record.held, record.known = held, [known]
            record.asked = self.adapter.take_asked()
            forget_all_but({*self.adapter.connections()}, self._users)
        gc.collect()
        record.samples = [self.sample()]
        return record

    def rest(self, patience: float) -> bool:
        """Wait until every context has ended and the adapter sees nothing run. ``False``: in
        vain."""
        deadline = time.monotonic() + patience
        while self.running or (self.adapter is not None and not self.adapter.is_at_rest()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(STEP)
        return True

    def sample(self) -> Sample:
        return Sample(
            self.process,
            now(),
            self._contexts,
            threading.active_count(),
            _descriptors(),
            0 if self.adapter is None else len(self.adapter.connections()),
            _memory(),
        )

    def _named(self, seen: list[_Part]) -> list[_Part]:
        """All of it, taken out, with the sessions that are known by now."""
        taken = _taken(seen)
        for position, each in enumerate(taken):
            connection = -each.session.spid
            if connection > 0:
                taken[position] = replace(each, session=self.session_of(connection) or UNKNOWN)
        return taken


def _taken(seen: list[_Part]) -> list[_Part]:
    """What is in it by now, taken out; others go on appending."""
    count = len(seen)
    taken = seen[:count]
    del seen[:count]
    return taken


def _copy(story: Story) -> Story:
    return Story(
        story.token, story.scenario, story.kind, story.began_at, story.process,
        parent=story.parent, task=story.task,
    )  # fmt: skip


def _descriptors() -> int:
    """0 where nobody says."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
        except OSError:
            continue
    return 0


def _memory() -> int:
    """Resident, in bytes; at its highest where only that is known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        try:
            import resource
        except ImportError:
            return 0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


RECORDER = Recorder()
"""Of this process."""


def _start_empty_after_fork() -> None:
    RECORDER._start_empty()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_empty_after_fork)
