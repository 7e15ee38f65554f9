"""Where the database is: what :class:`loadtests.bench.requests_sites.Database` puts into the
environment."""

from __future__ import annotations

import os

HOST = os.environ["MSSQL_HOST"]
PORT = int(os.environ["MSSQL_PORT"])
USER = os.environ["MSSQL_USER"]
PASSWORD = os.environ["MSSQL_PASSWORD"]
NAME = os.environ["MSSQL_DATABASE"]
EXTRA_PARAMS = os.environ["MSSQL_EXTRA_PARAMS"]
DRIVER = os.environ["BENCH_DRIVER"]


def is_encrypted() -> bool:
    return "encrypt=no" not in EXTRA_PARAMS.lower().replace(" ", "")


def connection_string() -> str:
    """For pyodbc."""
    return (
        f"DRIVER={{{DRIVER}}};SERVER={HOST},{PORT};DATABASE={NAME};"
        f"UID={USER};PWD={{{PASSWORD.replace('}', '}}')}}};{EXTRA_PARAMS}"
    )
