"""The event log for those who watch: what they may see, a page of the past, and its cursors."""

from __future__ import annotations

from collections.abc import Sequence

from models import events as rows
from models.events import CHANNEL, OPT_OUT, SENDER, WEBHOOK, Event, Filter, Pattern
from models.paging import Window
from resolvers import connectors, optouts, senders
from resolvers.call import Call
from resolvers.messages import readable_channels
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, RequestErrorCode

MOST_PATTERNS, MOST_SUBJECTS = 50, 100
READ = {CHANNEL: connectors.READ, OPT_OUT: optouts.READ, SENDER: senders.READ, WEBHOOK: "webhooks:read"}
"""The scope that shows the events of a noun; those of messages are shown by the scope of their channel."""


def scope_of(workspace_id: str) -> str:
    """Every cursor of a workspace's log is of one kind, wherever it was shown."""
    return f"events|{workspace_id}"


def cursor_of(call: Call, seq: int, log: str | None = None) -> str:
    """The cursor of a number in the viewer's workspace, or in another `log` they may read."""
    return call.means.cursors.seal(scope_of(log or call.workspace_id), (seq,))


def visible(call: Call, types: Sequence[str] | None = None, subject_ids: Sequence[str] | None = None) -> Filter:
    """What the viewer may see of what they ask for. Raises FORBIDDEN when that is nothing at all."""
    if len(types or ()) > MOST_PATTERNS:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, f"A filter has at most {MOST_PATTERNS} types.", ["filter", "types"])
    check_subjects(subject_ids)
    channels, kinds = readable_channels(call), [kind for kind, scope in READ.items() if call.viewer.has(scope)]
    if not channels and not kinds:
        raise Problem(RequestErrorCode.FORBIDDEN, "This needs the scope read:* or connectors:read.", requiredScope="read:*")
    return Filter(
        patterns=None if types is None else [Pattern.parse(text) for text in types],
        subject_ids=subject_ids,
        message_channels=channels,
        kinds=kinds,
    )


def check_subjects(subject_ids: Sequence[str] | None) -> None:
    """Raise BAD_USER_INPUT where more objects are named than are looked at together."""
    if len(subject_ids or ()) > MOST_SUBJECTS:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, f"At most {MOST_SUBJECTS} objects may be named at a time.")


async def page(call: Call, arguments: PageArguments, where: Filter) -> Page[Event]:
    """Oldest first; cursors are those of the subscriptions. Raises RESYNC_REQUIRED for one that is not kept any more."""
    window = arguments.window(call.means.cursors, scope_of(call.workspace_id))
    after = window.after[0] if window.after else 0
    async with call.read() as session:
        oldest = await rows.oldest(session, call.workspace_id)
        if window.after is not None and after < oldest - 1:
            raise resync(call, oldest, ["after"])
        found = await rows.page(session, call.workspace_id, where, after, window.size + 1)

    async def total() -> int:
        return len(found)

    plain = Window(window.size, after=window.after)
    return cut(found, plain, arguments, lambda event: cursor_of(call, event.seq), total)


def seq_of(call: Call, cursor: str, field: Sequence[str], log: str | None = None) -> int:
    """The place a cursor of the log names. Raises INVALID_CURSOR, blaming `field`."""
    return int(call.means.cursors.open(scope_of(log or call.workspace_id), cursor, field)[0])


def resync(call: Call, oldest_seq: int, field: Sequence[str], log: str | None = None) -> Problem:
    """What lies behind a cursor is gone."""
    message = "What lies behind this cursor is not kept any more; read the current state and go on from the oldest cursor."
    oldest = cursor_of(call, max(0, oldest_seq - 1), log)
    return Problem(RequestErrorCode.RESYNC_REQUIRED, message, field, oldestCursor=oldest)
