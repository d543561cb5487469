"""The event log: what changed, in the transaction that changed it, numbered without gaps per workspace.

The number comes from a counter row updated as the last statement of the transaction. Its row lock is held until commit, so
number order is commit order, and a reader who has seen number n will never find a new row below n.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Index, String, and_, bindparam, false, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models import ids, many
from models.base import Base, JsonObject, now, table_of
from models.reader import Look, Reader

MESSAGE, CHANNEL, INBOUND, WEBHOOK = "message", "channel", "inbound", "webhook"
SENDER, OPT_OUT = "sender", "opt_out"
OF_MESSAGES = (MESSAGE, INBOUND)
PLATFORM = "platform"
"""The log of no workspace: what those who run the installation have to look at. Numbered and followed as any other."""


class Counter(Base):
    __tablename__ = "counter"

    workspace_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)


class Floor(Base):
    """Where a workspace's log begins, once something of it was dropped. Beside the counter, whose lock is for writers."""

    __tablename__ = "event_floor"

    workspace_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    oldest: Mapped[int] = mapped_column(BigInteger)


class Event(Base):
    """One entry of the log. `kind` is the noun (message, channel, inbound); `type` the public dotted name (`email.sent`)."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_subject", "workspace_id", "subject_id", "seq"),)

    workspace_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    type: Mapped[str] = mapped_column(String(60))
    subject_id: Mapped[str] = mapped_column(String(40))
    connector_id: Mapped[str | None] = mapped_column(String(40))
    channel_type: Mapped[str | None] = mapped_column(String(20))
    payload: Mapped[JsonObject]
    occurred_at: Mapped[dt.datetime]

    @property
    def share_key(self) -> Event:
        """The row itself: those who follow the log as it grows are handed the same one, and may be given the same answer;
        whoever reads it again later has another."""
        return self


@dataclass(slots=True, kw_only=True)
class NewEvent:
    """An event waiting for its number."""

    workspace_id: str
    kind: str
    type: str
    subject_id: str
    connector_id: str | None = None
    channel_type: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    occurred_at: dt.datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which types: a dotted name, or its beginning when `is_prefix`. The noun `message` stands for every channel."""

    text: str
    is_prefix: bool = False

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """`email.sent`, `email.*`, `message.sent`, `*`, and with an underscore for the first dot (`email_sent`)."""
        text = text.strip().lower()
        if "." not in text:
            text = text.replace("_", ".", 1)
        return cls(text.removesuffix("*"), text.endswith("*"))

    def matches(self, event: Event) -> bool:
        return any(self._fits(name) for name in (event.type, self._generic(event)))

    def clause(self) -> ColumnElement[bool]:
        """The same question in SQL."""
        own = Event.type.startswith(self.text, autoescape=True) if self.is_prefix else Event.type == self.text
        return or_(own, and_(Event.kind.in_(OF_MESSAGES), self._generic_clause()))

    def _generic_clause(self) -> ColumnElement[bool]:
        noun, dot, verb = self.text.partition(".")
        if not dot:
            return true() if self.is_prefix and MESSAGE.startswith(noun) else false()
        if noun != MESSAGE:
            return false()
        if self.is_prefix:
            return Event.type.contains(f".{verb}", autoescape=True)
        return Event.type.endswith(f".{verb}", autoescape=True)

    def _fits(self, name: str) -> bool:
        return name.startswith(self.text) if self.is_prefix else name == self.text

    @staticmethod
    def _generic(event: Event) -> str:
        return f"{MESSAGE}.{event.type.partition('.')[2]}" if event.kind in OF_MESSAGES else event.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events; an empty field does not restrict. `message_channels` are those whose message events may be seen, `kinds`
    the other nouns."""

    patterns: Sequence[Pattern] | None = None
    subject_ids: Sequence[str] | None = None
    message_channels: Sequence[str] = ()
    kinds: Sequence[str] = (CHANNEL,)

    def matches(self, event: Event) -> bool:
        if self.subject_ids is not None and event.subject_id not in self.subject_ids:
            return False
        seen = event.channel_type in self.message_channels if event.kind in OF_MESSAGES else event.kind in self.kinds
        return seen and (self.patterns is None or any(pattern.matches(event) for pattern in self.patterns))

    def shows(self, event: Event) -> bool:
        return self.matches(event)

    def clauses(self, workspace_id: str) -> list[ColumnElement[bool]]:
        messages = and_(Event.kind.in_(OF_MESSAGES), Event.channel_type.in_(self.message_channels))
        found: list[ColumnElement[bool]] = [Event.workspace_id == workspace_id, or_(messages, Event.kind.in_(self.kinds))]
        if self.subject_ids is not None:
            found.append(Event.subject_id.in_(self.subject_ids))
        if self.patterns is not None:
            found.append(or_(false(), *(pattern.clause() for pattern in self.patterns)))
        return found


def record(session: AsyncSession, event: NewEvent) -> None:
    """Have `event` written as the last act of the transaction."""
    session.info.setdefault("events", []).append(event)


def take(session: AsyncSession) -> list[NewEvent]:
    """What was recorded in this session, handed over to be stored."""
    recorded: list[NewEvent] = session.info.pop("events", [])
    return recorded


async def store(connection: AsyncConnection, pending: Sequence[NewEvent]) -> set[str]:
    """Number and write events; the workspaces concerned. In id order, so that two writers cannot deadlock."""
    by_workspace: dict[str, list[NewEvent]] = {}
    for event in pending:
        by_workspace.setdefault(event.workspace_id, []).append(event)
    rows: list[dict[str, Any]] = []
    for workspace_id in sorted(by_workspace):
        recorded = by_workspace[workspace_id]
        first = await _reserve(connection, workspace_id, len(recorded))
        rows += [_row(event, first + i) for i, event in enumerate(recorded)]
    await many.insert_all(connection, table_of(Event), rows)
    return set(by_workspace)


async def _reserve(connection: AsyncConnection, workspace_id: str, number: int) -> int:
    """The first of `number` numbers that are the caller's alone; others wait until the transaction ends."""
    mine = update(Counter).where(Counter.workspace_id == workspace_id).values(seq=Counter.seq + number)
    last = await connection.scalar(mine.returning(Counter.seq))
    if last is None and workspace_id == PLATFORM:
        return await _open_platform(connection, number)
    if last is None:
        raise LookupError(f"workspace {workspace_id} has no event counter")
    return int(last) - number + 1


