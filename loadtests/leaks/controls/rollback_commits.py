"""A lease whose rollback is a commit.

Setting autocommit ends the transaction in the one way that was not meant.
"""

from __future__ import annotations

from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session import lease

from . import Control

CONTROL = Control(Detector.TRANSACTION_BLEED, ["exceptions"], contexts=60)


def install() -> None:
    def commit(raw: Any) -> None:
        raw.autocommit = True

    lease._roll_back = commit  # noqa: SLF001
