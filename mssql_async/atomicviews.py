"""``ATOMIC_REQUESTS`` for asynchronous views, which Django's handlers refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.handlers.base import BaseHandler
from django.db import connections


class AtomicViews(BaseHandler):
    """A handler that puts each view into the transactions that its databases' settings ask for,
    whether it is synchronous or not; ``transaction.non_atomic_requests`` exempts it."""

    def make_view_atomic(self, view: Callable[..., Any]) -> Callable[..., Any]:
        if not iscoroutinefunction(view):
            atomic: Callable[..., Any] = super().make_view_atomic(view)
            return atomic
        from .transaction import async_atomic

        non_atomic: set[str] = getattr(view, "_non_atomic_requests", set())
        for alias, settings in connections.settings.items():
            if settings["ATOMIC_REQUESTS"] and alias not in non_atomic:
                view = async_atomic(using=alias)(view)
        return view
