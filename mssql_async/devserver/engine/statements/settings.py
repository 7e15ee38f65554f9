"""USE and SET: what a session changes about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...errors import NotSupportedByStandIn, error, message_text
from ...results import Command, Done, Environment, EnvironmentChange, Message
from ...tsql import statements as st
from .. import formatting
from ..definitions.place import Place
from ..frames import Frame
from ..interpreter import Interpreter
from ..outcomes import BatchAborted
from ..steps import Step

_KEEPS_FROM_RUNNING = frozenset({"FMTONLY", "NOEXEC", "PARSEONLY"})


def use(interpreter: Interpreter, frame: Frame, statement: st.Use) -> Iterator[Step]:
    session = interpreter.session
    database = session.engine.databases.find(statement.database)
    if database is None:
        raise error(911, statement.database)
    session.engine.check_access(session, database)
    old = session.database
    session.use(database)
    yield EnvironmentChange(Environment.DATABASE, database.name, old)
    yield Message(5701, message_text(5701, database.name), 0, 2, statement.line)
    yield interpreter.execution.done(Command.OTHER)


def set_option(interpreter: Interpreter, frame: Frame, statement: st.SetOption) -> Iterator[Step]:
    session = interpreter.session
    old = session.options.language
    if statement.name == "CONTEXT_INFO":
        session.context_info = formatting.context_info(statement.value)
    else:
        value = statement.value
        if value.startswith("@"):
            value = str(frame.values.get(value.casefold()))
        changed = replace(session.options)
        try:
            changed.set(statement.name, value, statement.line)
        except NotSupportedByStandIn as refusal:
            if statement.name not in _KEEPS_FROM_RUNNING:
                raise
            # What follows was not meant to be run: it must not be run instead.
            yield from interpreter.report(refusal, Done(Command.SET, failed=True))
            raise BatchAborted from None
        session.options = changed
    if session.options.language != old:
        new = session.options.language
        yield EnvironmentChange(Environment.LANGUAGE, new, old)
        yield Message(5703, message_text(5703, new), 0, 1, statement.line)
    yield Done(Command.SET)


def isolation(interpreter: Interpreter, frame: Frame, statement: st.SetIsolation) -> Iterator[Step]:
    interpreter.session.change_isolation(statement.level)
    yield Done(Command.SET)


def identity_insert(
    interpreter: Interpreter, frame: Frame, statement: st.SetIdentityInsert
) -> Iterator[Step]:
    session = interpreter.session
    place = Place(session, statement.table)
    table = place.table
    if table is None:
        raise error(1088, str(statement.table))
    if table.identity_column is None:
        raise error(8106, str(statement.table))
    if statement.on:
        if session.identity_insert and session.identity_insert[1] != table.object_id:
            raise error(8107, session.identity_insert_name, str(statement.table))
        session.identity_insert = (place.database, table.object_id)
        session.identity_insert_name = f"{session.database}.{table.schema}.{table.name}"
    elif session.identity_insert and session.identity_insert[1] == table.object_id:
        session.identity_insert = None
    yield Done(Command.SET)
