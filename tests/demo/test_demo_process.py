"""How the demo starts, fails and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from mssql_async.devserver import DevServer
from tests.demo.conftest import ON_REAL_SERVER
from tests.demo.harness import CAN_LIST_PROCESSES, ROOT, Demo, wait_for_end

SECRET = "S3cret-that-nobody-may-read"
SECONDS_TO_FAIL = 30

lists_processes = pytest.mark.skipif(not CAN_LIST_PROCESSES, reason="needs /proc")


@pytest.fixture(scope="module")
def server_environment() -> Iterator[Mapping[str, str]]:
    """``MSSQL_*`` of a server that runs for sure: the real one, or one of our own."""
    if ON_REAL_SERVER:
        yield dict(os.environ)
        return
    with DevServer() as server:
        yield environment_of(server)


def environment_of(server: DevServer) -> Mapping[str, str]:
    return os.environ | {
        "MSSQL_HOST": server.host,
        "MSSQL_PORT": str(server.port),
        "MSSQL_USER": server.user,
        "MSSQL_PASSWORD": server.password,
        "MSSQL_DATABASE": server.database,
        "MSSQL_EXTRA_PARAMS": "Encrypt=no",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _run(
    environment: Mapping[str, str], *arguments: str, patience: float = 120
) -> subprocess.CompletedProcess[str]:
    environment = dict(environment)
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(
        [sys.executable, "-m", "demo_asgi", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )


def _failure(environment: Mapping[str, str], *arguments: str) -> str:
    """Run a demo that cannot start; its one line."""
    result = _run(environment, "--port", "0", *arguments, patience=SECONDS_TO_FAIL)
    assert result.returncode not in (0, None)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("demo_asgi: ")
    for name in ("MSSQL_PASSWORD", "MSSQL_ACCESS_TOKEN"):
        secret = environment.get(name)
        assert not secret or secret not in line
    return line


@lists_processes
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
def test_a_signal_ends_the_demo_and_all_it_started_in_spite_of_an_open_stream(
    sign: signal.Signals, temporary: Path
) -> None:
    with Demo(temporary=temporary) as demo, httpx.Client(base_url=demo.address) as client:
        with client.stream("GET", "/feed/", timeout=60) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("retry:")
            assert demo.stop(sign) == 0
            assert list(lines) in ([], [""]), "the stream ends, it does not break"
        assert demo.processes() == []
        assert [line for line in demo.errors if "Traceback" in line or "Cancel" in line] == []
    assert list(temporary.iterdir()) == []


@lists_processes
@pytest.mark.skipif(ON_REAL_SERVER, reason="there is no embedded server then")
def test_a_killed_demo_takes_the_embedded_server_with_it() -> None:
    with Demo() as demo:
        processes = demo.processes()
        assert len(processes) == 2
        os.kill(demo.launcher(), signal.SIGKILL)
        demo.wait()
        assert wait_for_end(processes)
        assert demo.processes() == []


@pytest.mark.skipif(ON_REAL_SERVER, reason="the database is not ours to fill twice")
def test_a_named_server_is_used_and_keeps_its_accounts_but_gets_no_known_password(
    server_environment: Mapping[str, str],
) -> None:
    balances = []
    for _ in range(2):
        with Demo(environment=server_environment) as demo:
            balances.append(httpx.get(f"{demo.address}/accounts/", timeout=60).json())
            assert demo.stop() == 0
            output = "\n".join(demo.output)
            assert "createsuperuser" in output
            assert "password" not in output
    assert balances[0] == balances[1]
    users = _run(
        server_environment,
        "manage",
        "shell",
        "-c",
        "from django.contrib.auth.models import User; print('users', User.objects.count())",
    )
    assert users.stdout.strip().endswith("users 0"), users.stderr


@pytest.mark.skipif(ON_REAL_SERVER, reason="counts at the embedded server")
def test_a_hundred_requests_one_after_the_other_log_in_no_more_than_the_first() -> None:
    addresses = ["/accounts/", "/sync/accounts/1/", "/report/", "/sync/report/", "/health/"]
    with DevServer() as server, Demo(environment=environment_of(server)) as demo:
        httpx.get(f"{demo.address}/accounts/", timeout=60).raise_for_status()
        server.reset_counters()
        for number in range(100):
            address = addresses[number % len(addresses)]
            httpx.get(f"{demo.address}{address}", timeout=60).raise_for_status()
        assert server.counters.connections == server.counters.logins == 0
        assert server.counters.total_messages >= 100


def test_a_wrong_password_is_one_clear_line(server_environment: Mapping[str, str]) -> None:
    line = _failure(server_environment | {"MSSQL_PASSWORD": SECRET, "MSSQL_ACCESS_TOKEN": ""})
    assert "login" in line
    assert "MSSQL_PASSWORD" in line


def test_a_missing_database_is_one_clear_line(server_environment: Mapping[str, str]) -> None:
    line = _failure(server_environment | {"MSSQL_DATABASE": "no_such_database"})
    assert "no_such_database" in line


def test_a_missing_driver_manager_is_one_clear_line(
    server_environment: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "pyodbc.py").write_text(
        "raise ImportError('libodbc.so.2: cannot open shared object file')"
    )
    line = _failure({**server_environment, "PYTHONPATH": str(tmp_path)})
    assert "apt-get install unixodbc" in line


def test_a_closed_port_is_one_clear_line() -> None:
    port = str(_free_port())
    line = _failure(
        os.environ
        | {"MSSQL_HOST": "127.0.0.1", "MSSQL_PORT": port, "MSSQL_USER": "sa"}
        | {"MSSQL_PASSWORD": SECRET}
    )
    assert f"127.0.0.1:{port}" in line


def test_an_unknown_host_is_one_clear_line() -> None:
    line = _failure(
        os.environ
        | {"MSSQL_HOST": "no-such-host.invalid", "MSSQL_PORT": "", "MSSQL_USER": "sa"}
        | {"MSSQL_PASSWORD": SECRET}
    )
    assert "no-such-host.invalid" in line


def test_a_server_that_does_not_speak_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = _failure(
            os.environ
            | {"MSSQL_HOST": "127.0.0.1", "MSSQL_PORT": str(silent.getsockname()[1])}
            | {"MSSQL_USER": "sa", "MSSQL_PASSWORD": SECRET, "MSSQL_ACCESS_TOKEN": ""}
        )
    assert "127.0.0.1" in line


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = _failure(os.environ, "--port", port)
    assert port in line


def test_a_bad_port_is_explained() -> None:
    result = _run(os.environ, "--port", "70000")
    assert result.returncode == 2
    assert "70000" in result.stderr


def test_the_committed_migrations_are_those_of_the_models() -> None:
    result = _run(os.environ, "manage", "makemigrations", "--check", "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr
