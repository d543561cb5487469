"""Whether a message may be accepted: under the sender ID it names, to the recipient it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import ChannelType
from delivery import optouts, permits
from delivery.route import Route
from models.senders import SenderId, SenderIdStatus
from resolvers.call import Call
from resolvers.candidates import Lookup
from resolvers.problems import Problem, UserErrorCode

if TYPE_CHECKING:
    from resolvers.messages import Draft

PATH = ["input", "senderId"]
UNWANTED = "The recipient does not want messages of this workspace through this channel."


async def sender(lookup: Lookup, call: Call, draft: Draft, way: Route) -> SenderId | None:
    """The approved sender ID a draft names. Raises SENDER_ID_REQUIRED and SENDER_ID_NOT_APPROVED: for one that is missing,
    another workspace's, of a channel the message will never go through, or not approved, which all look the same."""
    channels = [channel_of(draft, way), *(choice.channel for choice in draft.fallbacks)]
    for choice in draft.fallbacks:
        call.require(f"send:{choice.channel.lower()}")
    if draft.sender_id is None:
        if ChannelType.SMS in channels:
            raise Problem(UserErrorCode.SENDER_ID_REQUIRED, permits.SENDER_REQUIRED.message, PATH)
        return None
    found = await lookup.sender(draft.sender_id)
    others_need_one = found is not None and found.channel_type != ChannelType.SMS and ChannelType.SMS in channels
    if found is None or found.status != SenderIdStatus.APPROVED or found.channel_type not in channels or others_need_one:
        message = "The sender ID does not exist, is not approved, or is of another channel."
        raise Problem(UserErrorCode.SENDER_ID_NOT_APPROVED, message, PATH)
    return found


async def opted_out(session: AsyncSession, call: Call, asked: Mapping[int, tuple[Draft, str, str]]) -> dict[int, Problem]:
    """RECIPIENT_OPTED_OUT for those of (draft, channel, canonical recipient) that their recipients do not want."""
    wanted = {i: (call.workspace_id, channel, to) for i, (draft, channel, to) in asked.items() if optouts.stops(draft.flow)}
    code, path = UserErrorCode.RECIPIENT_OPTED_OUT, ["input", "to"]
    return {i: Problem(code, UNWANTED, path) for i in await permits.opted_out(session, wanted)}


def channel_of(draft: Draft, way: Route) -> str | None:
    """The channel a draft is meant for."""
    return way.decisions[0].connector.channel_type if way.decisions else draft.channel
