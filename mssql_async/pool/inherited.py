"""What a forked child has of its parent, and must never finalize.

The destructor of a connection says goodbye to the server, that of a cursor may close a statement
there, and both would do it on the socket that the child shares with its parent. To hold on to
them is not enough: a child that ends as Python programs do (``sys.exit``, or its last line)
empties every module on its way out, and what that kept is finalized then.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import PooledConnection

#: Every connection of this process, wherever it is: idle, lent, forsaken, being closed.
_connections: weakref.WeakSet[PooledConnection] = weakref.WeakSet()

_held: list[object] = []


def note(connection: PooledConnection) -> None:
    """Have a forked child find it."""
    _connections.add(connection)


def never_finalize(found: object) -> None:
    """Have nothing ever run the destructor of ``found``, nor of what it alone refers to."""
    take_reference = _take_reference()
    if take_reference is None:
        _held.append(found)  # until the interpreter ends; better than nothing
    else:
        take_reference(found)  # and nobody gives it back


def _take_reference() -> Any:
    """CPython's ``Py_IncRef``; ``None`` where objects are not counted."""
    function = getattr(getattr(ctypes, "pythonapi", None), "Py_IncRef", None)
    if function is not None:
        function.argtypes, function.restype = [ctypes.py_object], None
    return function


def _leave_to_the_parent() -> None:
    for connection in list(_connections):
        never_finalize(connection)
    _connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
