"""Calls of Django's handler that need no thread, because they have nothing to do there.

A request pays for hops to a worker even where it never touches a database: two for the request
signals and the closing of its response, up to two for each middleware. What asgiref submits for
them is looked into here; whatever does not look exactly as expected goes to a worker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from django.core import signals
from django.core.cache import BaseCache, caches, close_caches
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, connections, reset_queries
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .middleware import needs_no_thread

#: Django's own receivers of the request signals. The first two look after the connections of
#: the thread that serves the request; on a worker the context does.
_DJANGOS = (reset_queries, close_old_connections, reset_urlconf, close_caches)


def is_trivial(fn: Callable[[], Any]) -> bool:
    """Whether a thread-sensitive call is one of these: a request signal to which only Django
    itself listens, the closing of a response that has nothing to close, or a hook of Django's
    own middleware that only reads and writes headers."""
    if not isinstance(fn, functools.partial) or not fn.args:
        return False
    child = fn.args[-1]
    if not isinstance(child, functools.partial):
        return False
    target = child.func
    if needs_no_thread(target, child.args):
        return True
    if getattr(target, "__qualname__", "") == "Signal.asend.<locals>.sync_send":
        return _only_djangos(_closure(target).get("sync_receivers"))
    response = getattr(target, "__self__", None)
    return (
        isinstance(response, HttpResponseBase)
        and getattr(target, "__func__", None) is HttpResponseBase.close
        and all(map(_closes_nothing, getattr(response, "_resource_closers", ())))
        and _only_djangos(_receivers(signals.request_finished))
    )


def _closure(function: Any) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
    }


def _receivers(signal: Any) -> list[Any]:
    """Those that are connected: references to them stand second in each entry."""
    found = []
    for entry in signal.receivers:
        receiver = entry[1]
        found.append(receiver() if hasattr(receiver, "__callback__") else receiver)
    return found


def _only_djangos(receivers: Iterable[Any] | None) -> bool:
    if receivers is None:
        return False
    return (
        all(receiver in _DJANGOS for receiver in receivers)
        and _nothing_is_connected_here()
        and _caches_close_nothing()
    )


def _nothing_is_connected_here() -> bool:
    """The loop's own thread may have used a database before the loop ran. Django's receivers
    would close that connection, which is forbidden inside of a loop."""
    return all(
        wrapper.connection is None or wrapper.in_atomic_block
        for wrapper in connections.all(initialized_only=True)
    )


def _caches_close_nothing() -> bool:
    return all(type(cache).close is BaseCache.close for cache in caches.all(initialized_only=True))


def _closes_nothing(closer: Any) -> bool:
    """``HttpRequest.close`` closes uploaded files, if there were any."""
    request = getattr(closer, "__self__", None)
    return (
        isinstance(request, HttpRequest)
        and getattr(closer, "__name__", "") == "close"
        and not getattr(request, "_files", None)
    )
