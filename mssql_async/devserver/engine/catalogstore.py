"""How a catalog is kept in its SQLite file: one JSON row per thing.

The rows are written in the transaction of the DDL, so that SQLite's rollback and the
session's forgetting of the catalog copy always agree.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sqlite3
from collections.abc import Mapping
from typing import Any, cast

from .. import schema, sqltypes
from . import catalog as model
from .catalog import Catalog, Contents

CATALOG_TABLE = "mssql_catalog"
IDENTITY_TABLE = "mssql_identity"
ROWVERSION_ID = 0
"""The object id under which the database's row version is kept among the identities."""
OPTION_TABLE = "mssql_option"

_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        sqltypes.SqlType,
        schema.ObjectName,
        schema.Identity,
        schema.Default,
        schema.Column,
        schema.IndexColumn,
        schema.Index,
        schema.ForeignKey,
        schema.Check,
        schema.Table,
        schema.View,
        model.Schema,
        model.ExtendedProperty,
        model.Assembly,
        model.ClrFunction,
    )
}
_ENUMS: dict[str, type[enum.Enum]] = {
    cls.__name__: cls for cls in (sqltypes.Kind, schema.IndexKind, schema.ReferentialAction)
}
#: In the place of what a catalog does not have; a value of it may be None.
_ABSENT = object()


def _encode(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return {"enum": type(value).__name__, "value": value.value}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
        return {"class": type(value).__name__, "fields": fields}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if isinstance(value, dict):
        if "enum" in value:
            return _ENUMS[value["enum"]](value["value"])
        if "class" in value:
            cls = _CLASSES[value["class"]]
            return cls(**{name: _decode(item) for name, item in value["fields"].items()})
    return value


def create_tables(connection: sqlite3.Connection, database: str) -> None:
    """Make the engine's own tables in the attached ``database`` (a quoted name)."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {database}.{CATALOG_TABLE} "
        "(kind TEXT, name TEXT, content TEXT, PRIMARY KEY (kind, name))"
    )
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {database}.{IDENTITY_TABLE} "
        "(object_id INTEGER PRIMARY KEY, value INTEGER)"
    )
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {database}.{OPTION_TABLE} (name TEXT PRIMARY KEY, value TEXT)"
    )


def _sections(contents: Contents) -> dict[str, Mapping[Any, Any]]:
    """The persisted things by the kind of their row, and by their key."""
    return {
        "next_object_id": {"": contents.next_object_id},
        "schema": contents.schemas,
        "table": contents.tables,
        "view": contents.views,
        "property": contents.properties,
        "assembly": contents.assemblies,
        "function": contents.functions,
        "created": contents.created,
    }


def _row_name(kind: str, key: Any) -> str:
    return "" if kind == "next_object_id" else json.dumps(key)


def store(connection: sqlite3.Connection, database: str, old: Catalog, new: Catalog) -> None:
    """Write what differs between two catalogs, in the transaction that is open."""
    gone: list[tuple[str, str]] = []
    changed: list[tuple[str, str, str]] = []
    before = _sections(old.contents)
    for kind, after in _sections(new.contents).items():
        past = before[kind]
        if after is past:
            continue
        gone += [(kind, _row_name(kind, key)) for key in past if key not in after]
        for key, thing in after.items():
            known = past.get(key, _ABSENT)
            # Most are the same objects: a statement touches one table of many.
            if known is not thing and known != thing:
                changed.append((kind, _row_name(kind, key), json.dumps(_encode(thing))))
    if gone:
        connection.executemany(
            f"DELETE FROM {database}.{CATALOG_TABLE} WHERE kind = ? AND name = ?", gone
        )
    if changed:
        connection.executemany(
            f"INSERT OR REPLACE INTO {database}.{CATALOG_TABLE} VALUES (?, ?, ?)", changed
        )


def load(connection: sqlite3.Connection, database: str) -> Catalog:
    """The catalog of an attached database; an empty one where nothing was stored."""
    sections: dict[str, dict[Any, Any]] = {}
    for kind, name, content in connection.execute(
        f"SELECT kind, name, content FROM {database}.{CATALOG_TABLE}"
    ):
        key = json.loads(name) if name else ""
        if isinstance(key, list):
            key = tuple(key)
        elif kind == "created":
            key = int(key)
        sections.setdefault(kind, {})[key] = _decode(json.loads(content))
    if not sections:
        return model.empty_catalog()
    return Catalog(
        Contents(
            schemas=sections.get("schema", {}),
            tables=sections.get("table", {}),
            views=sections.get("view", {}),
            properties=sections.get("property", {}),
            assemblies=sections.get("assembly", {}),
            functions=sections.get("function", {}),
            created=sections.get("created", {}),
            next_object_id=cast("int", sections["next_object_id"][""]),
        )
    )


def load_options(connection: sqlite3.Connection, database: str) -> dict[str, str]:
    return dict(connection.execute(f"SELECT name, value FROM {database}.{OPTION_TABLE}"))


def store_option(connection: sqlite3.Connection, database: str, name: str, value: str) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO {database}.{OPTION_TABLE} VALUES (?, ?)", (name, value)
    )
