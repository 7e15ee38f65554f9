"""A small shop with every kind of column that Django's fields make."""

from __future__ import annotations

import uuid

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=100, unique=True)
    email = models.EmailField(null=True)
    born = models.DateField(null=True)

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    title = models.CharField(max_length=200, db_index=True)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    tags = models.ManyToManyField(Tag, related_name="books")
    price = models.DecimalField(max_digits=8, decimal_places=2)
    pages = models.PositiveIntegerField(default=0)
    created = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["title", "author"], name="one_title_an_author"),
            models.CheckConstraint(condition=models.Q(price__gte=0), name="price_not_negative"),
        ]

    def __str__(self) -> str:
        return self.title


class Everything(models.Model):
    """One column for each field class, all nullable."""

    big = models.BigIntegerField(null=True)
    binary = models.BinaryField(null=True)
    short_binary = models.BinaryField(max_length=16, null=True)
    boolean = models.BooleanField(null=True)
    char = models.CharField(max_length=40, null=True)
    date = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    amount = models.DecimalField(max_digits=38, decimal_places=10, null=True)
    duration = models.DurationField(null=True)
    ratio = models.FloatField(null=True)
    integer = models.IntegerField(null=True)
    address = models.GenericIPAddressField(null=True)
    data = models.JSONField(null=True)
    small = models.SmallIntegerField(null=True)
    slug = models.SlugField(null=True)
    text = models.TextField(null=True)
    time = models.TimeField(null=True)
    key = models.UUIDField(null=True, default=uuid.uuid4)
    url = models.URLField(null=True)
