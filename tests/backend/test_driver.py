"""The driver is found without friction, and a missing one is named with what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyodbc
import pytest
from django.core.exceptions import ImproperlyConfigured

from mssql_async import driver as driver_module
from mssql_async.driver import DRIVER_17, DRIVER_18, Driver, find_driver

SHIPPED = Path("/somewhere/libmsodbcsql-18.6.so.2.1")


@pytest.fixture(autouse=True)
def forget_what_was_found() -> Iterator[None]:
    find_driver.cache_clear()
    yield
    find_driver.cache_clear()


def only_these_are_installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(pyodbc, "drivers", lambda: list(names))


def test_driver_18_wins_where_the_driver_manager_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    only_these_are_installed(monkeypatch, "FreeTDS", DRIVER_17, DRIVER_18)
    assert find_driver() == Driver(DRIVER_18)


def test_driver_17_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    only_these_are_installed(monkeypatch, "FreeTDS", DRIVER_17)
    assert find_driver() == Driver(DRIVER_17)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows takes registered drivers only")
def test_the_library_of_mssql_python_odbc_is_the_last_resort(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_these_are_installed(monkeypatch, "FreeTDS")
    found = find_driver()
    assert found.name == DRIVER_18
    assert found.library is not None
    assert found.library.is_file()


def test_the_library_is_named_by_path_and_nothing_else_of_the_string_changes() -> None:
    driver = Driver(DRIVER_18, SHIPPED)
    assert (
        driver.in_connection_string(f"DRIVER={DRIVER_18};SERVER=db;PWD={{a;b}}")
        == f"DRIVER={{{SHIPPED}}};SERVER=db;PWD={{a;b}}"
    )
    assert driver.in_connection_string("DSN=mine;UID=sa") == "DSN=mine;UID=sa"


def test_finding_a_driver_changes_no_environment_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_these_are_installed(monkeypatch)
    before = dict(os.environ)
    find_driver()
    assert dict(os.environ) == before


def test_no_driver_at_all_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_these_are_installed(monkeypatch, "FreeTDS")
    monkeypatch.setattr(driver_module, "_shipped_library", lambda: None)
    with pytest.raises(ImproperlyConfigured) as raised:
        find_driver()
    assert "the driver manager knows: FreeTDS" in str(raised.value)
    assert "msodbcsql18" in str(raised.value)
    assert "pip install mssql-python-odbc" in str(raised.value)


def test_a_library_that_misses_another_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: str) -> None:
        raise OSError(
            "libgssapi_krb5.so.2: cannot open shared object file: No such file or directory"
        )

    only_these_are_installed(monkeypatch)
    monkeypatch.setattr(driver_module, "_shipped_library", lambda: SHIPPED)
    monkeypatch.setattr(driver_module.ctypes, "CDLL", refuse)
    with pytest.raises(ImproperlyConfigured, match="apt-get install libgssapi-krb5-2"):
        find_driver()


@pytest.mark.parametrize(
    ("import_error", "advice"),
    [
        ("libodbc.so.2: cannot open shared object file", "apt-get install unixodbc"),
        ("No module named 'pyodbc'", "pip install pyodbc"),
    ],
)
def test_without_a_driver_manager_loading_the_backend_says_what_to_install(
    tmp_path: Path, import_error: str, advice: str
) -> None:
    (tmp_path / "pyodbc.py").write_text(f"raise ImportError({import_error!r})")
    (tmp_path / "probe.py").write_text(
        "from django.conf import settings\n"
        "from django.core.exceptions import ImproperlyConfigured\n"
        "from django.db import connections\n"
        "settings.configure(DATABASES={'default': {'ENGINE': 'mssql_async', 'NAME': 'x'}})\n"
        "try:\n    connections['default']\n"
        "except ImproperlyConfigured as error:\n    print(error)\n"
    )
    probe = subprocess.run(
        [sys.executable, str(tmp_path / "probe.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert advice in probe.stdout
