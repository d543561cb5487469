"""Messages to us: stored once, told to whoever listens, and heeded, all in the transaction of the caller."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Inbound
from delivery import keywords, optouts, parts
from models import connectors, ids, inbound
from models import parts as parted
from models.base import now
from models.connectors import ComponentStatus, Connector
from models.database import Database
from models.inbound import InboundMessage
from models.timeline import channel_changed, inbound_received
from models.vault import Vault

LONGEST_BODY = 64_000
MOST_MEDIA = 20


async def take(session: AsyncSession, connector: Connector, told: Sequence[Inbound], vault: Vault) -> list[InboundMessage]:
    """Store what was not stored before; the messages that are new."""
    fresh = []
    for one in told:
        for whole in [one] if one.part is None else await parts.joined(session, connector, one, one.part):
            message = _row(connector, whole)
            if await inbound.store(session, connector.workspace_id, message):
                await optouts.heed(session, connector, message, vault)
                inbound_received(session, message)
                fresh.append(message)
    return fresh


async def give_up(session: AsyncSession, at: dt.datetime, limit: int, vault: Vault) -> int:
    """Tell what came of messages whose parts have not all come in time, and forget joined ones; how many were told."""
    await parted.forget_joined(session, at - parts.KEPT)
    late = await parted.old(session, at - parts.KEPT, limit)
    for held in late:
        found = await connectors.by_ids(session, held.workspace_id, [held.connector_id])
        told = parts.message_of(held)
        await parted.forget(session, held.workspace_id, held)
        await take(session, found[0], [told], vault)
    return len(late)


async def note(database: Database, connector: Connector, status: ComponentStatus, error: str | None) -> Connector | None:
    """Have a connector's status tell how it goes with what comes in; the changed connector, or None when that is no news."""
    if (connector.inbound_status, connector.inbound_error) == (status, error):
        return None
    async with database.write() as session:
        changed = await connectors.set_inbound(session, connector.workspace_id, connector.id, status, error)
        if changed is not None:
            channel_changed(session, changed, "updated", connector.stage, "callback")
    return changed


def _row(connector: Connector, told: Inbound) -> InboundMessage:
    return InboundMessage(
        id=ids.new_id(ids.INBOUND),
        workspace_id=connector.workspace_id,
        connector_id=connector.id,
        channel_type=connector.channel_type,
        event_id=short(told.event_id),
        sender=clean(told.sender, 320) or "",
        to=clean(told.to, 320),
        body=clean(told.text, LONGEST_BODY),
        kind=clean(told.kind, 40) or "unknown",
        media=[asdict(item) for item in told.media[:MOST_MEDIA]],
        external_id=clean(told.provider_id, 255),
        payload=clean(told.payload, 1000),
        intent=told.intent.value if told.intent else None,
        keyword=keywords.keyword(told.text),
        occurred_at=min(told.occurred_at, now()),
        received_at=now(),
    )


def short(name: str) -> str:
    """A provider's name for an event as it is kept: a long one by its hash."""
    return name if len(name) <= 255 and name.isprintable() else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


def clean(text: str | None, longest: int) -> str | None:
    """Text as any database takes it: no NUL, no lone surrogates, not endless."""
    return text and text.replace("\0", "").encode("utf-8", "replace").decode()[:longest]
