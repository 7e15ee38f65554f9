"""Which context runs, and where in the application."""

from __future__ import annotations

import asyncio
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from mssql_async.contrib.leaks.record import Token
from mssql_async.pool.origin import Origin

CURRENT: ContextVar[Token] = ContextVar("leaks_context", default=0)
"""The context that the code belongs to; 0: none."""


class Asked(NamedTuple):
    """What the application is having done for it, and by which of its lines."""

    place: str = ""
    statement: str = ""


_NOTHING = Asked()
ASKED: ContextVar[Asked] = ContextVar("leaks_asked", default=_NOTHING)
"""For code that has no frame of whoever asked for it above it: a thread, or a task, that works for
one. Where nothing is asked it is the view itself, which whatever Django does around it is for."""

_ROOT = Path(__file__).resolve().parents[2]
_HARNESS = _ROOT / "loadtests"
_APPLICATIONS = tuple(_HARNESS / "leaks" / folder for folder in ("scenarios", "controls"))
_THEIRS = tuple(
    {
        str(Path(sysconfig.get_path(kind)).resolve())
        for kind in ("stdlib", "purelib", "platlib", "scripts")
    }
)
_STEP_OF_A_LOOP = asyncio.Handle._run.__code__  # noqa: SLF001
"""What is above has called the loop, and asked for nothing of what runs in it."""


@contextmanager
def asking(place: str, statement: str) -> Iterator[None]:
    reset = ASKED.set(Asked(place, statement))
    try:
        yield
    finally:
        ASKED.reset(reset)


def current_place() -> str:
    """The innermost frame outside of Django, asgiref, the backend and the harness, as
    "loadtests/leaks/scenarios/x.py:42 in view"; without one, what :data:`ASKED` says."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None and frame.f_code is not _STEP_OF_A_LOOP:
        code = frame.f_code
        shown = _shown(code.co_filename)
        if shown:
            return f"{shown}:{frame.f_lineno} in {_name(code)}"
        frame = frame.f_back
    return ASKED.get().place


def place_of(function: Callable[..., Any]) -> str:
    """Where it is defined; empty where that is not the application."""
    code: CodeType | None = getattr(inspect.unwrap(function), "__code__", None)
    shown = "" if code is None else _shown(code.co_filename)
    return f"{shown}:{code.co_firstlineno} in {_name(code)}" if code and shown else ""


def place_in(origin: Origin) -> str:
    """The same of a stack that the pool has noted."""
    for code, offset in origin:
        if code is _STEP_OF_A_LOOP:
            break
        shown = _shown(code.co_filename)
        if shown:
            lines = (line for start, end, line in code.co_lines() if start <= offset < end)
            return f"{shown}:{next(lines, None) or code.co_firstlineno} in {_name(code)}"
    return ""


def _name(code: CodeType) -> str:
    """Of the function, also where a comprehension or a lambda in it is meant."""
    names = [name for name in code.co_qualname.split(".") if not name.startswith("<")]
    return names[-1] if names else code.co_name


@cache
def _shown(name: str) -> str:
    """How the file is called, or nothing where it is not the application's."""
    if name.startswith("<"):
        return ""
    path = Path(name).resolve()
    if path.is_relative_to(_ROOT / "mssql_async") or str(path).startswith(_THEIRS):
        return ""
    if path.is_relative_to(_HARNESS) and not any(map(path.is_relative_to, _APPLICATIONS)):
        return ""
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else str(path)
