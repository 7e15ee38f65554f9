"""The last statement that Django has executed on each connection, also where no story tells of it.

By the documented way to instrument Django (``connection.execute_wrappers``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar

from django.db.backends.signals import connection_created

from .numbers import forget_all_but

T = TypeVar("T")

STATEMENT_SHOWN = 200
"""Characters."""


class LastStatements:
    """Of every wrapper that connects from now on, until :meth:`close`.

    :param number_of: which connection a wrapper has at the moment; ``None``: none.
    """

    def __init__(self, number_of: Callable[[Any], int | None]) -> None:
        self._number_of = number_of
        self._last: dict[int, str] = {}
        self._wrappers: weakref.WeakSet[Any] = weakref.WeakSet()
        connection_created.connect(self._watch)

    def of(self, connection: int) -> str:
        """Empty: there was none."""
        return self._last.get(connection, "")

    def forget_all_but(self, alive: Collection[int]) -> None:
        forget_all_but(alive, self._last)

    def close(self) -> None:
        connection_created.disconnect(self._watch)
        for wrapper in list(self._wrappers):
            with suppress(ValueError):
                wrapper.execute_wrappers.remove(self._executed)

    def _watch(self, connection: Any, **kwargs: Any) -> None:
        # First, as the one that Django takes out at the end of its own block is the last.
        if self._executed not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, self._executed)
            self._wrappers.add(connection)

    def _executed(
        self, execute: Callable[..., T], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> T:
        try:
            return execute(sql, params, many, context)
        finally:
            number = self._number_of(context["connection"])
            if number is not None:
                self._last[number] = str(sql)[:STATEMENT_SHOWN]
