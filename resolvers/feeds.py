"""What subscribers follow: a choice of a log's events, past a cursor or from now on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from models import events as rows
from models.events import Event
from models.tail import CursorAhead, Follower, ResyncRequired
from resolvers.call import Call
from resolvers.events import check_subjects, resync, seq_of
from resolvers.problems import Problem, RequestErrorCode
from resolvers.watching import Wanted


class Feed:
    """Everything that matches, past a cursor or from now on, in order, without gap or double; of the viewer's workspace, or of
    another `log` they may read.

    Without a cursor, the newest event of each object in `first` comes first: its state as it is, if the viewer may see it.
    Raises INVALID_CURSOR. Iterate it, or read the log from a number on: many readers of one feed may do both.
    """

    def __init__(
        self, call: Call, after: str | None, where: Wanted, first: Sequence[str] | None = None, log: str | None = None
    ) -> None:
        check_subjects(first)
        self.wants = where.matches
        self._call = call
        self._where = where
        self._log = log
        self._first = first or ()
        self._after = seq_of(call, after, ["after"], log) if after is not None else None

    async def __aiter__(self) -> AsyncGenerator[Event]:
        async with self.open() as follower:
            for event in await self.state(follower.seq):
                yield event
            async for event in follower:
                if self.wants(event):
                    yield event

    @asynccontextmanager
    async def open(self, seq: int | None = None) -> AsyncIterator[Follower[Event]]:
        """All events past `seq`, or past where the feed begins, wanted or not. Raises as `refusals` does."""
        with self.refusals():
            place = self._after if seq is None else seq
            async with self._call.means.tails.open(self._log or self._call.workspace_id, place) as follower:
                yield follower

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """For whoever reads the log. Raises RESYNC_REQUIRED with the oldest cursor when what comes next is not kept any more,
        and INVALID_CURSOR when there never was such a number."""
        try:
            yield
        except ResyncRequired as error:
            raise resync(self._call, error.oldest_seq, ["after"], self._log) from None
        except CursorAhead:
            raise Problem(RequestErrorCode.INVALID_CURSOR, "The cursor lies ahead of the log.", ["after"]) from None

    async def state(self, head: int) -> list[Event]:
        """What is told before anything that comes: nothing to those who resume."""
        if self._after is not None or not self._first:
            return []
        async with self._call.read() as session:
            named = [await rows.latest_of(session, self._call.workspace_id, name, head) for name in dict.fromkeys(self._first)]
        shown = [event for event in named if event is not None and self._where.shows(event)]
        return sorted(shown, key=lambda event: event.seq)
