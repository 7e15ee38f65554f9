"""Where a lease was acquired: taken cheaply, put into words only when somebody asks.

``traceback.extract_stack`` reads source files and costs 39 us for 20 frames; code objects and
instruction offsets cost a tenth of that and say the same later.
"""

from __future__ import annotations

import sys
from types import CodeType

Origin = tuple[tuple[CodeType, int], ...]
"""Code objects and instruction offsets, innermost frame first."""

_FRAMES = 24


def capture(skip: int = 1) -> Origin:
    """The stack of the caller, without its ``skip`` innermost frames."""
    frame = sys._getframe(skip)  # noqa: SLF001 - inspect.currentframe has no depth
    found: list[tuple[CodeType, int]] = []
    append = found.append
    for _ in range(_FRAMES):
        append((frame.f_code, frame.f_lasti))
        outer = frame.f_back
        if outer is None:
            break
        frame = outer
    return tuple(found)


def describe(origin: Origin, *, ours: str = "mssql_async") -> str:
    """The stack as a traceback prints it, without source lines, outermost frame first.

    Frames of this package at the inner end say nothing to its users and are left out.
    """
    frames = list(origin)
    while len(frames) > 1 and f"/{ours}/" in frames[0][0].co_filename.replace("\\", "/"):
        frames.pop(0)
    return "\n".join(
        f'  File "{code.co_filename}", line {_line(code, offset)}, in {code.co_qualname}'
        for code, offset in reversed(frames)
    )


def place(origin: Origin) -> str:
    """The innermost frame that is neither this package nor Django, in a few words."""
    for code, offset in origin:
        name = code.co_filename.replace("\\", "/")
        if not any(
            f"/{package}/" in name for package in ("mssql_async", "django", "mssql", "asgiref")
        ):
            return f"{code.co_filename}:{_line(code, offset)} in {code.co_qualname}"
    if not origin:
        return "an unknown place"
    code, offset = origin[0]
    return f"{code.co_filename}:{_line(code, offset)} in {code.co_qualname}"


def _line(code: CodeType, offset: int) -> int:
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno
