"""What a system view is: its columns, and where its rows come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ... import sqltypes
from ...results import ResultColumn
from ...sqltypes import SqlType, StorageValue
from ...tsql.plan import SystemView
from ..catalog import Catalog
from ..databases import TEMPDB, Database
from ..sessionstate import SessionState

_TYPES: dict[str, SqlType] = {
    "int": sqltypes.INT,
    "bit": sqltypes.BIT,
    "tinyint": sqltypes.TINYINT,
    "smallint": sqltypes.SMALLINT,
    "bigint": sqltypes.BIGINT,
    "datetime": sqltypes.DATETIME,
    "sysname": sqltypes.SYSNAME,
    "char1": sqltypes.char(1),
    "char2": sqltypes.char(2),
    "varchar": sqltypes.varchar(30),
    "varchar48": sqltypes.varchar(48),
    "nvarchar60": sqltypes.nvarchar(60),
    "nvarchar128": sqltypes.nvarchar(128),
    "nvarchar256": sqltypes.nvarchar(256),
    "text": sqltypes.nvarchar(sqltypes.MAX),
    "variant": sqltypes.SQL_VARIANT,
    "varbinary": sqltypes.varbinary(128),
    "varbinary64": sqltypes.varbinary(64),
    "guid": sqltypes.UNIQUEIDENTIFIER,
}


@dataclass(frozen=True, slots=True)
class Context:
    """For whom the rows are made."""

    session: SessionState
    database: Database
    catalog: Catalog

    @property
    def of_tempdb(self) -> bool:
        """Then the temporary tables of all sessions are there to be seen."""
        return self.database.name == TEMPDB


Row = tuple[StorageValue, ...]
RowMaker = Callable[[Context], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class ViewDefinition:
    """``of_catalog`` rows depend on nothing but the catalog snapshot: made once, but for
    those of tempdb."""

    view: SystemView
    rows: RowMaker
    of_catalog: bool


VIEWS: dict[str, ViewDefinition] = {}


def columns(text: str) -> tuple[ResultColumn, ...]:
    """``"name sysname, object_id int"`` as result columns."""
    made = []
    for part in text.split(","):
        name, type_name = part.split()
        made.append(ResultColumn(name, _TYPES[type_name]))
    return tuple(made)


def system_view(
    name: str, column_text: str, *, of_catalog: bool = True
) -> Callable[[RowMaker], RowMaker]:
    """Register the rows of a view; the columns are checked against them on first use."""

    def register(rows: RowMaker) -> RowMaker:
        view = SystemView(name, columns(column_text))
        VIEWS[name.casefold()] = ViewDefinition(view, rows, of_catalog)
        return rows

    return register


def rows_as_json(definition: ViewDefinition, context: Context) -> str:
    """The rows as the JSON text that a plan binds (see ``SystemRowsBind``)."""
    key = definition.view.name
    cacheable = definition.of_catalog and not context.of_tempdb
    if cacheable:
        cached = context.catalog.derived.get(key)
        if cached is not None:
            return str(cached)
    rows = list(definition.rows(context))
    width = len(definition.view.columns)
    for row in rows:
        if len(row) != width:
            raise AssertionError(f"{key}: a row of {len(row)} values for {width} columns")
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"), default=bytes.hex)
    if cacheable:
        context.catalog.derived[key] = text
    return text
