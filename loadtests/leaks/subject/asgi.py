"""The ASGI application: the engine's own entry point, inside of what tells the stories.

A request or WebSocket is a context of the harness if it brings a token (:data:`HEADER`). What it
was told and has seen is at :data:`COLLECT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

from mssql_async.contrib.leaks.record import Kind, to_plain

from ..adapters import adapter_for
from ..catalogue import catalogue
from ..place import ASKED, CURRENT, Asked, place_of
from ..recorder import RECORDER, Recorder
from ..scenario import Scenario
from ..story import Story, outcome_of
from .config import SubjectConfig, configure, install_control

HEADER = b"x-leaks-token"
COLLECT = "/__leaks__/collect"
PATIENCE = 5.0
"""Seconds that a process has to come to rest, unless ``?patience=`` says otherwise."""

_DONE, _FAILED = 1000, 4011
"""How an application closes a WebSocket: Daphne leaves the 1011 that would say it to itself."""

# As loose as ASGI's own.
Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_application(config: SubjectConfig, recorder: Recorder = RECORDER) -> Application:
    """Sets Django up, unless it is, and looks at a new session of each alias before anything
    else uses one.

    :raises django.db.Error: the database cannot be reached.
    """
    configure(config)
    recorder.adapter = adapter_for(ours=config.is_ours)
    thread = _Measuring(config, recorder)
    thread.start()
    thread.join()
    if thread.error is not None:
        raise thread.error
    install_control(config)
    websockets: Application = _serve_websocket
    if config.is_ours:
        from mssql_async.asgi import ConnectionLifecycle, get_asgi_application

        engine: Application = get_asgi_application()
        websockets = ConnectionLifecycle(_serve_websocket)
    else:
        from django.core.asgi import get_asgi_application as djangos

        engine = djangos()
    return Stories(engine, websockets, catalogue(), recorder)


class _Measuring(threading.Thread):
    """In a thread of its own, because who makes the application may be an event loop."""

    def __init__(self, config: SubjectConfig, recorder: Recorder) -> None:
        super().__init__(name="leaks-baseline")
        self._config = config
        self._recorder = recorder
        self.error: Exception | None = None

    def run(self) -> None:
        from .prepare import baselines

        try:
            self._recorder.baseline = baselines(self._config)
        except Exception as error:
            self.error = error


class Stories:
    """ASGI middleware around the engine: a context begins before the engine hears of it and ends
    after the engine is done with it."""

    def __init__(
        self,
        engine: Application,
        websockets: Application,
        scenarios: dict[str, Scenario],
        recorder: Recorder,
    ) -> None:
        self._engines = {"http": engine, "websocket": websockets}
        self._other = engine
        self._scenarios = scenarios
        self._recorder = recorder
        self._collecting = ThreadPoolExecutor(1, thread_name_prefix="leaks-collect")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        engine = self._engines.get(scope["type"])
        if engine is None:
            await self._other(scope, receive, send)
            return
        if scope["path"] == COLLECT:
            await self._collect(scope, send)
            return
        name, _, part = scope["path"].strip("/").partition("/")
        scenario, token = self._scenarios.get(name), _token_of(scope)
        if scenario is None or token is None:
            await self._other(scope, receive, send)
            return
        await self._tell(engine, scenario, token, part, scope, receive, send)

    async def _tell(
        self,
        engine: Application,
        scenario: Scenario,
        token: int,
        part: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        from .urls import STORY

        kind = Kind.REQUEST if scope["type"] == "http" else Kind.WEBSOCKET
        task = asyncio.current_task()
        story = Story(
            token,
            scenario.name,
            kind,
            alias=scenario.alias,
            task="" if task is None else task.get_name(),
            recorder=self._recorder,
        )
        reset = CURRENT.set(token)
        asked = ASKED.set(Asked(_place_of(scenario, kind, part)))
        outcome = "ok"
        try:
            scope = {**scope, STORY: story, _SCENARIO: (scenario, part)}
            await engine(scope, receive, send)
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            ASKED.reset(asked)
            CURRENT.reset(reset)
            story.end(outcome)

    async def _collect(self, scope: Scope, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode())
        patience = float(query.get("patience", [str(PATIENCE)])[0])

        def collect() -> bytes:
            return json.dumps(to_plain(self._recorder.collect(patience))).encode()

        body = await asyncio.get_running_loop().run_in_executor(self._collecting, collect)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_SCENARIO = "leaks.scenario"


def _token_of(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == HEADER:
            return int(value)
    return None


def _place_of(scenario: Scenario, kind: Kind, part: str) -> str:
    """Of the view, or of what serves the WebSocket."""
    name = "view" if kind is Kind.REQUEST else "websocket"
    serve = getattr(scenario, "_".join(filter(None, (name, part.strip("/")))), None)
    return "" if serve is None else place_of(serve)


async def _serve_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Of a scenario: ``websocket`` or ``websocket_<part>``, with text in and out."""
    from .urls import STORY

    story: Story = scope[STORY]
    scenario, part = scope[_SCENARIO]
    serve = getattr(scenario, f"websocket_{part}" if part else "websocket", None)
    await receive()  # websocket.connect
    if serve is None:
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    is_open = True

    async def hear() -> str | None:
        nonlocal is_open
        message = await receive()
        if message["type"] == "websocket.disconnect":
            is_open = False
            return None
        text = message.get("text")
        return str(text if text is not None else message["bytes"].decode())

    async def say(text: str) -> None:
        await send({"type": "websocket.send", "text": text})

    code = _DONE
    try:
        await serve(story, hear, say)
    except Exception as error:
        story.failed(error)
        code = _FAILED
    if is_open:
        with contextlib.suppress(OSError):  # the client was gone before
            await send({"type": "websocket.close", "code": code})


def __getattr__(name: str) -> Any:
    """``application``, of the environment, for a server that is told where to find it."""
    if name != "application":
        raise AttributeError(name)
    return globals().setdefault(name, make_application(SubjectConfig.from_environment()))
