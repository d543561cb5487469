"""The event log for those who watch: a page of the past, or everything from now or from a cursor on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from models import events as rows
from models.events import Event, Filter, Pattern
from models.paging import Window
from models.tail import CursorAhead, ResyncRequired
from resolvers import connectors
from resolvers.call import Call
from resolvers.messages import readable_channels
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, RequestErrorCode
from resolvers.watching import Wanted

MOST_PATTERNS, MOST_SUBJECTS = 50, 100


def scope_of(workspace_id: str) -> str:
    """Every cursor of a workspace's log is of one kind, wherever it was shown."""
    return f"events|{workspace_id}"


def cursor_of(call: Call, seq: int) -> str:
    return call.means.cursors.seal(scope_of(call.workspace_id), (seq,))


def visible(call: Call, types: Sequence[str] | None = None, subject_ids: Sequence[str] | None = None) -> Filter:
    """What the viewer may see of what they ask for. Raises FORBIDDEN when that is nothing at all."""
    if len(types or ()) > MOST_PATTERNS:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, f"A filter has at most {MOST_PATTERNS} types.", ["filter", "types"])
    _check_subjects(subject_ids)
    channels, status = readable_channels(call), call.viewer.has(connectors.READ)
    if not channels and not status:
        raise Problem(RequestErrorCode.FORBIDDEN, "This needs the scope read:* or connectors:read.", requiredScope="read:*")
    return Filter(
        patterns=None if types is None else [Pattern.parse(text) for text in types],
        subject_ids=subject_ids,
        message_channels=channels,
        channel_events=status,
    )


def _check_subjects(subject_ids: Sequence[str] | None) -> None:
    if len(subject_ids or ()) > MOST_SUBJECTS:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, f"At most {MOST_SUBJECTS} objects may be named at a time.")


async def page(call: Call, arguments: PageArguments, where: Filter) -> Page[Event]:
    """Oldest first; cursors are those of the subscriptions."""
    window = arguments.window(call.means.cursors, scope_of(call.workspace_id))
    after = window.after[0] if window.after else 0
    async with call.read() as session:
        found = await rows.page(session, call.workspace_id, where, after, window.size + 1)

    async def total() -> int:
        return len(found)

    plain = Window(window.size, after=window.after)
    return cut(found, plain, arguments, lambda event: cursor_of(call, event.seq), total)


async def follow(call: Call, after: str | None, where: Wanted, first: Sequence[str] = ()) -> AsyncGenerator[Event]:
    """Everything that matches, past a cursor or from now on, in order, without gap or double.

    Without a cursor, the newest event of each object in `first` comes first: its state as it is, if the viewer may see it.
    Raises INVALID_CURSOR, and RESYNC_REQUIRED with the oldest cursor when what lies behind `after` is not kept any more.
    """
    _check_subjects(first)
    workspace_id = call.workspace_id
    position = _position(call, after) if after is not None else None
    try:
        async with call.means.tails.open(workspace_id, position) as follower:
            if position is None:
                for event in await _newest(call, first, follower.seq):
                    if where.shows(event):
                        yield event
            async for event in follower:
                if where.matches(event):
                    yield event
    except ResyncRequired as error:
        message = "What lies behind this cursor is not kept any more; read the current state and go on from the oldest cursor."
        oldest = cursor_of(call, max(0, error.oldest_seq - 1))
        raise Problem(RequestErrorCode.RESYNC_REQUIRED, message, ["after"], oldestCursor=oldest) from None
    except CursorAhead:
        raise Problem(RequestErrorCode.INVALID_CURSOR, "The cursor lies ahead of the log.", ["after"]) from None


def _position(call: Call, after: str) -> int:
    return int(call.means.cursors.open(scope_of(call.workspace_id), after)[0])


async def _newest(call: Call, subject_ids: Sequence[str], head: int) -> list[Event]:
    found = []
    async with call.read() as session:
        for subject_id in dict.fromkeys(subject_ids):
            event = await rows.latest_of(session, call.workspace_id, subject_id, head)
            if event is not None:
                found.append(event)
    return sorted(found, key=lambda event: event.seq)
