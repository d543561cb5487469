"""Subscriptions over HTTP, for clients that open no websocket: an answer for each event, until either side ends it.

Two ways to write them, by the client's Accept header: server-sent events, each operation on a connection of its own
(https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md), and Apollo's multipart bodies
(https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Protocol

import orjson
from starlette.types import Receive, Send

from gateway.negotiation import EVENT_STREAM, MULTIPART
from gateway.refusals import RefusalError
from gateway.replies import beginning
from resolvers.problems import RequestErrorCode
from resolvers.viewer import Viewer
from schema.answers import Answer, present_exception

EXPIRED = (RequestErrorCode.UNAUTHENTICATED, "The credentials have expired.")
RESTARTING = (RequestErrorCode.UNAVAILABLE, "The server is restarting.")

_EVENTS_PER_TURN = 16
_FAREWELL_SECONDS = 2.0
_GOODBYE_SECONDS = 5.0


class Framing(Protocol):
    """How answers are written one after the other. Nothing else may end a stream than `complete` or `cut`."""

    content_type: str
    opening: bytes
    heartbeat: bytes
    complete: bytes

    def answer(self, text: str) -> bytes:
        """One answer, JSON already."""

    def cut(self, code: str, reason: str) -> bytes:
        """The end of a stream that would have gone on."""


class EventStream:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, with lines ended by LF: urql knows no other."""

    content_type = f"{EVENT_STREAM}; charset=utf-8"
    opening = heartbeat = b":\n\n"
    complete = b"event: complete\ndata:\n\n"

    def answer(self, text: str) -> bytes:
        return f"event: next\ndata: {text}\n\n".encode()

    def cut(self, code: str, reason: str) -> bytes:
        """No event: a client that sees none before the end asks again, with its present headers."""
        return f": {code} {reason}\n\n".encode()


class Multipart:
    """Each part is followed by its boundary at once: clients wait for that before they read the part."""

    content_type = f'{MULTIPART}; boundary="graphql"; subscriptionSpec=1.0'
    opening = b"\r\n--graphql"
    complete = b"--\r\n"

    def __init__(self) -> None:
        self.heartbeat = self._part(b"{}")

    def answer(self, text: str) -> bytes:
        return self._part(f'{{"payload":{text}}}'.encode())

    def cut(self, code: str, reason: str) -> bytes:
        error = {"message": reason, "extensions": {"code": code}}
        return self._part(orjson.dumps({"payload": None, "errors": [error]})) + self.complete

    def _part(self, body: bytes) -> bytes:
        return b"\r\ncontent-type: application/json\r\n\r\n" + body + self.opening


FRAMINGS: Mapping[str, Framing] = {EVENT_STREAM: EventStream(), MULTIPART: Multipart()}


class Streams:
    """Those that are open. `most` is how many one subject may have at a time, `interval` seconds lie between heartbeats:
    Apollo's routers take five.
    """

    def __init__(self, most: int = 100, interval: float = 5.0) -> None:
        self.interval = interval
        self._most = most
        self._open: set[Stream] = set()
        self._by_subject: Counter[tuple[str, str]] = Counter()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, viewer: Viewer) -> None:
        """Raise RefusalError (503, 429) unless the viewer may open one more."""
        if self._closing:
            headers = {"retry-after": "1", "connection": "close"}
            raise RefusalError(503, str(RequestErrorCode.UNAVAILABLE), "The server is restarting.", headers)
        if self._by_subject[_subject(viewer)] >= self._most:
            message = f"There are {self._most} open streams of yours, the most at a time; a websocket carries more."
            raise RefusalError(429, str(RequestErrorCode.RATE_LIMITED), message)

    def add(self, stream: Stream) -> None:
        self._open.add(stream)
        self._by_subject[_subject(stream.viewer)] += 1

    def remove(self, stream: Stream) -> None:
        self._open.discard(stream)
        self._by_subject[_subject(stream.viewer)] -= 1
        if not self._by_subject[_subject(stream.viewer)]:
            del self._by_subject[_subject(stream.viewer)]

    @property
    def viewers(self) -> Iterator[Viewer]:
        """Who has one; one with several comes several times."""
        return (stream.viewer for stream in self._open)

    def close_where(self, matches: Callable[[Viewer], bool], reason: str) -> None:
        """Cut the streams of some viewers: of a key that was revoked, of a role that changed."""
        for stream in list(self._open):
            if matches(stream.viewer):
                stream.close(RequestErrorCode.UNAUTHENTICATED, reason)

    async def close_all(self) -> None:
        """Tell every client to come back elsewhere, open no more, and wait until all are closed."""
        self._closing = True
        for stream in list(self._open):
            stream.close(*RESTARTING)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await asyncio.gather(*(stream.closed.wait() for stream in list(self._open)))


class Stream:
    """An HTTP response with an answer for each event. It ends with the credentials it was opened with."""

    def __init__(self, streams: Streams, framing: Framing, answers: AsyncGenerator[Answer], viewer: Viewer) -> None:
        self.headers = {"content-type": framing.content_type, "x-accel-buffering": "no"}
        self.viewer = viewer
        self.closed = asyncio.Event()
        self._streams = streams
        self._framing = framing
        self._answers = answers
        self._last: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def close(self, code: str, reason: str) -> None:
        """Ask to end; the first to ask decides why."""
        self._end(self._framing.cut(code, reason))

    async def send(self, receive: Receive, send: Send) -> None:
        """Serve until the operation is complete, the client has left or somebody asked to close."""
        self._streams.add(self)
        timer = self._expire_in_time()
        work = (self._pass_on(send), self._keep_alive(send), self._wait_for_leave(receive))
        tasks = [asyncio.create_task(each) for each in work]
        try:
            last = await self._last
        finally:
            if timer is not None:
                timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._streams.remove(self)
            self.closed.set()
        if last is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await send({"type": "http.response.body", "body": last})

    def _end(self, last: bytes | None) -> None:
        if not self._last.done():
            self._last.set_result(last)

    def _expire_in_time(self) -> asyncio.TimerHandle | None:
        if self.viewer.expires_at is None:
            return None
        left = (self.viewer.expires_at - dt.datetime.now(dt.UTC)).total_seconds()
        return asyncio.get_running_loop().call_later(max(0.0, left), self.close, *EXPIRED)

    async def _pass_on(self, send: Send) -> None:
        try:
            await send(beginning(200, self.headers))
            await _write(send, self._framing.opening)
            await self._write_answers(send)
            self._end(self._framing.complete)
        except Exception as error:
            present_exception(error)
            self._end(None)

    async def _write_answers(self, send: Send) -> None:
        passed = 0
        async with aclosing(self._answers) as answers:
            async for answer in answers:
                await _write(send, self._framing.answer(answer.text))
                passed += 1
                if passed % _EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)  # neither a source that is never empty nor a fast client lets others run

    async def _keep_alive(self, send: Send) -> None:
        """So that no proxy takes the silence for an end."""
        while True:
            await asyncio.sleep(self._streams.interval)
            await _write(send, self._framing.heartbeat)

    async def _wait_for_leave(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._end(None)


async def _write(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


def _subject(viewer: Viewer) -> tuple[str, str]:
    return viewer.workspace_id, viewer.subject
