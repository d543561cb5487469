"""Reading an append-only log as it grows, for any number of followers.

The log numbers a workspace's rows densely and in commit order, so a number missed is a row missed and can be proved. One
tailer per process and followed workspace reads past the head into a ring; a follower is a cursor that pulls from the ring,
or from the log while it is behind the ring. There is no queue per follower: a slow one costs its socket and nothing else.

* FollowError
  x ResyncRequired   what came next has been deleted
  x CursorAhead      the log has never been that far
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

import structlog

from models.bell import EVENTS, Bell

log = structlog.get_logger()

REPLAY = 200  # rows a follower behind the ring holds at once
BREATH = 16  # rows handed out before others may run
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


class Row(Protocol):
    @property
    def seq(self) -> Any: ...  # an int; a mapped row declares it as Mapped[int]


R = TypeVar("R", bound=Row)


class FollowError(Exception):
    """The log cannot be followed from this cursor."""


class ResyncRequired(FollowError):
    """Rows between the cursor and `oldest_seq` are gone: read the current state again, then follow from there."""

    def __init__(self, oldest_seq: int) -> None:
        super().__init__(f"The oldest event still kept is {oldest_seq}.")
        self.oldest_seq = oldest_seq


class CursorAhead(FollowError, ValueError):
    """The cursor was not given out by this log: it is forged, or the database was restored."""

    def __init__(self, after: int, head: int) -> None:
        super().__init__(f"The cursor {after} is beyond the last event, {head}.")
        self.after = after
        self.head = head


class Tails(Generic[R]):
    """Every tailer of this process.

    `read(workspace_id, after, limit)` gives committed rows with seq > after, ascending; `head(workspace_id)` the last seq
    (0 before the first); `oldest(workspace_id)` the first seq still kept. A lost ring costs `poll` seconds at most.
    """

    def __init__(
        self,
        read: Callable[[str, int, int], Awaitable[Sequence[R]]],
        head: Callable[[str], Awaitable[int]],
        oldest: Callable[[str], Awaitable[int]],
        bell: Bell,
        *,
        poll: float = 1.0,
        ring_size: int = 4096,
        batch: int = 1000,
    ) -> None:
        self.poll = poll
        self.ring_size = ring_size
        self.batch = batch
        self.oldest = oldest
        self._read = read
        self._head = head
        self._tails: dict[str, Tail[R]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self._outage = False
        self._unlisten = bell.listen(self._rung)

    @asynccontextmanager
    async def open(self, workspace_id: str, after: int | None = None) -> AsyncIterator[Follower[R]]:
        """A follower of every row past `after`; None is now, and `follower.seq` then says which number now is.

        Raises ResyncRequired or CursorAhead, and whatever `head` and `oldest` raise. What the caller reads after entering
        is at least as new as `follower.seq`: rows that it already contains may follow, rows that it lacks will.
        """
        tail = self._join(workspace_id)
        try:
            yield Follower(tail, await self._position(tail, after))
        finally:
            self._leave(tail)

    async def follow(self, workspace_id: str, after: int | None = None) -> AsyncGenerator[R, None]:
        """`open` for a caller who needs only the rows."""
        async with self.open(workspace_id, after) as follower:
            async for row in follower:
                yield row

    def get(self, workspace_id: str) -> Tail[R] | None:
        """The tailer of a workspace, while somebody follows it."""
        return self._tails.get(workspace_id)

    def heads(self) -> dict[str, int]:
        """How far each tailer has read, by workspace."""
        return {workspace_id: tail.head for workspace_id, tail in self._tails.items() if tail.is_reading}

    async def close(self) -> None:
        """End every follower's iteration and every tailer. A follower opened later ends at once."""
        self._closed = True
        self._unlisten()
        for tail in tuple(self._tails.values()):
            self._end(tail)
        if self._ending:
            await asyncio.wait(self._ending)

    async def read(self, workspace_id: str, after: int, limit: int) -> Sequence[R]:
        """Rows of the log, waiting as long as the log cannot be read; an outage is logged once for all workspaces."""
        pause = FIRST_PAUSE
        while not self._closed:
            try:
                rows = await self._read(workspace_id, after, limit)
            except Exception as error:
                self._unreadable(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self._readable()
                return rows
        return ()

    def _rung(self, hint: str) -> None:
        tail = self._tails.get(hint.removeprefix(EVENTS))
        if tail is not None:
            tail.wake()

    def _join(self, workspace_id: str) -> Tail[R]:
        tail = self._tails.get(workspace_id)
        if tail is None:
            tail = self._tails[workspace_id] = Tail(self, workspace_id)
            tail.closed = self._closed
        tail.followers += 1
        return tail

    def _leave(self, tail: Tail[R]) -> None:
        tail.followers -= 1
        if not tail.followers:
            self._end(tail)

    def _end(self, tail: Tail[R]) -> None:
        if self._tails.get(tail.workspace_id) is tail:
            del self._tails[tail.workspace_id]
        task = tail.end()
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _position(self, tail: Tail[R], after: int | None) -> int:
        if after is not None and tail.holds(after):
            return after
        head = await self._head(tail.workspace_id)
        if after is not None:
            await self._check(tail.workspace_id, after, head)
        start = head if after is None else after
        tail.start(max(start, head - self.ring_size))
        return start

    async def _check(self, workspace_id: str, after: int, head: int) -> None:
        if after > head:
            raise CursorAhead(after, head)
        oldest = await self.oldest(workspace_id)
        if after < oldest - 1:
            raise ResyncRequired(oldest)

    def _unreadable(self, error: Exception) -> None:
        if not self._outage:
            log.error("events_unreadable", error=type(error).__name__, exc_info=error)
        self._outage = True

    def _readable(self) -> None:
        if self._outage:
            log.info("events_readable")
        self._outage = False


class Tail(Generic[R]):
    """One workspace's newest rows, and the task that reads them. `head` is the seq of the last row in the ring."""

    def __init__(self, tails: Tails[R], workspace_id: str) -> None:
        self.workspace_id = workspace_id
        self.head = 0
        self.followers = 0
        self.closed = False
        self._tails = tails
        self._ring: deque[R] = deque(maxlen=tails.ring_size)
        self._changed = asyncio.Event()
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether somebody has said where to begin."""
        return self._task is not None

    @property
    def held(self) -> int:
        """How many rows the ring holds."""
        return len(self._ring)

    def start(self, head: int) -> None:
        """Read past `head`, unless that has begun. A head behind the log's fills the ring for those who resume."""
        if self._task is None and not self.closed:
            self.head = head
            self._task = asyncio.create_task(self._run(), name=f"tail-{self.workspace_id}")

    def end(self) -> asyncio.Task[None] | None:
        """Stop every follower; the task that is still stopping, if there was one."""
        self.closed = True
        self._announce()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def leave(self) -> None:
        """One follower less; without any the tail ends."""
        self._tails._leave(self)

    def wake(self) -> None:
        """Read now rather than at the next poll."""
        self._awake.set()

    def holds(self, seq: int) -> bool:
        """Whether everything past `seq` is in the ring, so that `seq` needs no other proof."""
        return self.head - len(self._ring) <= seq <= self.head and self._task is not None

    async def after(self, seq: int) -> Sequence[R]:
        """The next rows past `seq`, at least one, as soon as there are any; none once the tail has ended."""
        while not self.closed:
            if seq < self.head:
                return self._recent(seq) or await self._replay(seq)
            await self._changed.wait()
        return ()

    def _recent(self, seq: int) -> Sequence[R]:
        start = seq - (self.head - len(self._ring))
        if start < 0:
            return ()
        return [self._ring[i] for i in range(start, min(start + BREATH, len(self._ring)))]

    async def _replay(self, seq: int) -> Sequence[R]:
        rows = await self._tails.read(self.workspace_id, seq, REPLAY)
        if not rows and not self.closed:
            raise ResyncRequired(await self._tails.oldest(self.workspace_id))
        return rows

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            rows = await self._tails.read(self.workspace_id, self.head, self._tails.batch)
            self._append(rows)
            if len(rows) < self._tails.batch:
                await self._rest()
            else:
                await asyncio.sleep(0)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._tails.poll):
                await self._awake.wait()

    def _append(self, rows: Sequence[R]) -> None:
        for row in rows:
            if row.seq != self.head + 1:  # the ring is dense, so a follower who misses a row finds out in the log
                self._ring.clear()
            self._ring.append(row)
            self.head = row.seq
        if rows:
            self._announce()

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Follower(Generic[R]):
    """A cursor: `seq` is the last row it gave. Cancelling a wait for the next row loses nothing."""

    def __init__(self, tail: Tail[R], seq: int) -> None:
        self.seq = seq
        self._tail = tail
        self._rows: deque[R] = deque()
        self._given = 0

    def branch(self) -> Follower[R]:
        """One more at the same place, which may outlive this one. Whoever asks for it must `close` it."""
        self._tail.followers += 1
        return Follower(self._tail, self.seq)

    def close(self) -> None:
        """For a branch, once."""
        self._tail.leave()

    async def several(self) -> list[R]:
        """The next row and those at hand behind it, as many as are handed out at a time; none once the tail has ended."""
        found = []
        async for row in self:
            found.append(row)
            if not self._rows or len(found) == BREATH:
                break
        return found

    def __aiter__(self) -> Follower[R]:
        return self

    async def __anext__(self) -> R:
        if self._given % BREATH == BREATH - 1:
            await asyncio.sleep(0)
        if not self._rows:
            self._rows.extend(await self._tail.after(self.seq))
        if self._tail.closed or not self._rows:
            raise StopAsyncIteration
        row = self._rows.popleft()
        if row.seq != self.seq + 1:
            raise ResyncRequired(row.seq)
        self.seq = row.seq
        self._given += 1
        return row
