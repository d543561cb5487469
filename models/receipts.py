"""What providers told us of messages, each once. A receipt is stored first and applied after; one whose message is not known,
because it overtook the answer to the send, is parked and waits here for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Index, String, and_, bindparam, delete, exists, func, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, table_of
from models.connectors import Connector
from models.messages import Attempt, Message, alias
from models.paging import Window
from models.reader import Look, Reader

ANY = ""
"""The connector and workspace of a receipt that came by a door of the whole installation, while nobody knows its message."""


class Receipt(Base):
    """`message_id` is empty until it is applied; `reference` is our own id of the message, where the provider echoed it."""

    __tablename__ = "receipt"
    __table_args__ = (
        Index("uq_receipt_id", "id", unique=True),
        Index("ix_receipt_external", "connector_id", "external_id"),
        Index(
            "ix_receipt_message",
            "message_id",
            sqlite_where=text("message_id IS NOT NULL"),
            postgresql_where=text("message_id IS NOT NULL"),
        ),
        Index(
            "ix_receipt_referring",
            "reference",
            sqlite_where=text("message_id IS NULL"),
            postgresql_where=text("message_id IS NULL"),
        ),
        Index(
            "ix_receipt_parked",
            "received_at",
            sqlite_where=text("message_id IS NULL"),
            postgresql_where=text("message_id IS NULL"),
        ),
        Index(
            "ix_receipt_orphans",
            "workspace_id",
            "id",
            sqlite_where=text("message_id IS NULL"),
            postgresql_where=text("message_id IS NULL"),
        ),
    )

    connector_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    id: Mapped[str] = mapped_column(String(40))
    workspace_id: Mapped[str] = mapped_column(String(40))
    external_id: Mapped[str] = mapped_column(String(255))
    reference: Mapped[str | None] = mapped_column(String(40))
    message_id: Mapped[str | None] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(20))
    failure: Mapped[JsonObject | None]
    detail: Mapped[str | None] = mapped_column(String(1000))
    raw: Mapped[JsonObject]
    occurred_at: Mapped[dt.datetime]
    received_at: Mapped[dt.datetime]


_WAITS = Receipt.message_id.is_(None)
_SMS = select(Connector.id).where(Connector.channel_type == "SMS")
_COLUMNS = tuple(column.key for column in Receipt.__table__.columns)


async def store_all(session: AsyncSession, receipts: Sequence[Receipt]) -> None:
    """Store receipts of any workspace; what was stored before stays as it is."""
    rows: list[dict[str, Any]] = [{name: getattr(receipt, name) for name in _COLUMNS} for receipt in receipts]
    dialect = session.get_bind().dialect.name
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table_of(Receipt))
    await (await session.connection()).execute(insert.on_conflict_do_nothing(), rows)


def _named() -> ColumnElement[bool]:
    return and_(
        Receipt.connector_id.in_(bindparam("connector_ids", expanding=True)),
        Receipt.external_id.in_(bindparam("external_ids", expanding=True)),
        _WAITS,
    )


_PARKED = select(Receipt).where(_named()).order_by(Receipt.id)
_ANY_PARKED = select(Receipt.id).where(_named()).limit(1)


def _names(names: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    connector_ids = {ANY, *(connector_id for connector_id, _ in names)}
    return {"connector_ids": sorted(connector_ids), "external_ids": sorted({name for _, name in names})}


async def is_any_parked(reader: Reader) -> bool:
    """Whether a receipt waits for its message, whichever that is."""
    return bool(await reader.look(_ANY))


_ANY = Look(lambda _: select(Receipt.id).where(Receipt.message_id.is_(None)).limit(1))


async def are_parked(session: AsyncSession, names: Sequence[tuple[str, str]]) -> bool:
    """Whether receipts may wait under one of these names: (connector, provider's id) of each."""
    return await session.scalar(_ANY_PARKED, _names(names)) is not None


async def hold_parked(session: AsyncSession, names: Sequence[tuple[str, str]]) -> list[Receipt]:
    """Receipts that wait under these names, in the order they came, held until the transaction ends."""
    wanted, ids = set(names), {name for _, name in names}
    found = await session.scalars(_PARKED.with_for_update(skip_locked=True), _names(names))
    return [
        receipt
        for receipt in found
        if (receipt.connector_id, receipt.external_id) in wanted or (receipt.connector_id == ANY and receipt.external_id in ids)
    ]


async def owners(session: AsyncSession, receipts: Sequence[Receipt]) -> dict[str, tuple[str, str]]:
    """Whose receipts are: (connector, message) by the id of the receipt. A message is meant when one of its attempts through
    the receipt's connector has the provider's name, redacted or not, or was made for the message the receipt refers to."""
    ids = {name for receipt in receipts for name in (receipt.external_id, alias(receipt.external_id))}
    references = {receipt.reference for receipt in receipts if receipt.reference}
    through = {receipt.connector_id for receipt in receipts} - {ANY}
    mine = [Attempt.connector_id.in_(through)]
    if any(receipt.connector_id == ANY for receipt in receipts):
        mine.append(Attempt.connector_id.in_(_SMS))
    tried = select(Attempt.connector_id, Attempt.external_id, Attempt.message_id)
    by_name = await session.execute(tried.where(or_(*mine), Attempt.external_id.in_(ids)).order_by(Attempt.message_id))
    named = {(connector_id, external_id): message_id for connector_id, external_id, message_id in by_name if external_id}
    by_message = await session.execute(tried.where(or_(*mine), Attempt.message_id.in_(references))) if references else ()
    referred = {(connector_id, message_id) for connector_id, _, message_id in by_message}
    return {receipt.id: owner for receipt in receipts if (owner := _owner(receipt, named, referred)) is not None}


def _owner(receipt: Receipt, named: dict[tuple[str, str], str], referred: set[tuple[str, str]]) -> tuple[str, str] | None:
    """None also where two connectors have messages of this name and the receipt does not say which is meant."""
    names = (receipt.external_id, alias(receipt.external_id))
    if receipt.connector_id != ANY:
        found = {
            (receipt.connector_id, named[receipt.connector_id, name]) for name in names if (receipt.connector_id, name) in named
        }
    else:
        found = {(connector_id, message_id) for (connector_id, name), message_id in named.items() if name in names}
    if not found:
        through = {(connector_id, message_id) for connector_id, message_id in referred if message_id == receipt.reference}
        found = {owner for owner in through if receipt.connector_id in (owner[0], ANY)}
    return found.pop() if len(found) == 1 else None


def _tried(*how: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(Attempt.message_id).where(*how).correlate(Receipt))


# As questions asked of each receipt: joined, SQLite may begin with the attempts, and go through all receipts for each.
_IS_KNOWN = or_(
    _tried(Attempt.connector_id == Receipt.connector_id, Attempt.external_id == Receipt.external_id),
    _tried(
        Attempt.message_id == Receipt.reference,
        or_(Attempt.connector_id == Receipt.connector_id, Receipt.connector_id == ANY),
    ),
    and_(Receipt.connector_id == ANY, _tried(Attempt.connector_id.in_(_SMS), Attempt.external_id == Receipt.external_id)),
)


async def parked_and_known(session: AsyncSession, since: dt.datetime, limit: int = 100) -> list[tuple[str, str]]:
    """Parked receipts received since then whose message is known by now: (connector, provider's id) of each."""
    parked = (_WAITS, Receipt.received_at > since, _IS_KNOWN)
    found = select(Receipt.connector_id, Receipt.external_id).where(*parked).distinct().limit(limit)
    return [(connector_id, external_id) for connector_id, external_id in await session.execute(found)]


async def has(session: AsyncSession, connector_id: str, event_id: str) -> bool:
    """Whether this event was stored, of whatever workspace: connectors are in one."""
    mine = (Receipt.connector_id == connector_id, Receipt.event_id == event_id)
    return await session.scalar(select(Receipt.id).where(*mine)) is not None


async def drop(session: AsyncSession, receipt: Receipt) -> None:
    await session.execute(delete(Receipt).where(Receipt.id == receipt.id).execution_options(synchronize_session=False))


async def up_to(
    session: AsyncSession,
    workspace_id: str,
    connector_id: str,
    to: str,
    until: dt.datetime,
    statuses: Sequence[str],
    limit: int,
) -> list[str]:
    """What the provider calls the newest messages sent to one recipient by then that stand at `statuses`."""
    mine = (Message.workspace_id == workspace_id, Message.connector_id == connector_id, Message.to == to)
    open_ones = (Message.sent_at <= until, Message.status.in_(statuses), Message.external_id.is_not(None))
    found = select(Message.external_id).where(*mine, *open_ones).order_by(Message.id.desc()).limit(limit)
    return [str(external_id) for external_id in await session.scalars(found)]


def _orphans(workspace_id: str, everywhere: bool) -> tuple[ColumnElement[bool], ...]:
    return Receipt.workspace_id.in_((workspace_id, ANY) if everywhere else (workspace_id,)), _WAITS


async def orphans(session: AsyncSession, workspace_id: str, everywhere: bool, window: Window) -> Sequence[Receipt]:
    """Parked receipts, newest first; with `everywhere` also those that came for nobody in particular."""
    found = window.apply(select(Receipt).where(*_orphans(workspace_id, everywhere)), (Receipt.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def count_orphans(session: AsyncSession, workspace_id: str, everywhere: bool) -> int:
    found = select(func.count()).select_from(Receipt).where(*_orphans(workspace_id, everywhere))
    return await session.scalar(found) or 0
