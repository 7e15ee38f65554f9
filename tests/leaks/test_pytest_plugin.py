"""The pytest plugin, in suites of users: what leaks fails, what does not passes."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mssql_async.contrib.testserver import DevServerMissing, server_for_tests

from . import users_suites
from .users_suites import CONFTEST, LEAKS, MEND, SETTINGS_OF_SQLITE, Run

DOCUMENT = Path(__file__).parents[2] / "docs" / "pytest.md"

#: Test -> the detector that finds it, and what its words hold.
LEAKING = {
    "TestLeaking.test_cursor": (
        "retained lease", ["unread rows", "SELECT TOP 500", "in half_read"],
    ),
    "TestLeaking.test_transaction": (
        "retained lease", ["open transaction", "INSERT INTO", "in TestLeaking.test_transaction"],
    ),
    "TestLeaking.test_nested_transaction": (
        "transaction bleed", ["inside of its own transaction", "INSERT INTO"],
    ),
    "TestLeaking.test_empty_transaction": (
        "retained lease", ["open transaction", "in TestLeaking.test_empty_transaction"],
    ),
    "TestLeaking.test_autocommit": ("transaction bleed", ["autocommit off"]),
    "TestLeaking.test_temporary_table": (
        "state bleed", ["CREATE TABLE #leaked", "in TestLeaking.test_temporary_table"],
    ),
    "TestLeaking.test_application_lock": (
        "state bleed", ["sp_getapplock", "in TestLeaking.test_application_lock"],
    ),
    "TestLeaking.test_state_of_its_transaction": ("state bleed", ["SET LOCK_TIMEOUT 1234"]),
    "TestLeaking.test_session": ("orphan session", ["SELECT 'orphaned'", "which no pool knows"]),
    "TestLeaking.test_thread": ("growth", ["1 thread", "'forgotten'"]),
    "TestLeaking.test_file": ("growth", ["1 file descriptor", "test_of_user.py"]),
    "TestLeaking.test_socket": ("growth", ["1 file descriptor", "socket:"]),
    "TestLeaking.test_cursor_of_a_thread": (
        "retained lease", ["in the thread 'reader'", "SELECT TOP 500", "in half_read"],
    ),
    "TestLeaking.test_task": (
        "retained lease", ["the pending task 'forgotten'", "INSERT INTO", "in insert_and_wait"],
    ),
    "TestLeaking.test_cursor_of_async_code": (
        "retained lease", ["unread rows", "in the thread", "in half_read"],
    ),
    "TestLeakingInAWiderLoop.test_task": ("retained lease", ["the pending task 'forgotten'"]),
    "TestLeakingCase.test_nested_transaction": (
        "transaction bleed", ["inside of its own transaction"],
    ),
    "TestLeakingTransactionCase.test_cursor": ("retained lease", ["unread rows", "in half_read"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("checked")
    users_suites.write(folder, LEAKS)
    return users_suites.run(folder)


@pytest.fixture(scope="module", params=["--no-leaks", "not marked"])
def unchecked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Run:  # fmt: skip
    folder = tmp_path_factory.mktemp("unchecked")
    off: list[str] = []
    tests = LEAKS
    if request.param == "--no-leaks":
        off = ["--no-leaks"]
    else:
        tests = LEAKS.replace("pytestmark = pytest.mark.no_leaks\n", "")
        assert tests != LEAKS
    users_suites.write(folder, tests, conftest=CONFTEST + MEND)
    # What those of the wider loop leave would keep the tables from being emptied, for ever, and
    # what a test of a TestCase leaves hits the next one.
    only = "Leaking and not WiderLoop and not blamed"
    return users_suites.run(folder, *off, "-W", "ignore", "-k", only)


class TestATestThatLeaks:
    @pytest.mark.parametrize("name", LEAKING)
    def test_is_an_error_with_the_finding(self, checked: Run, name: str) -> None:
        result = checked.tests[name]
        detector, words = LEAKING[name]
        assert not result.failure
        assert f"\n{detector}: " in result.error
        for text in words:
            assert text in result.error

    def test_fails_alone(self, checked: Run) -> None:
        failed = {name for name, result in checked.tests.items() if not result.passed}
        assert failed == set(LEAKING), checked.output

    def test_has_one_finding_unless_it_has_left_two_things(self, checked: Run) -> None:
        several = {name for name in LEAKING if "leaks: 1 finding." not in checked.tests[name].error}
        assert several == {"TestLeaking.test_cursor_of_a_thread"}  # and the thread itself

    def test_passes_where_nobody_checks(self, unchecked: Run) -> None:
        """The control: it is the check that fails it."""
        leaking = {name for name in LEAKING if "WiderLoop" not in name}
        assert leaking == set(unchecked.tests), unchecked.output
        assert [name for name, result in unchecked.tests.items() if not result.passed] == []
        assert unchecked.status == 0, unchecked.output


FINE = """
import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

