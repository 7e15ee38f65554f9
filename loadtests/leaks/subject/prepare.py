"""What the project needs of its databases, and how a new session of each looks."""

from __future__ import annotations

from typing import Any

from django.db import Error, connections

from mssql_async.contrib.leaks.record import State

from .. import probe
from .config import OTHER_DATABASE, SubjectConfig
from .databases import MICROSOFT


def prepare(config: SubjectConfig) -> None:
    """Make the other database, if there is none, and the tables anew. Django is set up.

    :raises django.db.Error: the user has no right to, or the database cannot be reached.
    """
    from .models import Note

    default = connections["default"]
    if default.vendor == MICROSOFT:
        with default.cursor() as cursor:
            cursor.execute(
                f"IF DB_ID(N'{OTHER_DATABASE}') IS NULL CREATE DATABASE [{OTHER_DATABASE}]"
            )
    for alias in config.aliases_apart:
        connection = connections[alias]
        _drop(connection, Note)
        with connection.schema_editor() as editor:
            editor.create_model(Note)
        connection.close()


def _drop(connection: Any, model: Any) -> None:
    table = model._meta.db_table  # noqa: SLF001 - as Django documents it
    if connection.vendor == MICROSOFT:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {table}")
    elif table in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.delete_model(model)


def take_rows(config: SubjectConfig) -> list[str] | None:
    """What the tables hold, which are empty afterwards; through Django, as any backend can.
    ``None``: another's open transaction is in the way, so that nobody has looked. To be called in
    a thread of its own, whose connections end with it."""
    from .models import Note

    found: list[str] = []
    try:
        for alias in config.aliases_apart:
            notes = Note.objects.using(alias)
            found += notes.values_list("row", flat=True)
            notes.all().delete()
    except Error:
        return None
    finally:
        connections.close_all()
    return found


def database_in_words() -> str:
    """Which one and which version, never where or how to log in. For threads, too."""
    connection = connections["default"]
    try:
        version = ".".join(map(str, connection.get_database_version()))
    except NotImplementedError:
        version = ""
    finally:
        connection.close()
    return f"{connection.display_name} {version}".strip()


def baselines(config: SubjectConfig) -> dict[str, State]:
    """Alias -> the state of a new session. To be asked before anything else connects: later a
    pool would show one that has been used.

    :raises django.db.Error: the database cannot be reached.
    """
    found: dict[str, State] = {}
    for alias in config.aliases:
        connection = connections[alias]
        try:
            if connection.vendor == MICROSOFT:
                with connection.cursor() as cursor:
                    cursor.execute(probe.PROBE, ["baseline"])
                    found[alias] = probe.read(cursor.fetchall()[0]).state
            else:
                found[alias] = State()
        finally:
            connection.close()
    return found
