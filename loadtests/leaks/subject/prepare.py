"""What the project needs of its databases, and how a new session of each looks."""

from __future__ import annotations

from django.db import connections

from mssql_async.contrib.leaks.record import State

from .. import probe
from .config import OTHER_DATABASE, SubjectConfig


def prepare(config: SubjectConfig) -> None:
    """Make the other database, if there is none, and the tables anew. Django is set up.

    :raises django.db.Error: the user has no right to, or the database cannot be reached.
    """
    from .models import Note

    default = connections["default"]
    if default.vendor == "microsoft":
        with default.cursor() as cursor:
            cursor.execute(
                f"IF DB_ID(N'{OTHER_DATABASE}') IS NULL CREATE DATABASE [{OTHER_DATABASE}]"
            )
    for alias in ("default", "other"):
        connection = connections[alias]
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS leaks_note")
        with connection.schema_editor() as editor:
            editor.create_model(Note)
        connection.close()


def baselines(config: SubjectConfig) -> dict[str, State]:
    """Alias -> the state of a new session. To be asked before anything else connects: later a
    pool would show one that has been used.

    :raises django.db.Error: the database cannot be reached.
    """
    found: dict[str, State] = {}
    for alias in config.aliases:
        connection = connections[alias]
        try:
            if connection.vendor == "microsoft":
                with connection.cursor() as cursor:
                    cursor.execute(probe.PROBE, ["baseline"])
                    found[alias] = probe.read(cursor.fetchall()[0]).state
            else:
                found[alias] = State()
        finally:
            connection.close()
    return found