kept = []

def half_read():
    cursor = connection.cursor()
    cursor.execute("SELECT TOP 500 name FROM sys.columns")
    cursor.fetchone()
    kept.append(cursor)

@pytest.fixture
def open_block(transactional_db):
    with transaction.atomic():
        Group.objects.create(name="of the fixture")
        yield

@pytest.fixture
def closes(transactional_db):
    yield
    for cursor in kept:
        cursor.close()
    kept.clear()

@pytest.mark.no_leaks
def test_in_the_transaction_of_a_fixture(open_block):
    assert Group.objects.exists()

@pytest.mark.no_leaks
def test_what_a_fixture_closes(closes):
    half_read()

@pytest.mark.no_leaks
def test_without_a_database():
    pass

@pytest.mark.no_leaks(allow=["retained lease"])
def test_that_may(transactional_db):
    half_read()

@pytest.mark.no_leaks("orphan session", "growth")
def test_that_is_checked_for_something_else(transactional_db):
    half_read()

@pytest.mark.no_leaks(enabled=False)
def test_that_is_let_off(transactional_db):
    half_read()

@pytest.mark.no_leaks
@pytest.mark.xfail(strict=True)
def test_that_fails_and_leaks(transactional_db):
    half_read()
    assert False

@pytest.mark.no_leaks(server=False)
def test_that_asks_no_server(transactional_db):
    from test_sessions import raw_connection
    kept.append(raw_connection())

def test_in_the_middle(transactional_db, leak_check):
    leak_check.now()
    half_read()
    [finding] = leak_check.findings()
    assert "holds connection" in finding.message
    kept.pop().close()
    leak_check.now()

def test_of_a_function_that_asks_late(transactional_db, request):
    half_read()
    leak_check = request.getfixturevalue("leak_check")
    leak_check.now()
    assert leak_check.findings() == []
    kept.pop().close()
"""


class TestWhatIsNoLeak:
    def test_passes(self, tmp_path: Path) -> None:
        users_suites.write(tmp_path, FINE)
        (tmp_path / "test_sessions.py").write_text(LEAKS.split("def half_read")[0])
        run = users_suites.run(tmp_path)
        assert run.status == 0, run.output
        assert len(run.tests) == FINE.count("\ndef test_")

    @pytest.mark.slow
    def test_only_as_far_as_was_said(self, tmp_path: Path) -> None:
        """The control: the same without what lets them off."""
        tests = re.sub(
            r"no_leaks\(.*\)\n",
            "no_leaks\n",
            FINE.replace("\n    yield\n    for", "\n    yield\n    return\n    for"),
        )
        users_suites.write(tmp_path, tests)
        (tmp_path / "test_sessions.py").write_text(LEAKS.split("def half_read")[0])
        run = users_suites.run(tmp_path)
        assert {name for name, result in run.tests.items() if not result.passed} == {
            "test_what_a_fixture_closes",
            "test_that_may",
            "test_that_is_checked_for_something_else",
            "test_that_is_let_off",
            "test_that_asks_no_server",
        }, run.output


IN_THE_MIDDLE = """
import pytest
from django.db import connection

