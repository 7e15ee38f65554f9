"""A small Django project, served by every backend that is compared."""

ROWS = 1000
"""Rows that every run begins with; their primary keys are 1 to 1000."""
