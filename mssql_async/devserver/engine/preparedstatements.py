"""What a handle stands for: a parsed batch with parameters, or a procedure's name."""

from __future__ import annotations

from dataclasses import dataclass

from .. import sqltypes
from ..tsql import statements as st


@dataclass(frozen=True, slots=True)
class PreparedStatement:
    """A parsed batch with its parameters, shared by every session that runs it."""

    text: str
    parameters: tuple[st.ParameterDeclaration, ...]
    names: tuple[str, ...]
    types: dict[str, sqltypes.SqlType]
    declared: dict[str, sqltypes.SqlType]
    signature: int
    statements: tuple[st.Statement, ...]


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A procedure that sp_prepexecrpc has prepared."""

    procedure: str


Prepared = PreparedStatement | PreparedCall
