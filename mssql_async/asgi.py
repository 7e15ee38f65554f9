"""Entry points of ASGI servers: each request and WebSocket is a context of its own.

``get_asgi_application()`` stands in for Django's function of that name;
:class:`ConnectionLifecycle` goes around any ASGI application.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import connections

from .atomicviews import AtomicViews
from .context import ContextKind, ContextScope, current_context, new_context
from .context.enclosing import around_a_request
from .context.trivial import is_trivial
from .pool.registry import close_pools

logger = logging.getLogger("mssql_async.context")

# As loose as ASGI's own: servers and applications type their messages differently.
Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_KINDS = {"http": ContextKind.REQUEST, "websocket": ContextKind.WEBSOCKET}

#: In a scope: somebody around has made a context for it.
_MARK = "mssql_async.has_a_context"


def _has_a_context(scope: Scope) -> bool:
    """Whether this is a part of a request, such as Django mounted in Starlette, or is done in a
    transaction block or on a connection of its own, such as that of a middleware."""
    context = current_context()
    return context is not None and not context.is_over and (_MARK in scope or context.is_tied)


class ConnectionLifecycle:
    """ASGI middleware: the connections of every ``http`` and ``websocket`` scope end with it.

    Goes around Django's application, Channels, Starlette with Django mounted, or any other. At
    the start of the server (``lifespan``) pools open their ``min_size``, at its end all are
    closed; where the application knows nothing of ``lifespan``, that is answered here. Called in
    a test that is a transaction (``TestCase``), or in a block of :func:`async_atomic`, it takes
    part in that; within another of its kind it leaves the request to that one.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    def __repr__(self) -> str:
        return f"<ConnectionLifecycle around {self.app!r}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = _KINDS.get(scope["type"])
        if kind is None:
            if scope["type"] == "lifespan":
                await self._lifespan(scope, receive, send)
            else:
                await self.app(scope, receive, send)
            return
        if _has_a_context(scope):
            await self.app(scope, receive, send)
            return
        # In place: whoever is around may look for what routers note in the same scope.
        scope[_MARK] = True
        around = await around_a_request()
        if around is not None:
            async with ContextScope(around.context):
                try:
                    await self.app(scope, receive, send)
                finally:
                    around.leave()
            return
        context = new_context(kind)
        routing = ContextScope(context)
        routing.enter()
        try:
            await self.app(scope, receive, send)
        finally:
            routing.exit()
            await context.end()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ours happens when the server asks for it, whatever the application does with it."""
        lifespan = _Lifespan(receive, send)
        try:
            await self.app(scope, lifespan.receive, lifespan.send)
        except Exception:
            if lifespan.answered:
                await lifespan.break_off()
                raise
            # Django's handler refuses everything but HTTP. The server may not care, but pools
            # that are to be warm should be.
        await lifespan.finish()


class _Lifespan:
    """The conversation between a server and an application about start and end."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.answered = False
        """Whether the application has spoken."""
        self._asked: list[str] = []
        """What the server has asked and nobody has answered."""
        self._over = False

    async def receive(self) -> Any:
        message = await self._receive()
        self._asked.append(message["type"])
        if message["type"] == "lifespan.startup":
            await warm_pools()
        return message

    async def send(self, message: Any) -> None:
        kind: str = message["type"]
        self.answered = True
        self._asked.clear()
        if kind == "lifespan.startup.failed" or kind.startswith("lifespan.shutdown"):
            self._over = True
            # Closing a connection says goodbye to the server: not in the loop's thread.
            await asyncio.to_thread(close_pools)
        await self._send(message)

    async def break_off(self) -> None:
        """The application has failed. If that was in its own end, ours comes all the same;
        before, the server may go on with requests."""
        if not self._over and "lifespan.shutdown" in self._asked:
            self._over = True
            await asyncio.to_thread(close_pools)

    async def finish(self) -> None:
        """Answer in the place of an application that does not."""
        while not self._over:
            if not self._asked:
                await self.receive()
            if self._asked:
                await self.send({"type": f"{self._asked[0]}.complete"})


async def warm_pools() -> None:
    """Open ``min_size`` connections for each database that has one set. A server that cannot be
    reached now is reported in the log; requests will say so again."""

    def warm() -> None:
        for alias, settings in connections.settings.items():
            pool = (settings.get("OPTIONS") or {}).get("pool") or {}
            if settings.get("ENGINE") == "mssql_async" and pool.get("min_size"):
                try:
                    wrapper: Any = connections[alias]
                    wrapper.warm_pool()
                except Exception:
                    logger.exception("The pool of the database %r cannot be warmed up.", alias)

    await sync_to_async(warm, thread_sensitive=False)()


class Handler(AtomicViews, ASGIHandler):
    """Django's handler, with transactions around asynchronous views where ``ATOMIC_REQUESTS``
    asks for them, and without hops to a thread that has nothing to do."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = current_context()
        if context is not None and context.inline is None:
            context.inline = is_trivial
        # A view that calls the application with a copy of its scope makes another request.
        scope.pop(_MARK, None)
        await super().handle(scope, receive, send)


def get_asgi_application() -> ConnectionLifecycle:
    """The project's ASGI application, as Django's function of that name gives it.

    ::

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
        application = mssql_async.asgi.get_asgi_application()
    """
    django.setup(set_prefix=False)
    return ConnectionLifecycle(Handler())


__all__ = ["ConnectionLifecycle", "Handler", "get_asgi_application", "warm_pools"]
