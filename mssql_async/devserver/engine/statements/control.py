"""Control of flow: IF, WHILE, blocks, RETURN, TRY … CATCH.

Source: SQL Server documentation, "Control-of-flow language", "TRY...CATCH".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...tsql import statements as st
from ..frames import Frame
from ..interpreter import Interpreter
from ..locks import Interrupted
from ..outcomes import Caught, Loop, LoopExit, ScopeEnded
from ..steps import Step


def if_(interpreter: Interpreter, frame: Frame, statement: st.If) -> Iterator[Step]:
    yield from _condition_access(interpreter, frame, statement.condition)
    if interpreter.expressions.holds(frame, statement.condition):
        yield from interpreter.block(frame, statement.then)
    else:
        yield from interpreter.block(frame, statement.otherwise)


def while_(interpreter: Interpreter, frame: Frame, statement: st.While) -> Iterator[Step]:
    while True:
        interpreter.session.frame = frame
        if interpreter.session.interrupted.is_set():
            raise Interrupted
        yield from _condition_access(interpreter, frame, statement.condition)
        if not interpreter.expressions.holds(frame, statement.condition):
            return
        try:
            yield from interpreter.block(frame, statement.body)
        except LoopExit as leave:
            if leave.kind is Loop.BREAK:
                return


def _condition_access(interpreter: Interpreter, frame: Frame, condition: Any) -> Iterator[Step]:
    """Wait for locks that a condition with a subquery needs."""
    if interpreter.session.transaction.depth:
        entry = interpreter.plans.predicate_plan(frame, condition)
        yield from interpreter.plans.access(entry)


def block(interpreter: Interpreter, frame: Frame, statement: st.Block) -> Iterator[Step]:
    yield from interpreter.block(frame, statement.body)


def break_(interpreter: Interpreter, frame: Frame, statement: st.Break) -> Iterator[Step]:
    raise LoopExit(Loop.BREAK)
    yield


def continue_(interpreter: Interpreter, frame: Frame, statement: st.Continue) -> Iterator[Step]:
    raise LoopExit(Loop.CONTINUE)
    yield


def return_(interpreter: Interpreter, frame: Frame, statement: st.Return) -> Iterator[Step]:
    if statement.value is not None:
        value = interpreter.expressions.evaluate(frame, statement.value, None)
        frame.return_status = int(value) if isinstance(value, int | float | str) else 0
    raise ScopeEnded
    yield


def try_catch(interpreter: Interpreter, frame: Frame, statement: st.TryCatch) -> Iterator[Step]:
    frame.in_try += 1
    outer = frame.handling
    try:
        try:
            yield from interpreter.block(frame, statement.body)
        finally:
            frame.in_try -= 1
            interpreter.session.frame = frame
    except Caught as caught:
        if caught.not_by is frame:
            raise
        frame.handling = caught.problem
    else:
        return
    try:
        yield from interpreter.block(frame, statement.handler)
    finally:
        frame.handling = outer
