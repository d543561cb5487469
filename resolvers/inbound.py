"""What people wrote to us, and what providers told of messages nobody knows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from channels.base import ChannelType
from models import inbound as rows
from models import receipts
from models.events import INBOUND, Event
from models.inbound import Filter, InboundMessage
from models.receipts import Receipt
from resolvers.call import Call, digest
from resolvers.messages import read_scope, readable_channels
from resolvers.pages import Page, PageArguments, cut
from resolvers.watching import readable

READ_ALL = "read:*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages to us, of the channels the viewer may read; an empty field does not restrict."""

    readable: Collection[str]
    connector_ids: Collection[str] | None = None

    def matches(self, event: Event) -> bool:
        return self.shows(event)

    def shows(self, event: Event) -> bool:
        mine = event.kind == INBOUND and event.channel_type in self.readable
        return mine and (self.connector_ids is None or event.connector_id in self.connector_ids)


async def get(call: Call, message_id: str) -> InboundMessage | None:
    """None also for a channel the viewer may not read."""
    async with call.read() as session:
        found = await rows.get(session, call.workspace_id, message_id)
    return found if found is not None and call.viewer.has(read_scope(found.channel_type)) else None


async def page(call: Call, arguments: PageArguments, where: Filter) -> Page[InboundMessage]:
    """Newest first, of the channels the viewer may read. Naming a channel one may not read is FORBIDDEN."""
    allowed = readable(call, where.channels)
    if len(readable_channels(call)) < len(ChannelType):
        where = replace(where, channels=allowed)
    scope = f"inbound|{call.workspace_id}|{digest([getattr(where, name) for name in where.__slots__])}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await rows.page(session, call.workspace_id, where, window)

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session, call.workspace_id, where)

    return cut(found, window, arguments, lambda message: call.means.cursors.seal(scope, (message.id,)), total)


async def orphans(call: Call, arguments: PageArguments) -> Page[Receipt]:
    """Receipts whose message is not known, newest first. A platform administrator also sees those that came for nobody in
    particular."""
    call.require(READ_ALL)
    everywhere = call.viewer.is_platform_admin
    scope = f"orphans|{call.workspace_id}|{everywhere}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await receipts.orphans(session, call.workspace_id, everywhere, window)

    async def total() -> int:
        async with call.read() as session:
            return await receipts.count_orphans(session, call.workspace_id, everywhere)

    return cut(found, window, arguments, lambda receipt: call.means.cursors.seal(scope, (receipt.id,)), total)
