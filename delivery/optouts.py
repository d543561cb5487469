"""Opting out and in again, with all that follows from it, in the transaction of the caller.

An opt-out holds for a workspace and a channel. It stops everything but one-time passwords, which a person asks for at that
moment and would be locked out without; a block of the carrier or the provider stops those too, and we cannot lift it.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import ChannelType, Intent
from channels.errors import FailureKind, SendError
from delivery import keywords
from delivery.verdict import failure_of
from models import ids, messages, optouts, recipients, waiting
from models.base import now
from models.connectors import Connector
from models.inbound import InboundMessage
from models.messages import MessageStatus
from models.optouts import OptOut, OptOutAction, OptOutSource
from models.timeline import TimelineSource, message_changed
from models.vault import Vault
from models.waiting import WAITING

OPTED_OUT = SendError(FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT", "The recipient does not want messages.")
BY_KEYWORD = frozenset({ChannelType.SMS, ChannelType.WHATSAPP, ChannelType.SIMULATOR})

log = structlog.get_logger()


def stops(flow: str) -> bool:
    """Whether an opt-out holds back messages of this kind."""
    return flow != "OTP"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants no more of, or again, and how we learnt of it. `recipient` is in the channel's canonical form."""

    workspace_id: str
    channel_type: str
    recipient: str
    source: OptOutSource
    keyword: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """An opt-out, and how many waiting messages it canceled."""

    opt_out: OptOut
    canceled: int


async def add(session: AsyncSession, wish: Wish) -> Added:
    """Opt a recipient out and cancel what waits for them. Again, it cancels what has come since."""
    opt_out = OptOut(
        id=ids.new_id(ids.OPT_OUT),
        workspace_id=wish.workspace_id,
        channel_type=wish.channel_type,
        recipient=optouts.key(wish.recipient),
        source=wish.source,
        keyword=wish.keyword,
        reason=wish.reason,
        created_at=now(),
    )
    if await optouts.store(session, wish.workspace_id, opt_out):
        optouts.changed(session, opt_out, OptOutAction.ADDED, wish.source, wish.keyword)
    else:
        known = await optouts.by_recipient(session, wish.workspace_id, wish.channel_type, wish.recipient)
        opt_out = known or opt_out
    return Added(opt_out, await _cancel(session, wish))


async def remove(session: AsyncSession, wish: Wish) -> OptOut | None:
    """Opt a recipient in again; None when they had not opted out."""
    removed = await optouts.remove(session, wish.workspace_id, wish.channel_type, wish.recipient)
    if removed is not None:
        optouts.changed(session, removed, OptOutAction.REMOVED, wish.source, wish.keyword)
    return removed


async def heed(session: AsyncSession, connector: Connector, message: InboundMessage, vault: Vault) -> None:
    """Do what an inbound message asks, if it asks for something and its sender was ever written to by the organization."""
    wanted = Intent(message.intent) if message.intent is not None else None
    if wanted is None and connector.channel_type in BY_KEYWORD:
        wanted = keywords.intent(message.keyword)
    if wanted not in (Intent.OPT_OUT, Intent.OPT_IN) or not message.sender:
        return
    workspace_id, channel_type = connector.workspace_id, connector.channel_type
    marks = recipients.marks(vault, channel_type, message.sender)
    if not await optouts.was_written_to(session, workspace_id, channel_type, _spellings(message.sender), marks):
        log.info("opt_out_ignored", reason="never written to", connector_id=connector.id, inbound_id=message.id)
        return
    wish = Wish(workspace_id, channel_type, message.sender, OptOutSource.INBOUND, message.keyword)
    if wanted is Intent.OPT_OUT:
        await add(session, wish)
    else:
        await remove(session, wish)


async def _cancel(session: AsyncSession, wish: Wish) -> int:
    found = await optouts.waiting(session, wish.workspace_id, wish.channel_type, _spellings(wish.recipient))
    removed = await waiting.remove(session, wish.workspace_id, list(found)) if found else []
    values = {"status": MessageStatus.CANCELED, "failure": failure_of(OPTED_OUT)}
    source = TimelineSource.API if wish.source is OptOutSource.API else TimelineSource.DISPATCHER
    for message_id in sorted(removed):
        canceled = await messages.move(session, wish.workspace_id, message_id, WAITING, values)
        if canceled is not None:
            message_changed(session, canceled, found[message_id], source, detail=OPTED_OUT.message)
    return len(removed)


def _spellings(recipient: str) -> list[str]:
    """How messages may spell the recipient: as given, and as opt-outs do."""
    return sorted({recipient, optouts.key(recipient)})
