"""What several broken twins have in common."""

from __future__ import annotations

import itertools
from collections.abc import Callable


def every(number: int) -> Callable[[], bool]:
    """Says yes each ``number``-th time, from any thread: a leak that happens now and then."""
    count = itertools.count(1)
    return lambda: next(count) % number == 0
