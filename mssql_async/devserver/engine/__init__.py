"""Runs T-SQL: databases, catalog, sessions, transactions, locks and system views."""
