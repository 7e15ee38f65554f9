"""What is in force, and whom it hits. Everything here is used under the faults' lock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import SqlError
from ..protocols import LoginRequest
from ..tds.counters import SessionInfo
from .fault import Drop, Fault
from .interfaces import FaultTarget
from .selectors import Sessions


@dataclass(slots=True, eq=False)
class StatementRule:
    """Hits the ``nth`` statement that fits, and the ones after it up to ``times``."""

    fault: Fault
    matches: Callable[[str], bool]
    sessions: Sessions
    nth: int
    times: int | None
    error: Callable[[SessionInfo], SqlError] | None = None
    drop: Drop | None = None
    seen: int = 0

    def hits(self, info: SessionInfo, text: str) -> bool:
        if not self.matches(text) or not self.sessions.matches(info):
            return False
        self.seen += 1
        if self.seen < self.nth:
            return False
        if self.times is not None and self.seen + 1 >= self.nth + self.times:
            self.fault.exhausted = True
        return True


@dataclass(slots=True, eq=False)
class ChaosRule:
    fault: Fault
    random: random.Random
    sessions: Sessions
    every: int
    times: int | None
    how: tuple[Drop, ...]
    seen: int = 0


@dataclass(slots=True, eq=False)
class RefusalRule:
    """``error`` of ``None`` refuses the connection itself, before any login."""

    fault: Fault
    error: int | None
    text: str | None
    until: float | None
    times: int | None
    user: str | None
    database: str | None

    def fits(self, login: LoginRequest) -> bool:
        return (self.user is None or self.user.casefold() == login.user.casefold()) and (
            self.database is None or self.database.casefold() == login.database.casefold()
        )


@dataclass(slots=True, eq=False)
class DelayRule:
    fault: Fault
    seconds: float
    sessions: Sessions


@dataclass(slots=True)
class Rules:
    """What is in force, by where it is asked for."""

    statements: list[StatementRule] = field(default_factory=list)
    chaos: list[ChaosRule] = field(default_factory=list)
    refusals: list[RefusalRule] = field(default_factory=list)
    delays: list[DelayRule] = field(default_factory=list)
    frozen: dict[Fault, list[FaultTarget]] = field(default_factory=dict)
    cuts: dict[Fault, list[FaultTarget]] = field(default_factory=dict)
    """Whose next reply is to be cut short."""
