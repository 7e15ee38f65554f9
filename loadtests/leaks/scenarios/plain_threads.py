"""Threads that a view starts and does not wait for use the database, and die.

Some die in the middle of something. A backend that keeps a connection for each thread loses track
of it with the thread: its session stays at the server, with its transaction.
"""

from __future__ import annotations

import threading

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Kind

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class PlainThreads(Scenario):
    share = 0.5

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        child = story.child(Kind.THREAD, f"leaves {request.GET['leaves']}")
        thread = threading.Thread(target=work, args=(child, request.GET["leaves"]), daemon=True)
        thread.start()
        if "join" in request.GET:
            thread.join()
        return HttpResponse("started")

    async def visit(self, visit: Visit) -> Reply | None:
        leaves = visit.rand.choice(["nothing", "a table", "a transaction"])
        waits = {"join": "yes"} if visit.rand.random() < 0.5 else {}
        return await visit.get(leaves=leaves, **waits)


def work(story: Story, leaves: str) -> None:
    with story:
        story.probe()
        story.write()
        if leaves == "a table":
            story.table()
        elif leaves == "a transaction":
            transaction.set_autocommit(False, using=story.alias)
            story.begun()
            story.probe()
        story.look()
