"""What faults need of the server, and what they tell it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from ..tds.counters import SessionInfo
from .fault import Drop

Clock = Callable[[], float]
"""Gives seconds; only differences matter."""


class FaultTarget(Protocol):
    """A client's connection, as far as faults know. Called on the event loop, except
    :attr:`session_info` and :attr:`is_leaving`."""

    @property
    def session_info(self) -> SessionInfo | None: ...

    @property
    def is_leaving(self) -> bool:
        """Whether it was hung up on; its session may take a moment to end."""

    def drop(self, how: Drop, announce: Callable[[], None]) -> None:
        """Hang up in this way; ``announce`` is called just before, so that whoever sees the
        connection end also finds it in the history."""

    def disarm(self) -> None:
        """Take a ``MID_REPLY`` back that has not happened."""

    def close_after_reply(self) -> None:
        """Hang up when the running request is answered."""

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def set_delay(self, seconds: float, on_delay: Callable[[], None]) -> None: ...


class FaultStage(Protocol):
    """The server, as far as faults know. Callable from any thread."""

    def targets(self) -> Sequence[FaultTarget]:
        """Every connection, also those not logged in yet."""

    def on_loop(self, work: Callable[[], None]) -> None:
        """Do something on the event loop and wait for it: at once on its own thread."""

    def soon_on_loop(self, work: Callable[[], None]) -> None:
        """Do something on the event loop: at once on its own thread, else as soon as it
        can, and before anything that is handed to it later."""

    def wait_closed(self, targets: Sequence[FaultTarget]) -> None:
        """Wait until these connections have ended and their sessions are closed. Does
        nothing on the event loop's own thread."""

    def renew_instance(self, *, read_only: bool) -> str:
        """Become another instance: name, start time, and whether the user databases can
        be written to. Gives the new name."""

    def make_writable(self) -> None:
        """User databases can be written to again."""

    @property
    def instance_name(self) -> str: ...


class Verdict(enum.Enum):
    """What a statement has to expect, apart from an error."""

    CUT_OFF = "cut off"
    """Its connection is being dropped: it must not run, and nobody hears why."""
