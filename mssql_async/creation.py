"""Test databases: their pooled connections are closed before they are dropped."""

from __future__ import annotations

from mssql.creation import DatabaseCreation as MssqlDatabaseCreation

from .pool.registry import close_pools


class DatabaseCreation(MssqlDatabaseCreation):  # type: ignore[misc]
    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        # Idle connections of the pool would keep the database in use; on Azure, where
        # mssql-django cannot set SINGLE_USER, the DROP would fail.
        close_pools(lambda parameters: parameters.database == test_database_name)
        super()._destroy_test_db(test_database_name, verbosity)
