"""DECLARE and SET @x."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import error
from ...results import Command, Done
from ...tsql import statements as st
from .. import formatting
from ..definitions.tablevariables import declare_table as declare_table_variable
from ..frames import Frame
from ..interpreter import Interpreter
from ..outcomes import CompilationFailed
from ..steps import Step


def declare(interpreter: Interpreter, frame: Frame, statement: st.Declare) -> Iterator[Step]:
    for name, declared, value in statement.variables:
        frame.declare(name, declared, None, exact=True)
        if value is not None:
            frame.values[name.casefold()] = interpreter.expressions.evaluate(frame, value, declared)
    return
    yield


def declare_table(
    interpreter: Interpreter, frame: Frame, statement: st.DeclareTable
) -> Iterator[Step]:
    if statement.name.casefold() in frame.tables or statement.name.casefold() in frame.types:
        raise error(134, statement.name)
    declare_table_variable(interpreter.session, frame, statement)
    return
    yield


def set_variable(
    interpreter: Interpreter, frame: Frame, statement: st.SetVariable
) -> Iterator[Step]:
    folded = statement.name.casefold()
    declared = frame.declared.get(folded)
    if declared is None:
        raise CompilationFailed(error(137, statement.name, line=statement.line))
    value = interpreter.expressions.evaluate(frame, statement.value, declared)
    frame.values[folded] = formatting.fit(value, declared)
    interpreter.session.row_count = 1
    interpreter.session.last_error = 0
    yield Done(Command.SET)
