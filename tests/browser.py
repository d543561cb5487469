"""A real headless Chromium for a test, spoken to over the DevTools protocol:
https://chromedevtools.github.io/devtools-protocol/

    async with browser() as page:
        await page.open("http://127.0.0.1:8000/graphql")
        await page.type("#token", "…")
        await page.click("form button")
        await page.until("document.title === 'Patchbay'")
        assert page.complaints == [] and page.origins == {"http://127.0.0.1:8000"}
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets

from tests.harness import REQUIRED

Json = Any
START_SECONDS = 30.0
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1400,900",
)
CONTROL = 2
MODIFIERS = {"Control": CONTROL}
PLACE = """new Promise(drawn => requestAnimationFrame(() => {
  const element = document.querySelector(%s), box = element?.getBoundingClientRect();
  const place = box && [box.x + box.width / 2, box.y + box.height / 2];
  drawn(place && element.contains(document.elementFromPoint(...place)) ? place : null);
}))"""
KEYS = {"Enter": 13, "Tab": 9, "a": 65}


def chromium() -> str:
    """The path of Chromium. Without one the test is skipped, or fails where services are required."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    missing("Chromium is not installed")
    raise AssertionError


def missing(what: str) -> None:
    """Skip the test for want of something, or fail where everything is required."""
    if REQUIRED:
        pytest.fail(what)
    pytest.skip(what)


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """A page of a new browser with an empty profile."""
    program = chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            *root,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            address = await asyncio.wait_for(_address(Path(profile) / "DevToolsActivePort"), START_SECONDS)
            async with websockets.connect(address, max_size=None) as connection, _attached(connection) as page:
                yield page
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _address(file: Path) -> str:
    """Where the browser listens, once it has written that down."""
    while True:
        with contextlib.suppress(FileNotFoundError, ValueError):
            port, path = _lines(file)
            return f"ws://127.0.0.1:{port}{path}"
        await asyncio.sleep(0.02)


def _lines(file: Path) -> list[str]:
    return file.read_text().split()


@contextlib.asynccontextmanager
async def _attached(connection: websockets.ClientConnection) -> AsyncIterator[Page]:
    page = Page(connection)
    reader = asyncio.create_task(page.read())
    try:
        await page.attach()
        yield page
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


class Page:
    """One tab. `complaints` is all it wrote to the console as a warning or worse, `requests` every URL it asked for."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._connection = connection
        self._session: str | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}

    @property
    def origins(self) -> set[str]:
        """Where the page asked, in http and websockets; what it carries itself (data:, blob:) is no request."""
        split = [urlsplit(url) for url in self.requests]
        return {f"{url.scheme}://{url.netloc}" for url in split if url.scheme not in ("data", "blob")}

    async def attach(self) -> None:
        targets = (await self.call("Target.getTargets"))["targetInfos"]
        target = next(info["targetId"] for info in targets if info["type"] == "page")
        self._session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def open(self, url: str) -> None:
        """Go there and wait until it is loaded."""
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    async def evaluate(self, script: str) -> Json:
        """The value of an expression, or of the promise it gives."""
        done = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def until(self, condition: str, seconds: float = 15) -> None:
        """Wait until the expression is true."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if await self.evaluate(f"Boolean({condition})"):
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {condition}\n{shown}\n{self.complaints}") from None

    async def text(self, selector: str) -> str:
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def click(self, selector: str, times: int = 1) -> None:
        """Press the mouse where the element is, once it has come to rest there; three times selects its line."""
        x, y = await self._place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=times)

    async def _place(self, selector: str) -> list[float]:
        """The middle of an element that was drawn there twice and that nothing covers."""
        name, before = json.dumps(selector), None
        await self.until(f"document.querySelector({name})?.getBoundingClientRect().width > 0")
        async with asyncio.timeout(START_SECONDS):
            while True:
                place = await self.evaluate(PLACE % name)
                if place is not None and place == before:
                    return [float(side) for side in place]
                before = place

    async def type(self, selector: str, text: str) -> None:
        """Insert the text, as pasting does, in place of what is in the line."""
        await self.click(selector, 3)
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, *held: str) -> None:
        """Press a key while others are held."""
        event = {"key": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": sum(MODIFIERS[name] for name in held)}
        text = {"text": "\r"} if key == "Enter" and not held else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    async def prefer(self, scheme: str) -> None:
        """Be a browser in `light` or `dark`."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def picture(self) -> bytes:
        """What is seen, as a PNG file."""
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])

    async def call(self, method: str, **parameters: Json) -> Json:
        """Ask the browser for something and wait for the answer."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters, **session}))
        return await asyncio.wait_for(self._answers[number], START_SECONDS)

    async def read(self) -> None:
        async for text in self._connection:
            message = json.loads(text)
            if answer := self._answers.pop(message.get("id"), None):
                error = message.get("error")
                answer.set_exception(AssertionError(error)) if error else answer.set_result(message["result"])
            else:
                self._notice(message["method"], message.get("params", {}))

    def _notice(self, event: str, said: Json) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(said["url"])
            case "Log.entryAdded" if said["entry"]["level"] in ("warning", "error"):
                self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}".strip())
            case "Runtime.consoleAPICalled" if said["type"] in ("warning", "error", "assert"):
                self.complaints.append(" ".join(str(item.get("value", item.get("description"))) for item in said["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(said["exceptionDetails"]))
