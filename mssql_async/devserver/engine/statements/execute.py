"""EXECUTE: dynamic SQL, procedures, and INSERT … EXEC.

Source: SQL Server documentation, "EXECUTE (Transact-SQL)".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...results import Columns, Done, Rows
from ...sqltypes import StorageValue
from ...tsql import statements as st
from .. import formatting
from ..frames import Frame
from ..interpreter import Interpreter
from ..procedures import Argument, Call
from ..steps import Step


def execute_string(
    interpreter: Interpreter, frame: Frame, statement: st.ExecuteString
) -> Iterator[Step]:
    text = interpreter.expressions.evaluate(frame, statement.sql, formatting.MESSAGE_TYPE)
    inner = frame.nested()
    yield from interpreter.scope(inner, interpreter.session.engine.parse(str(text or "")))
    interpreter.session.frame = frame


def execute(interpreter: Interpreter, frame: Frame, statement: st.Execute) -> Iterator[Step]:
    arguments = []
    for given in statement.arguments:
        argument = Argument(given.name, formatting.MESSAGE_TYPE, None, output=given.output)
        if given.value is None:
            argument.default = True
        else:
            argument.value, argument.type = interpreter.expressions.evaluate_typed(
                frame, given.value
            )
        arguments.append(argument)
    call = Call(interpreter, frame, str(statement.procedure), arguments)
    yield from interpreter.run(call)
    interpreter.session.frame = frame
    for given, argument in zip(statement.arguments, arguments, strict=True):
        name = _variable_name(given.value)
        if given.output and name and name.casefold() in frame.declared:
            declared = frame.declared[name.casefold()]
            frame.values[name.casefold()] = interpreter.expressions.convert(
                argument.value, argument.type, declared
            )
    if statement.result:
        frame.values[statement.result.casefold()] = call.status


def insert_exec(interpreter: Interpreter, frame: Frame, statement: st.InsertExec) -> Iterator[Step]:
    """INSERT … EXEC: collect the rows of the call, then insert them."""
    call = statement.call
    rows: list[tuple[StorageValue, ...]] = []
    for step in (
        execute(interpreter, frame, call)
        if isinstance(call, st.Execute)
        else execute_string(interpreter, frame, call)
    ):
        if isinstance(step, Rows):
            rows.extend(step.rows)
        elif not isinstance(step, Columns | Done):
            yield step
    interpreter.session.frame = frame
    yield from interpreter.modifications.insert_rows(frame, statement, rows)


def _variable_name(value: Any) -> str:
    """The name of ``@x`` where an argument is nothing else."""
    name = getattr(value, "name", "") if value is not None else ""
    return name if isinstance(name, str) and name.startswith("@") else ""
