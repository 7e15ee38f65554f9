"""A task goes on after the response of the request that started it, and leaves nothing behind.

Some tasks leave a temporary table, some a transaction that nobody ends. A backend that ends
connections with requests only would never clean up after them, or would pull the connection away
from under a task that is using it.
"""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Kind

from ..scenario import Reply, Scenario, Visit
from ..story import Story

_started: set[asyncio.Task[None]] = set()
"""The loop itself keeps no task alive."""


class OutlivingTasks(Scenario):
    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        await story.awrite()
        leaves = request.GET["leaves"]
        child = story.child(Kind.TASK, f"leaves {leaves}")
        task = asyncio.create_task(go_on(child, leaves, float(request.GET["pause"])))
        _started.add(task)
        task.add_done_callback(_started.discard)
        return HttpResponse("started")

    async def visit(self, visit: Visit) -> Reply | None:
        leaves = visit.rand.choice(["nothing", "nothing", "a table", "a transaction"])
        return await visit.get(leaves=leaves, pause=visit.rand.choice([0, 0.002, 0.02]))


async def go_on(story: Story, leaves: str, pause: float) -> None:
    """Most of it after the response, whatever the pause is."""
    with story:
        await asyncio.sleep(pause)
        await story.aprobe()
        if leaves == "a table":
            await story.atable()
            await story.aprobe()
        elif leaves == "a transaction":
            await sync_to_async(begin_and_forget)(story)
        else:
            await story.awrite()
        await story.alook()


def begin_and_forget(story: Story) -> None:
    """Nothing is written: on a backend that keeps it open, no other scenario has to wait."""
    transaction.set_autocommit(False, using=story.alias)
    story.begun()
    story.probe()
