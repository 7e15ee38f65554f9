"""What the pytest plugin calls growth, and what a process only makes late, or anew."""

from __future__ import annotations

from pathlib import Path

from . import users_suites

CONFTEST = """
import threading

stop = threading.Event()

def pytest_sessionfinish():
    stop.set()
"""

GROWTH = """
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import stop

pytestmark = pytest.mark.no_leaks
kept = []
executor = ThreadPoolExecutor()
log = logging.getLogger("of_user")
log.propagate = False
log.addHandler(logging.FileHandler("user.log", delay=True))


def start_a_thread():
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="of the suite")
    thread.start()
    return thread, end


def end_a_thread(thread, end):
    end.set()
    thread.join()


@pytest.fixture(scope="module")
def pipe():
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture(scope="module")
def thread():
    running = [start_a_thread()]
    yield running
    end_a_thread(*running.pop())


def test_uses_an_executor_first():
    assert executor.submit(int).result() == 0


def test_uses_an_executor_of_its_own_and_forgets_it():
    ThreadPoolExecutor().submit(int).result()


def test_writes_into_a_log_first():
    log.warning("first")


def test_makes_a_pipe_anew(pipe):
    for end in pipe:
        os.close(end)
    kept.append(open(os.devnull))  # takes a number of theirs
    pipe[:] = os.pipe()


def test_starts_a_thread_anew(thread):
    end_a_thread(*thread.pop())
    thread.append(start_a_thread())


def test_leaks_a_busy_worker():
    kept.append(ThreadPoolExecutor(thread_name_prefix="busy"))
    kept[-1].submit(stop.wait)


def test_leaks_a_handler():
    kept.append(logging.FileHandler("other.log"))


def test_leaks_a_pipe_beside_one_made_anew(pipe):
    for end in pipe:
        os.close(end)
    pipe[:] = os.pipe()
    kept.append(os.pipe())


def test_leaks_a_second_thread(thread):
    end_a_thread(*thread.pop())
    thread.append(start_a_thread())
    threading.Thread(target=stop.wait, name="of the suite").start()
"""

#: Test -> what is said of it.
LEAKING = {
    "test_leaks_a_busy_worker": "1 thread running: 'busy_0'",
    "test_leaks_a_handler": "other.log)",
    "test_leaks_a_pipe_beside_one_made_anew": "2 file descriptors open: ",
    "test_leaks_a_second_thread": "1 thread running: 'of the suite'",
}


def test_what_is_made_late_or_anew_is_no_growth(tmp_path: Path) -> None:
    users_suites.write(
        tmp_path, GROWTH, settings=users_suites.SETTINGS_OF_SQLITE, conftest=CONFTEST
    )
    run = users_suites.run(tmp_path)
    assert {name for name, result in run.tests.items() if not result.passed} == set(LEAKING), (
        run.output
    )
    for name, words in LEAKING.items():
        assert "leaks: 1 finding." in run.tests[name].error
        assert words in run.tests[name].error
