"""A real Chromium, driven through its DevTools protocol over a pair of pipes.

As much of a client as the tests of the report need; no port is opened and no driver installed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
#: The browser reads its commands from descriptor 3 and writes answers to 4.
_LAUNCHER = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
#: Seconds that anything may take; only a broken browser takes them.
_PATIENCE = 60.0


def find_chromium() -> str | None:
    """What the variable CHROMIUM names, else a Chromium or Chrome on the PATH."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((found for found in map(shutil.which, names) if found), None)


class Page:
    """A tab. ``problems`` has what was written to its console, thrown, or refused; ``requests``
    the addresses it asked for, ``refused`` why it was not allowed to."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", {"url": "about:blank"})
        self._target: str = target["targetId"]
        attached = browser.call(
            "Target.attachToTarget", {"targetId": self._target, "flatten": True}
        )
        self._session: str = attached["sessionId"]
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.refused: list[str] = []
        self._loaded = False
        browser.listeners[self._session] = self._heard
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._browser.call(method, parameters, self._session)

    def show(self, width: int, height: int, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            {
                "features": [
                    {"name": "prefers-color-scheme", "value": scheme},
                    {"name": "prefers-reduced-motion", "value": "reduce"},
                ]
            },
        )

    def open(self, path: Path, *, script: bool = True) -> None:
        self.call("Emulation.setScriptExecutionDisabled", {"value": not script})
        self._loaded = False
        self.call("Page.navigate", {"url": path.resolve().as_uri()})
        self._browser.read_until(lambda: self._loaded)
        if script:
            self.rest()

    def run(self, expression: str) -> Any:
        """Evaluates JavaScript, promises included. Raises ``AssertionError`` if it throws."""
        answer = self.call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def rest(self) -> None:
        """Until everything that waits for the next frame has been drawn."""
        frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.run(f"{frames}.then(() => {frames}).then(() => true)")

    def count(self, selector: str) -> int:
        return int(self.run(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def texts(self, selector: str) -> list[str]:
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return list(self.run(f"{found}.map(each => each.innerText ?? each.textContent)"))

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the first that matches."""
        x, y = self.middle_of(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)
        self.rest()

    def middle_of(self, selector: str) -> tuple[float, float]:
        box = self.run(
            f"""(() => {{
                const node = document.querySelector({json.dumps(selector)});
                node.scrollIntoView({{block: "center", inline: "nearest"}});
                const box = node.getBoundingClientRect();
                return [box.left + box.width / 2, box.top + box.height / 2];
            }})()"""
        )
        return box[0], box[1]

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        held = {} if kind in {"mouseMoved", "mouseWheel"} else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **held, **more})

    def press(self, key: str, *, code: int = 0, text: str = "") -> None:
        common = {"key": key, "windowsVirtualKeyCode": code}
        self.call(
            "Input.dispatchKeyEvent",
            {"type": "keyDown" if text else "rawKeyDown", "text": text, **common},
        )
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **common})
        self.rest()

    def write(self, text: str) -> None:
        """Into whatever has the focus."""
        self.call("Input.insertText", {"text": text})
        self.rest()

    def picture(self, path: Path, *, whole: bool = False) -> None:
        answer = self.call(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole}
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        self._browser.listeners.pop(self._session, None)
        self._browser.call("Target.closeTarget", {"targetId": self._target})

    def _heard(self, method: str, said: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])
            case "Network.loadingFailed":
                self.refused.append(said.get("blockedReason", ""))
            case "Runtime.consoleAPICalled":
                self.problems.append(f"console: {said['args']}")
            case "Runtime.exceptionThrown":
                self.problems.append(f"thrown: {said['exceptionDetails']}")
            case "Log.entryAdded":
                self.problems.append(f"log: {said['entry']['text']}")


class Browser:
    """Speaks to one process; see :func:`chromium`."""

    def __init__(self, writes: int, reads: int) -> None:
        self._writes, self._reads = writes, reads
        self._number = 0
        self._rest = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self.listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    def call(
        self, method: str, parameters: dict[str, Any] | None = None, session: str = ""
    ) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._writes, data) :]
        self.read_until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def read_until(self, is_there: Callable[[], bool]) -> None:
        ends = time.monotonic() + _PATIENCE
        while not is_there():
            ready, _, _ = select.select([self._reads], [], [], max(0.0, ends - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._reads, 1 << 20)
            assert data, "the browser has ended"
            *whole, self._rest = (self._rest + data).split(b"\0")
            for each in whole:
                self._take(json.loads(each))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        else:
            listener = self.listeners.get(message.get("sessionId", ""))
            if listener is not None:
                listener(message["method"], message["params"])


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    """Start one with an empty profile, and end it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        its_input, our_output = os.pipe()
        our_input, its_output = os.pipe()
        process = subprocess.Popen(
            [
                sys.executable, "-c", _LAUNCHER, str(its_input), str(its_output),
                executable, *_FLAGS, f"--user-data-dir={profile}",
            ],
            pass_fds=(its_input, its_output),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(its_input)
        os.close(its_output)
        try:
            yield Browser(our_output, our_input)
        finally:
            os.close(our_output)  # the browser ends by itself when nobody can command it
            os.close(our_input)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
