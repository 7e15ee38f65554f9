"""CREATE VIEW and DROP VIEW."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import SqlError, error
from ...results import Command
from ...schema import Column, View
from ...tsql import compiler
from ...tsql import statements as st
from ..catalog import fold
from ..execution import Execution
from ..frames import Frame
from ..scope import CompileScope
from ..steps import Step
from .change import Change
from .place import Place, check_new_name


def create_view(execution: Execution, statement: st.CreateView) -> Iterator[Step]:
    place = Place(execution.session, statement.name)
    yield from execution.define(place.database, lambda: _create_view_now(place, statement))
    yield execution.done(Command.OTHER)


def _create_view_now(place: Place, statement: st.CreateView) -> None:
    session = place.session
    if place.temporary:
        raise SqlError(4103, f"'{place.name}': Temporary views are not allowed.", 15)
    change = Change(place)
    schema = place.catalog.schema(place.schema)
    if schema is None:
        raise error(2760, place.schema)
    existing = place.catalog.view(place.schema, place.name.name)
    if existing is None or not statement.replace:
        check_new_name(place)
    described = compiler.describe_query(statement.definition, CompileScope(session, Frame()))
    names = statement.columns or tuple(column.name for column in described)
    if len(names) != len(described):
        raise SqlError(
            8158,
            f"'{place.name.name}' has more columns than were specified in the column list.",
        )
    columns = []
    for number, (name, column) in enumerate(zip(names, described, strict=True), start=1):
        if not name:
            raise SqlError(
                4511,
                "Create View or Function failed because no column name was specified for "
                f"column {number}.",
            )
        columns.append(Column(name, column.type, column.nullable, column_id=number))
    seen: set[str] = set()
    for name in names:
        if fold(name) in seen:
            raise SqlError(
                4506,
                "Column names in each view or function must be unique. Column name "
                f"'{name}' in view or function '{place.name.name}' is specified more than once.",
                15,
            )
        seen.add(fold(name))
    object_id = existing.object_id if existing is not None else change.new_object_id()
    view = View(object_id, schema.name, place.name.name, statement.definition, tuple(columns))
    change.editor.put_view(view)
    change.finish()


def drop_view_now(place: Place, if_exists: bool) -> None:
    view = None if place.temporary else place.catalog.view(place.schema, place.name.name)
    if view is None:
        if place.table is not None:
            raise error(3705, "VIEW", str(place.name), "table", "TABLE")
        if if_exists:
            return
        raise error(3701, "drop", "view", str(place.name), state=5)
    change = Change(place)
    change.editor.remove_view(view)
    change.finish()
