"""The queue of callers who wait for a connection: strictly first in, first out."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass

from .connection import PooledConnection
from .runtime import Gate


@dataclass(frozen=True, slots=True)
class Refusal:
    """Handed to a waiter for whom no connection could be opened."""

    error: BaseException
    """What the connector raised."""
    attempts: int


@dataclass(frozen=True, slots=True)
class Closed:
    """Handed to a waiter whose pool was closed."""


@dataclass(frozen=True, slots=True)
class CalledOff:
    """Handed to a waiter whose work nobody wants any more."""


Handed = PooledConnection | Refusal | Closed | CalledOff


Turn = tuple[int, int]
"""In which order callers arrived: the connections lent until then, and those who asked and got
none. Both only rise, so that who is lent one at once (its number, 0) need not count itself."""


class Waiter:
    """A caller in the queue. Its gate opens once, when something was handed to it."""

    __slots__ = ("_gate", "deadline", "handed", "thread", "turn")

    def __init__(self, gate: Gate, deadline: float, turn: Turn, thread: int) -> None:
        self._gate = gate
        self.deadline = deadline
        self.turn = turn
        self.thread = thread
        """Who waits (:func:`threading.get_ident`)."""
        self.handed: Handed | None = None

    def wait(self, seconds: float) -> bool:
        return self._gate.wait(seconds)

    def hand(self, what: Handed) -> None:
        """Called under the pool's lock, once."""
        self.handed = what
        self._gate.open()


class WaiterQueue:
    """Written and read under the pool's lock only."""

    __slots__ = ("queue",)

    def __init__(self) -> None:
        self.queue: deque[Waiter] = deque()
        """The one who came first in front."""

    def __len__(self) -> int:
        return len(self.queue)

    def join(self, waiter: Waiter) -> None:
        """At the end, unless it has been here before, and what it was handed was dead."""
        place = len(self.queue)
        while place and self.queue[place - 1].turn > waiter.turn:
            place -= 1
        self.queue.insert(place, waiter)

    def leave(self, waiter: Waiter) -> bool:
        """Whether it was still waiting; if not, something was handed to it."""
        if waiter.handed is not None:
            return False
        with contextlib.suppress(ValueError):  # it has left before, and was interrupted then
            self.queue.remove(waiter)
        return True

    def hand_to_first(self, what: Handed) -> None:
        self.queue.popleft().hand(what)

    def hand_to_all(self, what: Handed) -> None:
        while self.queue:
            self.hand_to_first(what)

    def call_off(self, thread: int) -> None:
        """Let the waiter of a thread go, if it is here."""
        for waiter in self.queue:
            if waiter.thread == thread:
                self.queue.remove(waiter)
                waiter.hand(CalledOff())
                return

    def last_deadline(self, default: float) -> float:
        """Until when somebody waits."""
        return max((waiter.deadline for waiter in self.queue), default=default)
