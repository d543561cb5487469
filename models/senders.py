"""Sender IDs: the names and numbers a workspace may send text messages under, and who allowed it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonList, now
from models.events import PLATFORM, SENDER, NewEvent, record
from models.paging import Window, contains


class SenderIdStatus(StrEnum):
    """Where a sender ID stands. Only an APPROVED one is sent under."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    REVOKED = "REVOKED"


class SenderIdKind(StrEnum):
    ALPHANUMERIC = "ALPHANUMERIC"
    PHONE_NUMBER = "PHONE_NUMBER"
    SHORT_CODE = "SHORT_CODE"


class SenderId(Base):
    """`key` is the value as it is compared within a workspace, `skeleton` what it looks like. `requested_by` asked for it,
    `updated_by` changed the request last. `rejections` is kept through every change: {"at", "note"} of each."""

    __tablename__ = "sender_id"
    __table_args__ = (
        Index(
            "uq_sender_id_key",
            "workspace_id",
            "channel_type",
            "key",
            unique=True,
            sqlite_where=text("status <> 'REVOKED'"),
            postgresql_where=text("status <> 'REVOKED'"),
        ),
        Index("ix_sender_id_list", "workspace_id", "id"),
        Index("ix_sender_id_skeleton", "skeleton"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    channel_type: Mapped[str] = mapped_column(String(20))
    value: Mapped[str] = mapped_column(String(20))
    kind: Mapped[str] = mapped_column(String(20))
    key: Mapped[str] = mapped_column(String(20))
    skeleton: Mapped[str] = mapped_column(String(20))
    country: Mapped[str | None] = mapped_column(String(2))
    use_case: Mapped[str | None] = mapped_column(Text)
    sample_message: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20))
    requested_by: Mapped[str] = mapped_column(String(255))
    updated_by: Mapped[str] = mapped_column(String(255))
    review_note: Mapped[str | None] = mapped_column(Text)
    reviewed_at: Mapped[dt.datetime | None]
    reviewed_by: Mapped[str | None] = mapped_column(String(255))
    rejections: Mapped[JsonList]
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which sender IDs; an empty field does not restrict. Without a workspace, those of all: for reviewers."""

    statuses: Sequence[str] | None = None
    channels: Sequence[str] | None = None
    query: str | None = None

    def clauses(self, workspace_id: str | None) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if workspace_id is not None:
            found.append(SenderId.workspace_id == workspace_id)
        if self.statuses is not None:
            found.append(SenderId.status.in_(self.statuses))
        if self.channels is not None:
            found.append(SenderId.channel_type.in_(self.channels))
        if self.query:
            found.append(or_(contains(SenderId.value, self.query), contains(SenderId.use_case, self.query)))
        return found


async def page(session: AsyncSession, workspace_id: str | None, where: Filter, window: Window) -> Sequence[SenderId]:
    """Newest first."""
    found = window.apply(select(SenderId).where(*where.clauses(workspace_id)), (SenderId.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str | None, where: Filter) -> int:
    return await session.scalar(select(func.count()).select_from(SenderId).where(*where.clauses(workspace_id))) or 0


async def get(session: AsyncSession, workspace_id: str | None, sender_id: str) -> SenderId | None:
    """A sender ID of a workspace; of whichever one without it, for reviewers."""
    mine = [SenderId.id == sender_id, *Filter().clauses(workspace_id)]
    return await session.scalar(select(SenderId).where(*mine))


async def by_ids(session: AsyncSession, workspace_id: str | None, ids: Sequence[str]) -> Sequence[SenderId]:
    mine = [SenderId.id.in_(ids), *Filter().clauses(workspace_id)]
    return (await session.scalars(select(SenderId).where(*mine))).all()


async def by_key(session: AsyncSession, workspace_id: str, channel_type: str, key: str) -> SenderId | None:
    """The one of a workspace that is not revoked."""
    mine = (SenderId.workspace_id == workspace_id, SenderId.channel_type == channel_type, SenderId.key == key)
    return await session.scalar(select(SenderId).where(*mine, SenderId.status != SenderIdStatus.REVOKED))


async def alike(session: AsyncSession, skeletons: Sequence[str]) -> Sequence[SenderId]:
    """Those of all workspaces that look like one of these, oldest first: for reviewers."""
    found = select(SenderId).where(SenderId.skeleton.in_(skeletons)).order_by(SenderId.id)
    return (await session.scalars(found)).all()


async def move(
    session: AsyncSession, workspace_id: str, sender_id: str, allowed: Sequence[str], values: Mapping[str, Any]
) -> SenderId | None:
    """Write `values` if the status is still one of `allowed`; None otherwise."""
    mine = (SenderId.workspace_id == workspace_id, SenderId.id == sender_id, SenderId.status.in_(allowed))
    changed = update(SenderId).where(*mine).values(**values, updated_at=now()).returning(SenderId)
    return await session.scalar(changed.execution_options(populate_existing=True))


def changed(session: AsyncSession, sender: SenderId, verb: str, previous: str | None) -> None:
    """`sender.created`, `.updated`, `.approved`, `.rejected` or `.revoked`: in the log of its workspace, and in the platform's,
    which those who review follow."""
    for log in (sender.workspace_id, PLATFORM):
        event = NewEvent(
            workspace_id=log,
            kind=SENDER,
            type=f"sender.{verb}",
            subject_id=sender.id,
            channel_type=sender.channel_type,
            payload={"previousStatus": previous, "status": sender.status, "value": sender.value},
        )
        record(session, event)
