"""Where a lease was acquired: taken cheaply, put into words only when somebody asks.

``traceback.extract_stack`` reads source files and costs 39 us for 20 frames; code objects and
instruction offsets cost a tenth of that and say the same later.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

Origin = tuple[tuple[CodeType, int], ...]
"""Code objects and instruction offsets, innermost frame first."""

#: From the pool up to a Django project's own code it is 13 to 19 frames.
_FRAMES = 24

_OURS = f"{Path(__file__).parent.parent}{os.sep}"
_THEIRS = tuple(f"-packages{os.sep}{name}{os.sep}" for name in ("django", "mssql", "asgiref"))


def capture(skip: int = 1, frames: int = _FRAMES) -> Origin:
    """The stack of the caller, without its ``skip`` innermost frames."""
    return tuple(_walk(sys._getframe(skip), frames))  # noqa: SLF001 - inspect knows no depth


def capture_two(skip: int) -> Origin:
    """The same, of two frames, and cheap enough for every acquire: it names whoever uses a pool
    directly. Django's ORM stands further away; its leases note more where they last."""
    frame = sys._getframe(skip)  # noqa: SLF001
    outer = frame.f_back
    if outer is None:
        return ((frame.f_code, frame.f_lasti),)
    return ((frame.f_code, frame.f_lasti), (outer.f_code, outer.f_lasti))


def current(thread: int) -> Origin:
    """Where a thread is now; empty where there is none of that number any more."""
    return tuple(_walk(sys._current_frames().get(thread), _FRAMES))  # noqa: SLF001


def _walk(frame: FrameType | None, frames: int) -> list[tuple[CodeType, int]]:
    found: list[tuple[CodeType, int]] = []
    append = found.append
    while frame is not None and len(found) < frames:
        append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return found


def is_known(origin: Origin) -> bool:
    """Whether it reaches out of this package and Django, to code that somebody can change."""
    return next(_outside(origin), None) is not None


def describe(origin: Origin) -> str:
    """The stack as a traceback prints it, without source lines, outermost frame first.

    Frames of this package at the inner end say nothing to its users and are left out.
    """
    frames = list(origin)
    while len(frames) > 1 and frames[0][0].co_filename.startswith(_OURS):
        frames.pop(0)
    return "\n".join(
        f'  File "{code.co_filename}", line {_line(code, offset)}, in {code.co_qualname}'
        for code, offset in reversed(frames)
    )


def place(origin: Origin) -> str:
    """The innermost frame that is neither this package's nor Django's, in a few words."""
    code_and_offset = next(_outside(origin), origin[0] if origin else None)
    if code_and_offset is None:
        return "an unknown place"
    code, offset = code_and_offset
    return f"{code.co_filename}:{_line(code, offset)} in {code.co_qualname}"


def _outside(origin: Origin) -> Iterator[tuple[CodeType, int]]:
    for code, offset in origin:
        name = code.co_filename
        if not name.startswith(_OURS) and not any(package in name for package in _THEIRS):
            yield code, offset


def _line(code: CodeType, offset: int) -> int:
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno
