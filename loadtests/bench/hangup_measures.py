"""What happens when a client hangs up in the middle of a statement. The results are plain data."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection

from .counting import Counting
from .observer import Observer
from .requests_load import MILLISECONDS
from .requests_sites import Candidate, Place, Site

_LOOKS = 0.001
"""Seconds between two looks at the server."""
_PATIENCE = 30.0
"""Seconds for a statement to begin, for a view to be left after its end, and for an answer."""


class NothingHappened(RuntimeError):
    """The statement never ran, or never ended."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Medians of the rounds, in milliseconds after the client has hung up."""

    name: str
    statement: float
    """Milliseconds that the statement would run for altogether."""
    server: float
    """Until the server runs it no longer."""
    view: float
    """Until the view that awaits it goes on, with its ``CancelledError`` or otherwise."""
    messages: float | None
    """Of one request, all told; ``None``: nobody counts."""


def hang_ups(
    place: Place,
    candidates: Sequence[Candidate],
    seconds: float,
    rounds: int,
    counting: Counting,
    observer: Observer,
    patience: float = _PATIENCE,
) -> list[HangUp]:
    """One after the other, each ``rounds`` times. ``seconds``: of the statement. Nothing else
    may run WAITFOR on the server.

    :raises NothingHappened: a statement did not begin or end within ``patience`` seconds of
        when it should.
    """
    found = []
    for candidate in candidates:
        with place.serving(candidate) as site:
            server, view, messages = [], [], []
            for _ in range(rounds):
                _get(site, "/one-query/1")  # its connection, if it keeps one, has proved itself
                # The looks are messages too: one session's, counted away.
                looks = _Looks(observer, patience)
                counted, (at_server, in_view) = counting.of(
                    lambda site=site, looks=looks: _hang_up(site, seconds, looks)
                )
                server.append(at_server)
                view.append(in_view)
                if counted.messages is not None:
                    messages.append(counted.messages - looks.number)
            found.append(
                HangUp(
                    candidate.name,
                    seconds * MILLISECONDS,
                    statistics.median(server),
                    statistics.median(view),
                    statistics.median(messages) if messages else None,
                )
            )
    return found


class _Looks:
    """At how many statements wait; counts them."""

    def __init__(self, observer: Observer, patience: float) -> None:
        self._observer = observer
        self.patience = patience
        self.number = 0

    def until(self, waiting: int, deadline: float) -> float:
        """When it was so first; a reading of the machine's clock."""
        while time.monotonic() < deadline:
            self.number += 1
            if self._observer.waiting() == waiting:
                return time.monotonic()
            time.sleep(_LOOKS)
        raise NothingHappened(f"The server was to run {waiting} such statements, and never did.")


def _hang_up(site: Site, seconds: float, looks: _Looks) -> tuple[float, float]:
    """Milliseconds until the server is rid of the statement, and until the view goes on."""
    before = len(_ends(site))
    client = socket.create_connection(("127.0.0.1", site.port), timeout=_PATIENCE)
    with client:
        path = f"/long/{round(seconds * MILLISECONDS)}"
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        looks.until(1, time.monotonic() + looks.patience)
    hung_up = time.monotonic()
    deadline = hung_up + seconds + looks.patience
    gone = looks.until(0, deadline)
    while len(ends := _ends(site)) == before:
        if time.monotonic() > deadline:
            raise NothingHappened("The view was never left.")
        time.sleep(_LOOKS)
    return (gone - hung_up) * MILLISECONDS, (ends[before] - hung_up) * MILLISECONDS


def _ends(site: Site) -> list[float]:
    found: list[float] = json.loads(_get(site, "/how-long-ended"))["at"]
    return found


def _get(site: Site, path: str) -> bytes:
    client = HTTPConnection("127.0.0.1", site.port, timeout=_PATIENCE)
    try:
        client.request("GET", path)
        return client.getresponse().read()
    finally:
        client.close()
