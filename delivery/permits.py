"""Whether a message may be sent at all, asked again when its turn comes: what was allowed when it was accepted may not be any
more. Answered from what is stored, before any provider is called."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import ChannelType
from channels.errors import FailureKind, SendError
from delivery import optouts
from models import optouts as rows
from models import senders
from models.messages import Message
from models.senders import SenderId, SenderIdStatus
from models.underway import Sendable

Key = TypeVar("Key", bound=Hashable)

SENDER_REQUIRED = SendError(FailureKind.CONTENT, "SENDER_ID_REQUIRED", "An SMS is sent under an approved sender ID.")
SENDER_NOT_APPROVED = SendError(FailureKind.CONTENT, "SENDER_ID_NOT_APPROVED", "The sender ID is not approved any more.")


def under(channel_type: str, sender: SenderId | None) -> SendError | None:
    """Why a message may not go through a channel under this sender ID. One of another channel does not concern it."""
    concerned = sender is not None and sender.channel_type == channel_type
    if concerned and sender is not None and sender.status != SenderIdStatus.APPROVED:
        return SENDER_NOT_APPROVED
    if channel_type == ChannelType.SMS and not concerned:
        return SENDER_REQUIRED if sender is None else SENDER_NOT_APPROVED
    return None


async def sender_of(session: AsyncSession, message: Message) -> SenderId | None:
    """The sender ID a message names, whatever its status."""
    return await senders.get(session, message.workspace_id, message.sender_id) if message.sender_id is not None else None


async def refusals(session: AsyncSession, messages: Sequence[Sendable]) -> dict[str, SendError]:
    """Which of these messages, of whatever workspaces, may not be sent, and why."""
    known = await _senders(session, messages)
    found = {m.id: under(m.channel_type, known.get((m.workspace_id, m.sender_id or ""))) for m in messages}
    asked = {m.id: (m.workspace_id, m.channel_type, m.to) for m in messages if optouts.stops(m.flow)}
    unwanted = await opted_out(session, asked)
    found |= {message_id: optouts.OPTED_OUT for message_id in unwanted}
    return {message_id: refusal for message_id, refusal in found.items() if refusal is not None}


async def opted_out(session: AsyncSession, asked: Mapping[Key, tuple[str, str, str]]) -> list[Key]:
    """Which of these addresses, (workspace, channel, recipient) of each, do not want messages."""
    found = await rows.among(session, list(asked.values())) if asked else set()
    return [name for name, (space, channel, to) in asked.items() if (space, channel, rows.key(to)) in found]


async def _senders(session: AsyncSession, messages: Sequence[Sendable]) -> Mapping[tuple[str, str], SenderId]:
    ids = sorted({message.sender_id for message in messages if message.sender_id is not None})
    found = await senders.by_ids(session, None, ids) if ids else ()
    return {(sender.workspace_id, sender.id): sender for sender in found}
