"""Control of flow: IF, WHILE, blocks, RETURN, TRY … CATCH.

Source: SQL Server documentation, "Control-of-flow language", "TRY...CATCH".
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from ...tsql import statements as st
from ..frames import Frame
from ..interpreter import Interpreter
from ..locks import Interrupted
from ..outcomes import Caught, Loop, LoopExit, ScopeEnded
from ..steps import Step


def if_(interpreter: Interpreter, frame: Frame, statement: st.If) -> Iterator[Step]:
    if (yield from _holds(interpreter, frame, statement.condition)):
        yield from interpreter.block(frame, statement.then)
    else:
        yield from interpreter.block(frame, statement.otherwise)


def while_(interpreter: Interpreter, frame: Frame, statement: st.While) -> Iterator[Step]:
    while True:
        interpreter.session.frame = frame
        if interpreter.session.interrupted.is_set():
            raise Interrupted
        if not (yield from _holds(interpreter, frame, statement.condition)):
            return
        try:
            yield from interpreter.block(frame, statement.body)
        except LoopExit as leave:
            if leave.kind is Loop.BREAK:
                return


def _holds(interpreter: Interpreter, frame: Frame, condition: Any) -> Generator[Step, None, bool]:
    """Whether a condition is true, once the locks are there that its subqueries need.

    Looking is a statement like others: it leaves @@ERROR and @@ROWCOUNT at 0.
    """
    session = interpreter.session
    if interpreter.expressions.reads_tables(condition):
        yield from interpreter.execution.may_wait()
    if session.transaction.depth:
        entry = interpreter.plans.predicate_plan(frame, condition)
        yield from interpreter.plans.access(entry)
    found = interpreter.expressions.holds(frame, condition)
    session.last_error = 0
    session.row_count = 0
    return found


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
