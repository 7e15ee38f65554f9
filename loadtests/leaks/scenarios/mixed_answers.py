"""Rows, messages and errors, in any order and from many requests at once: to each its own.

Every answer repeats what was asked. A backend that lets two statements onto a session at a time, or
leaves an unread answer on it, would deliver the row, the ``PRINT`` or the error of another request.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class MixedAnswers(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        ask_all(story, request.GET["order"])
        return HttpResponse("answered")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await sync_to_async(ask_all)(story, request.GET["order"])
        return HttpResponse("answered")

    async def view_awaited(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        for number, letter in enumerate(request.GET["order"]):
            word = f"{story.token}/{number}"
            if letter == "r":
                await story.aask("SELECT %s", [word], word)
            elif letter == "m":
                await story.amessage()
            else:
                await story.aerror()
        return HttpResponse("answered")

    async def visit(self, visit: Visit) -> Reply | None:
        order = "".join(visit.rand.choices("rme", k=5))
        return await visit.get(visit.rand.choice(["", "async", "awaited"]), order=order)


def ask_all(story: Story, order: str) -> None:
    for number, letter in enumerate(order):
        word = f"{story.token}/{number}"
        if letter == "r":
            story.ask("SELECT %s", [word], word)
        elif letter == "m":
            story.message()
        else:
            story.error()
