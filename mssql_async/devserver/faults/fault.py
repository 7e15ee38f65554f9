"""One fault: what it is, whom it is for, and what has become of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from .registry import Faults


class Drop(enum.Enum):
    """How a connection ends."""

    FIN = "fin"
    """Closed in good order between two packets, as by a server that shuts down."""
    RST = "rst"
    """Torn down without a word, as by a crashed host or a firewall."""
    MID_REPLY = "mid_reply"
    """Torn down inside the first packet of the next reply: the request was carried out,
    and the client will not know."""


class FaultState(enum.Enum):
    ARMED = "armed"
    """In force; has not hit anybody yet."""
    FIRED = "fired"
    """In force; has hit."""
    ENDED = "ended"
    """Over: it hit as often as it should, its time has passed, or it was cancelled."""


class Kind(enum.Enum):
    DROP = "drop"
    FREEZE = "freeze"
    DELAY = "delay"
    REFUSE_LOGINS = "refuse_logins"
    FAIL_OVER = "fail_over"
    DEADLOCK = "deadlock"
    FAIL_STATEMENT = "fail_statement"
    CHAOS = "chaos"


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """Something a fault did. ``at`` is wall-clock time (:func:`time.time`); ``spid`` is
    ``None`` where nobody was logged in."""

    at: float
    fault: int
    kind: Kind
    spid: int | None
    program_name: str
    what: str

    def __str__(self) -> str:
        who = "nobody yet" if self.spid is None else f"session {self.spid}"
        program = f" ({self.program_name})" if self.program_name else ""
        return f"fault {self.fault} {self.kind.value}: {self.what}, {who}{program}"


class Fault:
    """A fault that was ordered. Cancel it, or use it as a context manager, which cancels
    it at the end of the block::

        with server.faults.deadlock("%UPDATE%") as fault:
            ...
        assert fault.fired == 1

    All methods may be called from any thread.
    """

    def __init__(self, faults: Faults, number: int, kind: Kind, target: str) -> None:
        self._faults = faults
        self.id = number
        self.kind = kind
        self.target = target
        """Whom or what it is for, in words."""
        self.fired = 0
        """How often it has hit."""
        self.until: float | None = None
        """The reading of the faults' clock at which it ends by itself."""
        self.cancelled = False
        self.exhausted = False

    def __repr__(self) -> str:
        state = self.state
        often = "once" if self.fired == 1 else f"{self.fired} times"
        shown = state.name if state is FaultState.ARMED else f"{state.name}, hit {often}"
        return f"<Fault {self.id} {self.kind.value} of {self.target}: {shown}>"

    @property
    def state(self) -> FaultState:
        if self.cancelled or self.exhausted:
            return FaultState.ENDED
        if self.until is not None and self._faults.clock() >= self.until:
            return FaultState.ENDED
        return FaultState.FIRED if self.fired else FaultState.ARMED

    @property
    def in_force(self) -> bool:
        return self.state is not FaultState.ENDED

    def cancel(self) -> None:
        """End it now; what it did stays done, what it holds back goes on. Idempotent."""
        self._faults.cancel(self)

    def wait_fired(self, times: int = 1, timeout: float = 10.0) -> bool:
        """Block until it has hit ``times`` times; ``False`` when ``timeout`` seconds were
        not enough. Not for the event loop's own thread."""
        return self._faults.wait(lambda: self.fired >= times, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
