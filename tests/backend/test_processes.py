"""What a whole process costs, and how it ends."""

from __future__ import annotations

import subprocess
import sys

from mssql_async.devserver import DevServer


def command(server: DevServer, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.backend.shortlived", str(server.port), *arguments]


def test_a_short_lived_process_pays_one_login_and_starts_no_thread(server: DevServer) -> None:
    server.reset_counters()
    ended = subprocess.run(command(server), capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.strip() == "['MainThread']", ended.stderr
    assert server.counters.logins == 1


def test_a_process_ends_although_its_server_answers_nothing_any_more(server: DevServer) -> None:
    process = subprocess.Popen(
        command(server, "frozen"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    assert len([s for s in server.sessions() if s.program_name]) >= 3
    server.faults.freeze()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
