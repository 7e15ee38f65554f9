"""What SQLite calls for arithmetic and mathematical functions."""

from __future__ import annotations

import decimal
import json
import math
import random
from collections.abc import Callable
from decimal import Decimal

from ..errors import error
from ..sqltypes import StorageValue
from . import decimals

_LARGEST = 2**63 - 1
_RANDOM = random.Random()  # noqa: S311  (RAND is no secret)


def integer_check(low: int, high: int, name: str) -> Callable[..., StorageValue]:
    """Error 8115 for what an integer type cannot hold. SQLite turns a 64-bit overflow into
    a float."""

    def check(value: StorageValue) -> StorageValue:
        if isinstance(value, int) and low <= value <= high:
            return value
        if value is None:
            return None
        raise error(8115, "expression", name)

    return check


def integer_divide(left: int, right: int) -> int:
    if right == 0:
        raise error(8134)
    quotient = abs(left) // abs(right)
    result = quotient if (left < 0) == (right < 0) else -quotient
    if result > _LARGEST:  # SQLite could not even be handed it
        raise error(8115, "expression", "bigint")
    return result


def absolute(value: float) -> float:
    if abs(value) > _LARGEST and isinstance(value, int):
        raise error(8115, "expression", "bigint")
    return abs(value)


def integer_modulo(left: int, right: int) -> int:
    if right == 0:
        raise error(8134)
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def float_check(value: float) -> float:
    if math.isinf(value) or math.isnan(value):
        raise error(8115, "expression", "float")
    return value


def float_divide(left: float, right: float) -> float:
    if right == 0:
        raise error(8134)
    return float_check(left / right)


def integer_round(value: int, digits: int, cut: int) -> int:
    if digits >= 0:
        return value
    unit = int(10 ** float(-digits)) if digits > -19 else 10**18 * 10
    magnitude = abs(value)
    rounded = magnitude // unit * unit if cut else (magnitude + unit // 2) // unit * unit
    return -rounded if value < 0 else rounded


def decimal_round(value: str, digits: int, cut: int, precision: int, scale: int) -> str:
    number = Decimal(value)
    if digits < scale:
        unit = Decimal(1).scaleb(-digits)
        rounding = decimal.ROUND_DOWN if cut else decimal.ROUND_HALF_UP
        if abs(digits) > 60:
            return decimals.fit(Decimal(0), precision, scale)
        number = (number / unit).quantize(Decimal(1), rounding, decimals.CONTEXT) * unit
    return decimals.fit(number, precision, scale)


def float_round(value: float, digits: int, cut: int) -> float:
    if not -308 < digits < 308:
        return value if digits > 0 else 0.0
    rounding = decimal.ROUND_DOWN if cut else decimal.ROUND_HALF_UP
    unit = Decimal(1).scaleb(-digits)
    number = (Decimal(repr(value)) / unit).to_integral_value(rounding) * unit
    return float(number)


def decimal_negative(value: str) -> str:
    return decimals.plain(-Decimal(value)) if Decimal(value) else value


def decimal_sign(value: str, scale: int) -> str:
    number = Decimal(value)
    sign = (number > 0) - (number < 0)
    return decimals.fit(Decimal(sign), 38, scale)


def decimal_ceiling(value: str, scale: int) -> str:
    whole = Decimal(value).to_integral_value(decimal.ROUND_CEILING)
    return decimals.fit(whole, 38, scale)


def decimal_floor(value: str, scale: int) -> str:
    whole = Decimal(value).to_integral_value(decimal.ROUND_FLOOR)
    return decimals.fit(whole, 38, scale)


def power(base: float, exponent: float) -> float:
    try:
        result = math.pow(base, exponent)
    except OverflowError:
        raise error(8115, "expression", "float") from None
    except ValueError:
        if base == 0:
            raise error(8134) from None
        raise error(3623) from None
    return result


def _floating(function: Callable[..., float]) -> Callable[..., float]:
    def run(*arguments: float) -> float:
        try:
            return function(*arguments)
        except ValueError:
            raise error(3623) from None
        except OverflowError:
            raise error(8115, "expression", "float") from None

    return run


def _cotangent(value: float) -> float:
    tangent = math.tan(value)
    if tangent == 0:
        raise ValueError(value)
    return 1 / tangent


def _ceiling(value: float) -> float:
    return float(math.ceil(value))


def _floor(value: float) -> float:
    return float(math.floor(value))


_FLOATING: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "cot": _cotangent,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "atn2": math.atan2,
    "degrees": math.degrees,
    "radians": math.radians,
    "ceil": _ceiling,
    "floor": _floor,
}
FLOAT_FUNCTIONS: dict[str, Callable[..., float]] = {
    name: _floating(function) for name, function in _FLOATING.items()
}


def logarithm(*arguments: float) -> float:
    try:
        return math.log(*arguments)
    except (ValueError, ZeroDivisionError):
        raise error(3623) from None


def rand(*seed: int) -> float:
    if seed:
        _RANDOM.seed(seed[0])
    return _RANDOM.random()


def series(start: int, stop: int, step: int) -> str:
    """The rows of GENERATE_SERIES as JSON."""
    if step == 0:
        raise error(4199)
    return json.dumps(list(range(start, stop + (1 if step > 0 else -1), step)))
