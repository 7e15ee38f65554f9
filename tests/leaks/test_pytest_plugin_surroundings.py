"""The pytest plugin leaves alone what surrounds a test: fixtures, their order, their tasks; and
each run of a test is checked for itself."""

from __future__ import annotations

from pathlib import Path

from . import users_suites
from .users_suites import MEND, SETTINGS_OF_SQLITE

# --- the order of fixtures -----------------------------------------------------------------------

#: Of each scope, with and without autouse, before and after the database's; each notes whether
#: the database's own transaction is open when it is set up and torn down.
ORDER = """
import pytest
import pytest_asyncio
from django.contrib.auth.models import Group
from django.db import connection


def note(what):
    with open("order.txt", "a") as file:
        file.write(f"{what}, {'in' if connection.in_atomic_block else 'not in'} a transaction\\n")


def fixture(name, *needs, **options):
    def set_up(request):
        for need in needs:
            request.getfixturevalue(need)
        note(f"{name} begins")
        yield
        note(f"{name} ends")

    return pytest.fixture(name=name, **options)(set_up)


of_session = fixture("of_session", scope="session", autouse=True)
of_package = fixture("of_package", scope="package")
of_module = fixture("of_module", scope="module", params=[1, 2])
of_class = fixture("of_class", scope="class", autouse=True)
always = fixture("always", autouse=True)
before = fixture("before")
parametrised = fixture("parametrised", params=[1, 2])
with_db = fixture("with_db", "db")
late = fixture("late")


@pytest_asyncio.fixture
async def asynchronous():
    note("asynchronous begins")
    yield
    note("asynchronous ends")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asynchronous_of_module():
    note("asynchronous of module begins")
    yield
    note("asynchronous of module ends")


class TestOfAClass:
    def test_with_db(self, before, with_db, parametrised):
        note("test with db")

    def test_with_transactions(self, before, transactional_db, of_package):
        note("test with transactions")

    @pytest.mark.django_db
    def test_marked(self, before, of_module, request):
        request.getfixturevalue("late")
        note("test marked")

    def setup_method(self):
        note("method begins")

    def teardown_method(self):
        note("method ends")


async def test_asynchronous(before, asynchronous, transactional_db):
    note("asynchronous test")


@pytest.mark.asyncio(loop_scope="module")
async def test_in_a_wider_loop(asynchronous_of_module, with_db):
    note("asynchronous test in a wider loop")
"""


def _order(folder: Path, option: str) -> list[str]:
    trace = folder / "order.txt"
    run = users_suites.run(folder, option)
    assert run.status == 0, run.output
    order = trace.read_text().splitlines()
    trace.unlink()
    return order


ROWS_OF_A_SESSION = """
import pytest
from django.contrib.auth.models import Group

@pytest.fixture(scope="session", autouse=True)
def row_for_all(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        group = Group.objects.create(name="for all")
        yield
        group.delete()

@pytest.mark.django_db
def test_one():
    assert Group.objects.exists()

@pytest.mark.django_db
def test_two():
    assert Group.objects.exists()
"""


class TestFixtures:
    def test_run_in_the_order_in_which_they_do_without_it(self, tmp_path: Path) -> None:
        users_suites.write(tmp_path, ORDER, settings=SETTINGS_OF_SQLITE, conftest="")
        order = _order(tmp_path, "--no-leaks")
        assert any(line.endswith("begins, in a transaction") for line in order)
        assert any(line.endswith("begins, not in a transaction") for line in order)
        assert _order(tmp_path, "--leaks") == order

    def test_of_a_session_write_their_rows_outside_of_a_test_s_transaction(
        self, tmp_path: Path
    ) -> None:
        users_suites.write(
            tmp_path, ROWS_OF_A_SESSION, settings=SETTINGS_OF_SQLITE, conftest=""
        )  # fmt: skip
        run = users_suites.run(tmp_path, "--leaks")
        assert run.status == 0, run.output


# --- tasks of fixtures ---------------------------------------------------------------------------

POLLER = """
import asyncio
import pytest
import pytest_asyncio
from django.contrib.auth.models import Group
from mssql_async.transaction import async_atomic

pytestmark = [
    pytest.mark.no_leaks,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.django_db(transaction=True),
]
kept = []


async def read_in_a_transaction(begin, inside, end):
    await begin.wait()
    async with async_atomic():
        await Group.objects.aexists()
        inside.set()
        await end.wait()


class Poller:
    def __init__(self):
        self.begin, self.inside, self.end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(
            read_in_a_transaction(self.begin, self.inside, self.end), name="poller"
        )

    async def read(self):
        self.begin.set()
        await self.inside.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def poller():
    poller = Poller()
    yield poller
    assert not poller.task.done()
    poller.end.set()
    await poller.task


async def test_begins_a_transaction_in_the_task_of_a_fixture(poller):
    await poller.read()


async def test_runs_beside_that(poller):
    assert not await Group.objects.aexists()


async def test_leaks_a_task_of_its_own(poller):
    kept.append(own := Poller())
    own.task.set_name("own")
    await own.read()
"""


def test_a_task_of_a_fixture_is_neither_blamed_nor_cancelled(tmp_path: Path) -> None:
    users_suites.write(tmp_path, POLLER)
    run = users_suites.run(tmp_path)
    leaking = "test_leaks_a_task_of_its_own"  # the control
    assert {name for name, each in run.tests.items() if not each.passed} == {leaking}, run.output
    assert "leaks: 1 finding." in run.tests[leaking].error
    assert "by the pending task 'own'" in run.tests[leaking].error


# --- tests that run again ------------------------------------------------------------------------

#: What pytest-rerunfailures does, for every test, whatever has come of its first run.
RUN_TWICE = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for item.execution_count in 1, 2:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            report.nodeid += f"_run_{item.execution_count}"
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""

RERUN = """
import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import TestCase

pytestmark = pytest.mark.no_leaks
runs = []


def first(name):
    runs.append(name)
    return runs.count(name) == 1


def leave_a_block():
    transaction.atomic().__enter__()
    Group.objects.create(name="one")


@pytest.mark.django_db
def test_leaks_once():
    if first("leaks once"):
        leave_a_block()


@pytest.mark.django_db
def test_fails_and_then_leaks():
    assert not first("fails and then leaks")
    leave_a_block()


class TestOfACase(TestCase):
    def test_leaks_once(self):
        if first("case leaks once"):
            leave_a_block()

    def test_fails_and_then_leaks(self):
        assert not first("case fails and then leaks")
        leave_a_block()


def test_asks_late_and_leaks_once(transactional_db, request):
    if first("asks late"):
        request.getfixturevalue("leak_check")
        transaction.set_autocommit(False)
"""


def test_each_run_of_a_test_is_checked_for_itself(tmp_path: Path) -> None:
    users_suites.write(
        tmp_path, RERUN, settings=SETTINGS_OF_SQLITE, conftest=f"{RUN_TWICE}{MEND}"
    )  # fmt: skip
    run = users_suites.run(tmp_path)
    leaking = {
        "test_leaks_once_run_1",
        "test_fails_and_then_leaks_run_2",
        "TestOfACase.test_leaks_once_run_1",
        "TestOfACase.test_fails_and_then_leaks_run_2",
        "test_asks_late_and_leaks_once_run_1",
    }
    assert {name for name, result in run.tests.items() if result.error} == leaking, run.output
    assert {name for name, result in run.tests.items() if result.failure} == {
        "test_fails_and_then_leaks_run_1",
        "TestOfACase.test_fails_and_then_leaks_run_1",
    }
    for name in leaking:
        assert "leaks: 1 finding." in run.tests[name].error
