"""sp_rename and sp_renamedb.

Source: SQL Server documentation, "sp_rename (Transact-SQL)". As there, texts that mention
the old name (checks, filters, views) are not rewritten, except for filters and checks of
a renamed column, which SQL Server keeps by column id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ...errors import SqlError, error, message_text
from ...results import Message
from ...schema import Column, ForeignKey, IndexColumn, ObjectName, Table, View
from ...tsql.parser import parse_object_name
from ..catalog import DBO, CatalogObject, ObjectType, fold, index_named, key_of
from ..definitions.change import Change
from ..definitions.place import Place
from ..steps import Step
from ..storage import quote
from .call import Call, text


def sp_rename(call: Call) -> Iterator[Step]:
    bound = call.bind("@objname", "@newname", "@objtype")
    old = call.need(bound, "@objname").text
    new = call.need(bound, "@newname").text
    kind = (text(bound.get("@objtype")) or "").upper()
    execution = call.execution
    session = call.session
    if kind == "DATABASE":
        yield from _rename_database(call, old, new)
        return
    yield from execution.may_wait()
    database = session.current_database
    if database.options.read_only:
        raise error(3906, database.name)
    yield from execution.lock(database)

    def work() -> None:
        parts = _parts(old)
        if kind == "COLUMN":
            _rename_column(call, parts, new, old)
        elif kind == "INDEX":
            _rename_index(call, parts, new, old)
        elif kind in ("", "OBJECT"):
            _rename_object(call, parts, new, old)
        else:
            raise error(15248 if kind == "USERDATATYPE" else 15249, kind or "(null)")

    execution.write(work)
    yield Message(15477, message_text(15477), 0, 1)
    call.status = 0


def _parts(name: str) -> list[str]:
    try:
        parsed = parse_object_name(name)
    except SqlError:
        return [part.strip("[]") for part in name.split(".")]
    return [part for part in (parsed.database, parsed.schema, parsed.name) if part]


def _unknown(call: Call, name: str, kind: str) -> SqlError:
    return error(15225, name, call.session.database, kind or "(null)")


def _table(call: Call, parts: list[str]) -> tuple[Place, Table | None]:
    """The table that the leading parts of a name say."""
    schema = parts[-3] if len(parts) > 2 else DBO
    table_name = parts[-2] if len(parts) > 1 else ""
    place = Place(call.session, ObjectName(table_name or "x", schema))
    return place, place.table if table_name else None


def _rename_column(call: Call, parts: list[str], new: str, given: str) -> None:
    place, table = _table(call, parts)
    column = table.column(parts[-1]) if table is not None else None
    if table is None or column is None:
        raise error(15248, "COLUMN")
    other = table.column(new)
    if other is not None and other is not column:
        raise error(15335, new, "COLUMN")
    change = Change(place)
    before = column.name

    def name(text_: str) -> str:
        return new if fold(text_) == fold(before) else text_

    def expression(text_: str) -> str:
        return _rename_in(text_, before, new)

    renamed = replace(
        table,
        columns=tuple(_renamed_column(c, column, new, expression) for c in table.columns),
        indexes=tuple(
            replace(
                index,
                columns=tuple(IndexColumn(name(k.name), k.descending) for k in index.columns),
                include=tuple(map(name, index.include)),
                filter=expression(index.filter) if index.filter is not None else None,
            )
            for index in table.indexes
        ),
        foreign_keys=tuple(
            replace(fk, columns=tuple(map(name, fk.columns))) for fk in table.foreign_keys
        ),
        checks=tuple(
            replace(
                check,
                expression=expression(check.expression),
                column=name(check.column) if check.column is not None else None,
            )
            for check in table.checks
        ),
    )
    for child, foreign_key in list(place.catalog.references_to(table)):
        keys = replace(
            foreign_key, referenced_columns=tuple(map(name, foreign_key.referenced_columns))
        )
        if child.object_id == table.object_id:
            renamed = _with_foreign_key(
                renamed,
                replace(keys, columns=tuple(map(name, foreign_key.columns))),
            )
        else:
            current = change.editor.tables[key_of(child.schema, child.name)]
            change.alter(current, _with_foreign_key(current, keys))
    change.alter(table, renamed, {new: quote(before)})
    change.finish()


def _renamed_column(column: Column, renamed: Column, new: str, expression: object) -> Column:
    if column is renamed:
        return replace(column, name=new)
    if column.computed is not None and callable(expression):
        return replace(column, computed=expression(column.computed))
    return column


def _rename_in(text_: str, old: str, new: str) -> str:
    """T-SQL text with a column renamed, strings left alone."""
    name = re.escape(old)
    pattern = re.compile(
        rf"('(?:[^']|'')*')|\[{name}\]|\"{name}\"|(?<![\w@#$\[.]){name}(?![\w@#$\]])",
        re.IGNORECASE,
    )
    return pattern.sub(lambda match: match.group(1) or f"[{new}]", text_)


def _with_foreign_key(table: Table, changed: ForeignKey) -> Table:
    return replace(
        table,
        foreign_keys=tuple(
            changed if fk.object_id == changed.object_id else fk for fk in table.foreign_keys
        ),
    )


def _rename_index(call: Call, parts: list[str], new: str, given: str) -> None:
    place, table = _table(call, parts)
    index = index_named(table, parts[-1]) if table is not None else None
    if table is None or index is None:
        raise error(15248, "INDEX")
    if index_named(table, new) is not None and fold(new) != fold(index.name):
        raise error(15335, new, "INDEX")
    change = Change(place)
    indexes = tuple(replace(i, name=new) if i is index else i for i in table.indexes)
    change.alter(table, replace(table, indexes=indexes))
    change.finish()


def _rename_object(call: Call, parts: list[str], new: str, given: str) -> None:
    schema = parts[-2] if len(parts) > 1 else DBO
    place = Place(call.session, ObjectName(parts[-1], schema))
    thing = place.catalog.object(schema, parts[-1])
    if thing is None:
        raise _unknown(call, given, "(null)")
    taken = place.catalog.object(thing.schema, new)
    if taken is not None and taken.object_id != thing.object_id:
        raise error(15335, new, "object")
    change = Change(place)
    if isinstance(thing.item, View):
        change.editor.remove_view(thing.item)
        change.editor.put_view(replace(thing.item, name=new))
        change.editor.created[thing.object_id] = change.editor.now
    elif isinstance(thing.item, Table):
        _rename_table(change, place, thing.item, new)
    else:
        _rename_constraint(change, thing, new)
    change.finish()


def _rename_table(change: Change, place: Place, table: Table, new: str) -> None:
    renamed = replace(table, name=new)
    for child, foreign_key in list(place.catalog.references_to(table)):
        pointed = replace(foreign_key, referenced=ObjectName(new, table.schema))
        if child.object_id == table.object_id:
            renamed = _with_foreign_key(renamed, pointed)
        else:
            current = change.editor.tables[key_of(child.schema, child.name)]
            change.alter(current, _with_foreign_key(current, pointed))
    change.alter(table, renamed)


def _rename_constraint(change: Change, thing: CatalogObject, new: str) -> None:
    table = thing.parent
    if table is None:
        raise error(15248, "OBJECT")
    if thing.type in (ObjectType.PRIMARY_KEY, ObjectType.UNIQUE):
        changed = replace(
            table,
            indexes=tuple(
                replace(i, name=new) if i.object_id == thing.object_id else i for i in table.indexes
            ),
        )
    elif thing.type is ObjectType.FOREIGN_KEY:
        changed = replace(
            table,
            foreign_keys=tuple(
                replace(fk, name=new) if fk.object_id == thing.object_id else fk
                for fk in table.foreign_keys
            ),
        )
    elif thing.type is ObjectType.CHECK:
        changed = replace(
            table,
            checks=tuple(
                replace(check, name=new) if check.object_id == thing.object_id else check
                for check in table.checks
            ),
        )
    else:
        changed = replace(
            table,
            columns=tuple(
                replace(column, default=replace(column.default, name=new))
                if column.default is not None and column.default.object_id == thing.object_id
                else column
                for column in table.columns
            ),
        )
    change.alter(table, changed)


def _rename_database(call: Call, old: str, new: str) -> Iterator[Step]:
    engine = call.session.engine
    database = engine.databases.find(old.strip("[]"))
    if database is None:
        raise error(15248, "DATABASE")
    yield from call.execution.may_wait()
    engine.databases.rename(database, new)
    call.status = 0


def sp_renamedb(call: Call) -> Iterator[Step]:
    bound = call.bind("@dbname", "@newname")
    old, new = call.need(bound, "@dbname").text, call.need(bound, "@newname").text
    yield from _rename_database(call, old, new)
