"""The one table."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    """Written by a context, which says beforehand what will become of it."""

    token: models.Field[int, int] = models.BigIntegerField()
    row: models.Field[str, str] = models.CharField(max_length=60)
    """Unique in the run."""
    fate: models.Field[str, str] = models.CharField(max_length=12, db_index=True)
    """As in :class:`mssql_async.contrib.leaks.record.Fate`. Nobody else may ever see one of a
    row that is not committed."""

    class Meta:
        db_table = "leaks_note"

    def __str__(self) -> str:
        return self.row