def read(leak_check):
    cursor = connection.cursor()
    cursor.execute("SELECT TOP 500 name FROM sys.columns")
    cursor.fetchone()
    leak_check.now()
    cursor.close()

def test_now(transactional_db, leak_check):
    read(leak_check)

async def test_now_of_async_code(transactional_db, leak_check):
    from asgiref.sync import sync_to_async
    await sync_to_async(read)(leak_check)

def test_at_the_end(transactional_db, leak_check, request):
    request.config.stash[pytest.StashKey()] = cursor = connection.cursor()
    cursor.execute("SELECT TOP 500 name FROM sys.columns")
    cursor.fetchone()
"""


@pytest.mark.slow
def test_the_fixture_fails_the_test_in_the_middle_and_at_its_end(tmp_path: Path) -> None:
    users_suites.write(tmp_path, IN_THE_MIDDLE)
    run = users_suites.run(tmp_path)
    for name in ("test_now", "test_now_of_async_code"):
        assert "still" not in run.tests[name].failure
        assert "holds connection" in run.tests[name].failure
        assert not run.tests[name].error
    assert "has ended and still holds" in run.tests["test_at_the_end"].error
    assert not run.tests["test_at_the_end"].failure


UNMARKED = """
import threading
from django.contrib.auth.models import Group
from django.db import connection

kept = []

def test_with_a_database(transactional_db):
    cursor = connection.cursor()
    cursor.execute("SELECT TOP 500 name FROM sys.columns")
    cursor.fetchone()
    kept.append(cursor)

def test_with_a_good_one(db):
    Group.objects.create(name="one")

async def test_with_asynchronous_code(transactional_db):
    await Group.objects.acreate(name="one")

def test_without_one():
    kept.append(open(__file__))
"""


@pytest.mark.parametrize("how", ["--leaks", "-oleaks=true"])
@pytest.mark.slow
def test_the_option_checks_what_uses_a_database(tmp_path: Path, how: str) -> None:
    users_suites.write(tmp_path, UNMARKED)
    run = users_suites.run(tmp_path, how)
    assert {name for name, result in run.tests.items() if not result.passed} == {
        "test_with_a_database"
    }, run.output
    assert "retained lease: " in run.tests["test_with_a_database"].error


@pytest.mark.slow
def test_the_option_may_allow(tmp_path: Path) -> None:
    users_suites.write(tmp_path, UNMARKED)
    run = users_suites.run(tmp_path, "--leaks", "-oleaks_allow=retained lease")
    assert run.status == 0, run.output


SECRET = """
import pytest
from django.db import connection, transaction

@pytest.mark.no_leaks
@pytest.mark.django_db(transaction=True)
def test_leaks():
    transaction.atomic().__enter__()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 WHERE 'PASSWORD' = 'hunter2'")
"""


ANOTHER_PLUGIN = """
def pytest_addoption(parser):
    parser.addoption("--leaks", action="append", default=[], help="Where to write them.")
    parser.addini("leaks", "Where to write them.", type="linelist", default=[])
    parser.addini("leaks_allow", "Who may.", default="nobody")

def pytest_configure(config):
    assert config.getoption("--leaks") == ["here"]
    assert config.getini("leaks") == ["there"]
    assert config.getini("leaks_allow") == "nobody"
