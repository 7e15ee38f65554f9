"""CLR: the one assembly that mssql-django installs, and its function."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import NotSupportedByStandIn, SqlError, error
from ...results import Command
from ...schema import ObjectName
from ...tsql import statements as st
from ..catalog import Assembly, ClrFunction, fold, key_of
from ..execution import Execution
from ..steps import Step
from .change import Change
from .place import Place, check_new_name

_FIRST_ASSEMBLY_ID = 65536


_NATIVE_FUNCTIONS = frozenset({"regexp_like"})
"""CLR functions that the stand-in has a native counterpart of."""


def create_assembly(execution: Execution, statement: st.CreateAssembly) -> Iterator[Step]:
    place = Place(execution.session, ObjectName(statement.name))

    def work() -> None:
        change = Change(place)
        if fold(statement.name) in change.editor.assemblies:
            raise SqlError(
                6246, f'Assembly "{statement.name}" already exists in database "{place.home.name}".'
            )
        number = _FIRST_ASSEMBLY_ID + len(change.editor.assemblies)
        change.editor.assemblies[fold(statement.name)] = Assembly(statement.name, number)
        change.finish()

    yield from execution.define(place.database, work)
    yield execution.done(Command.OTHER)


def drop_assembly(execution: Execution, statement: st.DropAssembly) -> Iterator[Step]:
    place = Place(execution.session, ObjectName(statement.name))

    def work() -> None:
        change = Change(place)
        found = change.editor.assemblies.pop(fold(statement.name), None)
        if found is not None:
            change.finish()
        elif not statement.if_exists:
            raise error(15151, "drop", "assembly", statement.name)

    yield from execution.define(place.database, work)
    yield execution.done(Command.OTHER)


def create_clr_function(execution: Execution, statement: st.CreateClrFunction) -> Iterator[Step]:
    place = Place(execution.session, statement.name)
    name = statement.name.name
    if fold(name) not in _NATIVE_FUNCTIONS:
        raise NotSupportedByStandIn(f"the CLR function {name}", statement.line)

    def work() -> None:
        check_new_name(place)
        change = Change(place)
        if fold(statement.assembly) not in change.editor.assemblies:
            raise SqlError(
                6528,
                f"Assembly '{statement.assembly}' was not found in the SQL catalog of database "
                f"'{place.home.name}'.",
            )
        function = ClrFunction(change.new_object_id(), place.schema, name)
        change.editor.functions[key_of(place.schema, name)] = function
        change.finish()

    yield from execution.define(place.database, work)
    yield execution.done(Command.OTHER)


def drop_function_now(place: Place, if_exists: bool) -> None:
    functions = place.catalog.contents.functions
    function = functions.get(key_of(place.schema, place.name.name))
    if function is None:
        if if_exists:
            return
        raise error(3701, "drop", "function", str(place.name), state=5)
    change = Change(place)
    del change.editor.functions[key_of(place.schema, place.name.name)]
    change.finish()
