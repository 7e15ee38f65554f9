"""Who opens connections, and when: for those who wait, to keep the smallest size, after a
pause where the server refused.

Logins run on threads of their own, several at a time; in a process without other threads,
where nothing could be released meanwhile, on the caller's.
"""

from __future__ import annotations

import random
from typing import Any

from .books import Books, PoolState
from .breaker import FIRST_PAUSE, Verdict
from .connection import PooledConnection
from .connector import Opened
from .waiters import Refusal


class Openings(Books):
    """The logins of a pool, and the places that they and closing connections take."""

    def _refusal_if_hopeless(self, now: float) -> Refusal | None:
        """The breaker is open, and nobody could give a connection back either."""
        error = self._breaker.last_error
        if self._in_use or error is None or not self._breaker.refuses(now):
            return None
        return Refusal(error, self._breaker.attempts)

    def _plan_openings(self, now: float, *, at_least: int = 0) -> int:
        """Reserve places for the connections that are needed and may be opened now.

        As many as callers wait, less those already being opened; with ``at_least`` so many
        altogether.
        """
        needed = len(self._waiters) - (self._opening - self._opening_apart)
        needed = max(needed, at_least - self._size())
        count = min(needed, self._room(), self.settings.max_opening - self._opening)
        allowed = self._breaker.allows(now, self._opening)
        if allowed is not None:
            count = min(count, allowed)
            due = self._breaker.next_attempt_at
            if needed > 0 and due is not None and due > now:
                self._schedule(due)
        if count < 1:
            return 0
        self._breaker.attempting()
        self._opening += count
        return count

    def _breaker_holds(self, now: float) -> bool:
        return self._breaker.allows(now, self._opening) == 0

    def _start_openings(self, count: int, deadline: float) -> None:
        """Elsewhere, unless nobody else is there; then a login ends by the caller's deadline."""
        if count and self._runtime.alone():
            for _ in range(count):
                self._run_openings(deadline)
        else:
            self._start_openings_elsewhere(count)

    def _start_openings_elsewhere(self, count: int) -> None:
        for _ in range(count):
            if not self._runtime.start(self._run_openings):
                self._run_openings()

    def _run_openings(self, deadline: float | None = None) -> None:
        """Open in a place that was reserved, and go on for as long as there is need.

        ``deadline``: of the caller that has to do it itself.
        """
        while True:
            until = self._now() + self.settings.acquire_timeout if deadline is None else deadline
            try:
                connection = self._open(until)
            except Exception as error:  # whatever the driver raises is somebody's answer
                more = self._opening_failed(error)
            except BaseException:
                self._opening_interrupted(apart=False)
                raise
            else:
                more = self._opening_succeeded(connection)
            if not more:
                return
            if deadline is not None and self._now() >= deadline:
                self._start_openings_elsewhere(1)
                return

    def _open(self, deadline: float) -> PooledConnection:
        with self._guard:
            generation = self._generation
        started = self._now()
        opened = self._connector.open(deadline)
        now = self._now()
        connection = PooledConnection(
            opened.raw,
            generation=generation,
            opened_at=now,
            expires_at=self._expiry(opened, now),
            credential=opened.credential,
            cancels_wait=opened.cancels_wait,
        )
        with self._guard:
            self._counters.opened += 1
            self._counters.create.add(now - started)
            self._breaker.succeeded()
        return connection

    def _expiry(self, opened: Opened, now: float) -> float | None:
        lifetime = self.settings.max_lifetime
        if lifetime is None:
            return opened.expires_at
        spread = 1 - self.settings.lifetime_jitter * random.random()  # noqa: S311
        expires_at = now + lifetime * spread
        return expires_at if opened.expires_at is None else min(expires_at, opened.expires_at)

    def _opening_succeeded(self, connection: PooledConnection) -> int:
        now = self._now()
        with self._guard:
            self._opening -= 1
            closed = self._state is PoolState.CLOSED
            if closed:
                self._drop(connection)
            else:
                self._hand_on(connection, now)
                if self._size() < self.settings.min_size:
                    self._schedule(now)  # max_opening allowed no more than this one
            jobs = 0 if closed else self._plan_openings(now)
        if closed:
            self._close_all([connection])
        return self._keep_one(jobs)

    def _opening_failed(self, error: Exception) -> int:
        now = self._now()
        transient = self._connector.is_transient(error)
        with self._guard:
            self._opening -= 1
            jobs = self._record_failure(error, transient, now)
            if transient and self._size() < self.settings.min_size:
                # Nobody may be waiting for it, so nobody else would try again.
                self._schedule(max(now + FIRST_PAUSE, self._breaker.next_attempt_at or now))
        return self._keep_one(jobs)

    def _opening_interrupted(self, *, apart: bool) -> None:
        """Nobody knows how it would have ended: another may be opened in its place."""
        with self._guard:
            self._opening -= 1
            self._opening_apart -= apart
            self._breaker.abandoned()
            jobs = self._plan_openings(self._now())
        self._start_openings_elsewhere(jobs)

    def _record_failure(self, error: Exception, transient: bool, now: float) -> int:
        self._counters.connect_errors += 1
        self._last_connect_error = describe_error(error)
        deadline = self._waiters.last_deadline(now)
        attempts = self._breaker.attempts + 1
        verdict = self._breaker.failed(now, error, transient=transient, deadline=deadline)
        if verdict is Verdict.GIVE_UP and not self._in_use and len(self._waiters):
            self._waiters.hand_to_first(Refusal(error, attempts))
            self._give_up_on_waiters(now)
        return self._plan_openings(now)

    def _give_up_on_waiters(self, now: float) -> None:
        """Nobody will give a connection back and none may be opened: say so now."""
        if self._opening:
            return  # its outcome decides
        refusal = self._refusal_if_hopeless(now)
        if refusal is not None:
            self._waiters.hand_to_all(refusal)

    def _keep_one(self, jobs: int) -> int:
        """Of the openings planned this thread goes on with one itself."""
        self._start_openings_elsewhere(jobs - 1)
        return jobs

    def _fill_gap(self, now: float) -> int:
        """A connection went: others wait for one to be opened in its place."""
        if self._state is PoolState.CLOSED:
            return 0
        if self._size() < self.settings.min_size:
            self._schedule(now)
        jobs = self._plan_openings(now)
        if not jobs:
            self._give_up_on_waiters(now)
        return jobs

    def _close_all(self, connections: list[PooledConnection]) -> None:
        """Close what was dropped, and empty the list. Until then it takes its place, as it does
        at the server."""
        if not connections:
            return
        try:
            for connection in connections:
                self._connector.close(connection.raw)
        finally:  # also where it was interrupted (KeyboardInterrupt): the place is free
            with self._guard:
                self._closing -= len(connections)
                connections.clear()
                jobs = self._fill_gap(self._now())
            self._start_openings_elsewhere(jobs)

    def _explained(self, refusal: Refusal) -> BaseException:
        explained = self._connector.explain(refusal.error, refusal.attempts)
        if explained is not refusal.error:
            explained.__cause__ = refusal.error
        return explained


def describe_error(error: BaseException) -> str:
    """An error in one line. Drivers put no secret into their messages; a connection string
    never comes here."""
    text: Any = error.args[-1] if error.args else error
    return f"{type(error).__name__}: {text}".splitlines()[0][:500]
