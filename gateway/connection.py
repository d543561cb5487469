"""One websocket: what it may do in which state, and the operations running on it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Callable, Coroutine
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
    framed,
    next_frame,
    pong,
    read_frame,
)
from gateway.http import Authenticate, MakeContext, Meter
from gateway.operations import Operation
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import Viewer
from schema.answers import Answer, present, present_exception
from schema.documents import RefusedError, Request, coded
from schema.engine import Engine, Prepared

_EVENTS_PER_TURN = 16
_FAREWELL_SECONDS = 2.0
_PING_FRAME = framed(PING.encode())

SILENT = "The client does not answer."


@dataclass(frozen=True, slots=True)
class Patience:
    """What one socket may use: seconds, characters, and operations at a time."""

    init_timeout: float = 3.0
    ping_interval: float = 12.0
    max_message: int = 262_144
    max_operations: int = 100


class Connection:
    """Reads frames until something asks to close; every task of the socket is ended with it.

    `write`, where there is one, puts finished frames on the wire at once, or says that they must be sent and waited for.
    """

    __slots__ = (
        "_authenticate",
        "_beat",
        "_engine",
        "_farewell",
        "_heard",
        "_initialised",
        "_limit",
        "_make_context",
        "_meter",
        "_operations",
        "_patience",
        "_pinging",
        "_receive",
        "_send",
        "_serving",
        "_tasks",
        "_write",
        "viewer",
    )

    def __init__(
        self,
        engine: Engine,
        authenticate: Authenticate,
        make_context: MakeContext,
        meter: Meter,
        patience: Patience,
        receive: Receive,
        send: Send,
        write: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._engine = engine
        self._authenticate = authenticate
        self._make_context = make_context
        self._patience = patience
        self._receive = receive
        self._send = send
        self._write = write
        self._meter = meter
        self._operations: dict[str, Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pinging: asyncio.Task[None] | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._serving: asyncio.Task[object] | None = None
        self._farewell: CloseError | None = None
        self._initialised = False
        self._heard = True
        self.viewer: Viewer | None = None

    @property
    def operations(self) -> int:
        """How many it carries, running or waiting."""
        return len(self._operations)

    async def run(self) -> None:
        """Serve the accepted socket until it is closed by either side."""
        self._serving = asyncio.current_task()
        self._close_after(self._patience.init_timeout, 4408, "Connection initialisation timeout")
        try:
            farewell = await self._read_to_the_end()
            self._serving = None
            self._stop_operations()
            if farewell is not None:
                await self._say_goodbye(farewell)
        finally:
            self._stop_operations()
            for timer in (self._limit, self._beat):
                if timer is not None:
                    timer.cancel()
            await self._end([*self._tasks, *((self._pinging,) if self._pinging else ())])

    async def _read_to_the_end(self) -> CloseError | None:
        """How the socket is to be closed; None if it is closed already. `close` cuts the reading short."""
        try:
            return await self._read()
        except asyncio.CancelledError:
            if self._farewell is None or self._serving is None or self._serving.uncancel():
                raise
            return self._farewell

    def close(self, code: int, reason: str) -> None:
        """Ask to close; the first to ask decides code and reason."""
        if self._farewell is None and self._serving is not None:
            self._farewell = CloseError(code, reason)
            self._serving.cancel()

    async def _say_goodbye(self, farewell: CloseError) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._send({"type": "websocket.close", "code": farewell.code, "reason": farewell.reason})

    def _stop_operations(self) -> None:
        for operation in self._operations.values():
            operation.stop()
        self._operations.clear()

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_after(self, seconds: float, code: int, reason: str) -> None:
        self._limit = asyncio.get_running_loop().call_later(max(0.0, seconds), self.close, code, reason)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _say(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _read(self) -> CloseError | None:
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                self._heard = True
                await self._obey(self._frame_of(message.get("text")))
        except CloseError as farewell:
            return farewell
        except OSError:
            return None
        except Exception as error:
            present_exception(error)
            return CloseError(1013, "Try again later.")
        return None

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
        if self._limit is not None:
            self._limit.cancel()
        viewer = await self._admit(init)
        if viewer.expires_at is not None:
            left = (viewer.expires_at - dt.datetime.now(dt.UTC)).total_seconds()
            self._close_after(left, 4403, "The credentials have expired.")
        await self._say(ACK)
        self.viewer = viewer
        self._ping_later()

    async def _admit(self, init: Init) -> Viewer:
        try:
            return await self._authenticate({k.lower(): v for k, v in init.payload.items() if isinstance(v, str)})
        except Problem as problem:
            raise CloseError(4403, problem.message) from None

    def _keep_alive(self) -> None:
        """Ping; a client from which nothing came since the last ping, or which does not read, is gone."""
        if not self._heard:
            self.close(4499, SILENT)
            return
        self._heard = False
        if self._write is not None and self._write(_PING_FRAME):
            self._ping_later()
        else:
            self._pinging = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        """To a client that is busy reading what came before."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._patience.ping_interval):
                await self._say(PING)
            self._ping_later()
            return
        self.close(4499, SILENT)

    def _ping_later(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(self._patience.ping_interval, self._keep_alive)

    async def _subscribe(self, frame: Subscribe) -> None:
        if self.viewer is None:
            raise CloseError(4401, "Unauthorized")
        if frame.id in self._operations:
            raise CloseError(4409, f"Subscriber for {frame.id} already exists")
        if self._busy >= self._patience.max_operations:
            limit = f"A socket carries at most {self._patience.max_operations} operations."
            await self._say(error_frame(frame.id, present([coded(limit, RequestErrorCode.RATE_LIMITED)])))
            return
        operation = self._operations[frame.id] = Operation(frame.id, self, self._write)
        operation.task = self._start(self._operate(operation, frame.request, self.viewer))

    @property
    def _busy(self) -> int:
        """Operations that wait, and tasks of those that run or are ending."""
        waiting = sum(operation.group is not None for operation in self._operations.values())
        return waiting + len(self._tasks)

    def _forget(self, name: str) -> None:
        if operation := self._operations.pop(name, None):
            operation.stop()

    async def _operate(self, operation: Operation, request: Request, viewer: Viewer) -> None:
        """Run one operation to its end, or until a group tells it the rest."""
        try:
            prepared = self._engine.prepare(request)
            self._meter(viewer, prepared.root_fields)
            run = self._stream if prepared.kind is OperationType.SUBSCRIPTION else self._once
            last = await run(operation, prepared, viewer)
        except RefusedError as error:
            last = error_frame(operation.name, present(error.errors))
        except OSError:
            return
        except Exception as error:
            last = error_frame(operation.name, present_exception(error))
        if last is not None:
            await self._complete(operation, last)

    async def _complete(self, operation: Operation, last: str) -> None:
        """The id is free again before the client is told so."""
        if self._operations.get(operation.name) is operation:
            del self._operations[operation.name]
        with suppress(OSError):
            await self._say(last)

    async def _once(self, operation: Operation, prepared: Prepared, viewer: Viewer) -> str:
        answer = await self._engine.answer(prepared, self._make_context(viewer, prepared.operation))
        return await self._pass_on(operation, answer) or complete_frame(operation.name)

    async def _stream(self, operation: Operation, prepared: Prepared, viewer: Viewer) -> str | None:
        def new_context() -> object:
            return self._make_context(viewer, prepared.operation)

        member = operation if self._write is not None else None
        return await self._pass_all(operation, self._engine.subscribe(prepared, new_context, viewer.audience, member))

    async def _pass_all(self, operation: Operation, answers: AsyncGenerator[Answer]) -> str | None:
        """The last frame; None once the operation belongs to a group."""
        passed = 0
        async with aclosing(answers):
            async for answer in answers:
                if last := await self._pass_on(operation, answer):
                    return last
                passed += 1
                if passed % _EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)  # neither a source that is never empty nor a fast client lets others run
        return complete_frame(operation.name) if operation.group is None else None

    async def _pass_on(self, operation: Operation, answer: Answer) -> str | None:
        """Send the answer; give back the last frame instead where it ends the operation."""
        if not answer.executed:
            return error_frame(operation.name, list(answer.errors))
        if not operation.take((answer,)):
            await self._say(next_frame(operation.name, answer.text))
        return None

    def resume(self, operation: Operation, answers: AsyncGenerator[Answer]) -> None:
        operation.task = self._start(self._catch_up(operation, answers))

    async def _catch_up(self, operation: Operation, answers: AsyncGenerator[Answer]) -> None:
        with suppress(OSError):
            if last := await self._pass_all(operation, answers):
                await self._complete(operation, last)

    def finish(self, operation: Operation, last: Answer | None) -> None:
        frame = complete_frame(operation.name) if last is None else error_frame(operation.name, list(last.errors))
        self._start(self._complete(operation, frame))
