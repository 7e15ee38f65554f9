"""System views: ``sys.*`` and ``INFORMATION_SCHEMA.*``, computed from the catalog and
from the state of the engine.

Source: SQL Server documentation, "System catalog views", "System information schema
views", "System dynamic management views". Views have the columns that the documentation
lists first and that tools ask for; others are error 207, as for an unknown column.
"""

from __future__ import annotations

from ...tsql.plan import SystemView
from ..catalog import fold
from ..sessionstate import SessionState
from . import catalogviews, informationschema, sessionviews, stateviews
from .definition import VIEWS, Context, rows_as_json

_MODULES = (catalogviews, informationschema, stateviews, sessionviews)
_FIRST_SYSTEM_OBJECT_ID = -103


def find_system_view(schema: str, name: str) -> SystemView | None:
    """``sys.tables`` and the like; the schema must be given, as in SQL Server."""
    definition = VIEWS.get(f"{fold(schema)}.{fold(name)}")
    return definition.view if definition is not None else None


def system_view_object_id(schema: str, name: str) -> int | None:
    key = f"{fold(schema)}.{fold(name)}"
    return _FIRST_SYSTEM_OBJECT_ID - list(VIEWS).index(key) if key in VIEWS else None


def system_rows(session: SessionState, name: str) -> str:
    """The rows of the view as JSON; ``name`` may begin with a database."""
    definition = VIEWS.get(fold(name))
    database = session.current_database
    if definition is None:
        database_name, _, name = name.partition(".")
        definition = VIEWS[fold(name)]
        database = session.engine.databases.find(database_name) or database
    context = Context(session, database, session.transaction.catalog(database))
    return rows_as_json(definition, context)
