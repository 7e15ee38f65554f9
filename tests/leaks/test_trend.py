"""New highs are counted, and which number of them chance does not bring, checked by trying all
orders of a few numbers."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssql_async.contrib.leaks.detectors.trend import fewest_new_highs, new_highs, slope_of


@pytest.mark.parametrize(
    ("sizes", "first", "count"),
    [
        ([1, 2, 3, 4], 1, 3),
        ([1, 2, 3, 4], 3, 1),
        ([1, 2, 3, 4], 0, 4),
        ([4, 3, 2, 1], 1, 0),
        ([5, 5, 5], 1, 0),
        ([1, 9, 3, 4, 10, 9], 2, 1),
        ([9, 1, 2, 3], 1, 0),
        ([], 0, 0),
    ],
)
def test_a_new_high_is_above_all_that_came_before(
    sizes: list[float], first: int, count: int
) -> None:
    assert new_highs(sizes, first) == count


COUNTS = [(first, count) for count in range(1, 8) for first in range(count + 1)]


@pytest.mark.parametrize(("first", "count"), COUNTS)
@pytest.mark.parametrize("chance", [0.31, 0.031, 0.0021])
def test_so_many_new_highs_as_are_too_many_come_as_rarely_as_was_asked_for(
    first: int, count: int, chance: float
) -> None:
    found = [new_highs(order, first) for order in permutations(range(count))]

    def share(fewest: int) -> float:
        return sum(each >= fewest for each in found) / len(found)

    fewest = fewest_new_highs(first, count, chance)
    assert share(fewest) <= chance
    assert share(fewest - 1) > chance


def test_equal_numbers_make_new_highs_rarer_still() -> None:
    found = [new_highs(sizes, 2) for sizes in product(range(8), repeat=5)]
    fewest = fewest_new_highs(2, 5, 0.02)
    assert 0 < sum(each >= fewest for each in found) / len(found) < 1 / 60


def test_more_than_there_can_be_are_asked_for_where_none_are_too_many() -> None:
    assert fewest_new_highs(3, 6, 1 / 800) == 4
    assert fewest_new_highs(3, 7, 1 / 800) == 4


def test_many_numbers_do_not_need_many_new_highs() -> None:
    assert fewest_new_highs(400, 1200, 1 / 800) == 6


@given(st.floats(-100, 100), st.lists(st.integers(-1000, 1000), min_size=2, unique=True))
def test_a_straight_line_has_its_own_slope(slope: float, places: list[int]) -> None:
    points = [(float(place), slope * place) for place in sorted(places)]
    assert slope_of(points) == pytest.approx(slope, abs=1e-6)


def test_a_few_wild_points_do_not_move_the_slope() -> None:
    points = [(float(place), 2.0 * place) for place in range(20)]
    points[3] = 3.0, 500.0
    points[11] = 11.0, -500.0
    assert slope_of(points) == pytest.approx(2)


class Compared(float):
    """A place that knows how often two were compared."""

    times = 0

    def __sub__(self, other: float) -> float:
        Compared.times += 1
        return float(self) - other


def test_a_line_of_many_points_is_thinned_out() -> None:
    Compared.times = 0
    points = [(Compared(place), 3.0 * place) for place in range(5000)]
    assert slope_of(points) == pytest.approx(3)
    assert Compared.times == 200 * 199 / 2


@pytest.mark.parametrize("points", [[], [(1.0, 5.0)], [(1.0, 5.0), (1.0, 9.0)]])
def test_there_is_no_slope_where_there_are_no_two_places(
    points: list[tuple[float, float]],
) -> None:
    assert slope_of(points) == 0
