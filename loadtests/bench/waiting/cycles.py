"""``python -m loadtests.bench.waiting.cycles``: one query after the other on one thread, each
between Django's signals of a request's start and end, as a thread of a WSGI server does it.

Reads orders, ``{"cycles": 3, "pause": 0.6}``, one a line, and answers each with the list of
milliseconds that the cycles took. ``pause``: seconds without anything before each.
"""

from __future__ import annotations

import json
import sys
import time

import django


def main() -> None:
    django.setup()
    from django.core.signals import request_finished, request_started

    from ..project.models import Item

    def cycle(pause: float) -> float:
        time.sleep(pause)
        start = time.perf_counter()
        request_started.send(sender=None)
        Item.objects.get(pk=1)
        request_finished.send(sender=None)
        return (time.perf_counter() - start) * 1000

    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps([cycle(order["pause"]) for _ in range(order["cycles"])]), flush=True)


if __name__ == "__main__":
    main()