"""


@pytest.mark.parametrize("its_place", ["conftest.py", "another_plugin.py"])
def test_an_option_that_another_plugin_has_is_that_one_s(tmp_path: Path, its_place: str) -> None:
    tests = SECRET.replace("@pytest.mark.no_leaks\n", "")
    mend = f"import pytest\n{MEND}"
    users_suites.write(tmp_path, tests, settings=SETTINGS_OF_SQLITE, conftest=mend)
    with (tmp_path / its_place).open("a") as file:
        file.write(ANOTHER_PLUGIN)
    loaded = ["-p", "another_plugin"] if its_place == "another_plugin.py" else []
    theirs = ["--leaks=here", "-oleaks=there"]
    for ours, leaks in (
        ("--mssql-leaks", True),
        ("-omssql_leaks=true", True),
        ("--no-mssql-leaks", False),
    ):
        run = users_suites.run(tmp_path, *loaded, *theirs, ours, "-oleaks_grace=0.1")
        assert ("leaks: 1 finding." in run.output) is leaks, run.output
        assert run.status == (pytest.ExitCode.TESTS_FAILED if leaks else pytest.ExitCode.OK)


def test_the_short_names_are_there_where_a_conftest_loads_it(tmp_path: Path) -> None:
    users_suites.write(
        tmp_path, SECRET, settings=SETTINGS_OF_SQLITE,
        conftest=f'pytest_plugins = ["mssql_async.contrib.pytest_plugin"]\nimport pytest\n{MEND}',
    )  # fmt: skip
    run = users_suites.run(tmp_path, "-p", "no:mssql_async", "-oleaks_allow=transaction bleed")
    assert run.status == 0, run.output
    run = users_suites.run(tmp_path, "-p", "no:mssql_async", "--leaks")
    assert "leaks: 1 finding." in run.tests["test_leaks"].error


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ('("retained leases")', "names 'retained leases'; there are 'growth', "),
        ('(allow=["all"])', "names 'all'"),
        ("(servers=True)", "does not take 'servers'"),
    ],
)
@pytest.mark.slow
def test_a_marker_that_is_wrong_is_refused(tmp_path: Path, marker: str, complaint: str) -> None:
    users_suites.write(
        tmp_path, f"import pytest\n@pytest.mark.no_leaks{marker}\ndef test_it(): pass\n"
    )
    run = users_suites.run(tmp_path)
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert complaint in run.output
    assert "test_of_user.py::test_it" in run.output


MAY_NOT_LOOK = (
    CONFTEST
    + """
from mssql_async.contrib.leaks import atserver

for permission in ("VIEW SERVER STATE", "VIEW SERVER PERFORMANCE STATE"):
    atserver._SESSIONS = atserver._SESSIONS.replace(
        f"HAS_PERMS_BY_NAME(NULL, NULL, '{permission}')", "0"
    )
"""
)


@pytest.mark.slow
def test_without_the_permission_the_server_is_let_alone_with_one_warning(tmp_path: Path) -> None:
    names = ["cursor", "session", "transaction"]
    users_suites.write(tmp_path, LEAKS, conftest=MAY_NOT_LOOK)
    run = users_suites.run(
        tmp_path,
        "-W",
        "default",
        "-k",
        f"TestLeaking and ({' or '.join(map('test_{}'.format, names))})",
    )
    assert run.tests["TestLeaking.test_session"].passed
    assert not run.tests["TestLeaking.test_cursor"].passed
    assert run.output.count("Grant VIEW SERVER STATE") == 1
    assert "1 warning" in run.output


@pytest.mark.slow
def test_that_warning_is_no_error_where_warnings_are(tmp_path: Path) -> None:
    users_suites.write(tmp_path, LEAKS, conftest=MAY_NOT_LOOK)
    run = users_suites.run(tmp_path, "-k", "TestRepaired")
    assert run.status == 0, run.output


OF_SQLITE = """
import threading

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

pytestmark = pytest.mark.no_leaks

def in_a_thread(function):
    thread = threading.Thread(target=function, name="worker of a user")
    thread.start()
    thread.join()

def count():
    Group.objects.count()

def count_and_close():
    count()
    connection.close()

@pytest.mark.django_db(transaction=True)
def test_leaks_a_connection():
    in_a_thread(count)

@pytest.mark.django_db(transaction=True)
def test_leaks_a_transaction():
    transaction.atomic().__enter__()
    Group.objects.create(name="one")

@pytest.mark.django_db
def test_leaks_a_nested_transaction():
    transaction.atomic().__enter__()
    Group.objects.create(name="one")

