"""What the execution of a request consists of: events, and words to whoever drives it."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from ..results import Event


class Control(enum.Enum):
    """What the interpreter says to the run between events."""

    FLUSH = "flush"
    """Something slow comes: hand out what there is."""
    WAIT = "wait"
    """The next step must not be done on a thread that may not wait."""


Step = Event | Control
Steps = Iterator[Step]

FULL_CHUNK = 1000
"""Rows of one event."""
