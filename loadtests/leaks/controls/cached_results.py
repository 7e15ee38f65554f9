"""A cache of results whose key is the text of the statement, without its parameters.

Whoever asks the same of something else gets what the first one got.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.cursor import LeasedCursor
from mssql_async.session.results import NoResult, ResultSet

from . import Control

CONTROL = Control(Detector.RESULT_MIX_UP, ["gather_in_a_view"], contexts=30)


def install() -> None:
    execute = LeasedCursor.execute
    cache: dict[str, tuple[Any, list[Any]]] = {}

    def execute_once(self: LeasedCursor, sql: str, *params: Any) -> LeasedCursor:
        if not sql.startswith("SELECT"):
            return execute(self, sql, *params)
        if sql not in cache:
            execute(self, sql, *params)
            cache[sql] = self.description, self.fetchall()
        description, rows = cache[sql]
        result = NoResult()
        result.shown = ResultSet(description)
        result.shown.rows = deque(rows)
        self._result = result
        return self

    LeasedCursor.execute = execute_once  # type: ignore[method-assign]
