"""Whether numbers that come one after the other rise, and how steeply. Nothing but arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from statistics import median

#: More points than that are thinned out: each is compared with each.
MOST_POINTS = 200

Point = tuple[float, float]
"""Where, and how much."""


def slope_of(points: Sequence[Point]) -> float:
    """The median of the slopes between any two of them (Theil and Sen), which a few wild points
    do not move; 0 where there are no two to compare. They are in the order of their places."""
    if len(points) > MOST_POINTS:
        step = len(points) / MOST_POINTS
        points = [points[int(at * step)] for at in range(MOST_POINTS)]
    slopes = [
        (second[1] - first[1]) / (second[0] - first[0])
        for first, second in combinations(points, 2)
        if second[0] > first[0]
    ]
    return median(slopes) if slopes else 0.0


def new_highs(sizes: Sequence[float], first: int) -> int:
    """How many of them, from number ``first`` on, are above all that came before."""
    highest = max(sizes[:first], default=float("-inf"))
    count = 0
    for size in sizes[first:]:
        if size > highest:
            highest = size
            count += 1
    return count


@cache
def fewest_new_highs(first: int, count: int, chance: float) -> int:
    """How many new highs, from number ``first`` of ``count`` numbers on, are too many to be
    chance: as many or more come about with a probability of ``chance`` at most, where any order
    of the numbers is as likely as any other. More than there can be, if none are too many.

    Whatever the numbers are, the k-th of them is then above all before it with a probability of
    1/k (or less, where two may be equal), whether the others are or not: F. G. Foster and
    A. Stuart, "Distribution-Free Tests in Time-Series Based on the Breaking of Records", Journal
    of the Royal Statistical Society B 16 (1954).
    """
    exactly = [1.0]  # so many new highs: the probability
    for position in range(first + 1, count + 1):
        here = 1 / position
        exactly = [
            stays * (1 - here) + comes * here
            for stays, comes in zip([*exactly, 0.0], [0.0, *exactly], strict=True)
        ]
    tail = 0.0
    for fewest in reversed(range(len(exactly))):
        tail += exactly[fewest]
        if tail > chance:
            return fewest + 1
    return 0
