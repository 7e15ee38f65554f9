"""BEGIN, COMMIT, ROLLBACK and SAVE TRANSACTION."""

from __future__ import annotations

from collections.abc import Iterator

from ...results import Command
from ...tsql import statements as st
from ..frames import Frame
from ..interpreter import Interpreter
from ..steps import Step


def begin_transaction(
    interpreter: Interpreter, frame: Frame, statement: st.BeginTransaction
) -> Iterator[Step]:
    yield from interpreter.execution.begin_implicitly()
    yield from interpreter.execution.begin(statement.name)
    yield interpreter.execution.done(Command.BEGIN_TRANSACTION)


def commit_transaction(
    interpreter: Interpreter, frame: Frame, statement: st.CommitTransaction
) -> Iterator[Step]:
    yield from interpreter.execution.commit()
    yield interpreter.execution.done(Command.COMMIT)


def rollback_transaction(
    interpreter: Interpreter, frame: Frame, statement: st.RollbackTransaction
) -> Iterator[Step]:
    yield from interpreter.execution.roll_back_named(statement.name)
    yield interpreter.execution.done(Command.ROLLBACK)


def save_transaction(
    interpreter: Interpreter, frame: Frame, statement: st.SaveTransaction
) -> Iterator[Step]:
    interpreter.session.transaction.save(statement.name)
    yield interpreter.execution.done(Command.OTHER)
