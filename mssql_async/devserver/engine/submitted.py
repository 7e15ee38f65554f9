"""What a session was asked last, as others see it: its input buffer and its SQL handle.

Source: SQL Server documentation, "sys.dm_exec_input_buffer", "DBCC INPUTBUFFER",
"sys.dm_exec_sql_text". The bytes of a handle are documented as opaque; theirs are ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..protocols import Parameter
from .preparedstatements import Prepared, PreparedStatement

_OF_A_BATCH = b"\x02\x00\x00\x00"
_HANDLE_SIZE = 44

_WITH_TEXT = {"sp_executesql": (0, 1), "sp_prepare": (2, 1), "sp_prepexec": (2, 1)}
"""Positions of the statements and of the declarations among the arguments."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch, or a call of ``procedure``: kept as it came, read only when somebody looks."""

    sql: str = ""
    procedure: str = ""
    parameters: Sequence[Parameter] = field(default=(), repr=False)

    @property
    def event_type(self) -> str:
        if self.procedure:
            return "RPC Event"
        return "Language Event" if self.sql else "No Event"

    def text(self, prepared: Mapping[int, Prepared]) -> str:
        """The statements, parameters declared in parentheses before them, of whatever brought
        them; else the procedure's name. ``prepared`` are the session's handles."""
        if not self.procedure:
            return self.sql
        name = self.procedure.replace("[", "").replace("]", "").split(".")[-1].lower()
        places = _WITH_TEXT.get(name)
        values = [parameter.value for parameter in self.parameters]
        if places is not None and len(values) > places[0]:
            statements, declared = (
                str(values[place] or "") if place < len(values) else "" for place in places
            )
            return with_declarations(declared, statements)
        handle = values[0] if name == "sp_execute" and values else None
        found = prepared.get(handle) if isinstance(handle, int) else None
        if isinstance(found, PreparedStatement):
            declarations = ",".join(f"{each.name} {each.type}" for each in found.parameters)
            return with_declarations(declarations, found.text)
        return self.procedure


NOTHING = Submitted()


def with_declarations(declarations: str, statements: str) -> str:
    return f"({declarations}){statements}" if declarations else statements


def sql_handle(text: str) -> bytes:
    """The handle of a batch: "hash values based on the SQL text"."""
    digest = hashlib.sha1(text.encode("utf-16-le", "surrogatepass"), usedforsecurity=False)
    return (_OF_A_BATCH + digest.digest()).ljust(_HANDLE_SIZE, b"\x00")
