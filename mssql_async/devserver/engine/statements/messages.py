"""PRINT, RAISERROR and THROW.

Source: SQL Server documentation, "PRINT", "RAISERROR", "THROW".
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import SqlError, error
from ...results import Command, Message
from ...sqltypes import StorageValue
from ...tsql import statements as st
from .. import formatting
from ..frames import Frame
from ..interpreter import Interpreter
from ..outcomes import LOWEST_CAUGHT, CompilationFailed, Raised, Thrown
from ..steps import Step

_HIGHEST_USER_SEVERITY = 18
_FIRST_USER_NUMBER = 50000


def print_(interpreter: Interpreter, frame: Frame, statement: st.Print) -> Iterator[Step]:
    value = interpreter.expressions.evaluate(frame, statement.value, formatting.MESSAGE_TYPE)
    text = "" if value is None else str(value)
    yield Message(0, text or " ", 0, 1, statement.line)
    yield interpreter.execution.done(Command.OTHER)


def raise_error(interpreter: Interpreter, frame: Frame, statement: st.RaiseError) -> Iterator[Step]:
    evaluate = interpreter.expressions.evaluate
    message = evaluate(frame, statement.message, None)
    severity = _whole(evaluate(frame, statement.severity, None))
    state = _whole(evaluate(frame, statement.state, None))
    arguments = [evaluate(frame, argument, None) for argument in statement.arguments]
    if severity > _HIGHEST_USER_SEVERITY:
        raise error(2754, _HIGHEST_USER_SEVERITY)
    if isinstance(message, int):
        raise error(18054, message, severity, state)
    text = formatting.format_message(str(message or ""), arguments)
    state = 1 if state < 0 else min(state, 255)
    if severity < LOWEST_CAUGHT:
        yield Message(_FIRST_USER_NUMBER, text, max(severity, 0), state, statement.line)
        yield interpreter.execution.done(Command.OTHER)
        return
    raise Raised(_FIRST_USER_NUMBER, text, severity, state, statement.line)


def throw(interpreter: Interpreter, frame: Frame, statement: st.Throw) -> Iterator[Step]:
    if statement.number is None:
        current = frame.current_error
        if current is None:
            raise CompilationFailed(error(10704, line=statement.line))
        raise Thrown(
            current.number,
            current.text,
            current.severity,
            current.state,
            current.line,
            current.procedure,
        )
    evaluate = interpreter.expressions.evaluate
    number = _whole(evaluate(frame, statement.number, None))
    if number < _FIRST_USER_NUMBER:
        raise SqlError(
            35100,
            f"Error number {number} in the THROW statement is outside the "
            "valid range. Specify an error number in the valid range of 50000 to "
            "2147483647.",
            16,
            10,
            statement.line,
        )
    text = evaluate(frame, statement.message, formatting.MESSAGE_TYPE)
    state = _whole(evaluate(frame, statement.state, None))
    raise Thrown(number, str(text or ""), 16, state, statement.line)
    yield


def _whole(value: StorageValue) -> int:
    return 0 if value is None or isinstance(value, bytes) else int(float(value))
