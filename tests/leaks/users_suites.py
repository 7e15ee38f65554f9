"""Test suites of users, as test_pytest_plugin.py runs them: each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

SETTINGS = """\
DATABASES = {"default": {"ENGINE": "mssql_async"}}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
SECRET_KEY = "for tests only"
"""

SETTINGS_OF_SQLITE = """\
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "app.sqlite3",
        "TEST": {"NAME": "test.sqlite3"},
    }
}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
SECRET_KEY = "for tests only"
"""

CONFTEST = """\
import pytest

@pytest.fixture(scope="session")
def django_db_modify_db_settings(mssql_devserver):
    mssql_devserver.use_for("default")
"""

#: Where nobody checks, nobody gives back, either: a block that is left open in one test would be
#: met by the next one.
MEND = """

@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    yield
    from django.db import connections
    for wrapper in connections.all(initialized_only=True):
        if wrapper.in_atomic_block:
            if wrapper.connection is not None:
                wrapper.connection.close()
                wrapper.connection = None
            del connections[wrapper.alias]
"""

INI = """\
[pytest]
DJANGO_SETTINGS_MODULE = settings_of_user
pythonpath = .
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = --strict-markers --strict-config
filterwarnings = error
leaks_grace = 1.5
"""

LEAKS = """\
import asyncio
import socket
import threading

import pyodbc
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from mssql_async.driver import find_driver
from mssql_async.transaction import async_atomic

kept = []
NAMES = "SELECT TOP 500 name FROM sys.columns"
pytestmark = pytest.mark.no_leaks

with_database = pytest.mark.django_db
with_transactions = pytest.mark.django_db(transaction=True)


def raw_connection():
    driver = find_driver()
    parameters = connection.get_connection_params()
    text = connection._build_connection_string(parameters, driver.name)
    return pyodbc.connect(driver.in_connection_string(text))


def half_read():
    cursor = connection.cursor()
    cursor.execute(NAMES)
    cursor.fetchone()
    kept.append(cursor)
    return cursor


async def insert_and_wait(inside):
    async with async_atomic():
        await Group.objects.acreate(name="within")
        inside.set()
        await asyncio.sleep(60)


@with_transactions
class TestLeaking:
    def test_cursor(self):
        half_read()

    def test_transaction(self):
        transaction.atomic().__enter__()
        Group.objects.create(name="one")

    @with_database
    def test_nested_transaction(self):
        transaction.atomic().__enter__()
        Group.objects.create(name="one")

    def test_empty_transaction(self):
        transaction.atomic().__enter__()

    def test_autocommit(self):
        transaction.set_autocommit(False)

    def test_temporary_table(self):
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE #leaked (n int)")

    def test_application_lock(self):
        with connection.cursor() as cursor:
            cursor.execute("EXEC sp_getapplock 'leaked', 'Exclusive', 'Session'")

    @with_database
    def test_state_of_its_transaction(self):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCK_TIMEOUT 1234")

    def test_session(self):
        raw = raw_connection()
        raw.execute("SELECT 'orphaned'").fetchall()
        kept.append(raw)

    def test_thread(self):
        thread = threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True)
        thread.start()

    def test_file(self):
        kept.append(open(__file__))

    def test_socket(self):
        kept.append(socket.socket())

    def test_cursor_of_a_thread(self):
        ready, stop = threading.Event(), threading.Event()

        def work():
            half_read()
            ready.set()
            stop.wait()

        thread = threading.Thread(target=work, name="reader", daemon=True)
        thread.start()
        ready.wait()

    async def test_task(self):
        inside = asyncio.Event()
        kept.append(asyncio.create_task(insert_and_wait(inside), name="forgotten"))
        await inside.wait()

    async def test_cursor_of_async_code(self):
        await sync_to_async(half_read)()


@with_transactions
@pytest.mark.asyncio(loop_scope="class")
class TestLeakingInAWiderLoop:
    async def test_task(self):
        inside = asyncio.Event()
        kept.append(asyncio.create_task(insert_and_wait(inside), name="forgotten"))
        await inside.wait()

    async def test_that_another_one_is_not_blamed(self):
        assert not await Group.objects.aexists()


