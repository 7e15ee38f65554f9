"""Finds the ODBC driver, so that a newcomer installs nothing but unixODBC.

In this order: "ODBC Driver 18 for SQL Server" where the driver manager knows it, else 17,
else the library of driver 18 that the package ``mssql-python-odbc`` ships (a dependency of
mssql-django; Microsoft's licence lies beside it). That one is named by its path in the
connection string and registered nowhere: the user's ``odbcinst.ini`` stays as it is.
"""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .errors import DriverNotFound

DRIVER_18 = "ODBC Driver 18 for SQL Server"
DRIVER_17 = "ODBC Driver 17 for SQL Server"

_INSTALL_MANAGER = (
    "Install unixODBC: 'apt-get install unixodbc' (Debian, Ubuntu), 'dnf install unixODBC' "
    "(Fedora, RHEL), 'apk add unixodbc' (Alpine), 'brew install unixodbc' (macOS)."
)
_INSTALL_DRIVER = (
    "Install Microsoft's driver 'msodbcsql18' (learn.microsoft.com/sql/connect/odbc), or the "
    "package that ships it: 'pip install mssql-python-odbc'."
)


@dataclass(frozen=True, slots=True)
class Driver:
    """An ODBC driver. ``name`` decides how mssql-django writes the connection string;
    ``library`` is set where the driver manager knows it by path only."""

    name: str
    library: Path | None = None

    def in_connection_string(self, connection_string: str) -> str:
        """The connection string with the driver named as the driver manager can find it."""
        if self.library is None:
            return connection_string
        by_name = f"DRIVER={self.name};"
        if not connection_string.startswith(by_name):
            return connection_string  # a DSN, or another driver
        return f"DRIVER={{{self.library}}};" + connection_string.removeprefix(by_name)


def require_pyodbc() -> None:
    """Import pyodbc, or say what is missing.

    :raises DriverNotFound: pyodbc, or the driver manager it is linked to, cannot be loaded.
    """
    try:
        import pyodbc  # noqa: F401
    except ImportError as error:
        if "odbc." in str(error):  # libodbc.so.2, libodbc.2.dylib
            raise DriverNotFound(
                f"pyodbc cannot load the ODBC driver manager ({error}). {_INSTALL_MANAGER}"
            ) from error
        raise DriverNotFound(
            f"mssql_async needs pyodbc ({error}): 'pip install pyodbc'."
        ) from error


@cache
def find_driver() -> Driver:
    """The best driver on this machine.

    :raises DriverNotFound: there is none; the message says what to install.
    """
    import pyodbc

    installed = pyodbc.drivers()
    for name in (DRIVER_18, DRIVER_17):
        if name in installed:
            return Driver(name)
    library = _shipped_library()
    if library is None:
        known = ", ".join(installed) or "none"
        raise DriverNotFound(
            f"No ODBC driver for SQL Server was found (the driver manager knows: {known}). "
            + _INSTALL_DRIVER
        )
    _require_loadable(library)
    return Driver(DRIVER_18, library)


def _shipped_library() -> Path | None:
    """The driver's library in ``mssql-python-odbc``, for this platform."""
    if sys.platform == "win32":
        return None  # Windows' driver manager takes registered drivers only
    package = find_spec("mssql_python_odbc")
    if package is None or package.origin is None:
        return None
    libraries = Path(package.origin).parent / "libs"
    machine = platform.machine().lower()
    names = {"aarch64": "arm64", "amd64": "x86_64"}
    wanted = {machine, names.get(machine, machine)}
    pattern = "libmsodbcsql*.dylib" if sys.platform == "darwin" else "libmsodbcsql-*.so*"
    found = sorted(path for path in libraries.rglob(pattern) if wanted.intersection(path.parts))
    for flavour in _linux_flavours():
        for path in found:
            if flavour in path.parts:
                return path
    return found[0] if found else None


def _linux_flavours() -> list[str]:
    """Folder names of ``mssql-python-odbc`` that suit this distribution, best first."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return []
    families = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    if "alpine" in families:
        return ["alpine"]
    if families & {"rhel", "centos", "fedora"}:
        return ["rhel"]
    if families & {"suse", "sles", "opensuse"}:
        return ["suse"]
    return ["debian_ubuntu"]


def _require_loadable(library: Path) -> None:
    """Load the library, to name what it misses: the driver manager says only "can't open lib"."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        missing = re.match(r"(\S+): cannot open shared object file", str(error))
        packages = {"libgssapi": "libgssapi-krb5-2", "libkrb5": "libkrb5-3", "libltdl": "libltdl7"}
        package = next(
            (p for prefix, p in packages.items() if missing and missing[1].startswith(prefix)),
            None,
        )
        advice = (
            f"Install it: 'apt-get install {package}' (Debian, Ubuntu; other systems: the "
            "Kerberos and libtool libraries)."
            if package
            else _INSTALL_DRIVER
        )
        raise DriverNotFound(
            f"The ODBC driver shipped with mssql-python-odbc cannot be loaded ({error}). {advice}"
        ) from error
