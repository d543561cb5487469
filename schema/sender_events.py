"""Sender IDs as they change: for those who asked, and for those who review."""

from __future__ import annotations

from collections.abc import AsyncIterable

import strawberry

from models import events as rows
from models.events import SENDER
from models.senders import SenderIdStatus
from resolvers import senders, watching
from resolvers.feeds import Feed
from schema.context import Info
from schema.events import Event, Since
from schema.senders import SenderId

Row = strawberry.Parent[rows.Event]


@strawberry.type(description="A sender ID was asked for, changed, reviewed or revoked.")
class SenderIdChanged(Event):
    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, rows.Event) and value.kind == SENDER

    @strawberry.field(description="The sender ID as it is now.")
    async def sender_id(root: Row, info: Info) -> SenderId:
        return await info.context.senders.load(root.subject_id)  # type: ignore[return-value]

    @strawberry.field(description="Its status after this event.")
    def status(root: Row) -> SenderIdStatus:
        return root.payload["status"]  # type: ignore[no-any-return]

    @strawberry.field(description="Its status before.")
    def previous_status(root: Row) -> SenderIdStatus | None:
        return root.payload["previousStatus"]  # type: ignore[no-any-return]


@strawberry.type
class SenderIdSubscriptions:
    @strawberry.subscription(
        description="Sender IDs being asked for, changed, reviewed and revoked: the workspace's, and for platform "
        "administrators those of every workspace, in a log of their own with its own cursors."
    )
    def sender_id_changed(self, info: Info, after: Since = None) -> AsyncIterable[SenderIdChanged]:
        call = info.context.call
        log = senders.log_of(call)
        return Feed(call, after, watching.Kind(SENDER), log=log)  # type: ignore[return-value]