class TestLeakingCase(TestCase):
    def test_nested_transaction(self):
        transaction.atomic().__enter__()
        Group.objects.create(name="one")

    def test_that_another_one_is_not_blamed(self):
        assert not Group.objects.exists()


class TestLeakingTransactionCase(TransactionTestCase):
    def test_cursor(self):
        half_read()

    def test_that_another_one_is_not_blamed(self):
        assert not Group.objects.exists()


@with_transactions
class TestRepaired:
    def test_cursor(self):
        half_read().close()

    def test_transaction(self):
        with transaction.atomic():
            Group.objects.create(name="one")

    @with_database
    def test_nested_transaction(self):
        with transaction.atomic():
            Group.objects.create(name="one")

    def test_empty_transaction(self):
        with transaction.atomic():
            pass

    def test_autocommit(self):
        transaction.set_autocommit(False)
        transaction.set_autocommit(True)

    def test_temporary_table(self):
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE #leaked (n int)")
        connection.close()

    def test_application_lock(self):
        with connection.cursor() as cursor:
            cursor.execute("EXEC sp_getapplock 'leaked', 'Exclusive', 'Session'")
        connection.close()

    @with_database
    def test_state_of_its_transaction(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def test_session(self):
        raw = raw_connection()
        raw.execute("SELECT 'orphaned'").fetchall()
        raw.close()

    def test_thread(self):
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait, name="remembered")
        thread.start()
        stop.set()
        thread.join()

    def test_file(self):
        with open(__file__):
            pass

    def test_socket(self):
        with socket.socket():
            pass

    def test_cursor_of_a_thread(self):
        thread = threading.Thread(target=half_read)  # its end is the lease's
        thread.start()
        thread.join()

    async def test_task(self):
        inside = asyncio.Event()
        task = asyncio.create_task(insert_and_wait(inside))
        await inside.wait()
        task.cancel()
        await asyncio.wait([task])

    async def test_cursor_of_async_code(self):
        def read_and_close():
            half_read().close()

        await sync_to_async(read_and_close)()


class TestRepairedCase(TestCase):
    def test_nested_transaction(self):
        with transaction.atomic():
            Group.objects.create(name="one")


class TestRepairedTransactionCase(TransactionTestCase):
    def test_cursor(self):
        half_read().close()
"""


@dataclass(frozen=True)
class Result:
    """What became of one test."""

    passed: bool
    """Its function and its teardown."""
    error: str
    """Of its teardown."""
    failure: str


@dataclass(frozen=True)
class Run:
    tests: dict[str, Result]
    """By "Class.test", or "test"."""
    output: str
    status: int


def write(folder: Path, tests: str, *, settings: str = SETTINGS, conftest: str = CONFTEST) -> None:
    """Make a suite of one file."""
    (folder / "settings_of_user.py").write_text(settings)
    (folder / "conftest.py").write_text(textwrap.dedent(conftest))
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_of_user.py").write_text(textwrap.dedent(tests))


def run(folder: Path, *arguments: str) -> Run:
    """Run the suite in ``folder`` as a user does."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "DJANGO_"))}
    # The code beside these tests, which need not be the one that is installed.
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=junit.xml"),
            *("-o", "faulthandler_timeout=60"),
            *arguments,
        ],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env=environment,
    )  # fmt: skip
    output = finished.stdout + finished.stderr
    report = folder / "junit.xml"
    if not report.exists():
        return Run({}, output, finished.returncode)
    tests: dict[str, Result] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - our own
        group = case.get("classname", "").rpartition("test_of_user")[2].lstrip(".")
        name = f"{group}.{case.get('name')}" if group else str(case.get("name"))
        before = tests.get(name, Result(True, "", ""))
        error, failure = _text(case, "error"), _text(case, "failure")
        tests[name] = Result(
            before.passed and not error and not failure,
            before.error + error,
            before.failure + failure,
        )
    report.unlink()
    return Run(tests, output, finished.returncode)


def _text(case: ElementTree.Element, kind: str) -> str:
    return "".join(f"{part.get('message')}\n{part.text}" for part in case.findall(kind))
