"""The one model. It refers to itself, so that there is something to prefetch."""

from __future__ import annotations

from django.db import models

BULK = 100
"""Rows that one request adds."""


class Item(models.Model):
    name = models.CharField(max_length=50)
    amount = models.IntegerField()
    made_at = models.DateTimeField(auto_now_add=True)
    children: models.Manager[Item]
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")

    class Meta:
        db_table = "bench_item"

    def __str__(self) -> str:
        return self.name
