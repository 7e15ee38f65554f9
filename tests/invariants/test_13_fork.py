"""Invariant 13: after fork the child starts empty and never touches the parent's connections.

tests/backend, tests/session and tests/pool fork with a lease of the forking thread; here it is
another thread's, which the child has not got.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mssql_async.devserver import DevServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def sessions(server: DevServer, *arguments: str) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-m", "tests.invariants.forking", str(server.port), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return process.stdout.splitlines()


def test_the_end_of_another_threads_copy_is_not_its_end(server: DevServer) -> None:
    before, after = sessions(server)
    assert before.endswith(", 1)")  # in a transaction
    assert after == before


def test_a_child_that_took_it_for_the_end_would_close_the_parents_connection(
    server: DevServer,
) -> None:
    """The positive control of the test above."""
    _, after = sessions(server, "broken")
    assert after == "OperationalError"
