"""Extended properties: sp_addextendedproperty and its kin.

Source: SQL Server documentation, "sp_addextendedproperty", "sp_updateextendedproperty",
"sp_dropextendedproperty". Levels: the database, SCHEMA, TABLE or VIEW, COLUMN, INDEX or
CONSTRAINT.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import NotSupportedByStandIn, error
from ...schema import ObjectName, Table, View
from ..catalog import ExtendedProperty, fold, index_named
from ..definitions.change import Change
from ..definitions.place import Place
from ..steps import Step
from .call import Argument, Call, text

_NAMES = (
    "@name",
    "@value",
    "@level0type",
    "@level0name",
    "@level1type",
    "@level1name",
    "@level2type",
    "@level2name",
)
_DATABASE, _OBJECT, _SCHEMA, _INDEX = 0, 1, 3, 7


def _target(call: Call, bound: dict[str, Argument]) -> tuple[Place, int, int, int, str]:
    """Class, major and minor id of what the property is about, and its display name."""
    session = call.session
    schema = text(bound.get("@level0name")) or ""
    name = text(bound.get("@level1name")) or ""
    part = text(bound.get("@level2name")) or ""
    kinds = [(text(bound.get(f"@level{level}type")) or "").upper() for level in range(3)]
    display = ".".join(p.strip("[]") for p in (schema, name, part) if p)
    clean = [p.strip("[]") for p in (schema, name, part)]
    place = Place(session, ObjectName(clean[1] or "x", clean[0]))
    catalog = place.catalog
    if not kinds[0]:
        return place, _DATABASE, 0, 0, "object specified"
    found_schema = catalog.schema(clean[0])
    if kinds[0] not in ("SCHEMA", "USER") or found_schema is None:
        raise error(15135, display)
    if not kinds[1]:
        return place, _SCHEMA, found_schema.schema_id, 0, display
    if kinds[1] not in ("TABLE", "VIEW"):
        raise NotSupportedByStandIn(f"extended properties of {kinds[1]}")
    thing = catalog.object(clean[0], clean[1])
    if thing is None or not isinstance(thing.item, Table | View):
        raise error(15135, display)
    if not kinds[2]:
        return place, _OBJECT, thing.object_id, 0, display
    item = thing.item
    if kinds[2] == "COLUMN":
        for column in item.columns:
            if fold(column.name) == fold(clean[2]):
                return place, _OBJECT, thing.object_id, column.column_id, display
    elif kinds[2] == "INDEX" and isinstance(item, Table):
        index = index_named(item, clean[2])
        if index is not None:
            return place, _INDEX, thing.object_id, index.index_id, display
    elif kinds[2] == "CONSTRAINT":
        constraint = catalog.object(clean[0], clean[2])
        if constraint is not None and constraint.parent is item:
            return place, _OBJECT, constraint.object_id, 0, display
    raise error(15135, display)


def _change(call: Call, action: str) -> Iterator[Step]:
    names = _NAMES if action != "drop" else (_NAMES[0], *_NAMES[2:])
    bound = call.bind(*names)
    name = call.need(bound, "@name").text
    value = text(bound.get("@value"))
    execution = call.execution
    database = call.session.current_database
    yield from execution.may_wait()
    if database.options.read_only:
        raise error(3906, database.name)
    yield from execution.lock(database)

    def work() -> None:
        place, kind, major, minor, display = _target(call, bound)
        key = (kind, major, minor, fold(name))
        change = Change(place)
        exists = key in change.editor.properties
        if action == "add" and exists:
            raise error(15233, name, display)
        if action != "add" and not exists:
            raise error(15217, name, display)
        if action == "drop":
            del change.editor.properties[key]
        else:
            change.editor.properties[key] = ExtendedProperty(kind, major, minor, name, value or "")
        change.finish()

    execution.write(work)
    call.status = 0


def sp_addextendedproperty(call: Call) -> Iterator[Step]:
    yield from _change(call, "add")


def sp_updateextendedproperty(call: Call) -> Iterator[Step]:
    yield from _change(call, "update")


def sp_dropextendedproperty(call: Call) -> Iterator[Step]:
    yield from _change(call, "drop")
