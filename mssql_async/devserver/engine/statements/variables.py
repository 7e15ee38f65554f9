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
    for variable in statement.variables:
        name, declared, value = variable
        folded = name.casefold()
        if frame.declared_by.get(folded) is not variable:
            frame.declare(name, declared, None, exact=True)
            frame.declared_by[folded] = variable
        if value is not None:
            if interpreter.expressions.reads_tables(value):
                yield from interpreter.execution.may_wait()
            frame.values[folded] = interpreter.expressions.evaluate(frame, value, declared)
            interpreter.session.row_count = 1
            interpreter.session.last_error = 0


def declare_table(
    interpreter: Interpreter, frame: Frame, statement: st.DeclareTable
) -> Iterator[Step]:
    folded = statement.name.casefold()
    if frame.declared_by.get(folded) is statement:
        return
    if folded in frame.tables or folded in frame.types:
        raise error(134, statement.name)
    frame.declared_by[folded] = statement
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
    if interpreter.expressions.reads_tables(statement.value):
        yield from interpreter.execution.may_wait()
    value = interpreter.expressions.evaluate(frame, statement.value, declared)
    frame.values[folded] = formatting.fit(value, declared)
    interpreter.session.row_count = 1
    interpreter.session.last_error = 0
    yield Done(Command.SET)
