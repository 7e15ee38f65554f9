"""``python -m loadtests.bench.project``: the project under Uvicorn; with ``wsgi THREADS`` under
gunicorn. ``prepare`` instead makes the table, anew if there is one.
"""

from __future__ import annotations

import sys

import django

from ..serving import serve_asgi, serve_wsgi
from . import ROWS

CHILDREN = 20
"""Rows that have a parent: two each of the first ten."""


def prepare() -> None:
    django.setup()
    from django.db import connection

    from .models import Item

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_item")
    with connection.schema_editor() as editor:
        editor.create_model(Item)
    Item.objects.bulk_create(Item(name=f"item {n}", amount=n) for n in range(1, ROWS + 1))
    for pk in range(1, CHILDREN // 2 + 1):
        Item.objects.filter(pk__in=(ROWS - 2 * pk, ROWS - 2 * pk + 1)).update(parent=pk)


def main(arguments: list[str]) -> None:
    if arguments == ["prepare"]:
        prepare()
    elif arguments[:1] == ["wsgi"]:
        serve_wsgi(f"{__package__}.wsgi:application", int(arguments[1]))
    else:
        from .asgi import application

        serve_asgi(application)


if __name__ == "__main__":
    main(sys.argv[1:])
