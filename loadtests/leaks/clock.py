"""The one clock of the harness: seconds since the epoch that never go back.

Which of two contexts was first on a session is a matter of microseconds. The pool tells the time
by :func:`time.monotonic`, so everything here does too, on top of one constant that all processes
of a run share (:data:`VARIABLE`).
"""

from __future__ import annotations

import os
import time

VARIABLE = "LEAKS_CLOCK"

EPOCH: float = float(os.environ.get(VARIABLE) or time.time() - time.monotonic())
"""What the monotonic clock's zero is in seconds since the epoch."""

_monotonic = time.monotonic


def now() -> float:
    return EPOCH + _monotonic()


def environment() -> dict[str, str]:
    """For the processes of this run."""
    return {VARIABLE: repr(EPOCH)}
