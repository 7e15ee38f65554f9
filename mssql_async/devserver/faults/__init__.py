"""Faults on order: what may go wrong between a client and its server, when a test says so.

See ``docs/faults.md``. :class:`Faults` is what ``DevServer.faults`` is.
"""

from .fault import Drop, Fault, FaultEvent, FaultState, Kind
from .interfaces import Clock, FaultStage, FaultTarget, Verdict
from .registry import CONTROL_PROGRAM, Faults
from .selectors import Pattern, Sessions

__all__ = [
    "CONTROL_PROGRAM",
    "Clock",
    "Drop",
    "Fault",
    "FaultEvent",
    "FaultStage",
    "FaultState",
    "FaultTarget",
    "Faults",
    "Kind",
    "Pattern",
    "Sessions",
    "Verdict",
]
