"""What a database contains, as an immutable snapshot.

DDL never changes a :class:`Catalog`: it edits a copy through :class:`CatalogEditor` and
puts the result in the place of the old one, in the session's transaction first and for
everybody at commit. Rolling back is forgetting the copy.

Source: SQL Server documentation, "System catalog views (Transact-SQL)"; names of
objects are unique within their schema, constraints included.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..schema import Check, Column, Default, ForeignKey, Index, IndexKind, Table, View

_versions = itertools.count(1)

FIRST_OBJECT_ID = 901578250
"""Where SQL Server's own numbering of user objects starts."""
OBJECT_ID_STEP = 16

DBO = "dbo"
_SYSTEM_SCHEMAS = {"dbo": 1, "guest": 2, "INFORMATION_SCHEMA": 3, "sys": 4}
FIRST_USER_SCHEMA_ID = 5


class ObjectType(enum.Enum):
    """``sys.objects.type`` and ``type_desc``."""

    TABLE = ("U", "USER_TABLE")
    VIEW = ("V", "VIEW")
    PRIMARY_KEY = ("PK", "PRIMARY_KEY_CONSTRAINT")
    UNIQUE = ("UQ", "UNIQUE_CONSTRAINT")
    FOREIGN_KEY = ("F", "FOREIGN_KEY_CONSTRAINT")
    CHECK = ("C", "CHECK_CONSTRAINT")
    DEFAULT = ("D", "DEFAULT_CONSTRAINT")
    CLR_FUNCTION = ("FS", "CLR_SCALAR_FUNCTION")

    @property
    def code(self) -> str:
        return self.value[0]

    @property
    def description(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Schema:
    name: str
    schema_id: int


@dataclass(frozen=True, slots=True)
class ExtendedProperty:
    """A row of ``sys.extended_properties``."""

    object_class: int
    major_id: int
    minor_id: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Assembly:
    """A CLR assembly. The stand-in runs no CLR code: only the name is kept."""

    name: str
    assembly_id: int


@dataclass(frozen=True, slots=True)
class ClrFunction:
    """A CLR function that has a native counterpart in the stand-in."""

    object_id: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class CatalogObject:
    """Anything with an ``object_id``; ``parent`` is the table of a constraint."""

    type: ObjectType
    object_id: int
    schema: str
    name: str
    parent: Table | None
    item: Table | View | Index | ForeignKey | Check | Default | ClrFunction
    column: Column | None = None


def fold(name: str) -> str:
    """A name as it is compared: without case, as under the default collation."""
    return name.casefold()


def key_of(schema: str, name: str) -> tuple[str, str]:
    return fold(schema), fold(name)


PropertyKey = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class Contents:
    """The stored part of a catalog: what is persisted and compared."""

    schemas: Mapping[str, Schema]
    tables: Mapping[tuple[str, str], Table]
    views: Mapping[tuple[str, str], View]
    properties: Mapping[PropertyKey, ExtendedProperty]
    assemblies: Mapping[str, Assembly]
    functions: Mapping[tuple[str, str], ClrFunction]
    created: Mapping[int, str]
    """Creation time of an object in storage form, by its id."""
    next_object_id: int = FIRST_OBJECT_ID


class Catalog:
    """A snapshot with its indexes by name and id. ``version`` is unique in the process."""

    __slots__ = ("_by_id", "_by_name", "_by_table_id", "contents", "derived", "version")

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.version = next(_versions)
        self.derived: dict[str, Any] = {}
        """What others compute from this snapshot once (rows of system views)."""
        self._by_name: dict[tuple[str, str], CatalogObject] | None = None
        self._by_id: dict[int, CatalogObject] | None = None
        self._by_table_id: dict[int, Table] | None = None

    def __repr__(self) -> str:
        return (
            f"<Catalog version={self.version} tables={len(self.contents.tables)} "
            f"views={len(self.contents.views)}>"
        )

    def table(self, schema: str, name: str) -> Table | None:
        return self.contents.tables.get(key_of(schema, name))

    def view(self, schema: str, name: str) -> View | None:
        return self.contents.views.get(key_of(schema, name))

    def schema(self, name: str) -> Schema | None:
        return self.contents.schemas.get(fold(name))

    @property
    def tables(self) -> list[Table]:
        """Every table in the order of creation."""
        return sorted(self.contents.tables.values(), key=lambda table: table.object_id)

    @property
    def views(self) -> list[View]:
        return sorted(self.contents.views.values(), key=lambda view: view.object_id)

    def table_by_id(self, object_id: int) -> Table | None:
        if self._by_table_id is None:
            self._by_table_id = {t.object_id: t for t in self.contents.tables.values()}
        return self._by_table_id.get(object_id)

    def object(self, schema: str, name: str) -> CatalogObject | None:
        """Any object of the schema: tables, views and constraints share one name space."""
        if self._by_name is None:
            self._by_name = {key_of(o.schema, o.name): o for o in self.objects()}
        return self._by_name.get(key_of(schema, name))

    def object_by_id(self, object_id: int) -> CatalogObject | None:
        if self._by_id is None:
            self._by_id = {o.object_id: o for o in self.objects()}
        return self._by_id.get(object_id)

    def objects(self) -> Iterator[CatalogObject]:
        for table in self.tables:
            yield from objects_of(table)
        for view in self.views:
            yield CatalogObject(ObjectType.VIEW, view.object_id, view.schema, view.name, None, view)
        for function in self.contents.functions.values():
            yield CatalogObject(
                ObjectType.CLR_FUNCTION,
                function.object_id,
                function.schema,
                function.name,
                None,
                function,
            )

    def references_to(self, table: Table) -> Iterator[tuple[Table, ForeignKey]]:
        """The foreign keys that point at ``table``, with the tables they are on."""
        wanted = key_of(table.schema, table.name)
        for child in self.tables:
            for foreign_key in child.foreign_keys:
                referenced = foreign_key.referenced
                if key_of(referenced.schema or DBO, referenced.name) == wanted:
                    yield child, foreign_key

    def referenced_table(self, foreign_key: ForeignKey) -> Table | None:
        return self.table(foreign_key.referenced.schema or DBO, foreign_key.referenced.name)


def objects_of(table: Table) -> Iterator[CatalogObject]:
    """A table and its constraints as objects."""
    schema = table.schema
    yield CatalogObject(ObjectType.TABLE, table.object_id, schema, table.name, None, table)
    for index in table.indexes:
        if index.kind is IndexKind.PRIMARY_KEY:
            yield CatalogObject(
                ObjectType.PRIMARY_KEY, index.object_id, schema, index.name, table, index
            )
        elif index.kind is IndexKind.UNIQUE_CONSTRAINT:
            yield CatalogObject(
                ObjectType.UNIQUE, index.object_id, schema, index.name, table, index
            )
    for foreign_key in table.foreign_keys:
        yield CatalogObject(
            ObjectType.FOREIGN_KEY,
            foreign_key.object_id,
            schema,
            foreign_key.name,
            table,
            foreign_key,
        )
    for check in table.checks:
        yield CatalogObject(ObjectType.CHECK, check.object_id, schema, check.name, table, check)
    for column in table.columns:
        default = column.default
        if default is not None:
            yield CatalogObject(
                ObjectType.DEFAULT, default.object_id, schema, default.name, table, default, column
            )


def empty_catalog() -> Catalog:
    return Catalog(
        Contents(
            schemas={
                fold(name): Schema(name, schema_id) for name, schema_id in _SYSTEM_SCHEMAS.items()
            },
            tables={},
            views={},
            properties={},
            assemblies={},
            functions={},
            created={},
        )
    )


class CatalogEditor:
    """A copy of a catalog's contents being changed by one statement."""

    def __init__(self, catalog: Catalog, now: str) -> None:
        contents = catalog.contents
        self.before = catalog
        self.now = now
        self.schemas = dict(contents.schemas)
        self.tables = dict(contents.tables)
        self.views = dict(contents.views)
        self.properties = dict(contents.properties)
        self.assemblies = dict(contents.assemblies)
        self.functions = dict(contents.functions)
        self.created = dict(contents.created)
        self._next_object_id = contents.next_object_id

    def new_object_id(self) -> int:
        object_id = self._next_object_id
        self._next_object_id += OBJECT_ID_STEP
        self.created[object_id] = self.now
        return object_id

    def put(self, table: Table, *, instead_of: Table | None = None) -> None:
        """Add a table, or put a changed one in the place of the old one."""
        if instead_of is not None:
            del self.tables[key_of(instead_of.schema, instead_of.name)]
        self.tables[key_of(table.schema, table.name)] = table

    def remove(self, table: Table) -> None:
        del self.tables[key_of(table.schema, table.name)]
        self.forget_properties(table.object_id)
        for thing in objects_of(table):
            self.created.pop(thing.object_id, None)

    def put_view(self, view: View) -> None:
        self.views[key_of(view.schema, view.name)] = view

    def remove_view(self, view: View) -> None:
        del self.views[key_of(view.schema, view.name)]
        self.created.pop(view.object_id, None)
        self.forget_properties(view.object_id)

    def add_schema(self, name: str) -> Schema:
        taken = {schema.schema_id for schema in self.schemas.values()}
        schema_id = next(
            number for number in itertools.count(FIRST_USER_SCHEMA_ID) if number not in taken
        )
        schema = Schema(name, schema_id)
        self.schemas[fold(name)] = schema
        return schema

    def forget_properties(self, major_id: int, minor_id: int | None = None) -> None:
        self.properties = {
            key: value
            for key, value in self.properties.items()
            if not (
                value.major_id == major_id
                and value.object_class == 1
                and (minor_id is None or value.minor_id == minor_id)
            )
        }

    def finish(self) -> Catalog:
        return Catalog(
            Contents(
                schemas=self.schemas,
                tables=self.tables,
                views=self.views,
                properties=self.properties,
                assemblies=self.assemblies,
                functions=self.functions,
                created=self.created,
                next_object_id=self._next_object_id,
            )
        )


def replace_foreign_key(table: Table, changed: ForeignKey) -> Table:
    return replace(
        table,
        foreign_keys=tuple(
            changed if fk.object_id == changed.object_id else fk for fk in table.foreign_keys
        ),
    )


def index_named(table: Table, name: str) -> Index | None:
    folded = fold(name)
    return next((index for index in table.indexes if fold(index.name) == folded), None)


def primary_key(table: Table) -> Index | None:
    return next((i for i in table.indexes if i.kind is IndexKind.PRIMARY_KEY), None)
