"""Start the demo by a command, ask every address, press Ctrl-C, look what is left.

    python scripts/visit_demo.py make demo ARGS='--port 0'

Needs nothing but Python. The exit status is 0 when everything was as it should be.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.demo.harness import Demo, DidNotStart

SECONDS_TO_START = 600
SECONDS_TO_ANSWER = 30

ADDRESSES = {
    "/": "text/html",
    "/accounts/": "application/json",
    "/sync/accounts/": "application/json",
    "/report/": "application/json",
    "/sync/report/": "application/json",
    "/feed/?after=0&limit=3": "text/event-stream",
    "/pool/": "application/json",
    "/health/": "application/json",
    "/admin/login/": "text/html",
    "/static/admin/css/base.css": "text/css",
}


class Disappointed(Exception):
    """The demo did something else than expected."""


def main() -> int:
    """Visit the demo that the arguments start."""
    try:
        with Demo(sys.argv[1:], patience=SECONDS_TO_START) as demo:
            try:
                visit(demo)
                leave(demo)
            finally:
                for line in demo.errors:
                    say(f"  demo: {line}")
    except (Disappointed, DidNotStart, OSError, http.client.HTTPException) as problem:
        say(f"FAILED: {problem}")
        return 1
    return 0


def visit(demo: Demo) -> None:
    """Ask every address once, and move money to and fro by both kinds of view."""
    say(f"  started at {demo.address}")
    for address, kind in ADDRESSES.items():
        ask(demo, address, kind)
    before = report(demo)
    first, *others = json.loads(ask(demo, "/accounts/", "application/json"))["accounts"]
    for twin in ("", "/sync"):
        ask(demo, f"{twin}/accounts/{first['id']}/", "application/json")
    second = next(other for other in others if other["currency"] == first["currency"])
    for address in ("/transfers/", "/sync/transfers/"):
        order = {"from_account": first["id"], "to_account": second["id"], "amount": "0.01"}
        ask(demo, address, "application/json", order)
    after = report(demo)
    if after["balance"] != before["balance"] or after["transfers"] != before["transfers"] + 2:
        raise Disappointed(f"the books were {before} and are {after}")
    say(f"  the money is all there: {Decimal(after['balance']):,.2f}")


def leave(demo: Demo) -> None:
    """Stop the demo with a stream open: it ends well, and nothing stays behind."""
    connection = connect(demo)
    connection.request("GET", "/feed/")
    connection.getresponse().readline()
    start = time.monotonic()
    status = demo.stop(signal.SIGINT)
    connection.close()
    left = demo.processes()
    if status != 0 or left:
        raise Disappointed(f"after Ctrl-C the exit status is {status}, processes left: {left}")
    say(f"  ended {time.monotonic() - start:.1f} s after Ctrl-C, nothing left")


def report(demo: Demo) -> dict[str, str]:
    books = json.loads(ask(demo, "/report/", "application/json"))["conservation"]
    if books["conserved"] is not True:
        raise Disappointed(f"money is missing: {books}")
    return books


def connect(demo: Demo) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(demo.address).netloc, timeout=SECONDS_TO_ANSWER)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def ask(demo: Demo, address: str, kind: str, order: dict[str, object] | None = None) -> bytes:
    """One request; the body of a good answer."""
    connection = connect(demo)
    start = time.monotonic()
    if order is None:
        connection.request("GET", address)
    else:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", address, json.dumps(order), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    status, found = response.status, response.headers.get_content_type()
    say(f"  {status} {address} ({(time.monotonic() - start) * 1000:.0f} ms)")
    if status not in (200, 201) or found != kind or not body:
        raise Disappointed(f"{address} answered {status}, {found}, {len(body)} bytes")
    return body


if __name__ == "__main__":
    sys.exit(main())
