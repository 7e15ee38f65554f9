"""Where variables live: a batch, or a nested scope (sp_executesql, EXEC).

Source: SQL Server documentation, "Variables (Transact-SQL)", "SCOPE_IDENTITY",
"TRY...CATCH"; "Nested stored procedures": at most 32 levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import SqlError, error
from ..schema import Table
from ..sqltypes import Kind, SqlType, StorageValue

MAX_NESTING = 32

_signatures: dict[tuple[tuple[str, SqlType], ...], int] = {(): 0}

_LENGTHS = (8, 32, 128, 512, 2000, 4000, 8000)
_FLEXIBLE = frozenset({Kind.VARCHAR, Kind.NVARCHAR, Kind.VARBINARY})


def plan_type(declared: SqlType) -> SqlType:
    """The type under which a variable is compiled.

    Drivers declare ``nvarchar(n)`` with the length of each value; rounding the length up
    lets values of many lengths share one plan. Values still have their own length.
    """
    if declared.kind in _FLEXIBLE and declared.length is not None and declared.length > 0:
        for length in _LENGTHS:
            if declared.length <= length:
                return replace(declared, length=length)
    return declared


def signature_of(types: dict[str, SqlType]) -> int:
    """A small number for the names and types of the declared variables."""
    key = tuple(types.items())
    found = _signatures.get(key)
    if found is None:
        found = _signatures[key] = len(_signatures)
    return found


@dataclass(slots=True)
class Frame:
    """One scope. Names of variables are folded and include the ``@``."""

    parent: Frame | None = None
    values: dict[str, StorageValue] = field(default_factory=dict)
    types: dict[str, SqlType] = field(default_factory=dict)
    declared: dict[str, SqlType] = field(default_factory=dict)
    declared_by: dict[str, object] = field(default_factory=dict)
    """What declared a name: in a loop it does so once, and the value stays."""
    signature: int = 0
    tables: dict[str, Table] = field(default_factory=dict)
    scope_identity: int | None = None
    return_status: int = 0
    level: int = 0
    handling: SqlError | None = None
    """The error that the innermost CATCH block of this frame is about."""
    in_try: int = 0

    def nested(self) -> Frame:
        """:raises SqlError: 217 beyond 32 levels."""
        if self.level + 1 > MAX_NESTING:
            raise error(217, MAX_NESTING)
        return Frame(parent=self, level=self.level + 1)

    def declare(
        self, name: str, declared: SqlType, value: StorageValue, *, exact: bool = False
    ) -> None:
        """``exact`` keeps the declared length for plans too.

        :raises SqlError: 134 for a name declared before.
        """
        folded = name.casefold()
        if folded in self.types or folded in self.tables:
            raise error(134, name)
        self.declared[folded] = declared
        self.types[folded] = declared if exact else plan_type(declared)
        self.values[folded] = value
        self.signature = signature_of(self.types)

    @property
    def protected(self) -> bool:
        """Whether a TRY block of this or an outer scope will catch errors."""
        frame: Frame | None = self
        while frame is not None:
            if frame.in_try:
                return True
            frame = frame.parent
        return False

    @property
    def current_error(self) -> SqlError | None:
        """What ERROR_NUMBER() and its kin speak of."""
        frame: Frame | None = self
        while frame is not None:
            if frame.handling is not None:
                return frame.handling
            frame = frame.parent
        return None
