"""The embedded server as clients see it that know nothing of it.

python-tds, pymssql (FreeTDS) and FreeTDS's own driver and shell where they are installed
(``pip install 'mssql-async[clients]'``, Debian's ``tdsodbc`` and ``freetds-bin``), and
tedious, the client of JavaScript, where ``TEDIOUS`` names a folder that it was installed
in (``npm install --prefix FOLDER tedious``). Microsoft's driver has its own tests.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pyodbc
import pytest

from mssql_async.devserver.server import DevServer

from .fake_engine import PATIENCE

FREETDS_DRIVERS = (
    "/usr/lib/x86_64-linux-gnu/odbc/libtdsodbc.so",
    "/usr/lib/aarch64-linux-gnu/odbc/libtdsodbc.so",
    "/usr/local/lib/libtdsodbc.so",
    "/opt/homebrew/lib/libtdsodbc.so",
)
Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with DevServer() as running:
        yield running


@pytest.fixture(scope="module")
def trust(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_text(server.certificate_pem or "")
    return file


def connect_python_tds(server: DevServer, trust: Path, encryption: str, version: str) -> Any:
    tds = pytest.importorskip("pytds", reason="python-tds is not installed")
    if encryption != "none":
        pytest.importorskip("OpenSSL", reason="python-tds encrypts with pyOpenSSL only")
    if version != "7.4":
        pytest.skip("python-tds always asks for TDS 7.4")
    tls: dict[str, Any] = {"cafile": str(trust), "validate_host": False}
    return tds.connect(
        server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=server.database,
        **(tls if encryption != "none" else {}),
        enc_login_only=encryption == "login",
    )


def connect_pymssql(server: DevServer, trust: Path, encryption: str, version: str) -> Any:
    pymssql = pytest.importorskip("pymssql", reason="pymssql is not installed")
    return pymssql.connect(
        server.host,
        port=str(server.port),
        user=server.user,
        password=server.password,
        database=server.database,
        encryption={"none": "off", "login": "request", "all": "require"}[encryption],
        tds_version=version,
    )


class FreeTdsOdbc:
    """pyodbc with the placeholder of the others."""

    def __init__(self, connection: pyodbc.Connection) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        return FreeTdsCursor(self._connection.cursor())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class FreeTdsCursor:
    def __init__(self, cursor: pyodbc.Cursor) -> None:
        self._cursor = cursor

    def execute(self, sql: str, parameters: Any = ()) -> None:
        self._cursor.execute(sql.replace("%s", "?"), *parameters)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._cursor.fetchall()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def connect_freetds_odbc(server: DevServer, trust: Path, encryption: str, version: str) -> Any:
    library = next((each for each in FREETDS_DRIVERS if Path(each).exists()), None)
    if library is None:
        pytest.skip("FreeTDS's ODBC driver (tdsodbc) is not installed")
    wish = {"none": "off", "login": "request", "all": "require"}[encryption]
    return FreeTdsOdbc(
        pyodbc.connect(
            f"Driver={library};Server={server.host};Port={server.port};UID={server.user};"
            f"PWD={{{server.password}}};Database={server.database};TDS_Version={version};"
            f"ClientCharset=UTF-8;Encryption={wish}"
        )
    )


CLIENTS = [
    pytest.param(connect_python_tds, id="python-tds"),
    pytest.param(connect_pymssql, id="pymssql"),
    pytest.param(connect_freetds_odbc, id="freetds-odbc"),
]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Connect:
    connect: Connect = request.param
    return connect


@pytest.fixture
def connection(client: Connect, server: DevServer, trust: Path) -> Iterator[Any]:
    with contextlib.closing(client(server, trust, "all", "7.4")) as connected:
        yield connected


def query(connection: Any, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.execute(sql, parameters) if parameters else cursor.execute(sql)
    return [tuple(row) for row in cursor.fetchall()]


@pytest.mark.parametrize("version", ["7.2", "7.3", "7.4"])
@pytest.mark.parametrize("encryption", ["none", "login", "all"])
def test_it_logs_in_and_queries(
    client: Connect, server: DevServer, trust: Path, encryption: str, version: str
) -> None:
    with contextlib.closing(client(server, trust, encryption, version)) as connected:
        assert query(connected, "SELECT 1, N'żółć'") == [(1, "żółć")]
        long = "SELECT REPLICATE(CAST(N'ż' AS nvarchar(max)), 50000)"
        assert query(connected, long) == [("ż" * 50_000,)]


def test_a_wrong_password_is_refused(client: Connect, server: DevServer, trust: Path) -> None:
    settings = {name: getattr(server, name) for name in ("host", "port", "user", "database")}
    with pytest.raises(Exception, match="Login failed for user 'sa'"):
        client(SimpleNamespace(**settings, password="wrong"), trust, "none", "7.4")


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("CAST(1 AS bit)", True),
        ("CAST(200 AS tinyint)", 200),
        ("CAST(-5 AS smallint)", -5),
        ("CAST(9000000000 AS bigint)", 9_000_000_000),
        ("CAST(1.5 AS float)", 1.5),
        ("CAST(0.25 AS real)", 0.25),
        ("CAST('12.34' AS decimal(18,4))", Decimal("12.34")),
        ("CAST('-1.25' AS money)", Decimal("-1.25")),
        ("CAST('ab' AS char(5))", "ab   "),
        ("CAST('naïve €' AS varchar(20))", "naïve €"),
        ("CAST(N'ż' AS nchar(3))", "ż  "),
        ("N'żółć 🐘'", "żółć 🐘"),
        ("CAST('t' AS text)", "t"),
        ("CAST(N't' AS ntext)", "t"),
        ("0x0102", b"\x01\x02"),
        ("CAST(0x01 AS binary(2))", b"\x01\x00"),
        ("CAST(0x0102 AS varbinary(max))", b"\x01\x02"),
        ("CAST(0x01 AS image)", b"\x01"),
        ("CAST('2026-11-23' AS date)", datetime.date(2026, 11, 23)),
        ("CAST('12:34:56.123456' AS time(6))", datetime.time(12, 34, 56, 123456)),
        ("CAST('2026-11-23 12:34' AS smalldatetime)", at("2026-11-23 12:34")),
        ("CAST('2026-11-23 12:34' AS datetime)", at("2026-11-23 12:34")),
        (
            "CAST('2026-11-23 12:34:56.123456' AS datetime2(6))",
            at("2026-11-23 12:34:56.123456"),
        ),
        (
            "CAST('6F9619FF-8B86-D011-B42D-00C04FC964FF' AS uniqueidentifier)",
            UUID("6F9619FF-8B86-D011-B42D-00C04FC964FF"),
        ),
        ("CAST('<a>é</a>' AS xml)", "<a>é</a>"),
        ("CAST(NULL AS int)", None),
        ("CAST(NULL AS nvarchar(max))", None),
        ("CAST(NULL AS datetime2)", None),
    ],
)
def test_every_type_arrives(connection: Any, expression: str, value: object) -> None:
    ((seen,),) = query(connection, f"SELECT {expression} AS c")
    if isinstance(value, UUID):
        seen = UUID(str(seen))
    assert seen == value


@pytest.mark.parametrize(
    "value",
    [1, Decimal("12.345"), "żółć 🐘", "", "x" * 9000, None],
    ids=["int", "decimal", "text", "empty", "long", "null"],
)
def test_parameters_come_back(connection: Any, value: object) -> None:
    assert query(connection, "SELECT %s AS c", value) == [(value,)]


def test_transactions_are_the_clients(connection: Any, request: pytest.FixtureRequest) -> None:
    table = "dbo.kept_" + re.sub(r"\W", "_", request.node.name)

    def change(sql: str) -> None:
        cursor = connection.cursor()
        cursor.execute(sql)
        cursor.close()

    change(f"CREATE TABLE {table} (id int IDENTITY PRIMARY KEY, name nvarchar(50))")
    connection.commit()
    change(f"INSERT INTO {table} (name) VALUES (N'lost')")
    connection.rollback()
    change(f"INSERT INTO {table} (name) VALUES (N'kept')")
    connection.commit()
    assert query(connection, f"SELECT name FROM {table}") == [("kept",)]


def test_an_error_is_told_and_forgiven(connection: Any) -> None:
    with pytest.raises(Exception, match="Invalid object name 'nowhere'"):
        query(connection, "SELECT * FROM nowhere")
    connection.rollback()
    assert query(connection, "SELECT 2") == [(2,)]


def test_a_result_that_is_cancelled_leaves_the_connection_usable(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT value, REPLICATE(N'x', 100) FROM GENERATE_SERIES(1, 100000)")
    assert cursor.fetchone() is not None
    if hasattr(cursor, "cancel"):
        cursor.cancel()
    cursor.close()
    assert query(connection, "SELECT 3") == [(3,)]


def test_bulk_load_is_refused_and_the_connection_goes_on(server: DevServer, trust: Path) -> None:
    with contextlib.closing(connect_pymssql(server, trust, "all", "7.4")) as connected:
        cursor = connected.cursor()
        cursor.execute("CREATE TABLE dbo.loaded (id int PRIMARY KEY)")
        cursor.execute("INSERT INTO dbo.loaded VALUES (1)")
        # It asks for the columns with SET FMTONLY ON, and would never end reading rows.
        with pytest.raises(Exception, match="not supported by the mssql_async embedded server"):
            connected.bulk_copy("dbo.loaded", [(2,)])
        assert query(connected, "SELECT id FROM dbo.loaded") == [(1,)]


@pytest.mark.parametrize("option", ["NOEXEC", "PARSEONLY", "FMTONLY"])
def test_what_was_not_to_be_run_is_not_run(connection: Any, option: str) -> None:
    with pytest.raises(Exception, match=f"SET {option} ON"):
        query(connection, f"SET {option} ON; CREATE TABLE dbo.{option} (id int)")
    connection.rollback()
    assert query(connection, f"SELECT OBJECT_ID(N'dbo.{option}')") == [(None,)]


# --- FreeTDS's shell -------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", ["off", "request", "require"])
def test_tsql_runs_a_batch(server: DevServer, tmp_path: Path, encryption: str) -> None:
    shell = shutil.which("tsql")
    if shell is None:
        pytest.skip("FreeTDS's tsql (freetds-bin) is not installed")
    settings = tmp_path / "freetds.conf"
    settings.write_text(
        f"[devserver]\nhost = {server.host}\nport = {server.port}\n"
        f"tds version = auto\nencryption = {encryption}\nclient charset = UTF-8\n"
    )
    done = subprocess.run(
        [shell, "-S", "devserver", "-U", server.user, "-P", server.password, "-o", "q"],
        input="SELECT 40 + 2 AS answer, N'żółć' AS word\ngo\nexit\n",
        env={**os.environ, "FREETDSCONF": str(settings), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "42\tżółć" in done.stdout, done.stderr


# --- tedious ---------------------------------------------------------------------------------


def test_tedious_does_everything_it_can(server: DevServer, trust: Path) -> None:
    folder, node = os.environ.get("TEDIOUS"), shutil.which("node")
    if not folder or node is None:
        pytest.skip("TEDIOUS names no folder with tedious in node_modules, or node is missing")
    script = Path(__file__).with_name("tedious_client.js")
    server.accept_token("tedious-token", user="tedious@example.org")
    arguments = [server.port, trust, server.user, server.password, server.database]
    done = subprocess.run(
        [node, str(script), *map(str, arguments)],
        env={**os.environ, "NODE_PATH": str(Path(folder, "node_modules"))},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step for step in steps if not step["passed"]] == [], done.stderr
    assert steps[-1]["name"] == "end"
