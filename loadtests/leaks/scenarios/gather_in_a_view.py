"""A view asks several things at once with ``asyncio.gather``, and each gets its own answer.

The calls of one request take turns on its session; those of other requests do not get in between.
A backend that hands its connection to whichever thread comes next would run two statements on it
at a time, or deliver the answer of one to the other.
"""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Scenario
from ..story import Story


class GatherInAView(Scenario):
    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        words = [f"{story.token}-{number}" for number in range(3)]
        await asyncio.gather(
            story.aprobe(),
            *(story.aask("SELECT %s", [word], word) for word in words),
            story.aprobe(),
        )
        return HttpResponse("both sides")
