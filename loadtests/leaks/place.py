"""Which context runs, and where in the application."""

from __future__ import annotations

import sys
import sysconfig
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from mssql_async.contrib.leaks.record import Token
from mssql_async.pool.origin import Origin

CURRENT: ContextVar[Token] = ContextVar("leaks_context", default=0)
"""The context that the code belongs to; 0: none."""

_ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
_THEIRS = tuple(
    {str(Path(sysconfig.get_path(kind)).resolve()) for kind in ("stdlib", "purelib", "platlib")}
)


def current_place() -> str:
    """The innermost frame outside of Django, asgiref, the backend and the harness, as
    "loadtests/leaks/scenarios/x.py:42 in view"; empty where there is none."""
    frame = sys._getframe(1)  # noqa: SLF001
    while True:
        code = frame.f_code
        shown = _shown(code.co_filename)
        if shown:
            return f"{shown}:{frame.f_lineno} in {code.co_name}"
        if frame.f_back is None:
            return ""
        frame = frame.f_back


def place_in(origin: Origin) -> str:
    """The same of a stack that the pool has noted."""
    for code, offset in origin:
        shown = _shown(code.co_filename)
        if shown:
            lines = (line for start, end, line in code.co_lines() if start <= offset < end)
            return f"{shown}:{next(lines, None) or code.co_firstlineno} in {code.co_name}"
    return ""


@cache
def _shown(name: str) -> str:
    """How the file is called, or nothing where it is not the application's."""
    if name.startswith("<"):
        return ""
    path = Path(name).resolve()
    if path.is_relative_to(_ROOT / "mssql_async") or str(path).startswith(_THEIRS):
        return ""
    if path.parent in (_HERE, _HERE / "subject"):
        return ""
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else str(path)
