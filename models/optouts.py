"""Opt-outs: who does not want messages of a workspace through a channel. Removing one deletes it; the log remembers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, ForeignKey, Index, String, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, table_of
from models.events import OPT_OUT, NewEvent, record
from models.messages import Message, MessageStatus
from models.paging import Window, contains
from models.workspaces import Workspace


class OptOutAction(StrEnum):
    ADDED = "ADDED"
    REMOVED = "REMOVED"


class OptOutSource(StrEnum):
    """How we learnt of it."""

    API = "API"
    INBOUND = "INBOUND"
    UNSUBSCRIBE = "UNSUBSCRIBE"
    PROVIDER = "PROVIDER"


class OptOut(Base):
    """`recipient` is spelt as `key` spells it; `keyword` is the word somebody wrote to us."""

    __tablename__ = "opt_out"
    __table_args__ = (
        Index("uq_opt_out_recipient", "workspace_id", "channel_type", "recipient", unique=True),
        Index("ix_opt_out_list", "workspace_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    channel_type: Mapped[str] = mapped_column(String(20))
    recipient: Mapped[str] = mapped_column(String(320))
    source: Mapped[str] = mapped_column(String(20))
    keyword: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[dt.datetime]


def key(recipient: str) -> str:
    """The one spelling under which an address opts out: mailboxes that differ in case alone are one."""
    return recipient.strip().casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which opt-outs; an empty field does not restrict. `recipient` is a part of the address."""

    channels: Sequence[str] | None = None
    recipient: str | None = None

    def clauses(self, workspace_id: str) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [OptOut.workspace_id == workspace_id]
        if self.channels is not None:
            found.append(OptOut.channel_type.in_(self.channels))
        if self.recipient:
            found.append(contains(OptOut.recipient, self.recipient))
        return found


async def page(session: AsyncSession, workspace_id: str, where: Filter, window: Window) -> Sequence[OptOut]:
    """Newest first."""
    found = window.apply(select(OptOut).where(*where.clauses(workspace_id)), (OptOut.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str, where: Filter) -> int:
    return await session.scalar(select(func.count()).select_from(OptOut).where(*where.clauses(workspace_id))) or 0


async def get(session: AsyncSession, workspace_id: str, opt_out_id: str) -> OptOut | None:
    mine = (OptOut.workspace_id == workspace_id, OptOut.id == opt_out_id)
    return await session.scalar(select(OptOut).where(*mine))


async def by_ids(session: AsyncSession, workspace_id: str, ids: Sequence[str]) -> Sequence[OptOut]:
    mine = (OptOut.workspace_id == workspace_id, OptOut.id.in_(ids))
    return (await session.scalars(select(OptOut).where(*mine))).all()


async def by_recipient(session: AsyncSession, workspace_id: str, channel_type: str, recipient: str) -> OptOut | None:
    mine = (OptOut.workspace_id == workspace_id, OptOut.channel_type == channel_type, OptOut.recipient == key(recipient))
    return await session.scalar(select(OptOut).where(*mine))


_NAMED = select(OptOut.workspace_id, OptOut.channel_type, OptOut.recipient).where(
    OptOut.workspace_id.in_(bindparam("workspaces", expanding=True)),
    OptOut.recipient.in_(bindparam("recipients", expanding=True)),
)


async def among(session: AsyncSession, addresses: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Those of (workspace, channel, recipient) that opted out, spelt as `key` spells them; of whatever workspaces."""
    workspaces = sorted({workspace_id for workspace_id, _channel, _recipient in addresses})
    recipients = sorted({key(recipient) for _workspace, _channel, recipient in addresses})
    found = await session.execute(_NAMED, {"workspaces": workspaces, "recipients": recipients})
    return {(workspace_id, channel_type, recipient) for workspace_id, channel_type, recipient in found}


async def store(session: AsyncSession, workspace_id: str, opt_out: OptOut) -> bool:
    """False when the recipient had opted out before."""
    values = {column.key: getattr(opt_out, column.key) for column in table_of(OptOut).columns}
    values["workspace_id"] = workspace_id
    insert = (postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert)(OptOut)
    stored = insert.values(values).on_conflict_do_nothing(index_elements=["workspace_id", "channel_type", "recipient"])
    return await session.scalar(stored.returning(OptOut.id)) is not None


async def remove(session: AsyncSession, workspace_id: str, channel_type: str, recipient: str) -> OptOut | None:
    """The opt-out that was there, now gone."""
    mine = (OptOut.workspace_id == workspace_id, OptOut.channel_type == channel_type, OptOut.recipient == key(recipient))
    return await session.scalar(delete(OptOut).where(*mine).returning(OptOut))


async def waiting(session: AsyncSession, workspace_id: str, channel_type: str, spellings: Sequence[str]) -> dict[str, str]:
    """Messages to a recipient that have not left and that an opt-out stops, with their status: all but one-time passwords."""
    mine = (Message.workspace_id == workspace_id, Message.to.in_(spellings), Message.channel_type == channel_type)
    open_ones = (Message.status.in_((MessageStatus.SCHEDULED, MessageStatus.QUEUED)), Message.flow != "OTP")
    found = await session.execute(select(Message.id, Message.status).where(*mine, *open_ones).order_by(Message.id))
    return {message_id: status for message_id, status in found}


async def was_written_to(
    session: AsyncSession, workspace_id: str, channel_type: str, spellings: Sequence[str], marks: Sequence[str]
) -> bool:
    """Whether the workspace's organization ever handed a provider a message to this recipient through this channel. By its
    marks is found who has been forgotten since."""
    mine = select(Workspace.organization_id).where(Workspace.id == workspace_id).scalar_subquery()
    ours = select(Workspace.id).where(Workspace.organization_id == mine)
    left = (Message.sent_at.is_not(None), Message.status.in_((MessageStatus.SENT, MessageStatus.UNKNOWN)))
    to = Message.to.in_(spellings) | Message.recipient_mark.in_(marks)
    sent = select(Message.id).where(Message.workspace_id.in_(ours), to, left[0] | left[1])
    return await session.scalar(sent.where(Message.channel_type == channel_type).limit(1)) is not None


def changed(session: AsyncSession, opt_out: OptOut, action: OptOutAction, source: OptOutSource, keyword: str | None) -> None:
    """`sms.opt_out` and the like."""
    payload = {"action": action.value, "recipient": opt_out.recipient, "source": source.value, "keyword": keyword}
    event = NewEvent(
        workspace_id=opt_out.workspace_id,
        kind=OPT_OUT,
        type=f"{opt_out.channel_type.lower()}.opt_out",
        subject_id=opt_out.id,
        channel_type=opt_out.channel_type,
        payload=payload,
    )
    record(session, event)
