"""How a statement may end other than well, and which errors end more than a statement.

Source: SQL Server documentation, "SET XACT_ABORT", "TRY...CATCH (Transact-SQL)", "THROW";
which errors end the batch is written down in E. Sommarskog, "Error and Transaction
Handling in SQL Server", part two: conversions of text end the batch and its transaction.
"""

from __future__ import annotations

import enum

from ..errors import SqlError
from .frames import Frame

ENDS_BATCH = frozenset({241, 245, 248, 8114, 8169})
"""Conversions that end the batch and roll back its transaction (or doom it in a TRY)."""

ROLLS_BACK = frozenset({1205, 3960, 3998})
"""Errors after which the transaction is gone in any case."""

NOT_TERMINATED = frozenset({3902, 3903, 6401, 628, 50000})

TERMINATES = frozenset({515, 547, 2601, 2627, 220, 232, 242, 517, 2628, 8115, 8134, 8152})
"""Errors after which DML also says 3621, "The statement has been terminated."."""

LOWEST_CAUGHT = 11
"""TRY catches severities above 10, and below 20."""

SYNTAX_ERROR = 15
"""The severity of errors that XACT_ABORT does not heed: "compile errors, such as syntax
errors, aren't affected"."""

ENDS_CONNECTION = 20
"""The lowest severity after which the wire hangs up. Only faults raise such errors."""


class Loop(enum.Enum):
    BREAK = "break"
    CONTINUE = "continue"


class LoopExit(Exception):
    """BREAK or CONTINUE on its way to the WHILE."""

    def __init__(self, kind: Loop) -> None:
        super().__init__(kind)
        self.kind = kind


class ScopeEnded(Exception):
    """RETURN, or an error that ends its batch or procedure but not the caller."""


class BatchAborted(Exception):
    """Nothing of the batch runs any more, in whatever scope."""


class Caught(Exception):
    """An error on its way to the CATCH block. ``not_by`` is the frame whose own TRY
    cannot catch it: names that do not resolve end the scope they are in."""

    def __init__(self, problem: SqlError, not_by: Frame | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.not_by = not_by


class CompilationFailed(Exception):
    """A statement that could not be compiled (208, 207 …)."""

    def __init__(self, problem: SqlError) -> None:
        super().__init__(problem)
        self.problem = problem


class Raised(SqlError):
    """What RAISERROR raised: XACT_ABORT does not heed it."""


class Thrown(SqlError):
    """What THROW raised: it ends the batch."""


class SeveralErrors(SqlError):
    """An error followed by others: 5074 and then 4922, 1505 and then 1750."""

    def __init__(self, *problems: SqlError) -> None:
        first = problems[0]
        super().__init__(first.number, first.text, first.severity, first.state, first.line)
        self.others = problems[1:]
