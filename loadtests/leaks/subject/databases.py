"""Which databases the project under test gets: whose they are, and what the user has said of them.

What he says is read where it is needed and never handed on, as there may be a password in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from loadtests.bench.peers import ROOT

MICROSOFT, SQLITE = "microsoft", "sqlite"
"""As ``connection.vendor`` has them."""
_MICROSOFTS = ("mssql_async", "mssql")


class NoDatabase(Exception):
    """An engine, or what was said of its database, is of no use. The text has no secrets."""


@cache
def vendor_of(engine: str) -> str:
    """``connection.vendor`` of an engine. Another process imports it: doing so takes settings,
    and in this one they depend on the answer.

    :raises NoDatabase: it cannot be imported.
    """
    if engine in _MICROSOFTS:
        return MICROSOFT
    done = subprocess.run(
        [sys.executable, "-c", _TELL_VENDOR, engine],
        env={**os.environ, **import_path(str(Path.cwd()))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NoDatabase(f"The engine {engine!r} cannot be used: {why}")
    return done.stdout.split()[-1]


_TELL_VENDOR = """
import sys
from importlib import import_module
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": sys.argv[1]}})
print(import_module(f"{sys.argv[1]}.base").DatabaseWrapper.vendor)
"""


def import_path(folder: str) -> dict[str, str]:
    """For another process: it finds this project's modules, and the user's in his folder."""
    before = os.environ.get("PYTHONPATH")
    folders = dict.fromkeys(filter(None, (str(ROOT), folder, before)))
    return {"PYTHONPATH": os.pathsep.join(folders)}


@cache
def entry_of(where: str, folder: str = "") -> Mapping[str, Any]:
    """One entry of ``DATABASES``: in a JSON file, or the attribute of a module as
    "module:attribute". All of ``DATABASES`` will do; then it is "default" that counts.

    :param folder: where relative paths and modules are looked for.
    :raises NoDatabase: there is none.
    """
    path = Path(folder or Path.cwd(), where)
    module, _, attribute = where.partition(":")
    try:
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
        elif attribute:
            found = _attribute(module, attribute, str(path.parent))
        else:
            raise NoDatabase(f"--databases {where}: there is no such file.")
    except (ImportError, AttributeError, OSError, ValueError) as error:
        # A parser's error may quote what it has read.
        why = error if isinstance(error, ImportError | AttributeError) else type(error).__name__
        raise NoDatabase(f"--databases {where} cannot be read: {why}") from None
    entry = found.get("default", found) if isinstance(found, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(entry.get("ENGINE"), str):
        raise NoDatabase(f"--databases {where} has no entry of DATABASES with an ENGINE.")
    return entry


def _attribute(module: str, attribute: str, folder: str) -> Any:
    if folder not in sys.path:
        sys.path.append(folder)
    return getattr(import_module(module), attribute)
