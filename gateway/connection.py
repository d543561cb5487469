"""One websocket: what it may do in which state, and the operations running on it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Coroutine, Hashable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from graphql import OperationType
from starlette.types import Receive, Send

from gateway.frames import (
    ACK,
    PING,
    CloseError,
    Complete,
    Frame,
    Init,
    Ping,
    Subscribe,
    complete_frame,
    error_frame,
    next_frame,
    pong,
    read_frame,
)
from gateway.http import Authenticate, MakeContext
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import Viewer
from schema.answers import Answer, present, present_exception
from schema.documents import RefusedError, Request, coded
from schema.engine import Engine, Prepared

_EVENTS_PER_TURN = 16
_FAREWELL_SECONDS = 2.0
_OWN_TASKS = 2  # reading and keeping alive


@dataclass(frozen=True, slots=True)
class Patience:
    """What one socket may use: seconds, characters, and operations at a time."""

    init_timeout: float = 3.0
    ping_interval: float = 12.0
    max_message: int = 262_144
    max_operations: int = 100


class Connection:
    """Reads frames until something asks to close; every other task of the socket is ended with it."""

    def __init__(
        self,
        engine: Engine,
        authenticate: Authenticate,
        make_context: MakeContext,
        patience: Patience,
        receive: Receive,
        send: Send,
    ) -> None:
        self._engine = engine
        self._authenticate = authenticate
        self._make_context = make_context
        self._patience = patience
        self._receive = receive
        self._send = send
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._farewell: asyncio.Future[CloseError | None] = asyncio.get_running_loop().create_future()
        self._initialised = False
        self._heard = True
        self.viewer: Viewer | None = None
        self.closed = asyncio.Event()

    @property
    def operations(self) -> int:
        """How many are running on it."""
        return len(self._operations)

    async def run(self) -> None:
        """Serve the accepted socket until it is closed by either side."""
        self._close_after(self._patience.init_timeout, 4408, "Connection initialisation timeout")
        self._start(self._read())
        try:
            farewell = await self._farewell
            if farewell is not None:
                await self._say_goodbye(farewell)
        finally:
            for timer in self._timers:
                timer.cancel()
            await self._end(list(self._tasks))
            self.closed.set()

    def close(self, code: int, reason: str) -> None:
        """Ask to close; the first to ask decides code and reason."""
        self._leave(CloseError(code, reason))

    def _leave(self, farewell: CloseError | None) -> None:
        if not self._farewell.done():
            self._farewell.set_result(farewell)

    async def _say_goodbye(self, farewell: CloseError) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._send({"type": "websocket.close", "code": farewell.code, "reason": farewell.reason})

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_after(self, seconds: float, code: int, reason: str) -> None:
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(max(0.0, seconds), self.close, code, reason))

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _say(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _read(self) -> None:
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                self._heard = True
                await self._obey(self._frame_of(message.get("text")))
            self._leave(None)
        except CloseError as farewell:
            self._leave(farewell)
        except OSError:
            self._leave(None)
        except Exception as error:
            present_exception(error)
            self.close(1013, "Try again later.")

    def _frame_of(self, text: str | None) -> Frame:
        if text is not None and len(text) > self._patience.max_message:
            raise CloseError(1009, "The message is too long.")
        return read_frame(text)

    async def _obey(self, frame: Frame) -> None:
        match frame:
            case Init():
                await self._initialise(frame)
            case Ping():
                await self._say(pong(frame.payload))
            case Subscribe():
                await self._subscribe(frame)
            case Complete():
                self._forget(frame.id)

    async def _initialise(self, init: Init) -> None:
        if self._initialised:
            raise CloseError(4429, "Too many initialisation requests")
        self._initialised = True
        self._timers.pop().cancel()
        viewer = await self._admit(init)
        if viewer.expires_at is not None:
            left = (viewer.expires_at - dt.datetime.now(dt.UTC)).total_seconds()
            self._close_after(left, 4403, "The credentials have expired.")
        await self._say(ACK)
        self.viewer = viewer
        self._start(self._keep_alive())

    async def _admit(self, init: Init) -> Viewer:
        try:
            return await self._authenticate({k.lower(): v for k, v in init.payload.items() if isinstance(v, str)})
        except Problem as problem:
            raise CloseError(4403, problem.message) from None

    async def _keep_alive(self) -> None:
        """Ping; a client from which nothing came since the last ping, or which does not read, is gone."""
        interval = self._patience.ping_interval
        await asyncio.sleep(interval)
        with suppress(OSError, TimeoutError):
            while self._heard:
                self._heard = False
                async with asyncio.timeout(interval):
                    await self._say(PING)
                await asyncio.sleep(interval)
        self.close(4499, "The client does not answer.")

    async def _subscribe(self, frame: Subscribe) -> None:
        if self.viewer is None:
            raise CloseError(4401, "Unauthorized")
        if frame.id in self._operations:
            raise CloseError(4409, f"Subscriber for {frame.id} already exists")
        if len(self._tasks) - _OWN_TASKS >= self._patience.max_operations:
            limit = f"A socket carries at most {self._patience.max_operations} operations."
            await self._say(error_frame(frame.id, present([coded(limit, RequestErrorCode.RATE_LIMITED)])))
            return
        self._operations[frame.id] = self._start(self._operate(frame.id, frame.request, self.viewer))

    def _forget(self, name: str) -> None:
        if task := self._operations.pop(name, None):
            task.cancel()

    async def _operate(self, name: str, request: Request, viewer: Viewer) -> None:
        """Run one operation to its end. Its id is free again before the client is told so."""
        try:
            prepared = self._engine.prepare(request)
            run = self._stream if prepared.kind is OperationType.SUBSCRIPTION else self._once
            last = await run(name, prepared, viewer)
        except RefusedError as error:
            last = error_frame(name, present(error.errors))
        except OSError:
            return
        except Exception as error:
            last = error_frame(name, present_exception(error))
        if self._operations.get(name) is asyncio.current_task():
            del self._operations[name]
        with suppress(OSError):
            await self._say(last)

    async def _once(self, name: str, prepared: Prepared, viewer: Viewer) -> str:
        answer = await self._engine.execute(prepared, self._make_context(viewer))
        return await self._pass_on(name, answer) or complete_frame(name)

    async def _stream(self, name: str, prepared: Prepared, viewer: Viewer) -> str:
        def new_context() -> object:
            return self._make_context(viewer)

        passed = 0
        async with aclosing(self._engine.subscribe(prepared, new_context, _audience(viewer))) as answers:
            async for answer in answers:
                if last := await self._pass_on(name, answer):
                    return last
                passed += 1
                if passed % _EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)  # neither a source that is never empty nor a fast client lets others run
        return complete_frame(name)

    async def _pass_on(self, name: str, answer: Answer) -> str | None:
        """Send the answer; give back the last frame instead where it ends the operation."""
        if not answer.executed:
            return error_frame(name, list(answer.errors))
        await self._say(next_frame(name, answer.text))
        return None


def _audience(viewer: Viewer) -> Hashable:
    """Viewers who may see the same."""
    return viewer.workspace_id, viewer.organization_id, viewer.scopes, viewer.is_platform_admin
