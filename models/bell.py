"""The bell tells every process that there is something new to read; what it is, the database knows.

A hint says where to look and carries no data, so a lost, late, repeated or reordered one costs a reader at most its own
poll. broadcaster takes hints to other processes; listeners in this process are called directly and need no broker.

broadcaster is wrapped because its Redis and PostgreSQL backends go deaf for good, and silently, when the server restarts.
Here a lost connection ends the session at once, a ping the process sends to itself finds what the connection hides, and
either way a new `Broadcast` is built. One task publishes for the whole process: nothing waits for a broker in a request.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import structlog
from broadcaster import Broadcast, Event

log = structlog.get_logger()

JOBS = "jobs"
EVENTS = "events:"
CHANNEL = "patchbay"
LOST = ""  # no process sends an empty message; a backend hands one in when its connection is gone
HINTS_PER_MESSAGE = 100  # PostgreSQL takes 8,000 bytes
PENDING_LIMIT = 10_000
CONNECT_TIMEOUT = 5.0
PUBLISH_TIMEOUT = 1.0
CLOSE_TIMEOUT = 2.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


def events_of(workspace_id: str) -> str:
    """The hint that a workspace has new events."""
    return EVENTS + workspace_id


class Bell:
    """`ping` and `deaf_after` are seconds: how often the process calls itself, and how long it may miss its own voice."""

    def __init__(self, url: str, *, ping: float = 5.0, deaf_after: float = 12.0) -> None:
        scheme = urlsplit(url).scheme
        if scheme not in BUSES:
            raise ValueError(f"A bell cannot ring over {scheme!r}; use one of {', '.join(BUSES)}.")
        self.healthy = False
        self._url = url
        self._ping = ping
        self._deaf_after = deaf_after
        self._token = secrets.token_hex(8)
        self._listeners: dict[object, Callable[[str], None]] = {}
        self._pending: set[str] = set()
        self._wanted = asyncio.Event()
        self._pause = FIRST_PAUSE
        self._outage = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to hear other processes; returns at once, with or without a broker."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="bell")

    async def stop(self) -> None:
        """Leave the broker. Local rings go on working."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            await asyncio.sleep(0)  # broadcaster cancels its own task and does not wait for it
        self.healthy = False

    def ring(self, *hints: str) -> None:
        """Call the listeners here now, and those of other processes soon. Never waits, never fails; call it after commit."""
        for hint in hints:
            self._call(hint)
            if len(self._pending) < PENDING_LIMIT:
                self._pending.add(hint)
        self._wanted.set()

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Have `callback` called with every hint, on the event loop; the answer undoes it."""
        key = object()
        self._listeners[key] = callback

        def forget() -> None:
            self._listeners.pop(key, None)

        return forget

    def _call(self, hint: str) -> None:
        for callback in tuple(self._listeners.values()):
            try:
                callback(hint)
            except Exception:  # the ringer has committed: another's bug must not become its error
                log.exception("bell_listener_failed", hint=hint)

    async def _run(self) -> None:
        while not stopping():
            try:
                await self._session()
            except Exception as error:
                self._lost(error)
                await asyncio.sleep(0 if stopping() else self._pause * random.uniform(0.5, 1.0))
                self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _session(self) -> None:
        async with subscribed(self._url) as (bus, hear):
            tasks = [asyncio.create_task(work) for work in (self._hear(hear), self._speak(bus))]
            try:
                if not stopping():
                    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    ended.pop().result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, hear: Callable[[], Awaitable[Event]]) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._deaf_after
        while True:
            async with asyncio.timeout_at(deadline):
                message = (await hear()).message
            if message == LOST:
                raise ConnectionError("the broker closed the connection")
            token, *hints = message.split("\n")
            if token == self._token:
                deadline = clock() + self._deaf_after
                self._heard_itself()
            else:
                for hint in hints:
                    self._call(hint)

    async def _speak(self, bus: Broadcast) -> None:
        """Send what is wanted, many hints at once; nothing for `ping` seconds is a message too."""
        while not stopping():
            self._wanted.clear()
            hints = [self._pending.pop() for _ in range(min(len(self._pending), HINTS_PER_MESSAGE))]
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await bus.publish(CHANNEL, "\n".join((self._token, *hints)))
            if not self._pending:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._ping):
                        await self._wanted.wait()

    def _heard_itself(self) -> None:
        if self._outage:
            log.info("bell_back")
        self.healthy = True
        self._outage = False
        self._pause = FIRST_PAUSE

    def _lost(self, error: Exception) -> None:
        if not self._outage:
            log.warning("bell_lost", error=type(error).__name__)
        self.healthy = False
        self._outage = True


def stopping() -> bool:
    """Whether this task was cancelled, even if it never noticed: redis-py 8.1 may swallow the cancellation of a command."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def subscribed(url: str) -> AsyncIterator[tuple[Broadcast, Callable[[], Awaitable[Event]]]]:
    """A connected Broadcast and the call that waits for the next message on our one channel."""
    bus = BUSES[urlsplit(url).scheme](url)
    stack = AsyncExitStack()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await bus.connect()
            stack.push_async_callback(bus.disconnect)
            subscriber = await stack.enter_async_context(bus.subscribe(CHANNEL))
        yield bus, subscriber.get
    finally:
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await stack.aclose()


def over_redis(url: str) -> Broadcast:
    from models.buses.redis import RedisBackend  # six megabytes that others do without

    return Broadcast(backend=RedisBackend(url))


def over_postgres(url: str) -> Broadcast:
    from models.buses.postgresql import PostgresBackend  # four, as above

    return Broadcast(backend=PostgresBackend(url))


BUSES: dict[str, Callable[[str], Broadcast]] = {
    "memory": Broadcast,
    "redis": over_redis,
    "rediss": over_redis,
    "postgres": over_postgres,
    "postgresql": over_postgres,
}
