"""CREATE SCHEMA and DROP SCHEMA."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import error
from ...results import Command
from ...schema import ObjectName
from ...tsql import statements as st
from ..catalog import fold
from ..execution import Execution
from ..outcomes import SeveralErrors
from ..steps import Step
from .change import Change
from .place import Place


def create_schema(execution: Execution, statement: st.CreateSchema) -> Iterator[Step]:
    place = Place(execution.session, ObjectName(statement.name))

    def work() -> None:
        if place.catalog.schema(statement.name) is not None:
            raise SeveralErrors(error(2714, statement.name, state=6), error(2759, state=0))
        change = Change(place)
        change.editor.add_schema(statement.name)
        change.finish()

    yield from execution.define(place.database, work)
    yield execution.done(Command.OTHER)


def drop_schema_now(place: Place, if_exists: bool) -> None:
    name = place.name.name
    schema = place.catalog.schema(name)
    if schema is None:
        if if_exists:
            return
        raise error(15151, "drop", "schema", name)
    for thing in place.catalog.objects():
        if fold(thing.schema) == fold(name):
            raise error(3729, "drop schema", name, thing.name)
    if schema.schema_id < 5:
        raise error(3708, "drop", "schema", name)
    change = Change(place)
    del change.editor.schemas[fold(name)]
    change.finish()
