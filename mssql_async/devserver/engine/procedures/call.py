"""A call of a procedure: its arguments, and how they meet the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ... import sqltypes
from ...errors import SqlError, error
from ...results import Columns, Command, ResultColumn, Rows
from ...sqltypes import SqlType, StorageValue
from ...tsql import statements as st
from ..execution import Execution
from ..expressions import Expressions
from ..frames import Frame
from ..sessionstate import SessionState
from ..steps import Step


@dataclass(slots=True)
class Argument:
    """One argument. Setting ``value`` (and ``type``) of an output one returns it."""

    name: str
    type: SqlType
    value: StorageValue
    output: bool = False
    default: bool = False

    @property
    def text(self) -> str:
        return "" if self.value is None else str(self.value)


class Caller(Protocol):
    """What procedures ask of the interpreter."""

    execution: Execution
    expressions: Expressions

    def scope(self, inner: Frame, statements: Sequence[st.Statement]) -> Iterator[Step]:
        """Run statements in a scope of their own."""

    def failed(
        self, frame: Frame, statement: st.Statement | None, problem: SqlError
    ) -> Iterator[Step]:
        """Say that something failed in a procedure that goes on."""

    def run(self, call: Call) -> Iterator[Step]:
        """Run a procedure by its name. :raises SqlError: 2812 where there is none."""


@dataclass(slots=True)
class Call:
    """One call, and what it returns."""

    caller: Caller
    frame: Frame
    name: str
    arguments: list[Argument] = field(default_factory=list)
    status: int = 0

    @property
    def session(self) -> SessionState:
        return self.caller.execution.session

    @property
    def execution(self) -> Execution:
        return self.caller.execution

    def bind(self, *names: str) -> dict[str, Argument]:
        """The arguments by parameter name (``@`` included, lower case), positional ones in
        the order of ``names``.

        :raises SqlError: 8144 for too many, 8145 for an unknown name.
        """
        bound: dict[str, Argument] = {}
        for position, argument in enumerate(self.arguments):
            if argument.name:
                # ODBC's driver names a parameter without the @ now and then.
                name = "@" + argument.name.lower().lstrip("@")
                if name not in names:
                    raise error(8145, argument.name, self.name, state=2)
            else:
                if position >= len(names):
                    raise error(8144, self.name, state=2)
                name = names[position]
            if not argument.default:
                bound[name] = argument
        return bound

    def need(self, bound: dict[str, Argument], name: str) -> Argument:
        """:raises SqlError: 201 when the argument is missing."""
        found = bound.get(name)
        if found is None:
            raise error(201, self.name, name, state=4)
        return found

    def result(
        self, columns: tuple[ResultColumn, ...], rows: list[tuple[StorageValue, ...]]
    ) -> Iterator[Step]:
        """A result set and its end."""
        yield Columns(columns)
        for start in range(0, len(rows), 1000):
            yield Rows(rows[start : start + 1000])
        self.session.row_count = len(rows)
        yield self.execution.done(Command.SELECT, len(rows))


Procedure = Callable[[Call], "Iterator[Step]"]


def whole(argument: Argument | None, default: int = 0) -> int:
    if argument is None or argument.value is None or isinstance(argument.value, bytes):
        return default
    return int(float(argument.value))


def text(argument: Argument | None, default: str | None = None) -> str | None:
    return default if argument is None or argument.value is None else str(argument.value)


def sysname(name: str) -> ResultColumn:
    return ResultColumn(name, sqltypes.SYSNAME)
