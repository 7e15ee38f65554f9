"""Requests run event loops of their own, in threads, beside the server's.

All of them use the same pool. A backend that ties a connection, a lock or a waiter to one loop
would leave it there when that loop ends, or wake nobody.
"""

from __future__ import annotations

import asyncio
import threading

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate, Kind

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class SeveralLoops(Scenario):
    share = 0.5

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        """Two threads, each with a loop, beside the server's own."""
        threads = [threading.Thread(target=in_a_loop, args=(story, number)) for number in range(2)]
        for thread in threads:
            thread.start()
        story.probe()
        for thread in threads:
            thread.join()
        return HttpResponse("all loops are over")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await asyncio.gather(story.aprobe(), asyncio.to_thread(in_a_loop, story, 0))
        return HttpResponse("both loops are over")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async"]))


def in_a_loop(story: Story, number: int) -> None:
    with story.child(Kind.THREAD, f"loop {number}") as child:
        asyncio.run(work(child))


async def work(story: Story) -> None:
    await asyncio.gather(story.aprobe(), story.alook())
    await sync_to_async(undo)(story)


def undo(story: Story) -> None:
    try:
        with story.transaction():
            story.write(Fate.ROLLED_BACK)
            raise Refused
    except Refused:
        pass
