"""Aggregates that SQLite lacks, or computes less exactly. They also serve as window
functions, so each can take a value back (``inverse``)."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from functools import cmp_to_key

from ..errors import error
from ..sqltypes import Collation, StorageValue
from . import decimals, strings


class DecimalSum:
    """SUM of decimals: exact, as decimal(38, s)."""

    def __init__(self) -> None:
        self.total = Decimal(0)
        self.count = 0
        self.scale = 0

    def step(self, value: str | None) -> None:
        if value is not None:
            number = Decimal(value)
            self.scale = max(self.scale, -int(number.as_tuple().exponent))
            self.total = decimals.CONTEXT.add(self.total, number)
            self.count += 1

    def inverse(self, value: str | None) -> None:
        if value is not None:
            self.total = decimals.CONTEXT.subtract(self.total, Decimal(value))
            self.count -= 1

    def value(self) -> StorageValue:
        return decimals.fit(self.total, 38, self.scale) if self.count else None

    def finalize(self) -> StorageValue:
        return self.value()


class DecimalAverage(DecimalSum):
    """AVG of decimals: cut off at decimal(38, max(s, 6))."""

    def value(self) -> StorageValue:
        if not self.count:
            return None
        scale = max(self.scale, 6)
        return decimals.divide(decimals.plain(self.total), str(self.count), 38, scale)


class MoneyAverage(DecimalSum):
    def value(self) -> StorageValue:
        if not self.count:
            return None
        quotient = decimals.CONTEXT.divide(self.total, Decimal(self.count))
        return decimals.fit(quotient, 19, 4)


class Deviation:
    """VAR and STDEV, from exact sums. ``sample`` divides by n - 1."""

    sample = True
    root = False

    def __init__(self) -> None:
        self.count = 0
        self.total = Fraction(0)
        self.squares = Fraction(0)

    def step(self, value: float | None) -> None:
        if value is not None:
            number = Fraction(value)
            self.count += 1
            self.total += number
            self.squares += number * number

    def inverse(self, value: float | None) -> None:
        if value is not None:
            number = Fraction(value)
            self.count -= 1
            self.total -= number
            self.squares -= number * number

    def value(self) -> StorageValue:
        divisor = self.count - 1 if self.sample else self.count
        if divisor <= 0:
            return None
        variance = float((self.squares - self.total * self.total / self.count) / divisor)
        return math.sqrt(max(variance, 0.0)) if self.root else variance

    def finalize(self) -> StorageValue:
        return self.value()


class VarianceOfPopulation(Deviation):
    sample = False


class StandardDeviation(Deviation):
    root = True


class StandardDeviationOfPopulation(Deviation):
    sample = False
    root = True


_COMPARE = {
    **{collation.value: compare for collation, compare in strings.COMPARE.items()},
    Collation.DECIMAL.value: decimals.compare,
    Collation.GUID.value: strings.compare_guid,
    Collation.OFFSET.value: strings.compare_offset,
}


class StringAggregate:
    """STRING_AGG(value, separator) WITHIN GROUP (ORDER BY keys)."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, tuple[StorageValue, ...]]] = []
        self.separator = ""
        self.spec = ""

    def step(
        self, value: str | None, separator: str | None, spec: str, *keys: StorageValue
    ) -> None:
        if value is not None:
            self.separator = separator or ""
            self.spec = spec
            self.rows.append((value, keys))

    def finalize(self) -> StorageValue:
        if not self.rows:
            return None
        if self.spec:
            for position, part in reversed(list(enumerate(self.spec.split(",")))):
                compare = _COMPARE.get(part[1:])

                def order(a: StorageValue, b: StorageValue, compare: object = compare) -> int:
                    return _compare(a, b, compare)

                key = cmp_to_key(order)
                self.rows.sort(
                    key=lambda row, p=position, k=key: k(row[1][p]),  # type: ignore[misc]
                    reverse=part.startswith("-"),
                )
        return self.separator.join(value for value, _ in self.rows)


def _compare(a: StorageValue, b: StorageValue, compare: object) -> int:
    if a is None or b is None:
        return (a is not None) - (b is not None)
    if callable(compare) and isinstance(a, str) and isinstance(b, str):
        return int(compare(a, b))
    return (a > b) - (a < b)  # type: ignore[operator]


class Single:
    """The only value of a scalar subquery; error 512 for a second one."""

    def __init__(self) -> None:
        self.seen = False
        self.found: StorageValue = None

    def step(self, value: StorageValue) -> None:
        if self.seen:
            raise error(512)
        self.seen = True
        self.found = value

    def finalize(self) -> StorageValue:
        return self.found


WINDOW_AGGREGATES: dict[str, type] = {
    "ts_sum_decimal": DecimalSum,
    "ts_avg_decimal": DecimalAverage,
    "ts_avg_money": MoneyAverage,
    "ts_var": Deviation,
    "ts_varp": VarianceOfPopulation,
    "ts_stdev": StandardDeviation,
    "ts_stdevp": StandardDeviationOfPopulation,
}
AGGREGATES: dict[str, tuple[type, int]] = {
    "ts_string_agg": (StringAggregate, -1),
    "ts_single": (Single, 1),
}
