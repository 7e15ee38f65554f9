"""Whether a connection may be opened now: retries after transient errors, and the breaker.

One schedule for the whole pool: what one caller learnt about the server holds for all, so a
server that is down is asked once in a while and not once a caller. A state machine
without threads, locks or sleeps; the pool uses it under its lock.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable

from .settings import RetryPolicy


class BreakerState(enum.Enum):
    CLOSED = "closed"
    """Connections are opened as they are needed."""
    RETRYING = "retrying"
    """A transient error: one attempt at a time, at the times of the retry policy."""
    OPEN = "open"
    """Repeated failure: callers get the last error at once."""
    HALF_OPEN = "half open"
    """One attempt is under way that will decide."""


#: Failures in a row, each after its retries, that open the breaker.
THRESHOLD = 3
#: Seconds for which it opens first, and at most; it doubles in between (SqlClient: 5 to 60).
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Verdict(enum.Enum):
    RETRY = "retry"
    """Try again at :attr:`Breaker.next_attempt_at`; callers go on waiting."""
    GIVE_UP = "give up"
    """The error is an answer."""


class Breaker:
    """Counts failures and says when the next attempt is due."""

    def __init__(self, policy: RetryPolicy, *, rand: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._rand = rand
        self.state = BreakerState.CLOSED
        self.attempts = 0
        """Attempts in a row that failed, retries included."""
        self.failures = 0
        """Failures in a row, a failure being an error without a retry left."""
        self.next_attempt_at: float | None = None
        self.last_error: BaseException | None = None
        self._retries = 0

    def __repr__(self) -> str:
        return f"<Breaker {self.state.value}: {self.attempts} failed attempts in a row>"

    def allows(self, now: float, opening: int) -> int | None:
        """How many connections may be opened now; ``None``: any number.

        ``opening`` attempts are already under way.
        """
        if self.state is BreakerState.CLOSED:
            return None
        if opening or (self.next_attempt_at is not None and now < self.next_attempt_at):
            return 0
        return 1

    def refuses(self, now: float) -> bool:
        """Whether a caller gets the last error at once: open, and no attempt is due."""
        if self.state is BreakerState.HALF_OPEN:
            return True
        return (
            self.state is BreakerState.OPEN
            and self.next_attempt_at is not None
            and now < self.next_attempt_at
        )

    def attempting(self) -> None:
        """An attempt begins."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN

    def succeeded(self) -> None:
        self.state = BreakerState.CLOSED
        self.attempts = self.failures = self._retries = 0
        self.next_attempt_at = None
        self.last_error = None

    def abandoned(self) -> None:
        """An attempt ended without an answer (interrupted): the next one decides."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def failed(
        self, now: float, error: BaseException, *, transient: bool, deadline: float
    ) -> Verdict:
        """An attempt failed. ``deadline``: until when somebody waits for a connection."""
        self.last_error = error
        if self.next_attempt_at is not None and now < self.next_attempt_at:
            # One of several that were under way at once: the first has set the schedule.
            retrying = self.state is BreakerState.RETRYING
            return Verdict.RETRY if retrying else Verdict.GIVE_UP
        self.attempts += 1
        probing = self.state is BreakerState.HALF_OPEN
        if transient and not probing and self._retries < self._policy.retries:
            pause = self._pause(deadline - now)
            if pause is not None:
                self._retries += 1
                self.state = BreakerState.RETRYING
                self.next_attempt_at = now + pause
                return Verdict.RETRY
        self.failures += 1
        retried, self._retries = self._retries, 0
        if probing or retried or self.failures >= THRESHOLD:
            self.state = BreakerState.OPEN
            self.next_attempt_at = now + self._open_for()
        else:
            self.state = BreakerState.CLOSED
            self.next_attempt_at = None
        return Verdict.GIVE_UP

    def _pause(self, left: float) -> float | None:
        """Seconds to the next retry; ``None`` where it could not begin in time.

        Exponential, but never so long that the time that is left is slept away: a server that
        comes back late in it is still found.
        """
        base = self._policy.backoff
        if base >= left:
            return None
        spread = 1 + self._policy.jitter * self._rand()
        pause = base * 2.0**self._retries * spread
        return max(base, min(pause, left / 2))

    def _open_for(self) -> float:
        beyond = max(self.failures - THRESHOLD, 0)
        return min(FIRST_PAUSE * 2.0 ** min(beyond, 10), LONGEST_PAUSE) * (1 + 0.25 * self._rand())
