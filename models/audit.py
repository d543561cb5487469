"""The audit log: who changed what, from where, in the transaction that changed it.

Entries are only ever added. Each carries a hash over itself and the hash before it, so that an entry that was altered or taken
out later shows (`broken`). They are numbered per workspace just before the commit, like events, so that a chain has no forks.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import BigInteger, ForeignKey, Index, String, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models import ids
from models.base import Base, JsonObject, now, table_of
from models.paging import Window

LONGEST_ACTION = 60
BATCH = 500
_ORIGIN = ""


class AuditEntry(Base):
    """One change. `changes` holds, by field, what it was (`from`) and what it became (`to`); secrets are masked in both."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_target", "workspace_id", "target_id", "seq"),)

    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    actor: Mapped[str] = mapped_column(String(300))
    action: Mapped[str] = mapped_column(String(LONGEST_ACTION))
    target_id: Mapped[str | None] = mapped_column(String(80))
    changes: Mapped[JsonObject]
    ip: Mapped[str | None] = mapped_column(String(45))
    occurred_at: Mapped[dt.datetime]
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """Where a workspace's chain ends."""

    __tablename__ = "audit_head"

    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))


@dataclass(slots=True, kw_only=True)
class NewEntry:
    """An entry waiting for its number."""

    workspace_id: str
    actor: str
    action: str
    target_id: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    ip: str | None = None
    occurred_at: dt.datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries; an empty field does not restrict."""

    actor: str | None = None
    action: str | None = None
    target_id: str | None = None
    since: dt.datetime | None = None

    def clauses(self, workspace_id: str) -> list[Any]:
        wanted = (AuditEntry.actor, self.actor), (AuditEntry.action, self.action), (AuditEntry.target_id, self.target_id)
        clauses = [AuditEntry.workspace_id == workspace_id, *(column == value for column, value in wanted if value is not None)]
        return clauses if self.since is None else [*clauses, AuditEntry.occurred_at > self.since]


def record(session: AsyncSession, entry: NewEntry) -> None:
    """Have `entry` written as one of the last acts of the transaction."""
    session.info.setdefault("audit", []).append(entry)


def take(session: AsyncSession) -> list[NewEntry]:
    """What was recorded in this session, handed over to be stored."""
    recorded: list[NewEntry] = session.info.pop("audit", [])
    return recorded


async def store(connection: AsyncConnection, pending: Sequence[NewEntry]) -> None:
    """Number, chain and write entries; workspaces in id order, so that two writers cannot deadlock."""
    by_workspace: dict[str, list[NewEntry]] = {}
    for entry in pending:
        by_workspace.setdefault(entry.workspace_id, []).append(entry)
    for workspace_id in sorted(by_workspace):
        await _append(connection, workspace_id, by_workspace[workspace_id])


async def _append(connection: AsyncConnection, workspace_id: str, entries: Sequence[NewEntry]) -> None:
    seq, previous = await _reserve(connection, workspace_id, len(entries))
    rows: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, start=seq):
        row = _row(entry, number)
        row["hash"] = previous = chained(previous, row)
        rows.append(row)
    await connection.execute(insert(table_of(AuditEntry)), rows)
    head = update(AuditHead).where(AuditHead.workspace_id == workspace_id)
    await connection.execute(head.values(hash=previous))


async def _reserve(connection: AsyncConnection, workspace_id: str, number: int) -> tuple[int, str]:
    """The first of `number` numbers, and the hash they continue; other writers wait until the transaction ends."""
    dialect = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(AuditHead)
    first = dialect.values(workspace_id=workspace_id, seq=number, hash=_ORIGIN)
    grown = first.on_conflict_do_update(index_elements=["workspace_id"], set_={"seq": AuditHead.seq + number})
    last, previous = (await connection.execute(grown.returning(AuditHead.seq, AuditHead.hash))).one()
    return int(last) - number + 1, str(previous)


def _row(entry: NewEntry, seq: int) -> dict[str, Any]:
    return {
        "id": ids.new_id(ids.AUDIT),
        "seq": seq,
        "workspace_id": entry.workspace_id,
        "actor": entry.actor,
        "action": entry.action,
        "target_id": entry.target_id,
        "changes": entry.changes,
        "ip": entry.ip,
        "occurred_at": entry.occurred_at,
    }


def chained(previous: str, row: dict[str, Any]) -> str:
    """The hash of an entry: SHA-256, in hexadecimal, over the hash before it and everything the entry says."""
    said = {name: value for name, value in row.items() if name != "hash"}
    said["occurred_at"] = said["occurred_at"].astimezone(dt.UTC).isoformat()
    return hashlib.sha256(previous.encode() + orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def page(session: AsyncSession, workspace_id: str, where: Filter, window: Window) -> Sequence[AuditEntry]:
    """Newest first."""
    found = window.apply(select(AuditEntry).where(*where.clauses(workspace_id)), [AuditEntry.seq], descending=True)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str, where: Filter) -> int:
    found = select(func.count()).select_from(AuditEntry).where(*where.clauses(workspace_id))
    return await session.scalar(found) or 0


async def broken(session: AsyncSession, workspace_id: str) -> int | None:
    """The number of the first entry that does not continue the chain; None when the log is as it was written."""
    previous, seq = _ORIGIN, 0
    async for entry in _all(session, workspace_id):
        row = {column.key: getattr(entry, column.key) for column in AuditEntry.__table__.columns}
        if entry.seq != seq + 1 or entry.hash != chained(previous, row):
            return seq + 1
        previous, seq = entry.hash, entry.seq
    head = await session.get(AuditHead, workspace_id)
    ends = (head.seq, head.hash) if head is not None else (0, _ORIGIN)
    return None if ends == (seq, previous) else seq + 1


async def _all(session: AsyncSession, workspace_id: str) -> AsyncIterator[AuditEntry]:
    seq = 0
    while True:
        next_ones = select(AuditEntry).where(AuditEntry.workspace_id == workspace_id, AuditEntry.seq > seq)
        found: Iterable[AuditEntry] = (await session.scalars(next_ones.order_by(AuditEntry.seq).limit(BATCH))).all()
        seq_before = seq
        for entry in found:
            yield entry
            seq = entry.seq
        session.expunge_all()
        if seq == seq_before:
            return
