"""``python -m loadtests.bench.waiting.inmemory``: the application and those who call it, in one
process without sockets but those to the database; see :mod:`loadtests.bench.scale_contexts`."""

from __future__ import annotations

import asyncio

from ..scale_contexts import Contexts, InMemory, follow_orders


def main() -> None:
    from ..project.asgi import application

    asyncio.run(follow_orders(Contexts(InMemory(application))))


if __name__ == "__main__":
    main()
