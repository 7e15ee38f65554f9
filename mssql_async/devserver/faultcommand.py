"""``python -m mssql_async.devserver fault …``: orders faults of a server that runs already.

It is a client like any other and calls the procedures of the schema ``devserver``, so what
it can do is what ``sqlcmd`` can. It needs pyodbc and Microsoft's driver, which whoever runs
the demo has; the server itself needs neither, so both are looked for only here.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .config import DEVELOPMENT_PASSWORD, DEVELOPMENT_USER
from .faults import CONTROL_PROGRAM

PASSWORD_VARIABLE = "MSSQL_PASSWORD"  # noqa: S105  the name of a variable

_SESSIONS: Mapping[str, type] = {"spid": int, "program": str, "process_id": int, "database": str}
_STATEMENTS: Mapping[str, type] = {"pattern": str, "nth": int, "times": int}
#: Action -> procedure, what it does, and its arguments.
_ACTIONS: Mapping[str, tuple[str, str, Mapping[str, type]]] = {
    "drop": ("drop_sessions", "drop sessions now", {"how": str, **_SESSIONS}),
    "drop-at": (
        "drop_at",
        "drop who runs the n-th statement that matches",
        {**_STATEMENTS, "how": str, **_SESSIONS},
    ),
    "freeze": ("freeze", "let sessions answer nothing", _SESSIONS),
    "thaw": ("thaw", "let frozen sessions go on", _SESSIONS),
    "delay": ("delay", "delay every reply", {"seconds": float, **_SESSIONS}),
    "refuse-logins": (
        "refuse_logins",
        "refuse logins with an error",
        {"error": int, "seconds": float, "times": int, "login": str, "database": str, "text": str},
    ),
    "fail-over": (
        "fail_over",
        "drop everybody, be away, come back as another instance",
        {"seconds": float, "read_only": int, "error": int},
    ),
    "deadlock": (
        "deadlock",
        "make the n-th statement that matches a deadlock victim",
        {**_STATEMENTS, **_SESSIONS},
    ),
    "fail-statement": (
        "fail_statement",
        "let the n-th statement that matches fail",
        {**_STATEMENTS, "error": int, "text": str, **_SESSIONS},
    ),
    "chaos": (
        "chaos",
        "drop sessions at random, as a seed says",
        {"seed": int, "every": int, "times": int, "how": str, **_SESSIONS},
    ),
    "list": ("faults", "list the faults that were ordered", {}),
    "cancel": ("cancel_fault", "end a fault, or all", {"id": int}),
    "history": ("history", "list what faults did", {}),
    "counters": ("counters", "show what was counted", {}),
    "reset-counters": ("reset_counters", "count anew", {}),
}


def main(arguments: Sequence[str]) -> int:
    """Call one procedure and print what it returns; gives the exit code."""
    options = _parser().parse_args(arguments)
    procedure, _help, parameters = _ACTIONS[options.action]
    given = {
        name: value for name in parameters if (value := getattr(options, f"at_{name}")) is not None
    }
    try:
        pyodbc = importlib.import_module("pyodbc")
        driver = options.driver or _find_driver(pyodbc)
    except ImportError as failure:
        sys.stderr.write(f"ordering faults from here needs pyodbc and a driver: {failure}\n")
        return 1
    try:
        columns, rows = _call(pyodbc, _connection_string(options, driver), procedure, given)
    except pyodbc.Error as failure:
        sys.stderr.write(f"{failure.args[-1]}\n")
        return 1
    _print_table(columns, rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mssql_async.devserver fault",
        description="Order a fault of an embedded server that runs already. Times are in seconds; "
        "patterns are LIKE's. See docs/faults.md.",
    )
    parser.add_argument("--port", type=int, default=1433)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--user", default=DEVELOPMENT_USER)
    parser.add_argument(
        "--password", help=f"better given in the environment as {PASSWORD_VARIABLE}"
    )
    parser.add_argument("--driver", help="name of an ODBC driver, or path of its library")
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for action, (_procedure, described, parameters) in _ACTIONS.items():
        one = actions.add_parser(action, help=described, description=described)
        for name, kind in parameters.items():
            flag = f"--{name.replace('_', '-')}"
            one.add_argument(flag, type=kind, dest=f"at_{name}", metavar=kind.__name__)
    return parser


def _connection_string(options: argparse.Namespace, driver: str) -> str:
    password = options.password or os.environ.get(PASSWORD_VARIABLE) or DEVELOPMENT_PASSWORD
    return (
        f"Driver={{{driver}}};Server={options.host},{options.port};UID={options.user};"
        f"PWD={{{password.replace('}', '}}')}}};Database=master;APP={CONTROL_PROGRAM};"
        # As the server wants it: it may have no certificate, or insist on encryption.
        "Encrypt=no;TrustServerCertificate=yes"
    )


def _call(
    pyodbc: Any, connection_string: str, procedure: str, given: Mapping[str, Any]
) -> tuple[list[str], list[Any]]:
    connection = pyodbc.connect(connection_string, autocommit=True)
    try:
        named = ", ".join(f"@{name} = {_literal(value)}" for name, value in given.items())
        cursor = connection.execute(f"EXEC devserver.{procedure} {named}".strip())
        if cursor.description is None:
            return [], []
        return [column[0] for column in cursor.description], cursor.fetchall()
    finally:
        connection.close()


def _literal(value: object) -> str:
    if isinstance(value, str):
        doubled = value.replace("'", "''")
        return f"N'{doubled}'"
    return str(value)


def _print_table(columns: Sequence[str], rows: Sequence[Any]) -> None:
    if not columns:
        return
    shown = [["" if value is None else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *shown, strict=True)]
    for line in (list(columns), *shown):
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _find_driver(pyodbc: Any) -> str:
    """
    :raises ImportError: there is no driver, neither registered nor in ``mssql-python-odbc``.
    """
    registered = pyodbc.drivers()
    for number in (18, 17):
        name = f"ODBC Driver {number} for SQL Server"
        if name in registered:
            return name
    package = find_spec("mssql_python_odbc")
    if package is not None and package.origin is not None:
        for library in sorted(Path(package.origin).parent.rglob("libmsodbcsql*")):
            try:
                ctypes.CDLL(str(library))
            except OSError:
                continue
            return str(library)
    raise ImportError("no ODBC driver for SQL Server was found; name one with --driver")
