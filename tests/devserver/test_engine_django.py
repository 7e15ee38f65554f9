"""What mssql-django sends while migrating, as recorded, runs on the engine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mssql_async.devserver import sqltypes
from mssql_async.devserver.protocols import Parameter
from mssql_async.devserver.sqltypes import SqlType, StorageValue
from tests.devserver.engine_door import Door, Outcome, numbers, opened, text

RECORDED = Path(__file__).parent / "django_migrate.json"

_VALUES: dict[str, tuple[SqlType, StorageValue]] = {
    "str": (sqltypes.nvarchar(20), "value"),
    "int": (sqltypes.INT, 1),
    "datetime": (sqltypes.datetime2(7), "2026-11-23 12:00:00.0000000"),
}
_OTHER_SERVERS_NAME = re.compile(r"ALTER TABLE \[(\w+)\] DROP CONSTRAINT \[\w+_key\]")


def recorded() -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads(RECORDED.read_text())
    return statements


def run(door: Door, sql: str, kinds: list[str]) -> Outcome:
    """As the driver sends it: parameters make it an sp_prepexec."""
    if not kinds:
        return door.attempt(sql)
    parameters = []
    for number, kind in enumerate(kinds, start=1):
        sql = sql.replace("?", f"@P{number}", 1)
        kind_type, value = _VALUES[kind]
        # Unique columns want different values.
        unique = f"{value} {number}" if isinstance(value, str) and kind == "str" else value
        parameters.append(Parameter("", kind_type, unique))
    declared = ",".join(f"@P{n} {p.type}" for n, p in enumerate(parameters, start=1))
    handle = Parameter("", sqltypes.INT, None, output=True)
    return door.call("sp_prepexec", handle, text(declared), text(sql), *parameters)


def test_the_whole_migration_of_djangos_own_applications() -> None:
    with opened() as engine:
        door = Door(engine)
        failed = []
        for statement in recorded():
            sql = statement["sql"]
            if match := _OTHER_SERVERS_NAME.match(sql):
                # The recording's server made this name up.
                name = door.value(
                    "SELECT name FROM sys.key_constraints WHERE type = 'UQ' "
                    f"AND parent_object_id = OBJECT_ID('{match.group(1)}')"
                )
                sql = f"ALTER TABLE [{match.group(1)}] DROP CONSTRAINT [{name}]"
            outcome = run(door, sql, statement["params"])
            # Made-up values point at rows that are not there, or are the same twice.
            if set(numbers(outcome)) - {547, 2601}:
                failed.append((sql, outcome.errors))
        assert failed == []
        assert door.value("SELECT COUNT(*) FROM sys.tables") == 14


@pytest.mark.parametrize(
    "table", ["auth_user", "django_admin_log", "shop_book", "auth_group_permissions"]
)
def test_the_tables_are_there_with_their_keys(table: str) -> None:
    with opened() as engine:
        door = Door(engine)
        for statement in recorded():
            if statement["sql"].startswith("CREATE TABLE"):
                run(door, statement["sql"], statement["params"])
        assert (
            door.value(
                "SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS "
                f"WHERE TABLE_NAME = '{table}' AND CONSTRAINT_TYPE = 'PRIMARY KEY'"
            )
            == 1
        )