async def _open_platform(connection: AsyncConnection, number: int) -> int:
    """As `_reserve`, for the first event of the platform's log."""
    values = {"workspace_id": PLATFORM, "seq": number}
    made = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(Counter).values(values)
    counted = made.on_conflict_do_update(index_elements=["workspace_id"], set_={"seq": Counter.seq + number})
    last = await connection.scalar(counted.returning(Counter.seq))
    return int(last or 0) - number + 1


def _row(event: NewEvent, seq: int) -> dict[str, Any]:
    return {
        "id": ids.new_id(ids.EVENT),
        "seq": seq,
        "workspace_id": event.workspace_id,
        "kind": event.kind,
        "type": event.type,
        "subject_id": event.subject_id,
        "connector_id": event.connector_id,
        "channel_type": event.channel_type,
        "payload": event.payload,
        "occurred_at": event.occurred_at,
    }


async def after(session: AsyncSession, workspace_id: str, seq: int, limit: int) -> Sequence[Event]:
    """The next events past `seq`, oldest first."""
    found = select(Event).where(Event.workspace_id == workspace_id, Event.seq > seq).order_by(Event.seq).limit(limit)
    return (await session.scalars(found)).all()


async def page(session: AsyncSession, workspace_id: str, where: Filter, seq: int, limit: int) -> Sequence[Event]:
    """The next matching events past `seq`, oldest first."""
    found = select(Event).where(*where.clauses(workspace_id), Event.seq > seq).order_by(Event.seq).limit(limit)
    return (await session.scalars(found)).all()


async def head(session: AsyncSession, workspace_id: str) -> int:
    """The number of the newest event; 0 when there is none."""
    return await session.scalar(select(Counter.seq).where(Counter.workspace_id == workspace_id)) or 0


async def newest(reader: Reader, workspace_id: str) -> int:
    """As `head`, in one step."""
    found = await reader.look(_NEWEST, workspace_id=workspace_id)
    return int(found[0][0]) if found else 0


_NEWEST = Look(lambda _postgresql: select(Counter.seq).where(Counter.workspace_id == bindparam("workspace_id")))


async def oldest(session: AsyncSession, workspace_id: str) -> int:
    """The number from which on every event is kept."""
    return await session.scalar(select(Floor.oldest).where(Floor.workspace_id == workspace_id)) or 1


async def of_subjects(session: AsyncSession, workspace_id: str, subject_ids: Sequence[str]) -> Sequence[Event]:
    """Everything that happened to several objects, oldest first."""
    mine = (Event.workspace_id == workspace_id, Event.subject_id.in_(subject_ids))
    return (await session.scalars(select(Event).where(*mine).order_by(Event.seq))).all()


async def latest_of(session: AsyncSession, workspace_id: str, subject_id: str, upto: int) -> Event | None:
    """The newest event about one object that is numbered `upto` at most."""
    mine = (Event.workspace_id == workspace_id, Event.subject_id == subject_id, Event.seq <= upto)
    return await session.scalar(select(Event).where(*mine).order_by(Event.seq.desc()).limit(1))
