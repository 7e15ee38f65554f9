"""Which of Django's test modules are run when none are named."""

from __future__ import annotations

ENTRY_POINT = "@mssql_async.asgi"
"""After a module's name: its ASGI application comes from :mod:`mssql_async.asgi`."""

CORE = (
    "async",
    "asgi",
    "asgi" + ENTRY_POINT,
    "handlers",
    "signals",
    "transactions",
    "transaction_hooks",
)
"""What contexts, workers and transactions have to leave as it is. Below a minute."""

ALL = (
    *CORE,
    "aggregation",
    "aggregation_regress",
    "annotations",
    "auth_tests",
    "backends",
    "basic",
    "bulk_create",
    "constraints",
    "datetimes",
    "db_functions",
    "delete",
    "expressions",
    "expressions_window",
    "get_or_create",
    "indexes",
    "inspectdb",
    "introspection",
    "lookup",
    "many_to_many",
    "many_to_one",
    "migrations",
    "model_fields",
    "one_to_one",
    "ordering",
    "prefetch_related",
    "queries",
    "schema",
    "select_for_update",
    "select_related",
    "sessions_tests",
    "test_utils",
    "timezones",
    "update",
)


def labels(named: list[str], *, core: bool) -> list[str]:
    """What to run: what was named, or a list of ours. Each once, in that order."""
    return list(dict.fromkeys(named or (CORE if core else ALL)))
