"""``python -m loadtests.bench.project``: the project under Uvicorn, on a free port.

The port is printed first. ``prepare`` instead makes the table, anew if there is one.
"""

from __future__ import annotations

import socket
import sys

import django
import uvicorn

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


def serve() -> None:
    from .asgi import application

    # With its protocol named, or asyncio would leave Nagle's algorithm on.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(2048)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(application, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1:] == ["prepare"]:
        prepare()
    else:
        serve()
