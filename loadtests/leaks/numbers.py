"""Asks connections that their contexts have left open which session they have.

Most are known, because a context has looked (:mod:`.probe`); a connection that was only used for
something else is asked here, so that what is found of it can name its session. It is asked on the
driver's own connection, as Django's wrapper is for the thread that has it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from typing import Any

from mssql_async.contrib.leaks.record import Session

from .probe import number_question

PATIENCE = 2.0
"""Seconds for all of one time. A connection whose context was given up while its statement runs
answers after that only."""


class AskedSessions:
    """What connections have said of their sessions. Each is asked once."""

    def __init__(self) -> None:
        self._known: dict[int, Session | None] = {}
        self._asked = 0
        self._lock = threading.Lock()

    def __contains__(self, connection: int) -> bool:
        """Whether it was asked, or is about to be."""
        return connection in self._known

    def of(self, connection: int) -> Session | None:
        """``None``: it was not asked, or has not answered."""
        return self._known.get(connection)

    def is_silent(self, connection: int) -> bool:
        """Whether it was asked and has not answered: its session may have ended at the server."""
        return connection in self and self.of(connection) is None

    def asking(self, connections: Iterable[int]) -> None:
        self._known |= dict.fromkeys(connections)

    def told(self, connection: int, session: Session | None) -> None:
        """From any thread."""
        with self._lock:
            self._asked += 1
        self._known[connection] = session

    def take_asked(self) -> int:
        """How many have answered since the last time, that is how many statements that were."""
        with self._lock:
            asked, self._asked = self._asked, 0
        return asked

    def forget_all_but(self, alive: Collection[int]) -> None:
        forget_all_but(alive, self._known)


def forget_all_but(alive: Collection[int], known: dict[int, Any]) -> None:
    """Connections that are no more, so that their numbers do not pile up. Others may be adding
    to it."""
    for number in [number for number in list(known) if number not in alive]:
        known.pop(number, None)


class SessionNumbers(AskedSessions):
    """Of connections that were left open. Not to be asked from several threads at once."""

    def ask(self, wrappers: Mapping[int, Any], patience: float = PATIENCE) -> None:
        """Of these connections, by number, those that have not been asked."""
        new = {
            number: (wrapper.connection, question)
            for number, wrapper in wrappers.items()
            if number not in self and (question := number_question(wrapper.vendor))
        }
        if not new:
            return
        self.asking(new)
        # One that does not answer must not hold up what the harness asks for.
        thread = threading.Thread(
            target=self._ask_all, args=(new,), name="leaks-numbers", daemon=True
        )
        thread.start()
        thread.join(patience)

    def _ask_all(self, new: dict[int, tuple[Any, str]]) -> None:
        for number, (raw, question) in new.items():
            try:
                session = _answer(raw, question)
            except Exception:  # noqa: S112 - of whatever driver: it is closed, or busy, or gone
                continue
            self.told(number, session)


def _answer(raw: Any, question: str) -> Session | None:
    with closing(raw.cursor()) as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
        cursor.fetchall()
    return None if row is None else Session(int(row[0]))
