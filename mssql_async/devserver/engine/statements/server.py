"""WAITFOR and KILL."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

from ...errors import SqlError, error
from ...results import Command
from ...tsql import statements as st
from .. import formatting
from ..frames import Frame
from ..instance import Wait
from ..interpreter import Interpreter
from ..locks import Interrupted
from ..steps import Step


def wait_for(interpreter: Interpreter, frame: Frame, statement: st.WaitFor) -> Iterator[Step]:
    value = interpreter.expressions.evaluate(frame, statement.value, formatting.MESSAGE_TYPE)
    seconds = formatting.delay(str(value or ""))
    if statement.until:
        now = datetime.datetime.now(datetime.UTC)
        passed = datetime.timedelta(
            hours=now.hour, minutes=now.minute, seconds=now.second
        ).total_seconds()
        seconds = (seconds - passed) % 86400
    yield from interpreter.execution.may_wait()
    session = interpreter.session
    session.wait = Wait("WAITFOR", time.time())
    try:
        if session.interrupted.wait(seconds):
            raise Interrupted
    finally:
        session.wait = None
    yield interpreter.execution.done(Command.OTHER)


def kill(interpreter: Interpreter, frame: Frame, statement: st.Kill) -> Iterator[Step]:
    session = interpreter.session
    if session.transaction.is_open:
        raise SqlError(6115, "KILL command cannot be used inside user transactions.")
    if statement.session_id == session.spid:
        raise error(6104)
    victim = session.engine.session_by_id(statement.session_id)
    if victim is None:
        raise error(6106, statement.session_id, state=2)
    victim.kill()
    yield interpreter.execution.done(Command.OTHER)
