"""The functions by name, and how they read their arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import SqlError, error
from ...schema import ObjectName
from ...sqltypes import StorageValue
from ...tsql.parser import parse_object_name
from ..sessionstate import SessionState

Arguments = Sequence[StorageValue]


Function = Callable[[SessionState, Arguments], StorageValue]


FUNCTIONS: dict[str, Function] = {}


def function(*names: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        for name in names:
            FUNCTIONS[name] = function
        return function

    return register


def text(value: StorageValue) -> str:
    return "" if value is None else str(value)


def whole(value: StorageValue) -> int | None:
    if value is None:
        return None
    try:
        return int(float(value)) if isinstance(value, str) else int(value)
    except ValueError:
        raise error(245, "nvarchar", value, "int") from None


def argument(arguments: Arguments, position: int) -> StorageValue:
    return arguments[position] if len(arguments) > position else None


def parse_name(text: str) -> ObjectName | None:
    try:
        return parse_object_name(text)
    except SqlError:
        return None