@pytest.mark.django_db(transaction=True)
def test_repaired_connection():
    in_a_thread(count_and_close)

@pytest.mark.django_db(transaction=True)
def test_repaired_transaction():
    with transaction.atomic():
        Group.objects.create(name="one")

@pytest.mark.django_db
def test_repaired_nested_transaction():
    with transaction.atomic():
        Group.objects.create(name="one")

@pytest.mark.django_db(transaction=True)
async def test_asynchronous_code():
    await Group.objects.acreate(name="one")
"""


class TestOtherBackends:
    @pytest.fixture
    def suite(self, tmp_path: Path) -> Path:
        users_suites.write(
            tmp_path,
            OF_SQLITE,
            settings=SETTINGS_OF_SQLITE,
            conftest=f"import pytest\n{MEND}",
        )
        return tmp_path

    @pytest.mark.slow
    def test_are_checked_by_what_their_wrappers_show(self, suite: Path) -> None:
        run = users_suites.run(suite, "-W", "ignore::ResourceWarning")
        leaking = {
            "test_leaks_a_connection": (
                "retained lease", ["'worker of a user'", "SELECT COUNT", "in count"],
            ),
            "test_leaks_a_transaction": (
                "transaction bleed", ["open atomic block", "INSERT INTO"],
            ),
            "test_leaks_a_nested_transaction": (
                "transaction bleed", ["inside of its own", "INSERT INTO"],
            ),
        }  # fmt: skip
        failed = {name for name, result in run.tests.items() if not result.passed}
        assert failed == set(leaking), run.output
        for name, (detector, words) in leaking.items():
            for text in (f"\n{detector}: ", "leaks: 1 finding.", *words):
                assert text in run.tests[name].error

    @pytest.mark.slow
    def test_pass_where_nobody_checks(self, suite: Path) -> None:
        run = users_suites.run(suite, "--no-leaks", "-W", "ignore")
        assert run.status == 0, run.output


def test_a_finding_tells_no_secret(tmp_path: Path) -> None:
    users_suites.write(tmp_path, SECRET, settings=SETTINGS_OF_SQLITE, conftest="")
    run = users_suites.run(tmp_path)
    assert "SELECT 1 WHERE 'PASSWORD' = …" in run.tests["test_leaks"].error
    assert "hunter2" not in run.output


class TestTheServerOfASuite:
    def test_is_the_one_that_the_environment_names(self) -> None:
        environment = {
            "MSSQL_HOST": "db.example", "MSSQL_PORT": "1444", "MSSQL_USER": "app",
            "MSSQL_PASSWORD": "secret!", "MSSQL_DATABASE": "shop",
            "MSSQL_EXTRA_PARAMS": "Encrypt=yes",
        }  # fmt: skip
        with server_for_tests(environment) as server:
            assert server.embedded is None
            assert server.database_settings(OPTIONS={"driver": "x"}, CONN_MAX_AGE=3) == {
                "ENGINE": "mssql_async", "HOST": "db.example", "PORT": "1444", "USER": "app",
                "PASSWORD": "secret!", "NAME": "shop", "CONN_MAX_AGE": 3,
                "OPTIONS": {"extra_params": "Encrypt=yes", "driver": "x"},
            }  # fmt: skip
            assert "secret!" not in repr(server)

    def test_is_else_the_embedded_one(self) -> None:
        with server_for_tests({}) as server:
            assert server.embedded is not None
            assert server.database_settings()["PORT"] == str(server.embedded.port)

    def test_says_what_is_missing_for_that(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.startswith("mssql_async.devserver")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "sqlglot", None)
        with (
            pytest.raises(DevServerMissing, match=r"'sqlglot'.*mssql-async\[devserver\]"),
            server_for_tests({}),
        ):
            pass


class TestWhereNobodyAsks:
    def test_it_is_found_by_pytest(self) -> None:
        [point] = entry_points(group="pytest11", name="mssql_async")
        assert point.value == "mssql_async.contrib.pytest_plugin"

    def test_importing_it_imports_next_to_nothing(self) -> None:
        code = (
            "import sys, pytest; before = set(sys.modules); "
            "import mssql_async.contrib.pytest_plugin; "
            "print(*sorted(set(sys.modules) - before))"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        assert [name for name in out if name.split(".")[0] == "mssql_async"] == [
            "mssql_async", "mssql_async.contrib", "mssql_async.contrib.pytest_plugin",
        ]  # fmt: skip
        assert not any(name.startswith(("django", "asgiref", "pyodbc")) for name in out)

    def test_a_suite_without_django_runs_as_ever(self, tmp_path: Path) -> None:
        (tmp_path / "test_of_user.py").write_text(
            "import sys\n"
            "def test_it():\n"
            "    ours = {name for name in sys.modules if name.startswith('mssql_async')}\n"
            "    assert ours <= {'mssql_async', 'mssql_async.contrib',\n"
            "                    'mssql_async.contrib.pytest_plugin'}\n"
        )
        run = users_suites.run(tmp_path, "-p", "no:django", "-p", "no:asyncio")
        assert run.status == 0, run.output
        assert run.tests["test_it"].passed

    def test_a_suite_without_django_can_be_checked(self, tmp_path: Path) -> None:
        (tmp_path / "test_of_user.py").write_text(
            "import sys\n"
            "kept = []\n"
            "def test_it(leak_check):\n"
            "    leak_check.now()\n"
            "    assert 'django' not in sys.modules\n"
            "def test_leak(leak_check):\n"
            "    kept.append(open(__file__))\n"
        )
        run = users_suites.run(tmp_path, "-p", "no:django", "-p", "no:asyncio")
        assert run.tests["test_it"].passed, run.output
        assert "1 file descriptor" in run.tests["test_leak"].error


def test_each_process_of_xdist_checks_its_own(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    users_suites.write(tmp_path, LEAKS)
    run = users_suites.run(tmp_path, "-n", "2", "-k", "TestLeaking or TestRepaired")
    failed = {name for name, result in run.tests.items() if not result.passed}
    assert failed == set(LEAKING), run.output


def test_the_costs_can_be_measured() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "mssql_async.contrib.leaks.cost", "--tests", "20"],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert re.fullmatch(r"(.*: median [\d.]+ ms, 99 % within [\d.]+ ms a test\n){2}", out)


class TestTheDocument:
    """docs/pytest.md: its example is run with its own conftest.py, and comes to what it shows."""

    def test_shows_what_comes(self, tmp_path: Path) -> None:
        text = DOCUMENT.read_text()
        example, conftest = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        [shown] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
        users_suites.write(tmp_path, "", conftest=conftest)
        (tmp_path / "test_of_user.py").unlink()
        (tmp_path / "test_names.py").write_text(example)
        run = users_suites.run(tmp_path)
        assert _up_to_numbers(shown) in _up_to_numbers(run.output)
        assert "2 passed, 1 error" in run.output

    def test_of_the_options_is_an_ini_file_that_holds(self, tmp_path: Path) -> None:
        [ini] = re.findall(r"```ini\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
        users_suites.write(tmp_path, UNMARKED)
        own = users_suites.INI.replace("leaks_grace = 1.5\n", "")
        without_comments = re.sub(r"\s*;.*", "", ini.partition("\n")[2])
        (tmp_path / "pytest.ini").write_text(f"{own}{without_comments}")
        run = users_suites.run(tmp_path)
        assert {name for name, result in run.tests.items() if not result.passed} == {
            "test_with_a_database"
        }, run.output


def _up_to_numbers(text: str) -> str:
    """With numbers, the widths of lines of marks, and folders all the same."""
    text = re.sub(r"\S*/(?=test_names\.py:)", "", text)
    return re.sub(r"_{3,}", "___", re.sub(r"\d+(\.\d+)?", "N", text))
