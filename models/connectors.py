"""Connectors, their channel's status and their lane in the queue."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, and_, case, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonList, JsonObject, now
from models.paging import Position, Window, contains
from models.workspaces import Workspace

HOOK_KEY_BYTES = 24


class Stage(StrEnum):
    """Where a channel stands in its life."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    PROVISIONING = "PROVISIONING"
    DEPROVISIONING = "DEPROVISIONING"
    DEPROVISIONED = "DEPROVISIONED"


class ComponentStatus(StrEnum):
    """How a part of a connector is."""

    OK = "OK"
    PENDING = "PENDING"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"


class CircuitState(StrEnum):
    CLOSED = "CLOSED"
    HALF_OPEN = "HALF_OPEN"
    OPEN = "OPEN"


class Connector(Base):
    """A provider plugged into a workspace. `config` holds the open fields, `secrets` the sealed ones; a deleted connector stays
    as a row without secrets, because events and messages still name it. `hook_key` is the unguessable part of the address its
    provider calls; `inbound_status` tells how that goes, and is empty where nothing comes in or nothing has come yet."""

    __tablename__ = "connector"
    __table_args__ = (
        Index(
            "uq_connector_name",
            "workspace_id",
            "channel_type",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("uq_connector_routing_key", "workspace_id", "routing_key", unique=True),
        Index("uq_connector_idempotency_key", "workspace_id", "idempotency_key", unique=True),
        Index("ix_connector_priority", "workspace_id", "priority", "created_at", "id"),
        Index(
            "ix_connector_check_due",
            "check_due_at",
            sqlite_where=text("check_due_at IS NOT NULL"),
            postgresql_where=text("check_due_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(String(2000))
    channel_type: Mapped[str] = mapped_column(String(20))
    provider: Mapped[str] = mapped_column(String(40))
    template_ref: Mapped[str] = mapped_column(String(80))
    priority: Mapped[int]
    enabled: Mapped[bool]
    conversational: Mapped[bool | None]
    region: Mapped[str | None] = mapped_column(String(80))
    routing_key: Mapped[str] = mapped_column(String(80))
    config: Mapped[JsonObject]
    secrets: Mapped[JsonObject]
    line: Mapped[JsonObject | None]
    revision: Mapped[int]
    config_revision: Mapped[int]
    config_updated_at: Mapped[dt.datetime]
    is_verified: Mapped[bool]
    verified_at: Mapped[dt.datetime | None]
    channel_id: Mapped[str] = mapped_column(String(40))
    identifier: Mapped[str | None] = mapped_column(String(320))
    stage: Mapped[str] = mapped_column(String(20))
    component_status: Mapped[str] = mapped_column(String(20))
    status_error: Mapped[str | None] = mapped_column(String(1000))
    status_updated_at: Mapped[dt.datetime]
    checks: Mapped[JsonList | None]
    checks_run_at: Mapped[dt.datetime | None]
    check_due_at: Mapped[dt.datetime | None]
    circuit: Mapped[str] = mapped_column(String(20))
    hook_key: Mapped[str] = mapped_column(String(40), default=lambda: secrets.token_urlsafe(HOOK_KEY_BYTES))
    inbound_status: Mapped[str | None] = mapped_column(String(20))
    inbound_error: Mapped[str | None] = mapped_column(String(1000))
    held_since: Mapped[dt.datetime | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]
    deleted_at: Mapped[dt.datetime | None]


@dataclass(frozen=True, slots=True)
class ChannelView:
    """The medium a connector opened, at one moment."""

    id: str
    platform: str
    identifier: str | None
    status: ComponentStatus
    stage: Stage

    @classmethod
    def of(cls, connector: Connector) -> ChannelView:
        status, stage = ComponentStatus(connector.component_status), Stage(connector.stage)
        return cls(connector.channel_id, connector.provider, connector.identifier, status, stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """A connector's status at one moment; has the names a Connector has for it."""

    enabled: bool
    is_verified: bool
    stage: str
    component_status: str
    status_error: str | None
    status_updated_at: dt.datetime
    checks: JsonList | None
    checks_run_at: dt.datetime | None
    circuit: str
    channel_id: str
    inbound_status: str | None
    inbound_error: str | None
    held_since: dt.datetime | None

    @classmethod
    def of(cls, connector: Connector) -> StatusView:
        return cls(**{field: getattr(connector, field) for field in cls.__slots__})

    @classmethod
    def load(cls, stored: JsonObject) -> StatusView:
        """From an event's payload."""
        names = ("status_updated_at", "checks_run_at", "held_since")
        times = {name: dt.datetime.fromisoformat(stored[name]) for name in names if stored.get(name)}
        return cls(**{**stored, **times})

    def stored(self) -> JsonObject:
        return {field: getattr(self, field) for field in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which connectors; an empty field does not restrict."""

    channels: Sequence[str] | None = None
    providers: Sequence[str] | None = None
    template_ref: str | None = None
    is_verified: bool | None = None
    enabled: bool | None = None
    query: str | None = None

    def clauses(self, workspace_id: str) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [Connector.workspace_id == workspace_id, Connector.deleted_at.is_(None)]
        if self.channels is not None:
            found.append(Connector.channel_type.in_(self.channels))
        if self.providers is not None:
            found.append(Connector.provider.in_(self.providers))
        if self.template_ref is not None:
            found.append(Connector.template_ref == self.template_ref)
        if self.is_verified is not None:
            found.append(Connector.is_verified.is_(self.is_verified))
        if self.enabled is not None:
            found.append(Connector.enabled.is_(self.enabled))
        if self.query:
            found.append(or_(contains(Connector.name, self.query), contains(Connector.description, self.query)))
        return found


ORDERS: dict[str, tuple[Any, ...]] = {
    "PRIORITY": (Connector.priority, Connector.created_at, Connector.id),
    "CREATED_AT": (Connector.created_at, Connector.id),
    "NAME": (Connector.name, Connector.id),
}


def position(connector: Connector, order: str) -> Position:
    """Where a connector stands in an order: what its cursor holds."""
    return tuple(getattr(connector, column.key) for column in ORDERS[order])


async def page(
    session: AsyncSession, workspace_id: str, where: Filter, order: str, descending: bool, window: Window
) -> Sequence[Connector]:
    found = window.apply(select(Connector).where(*where.clauses(workspace_id)), ORDERS[order], descending)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str, where: Filter) -> int:
    return await session.scalar(select(func.count()).select_from(Connector).where(*where.clauses(workspace_id))) or 0


async def get(session: AsyncSession, workspace_id: str, connector_id: str) -> Connector | None:
    """A connector that is not deleted."""
    mine = (Connector.workspace_id == workspace_id, Connector.id == connector_id, Connector.deleted_at.is_(None))
    return await session.scalar(select(Connector).where(*mine))


async def lock(session: AsyncSession, workspace_id: str, connector_id: str) -> Connector | None:
    """A connector that is not deleted, held against other writers until the transaction ends."""
    mine = (Connector.workspace_id == workspace_id, Connector.id == connector_id, Connector.deleted_at.is_(None))
    return await session.scalar(select(Connector).where(*mine).with_for_update())


async def by_channel(session: AsyncSession, workspace_id: str, channel_id: str) -> Connector | None:
    """The connector that opened a channel, unless both are gone."""
    mine = (Connector.workspace_id == workspace_id, Connector.channel_id == channel_id, Connector.deleted_at.is_(None))
    return await session.scalar(select(Connector).where(*mine))


async def by_ids(session: AsyncSession, workspace_id: str, ids: Sequence[str]) -> Sequence[Connector]:
    """Connectors by id, deleted ones included: history still names them."""
    mine = (Connector.workspace_id == workspace_id, Connector.id.in_(ids))
    return (await session.scalars(select(Connector).where(*mine))).all()


async def set_inbound(
    session: AsyncSession, workspace_id: str, connector_id: str, status: str, error: str | None
) -> Connector | None:
    """Write how it goes with what comes in; None when that was known."""
    mine = (Connector.workspace_id == workspace_id, Connector.id == connector_id, Connector.deleted_at.is_(None))
    known = and_(Connector.inbound_status == status, Connector.inbound_error.is_not_distinct_from(error))
    news = or_(Connector.inbound_status.is_(None), ~known)
    values = {"inbound_status": status, "inbound_error": error, "status_updated_at": now()}
    changed = update(Connector).where(*mine, news).values(values).returning(Connector)
    return await session.scalar(changed.execution_options(populate_existing=True))


async def by_name(session: AsyncSession, workspace_id: str, name: str, channel_type: str | None = None) -> Sequence[Connector]:
    mine = [Connector.workspace_id == workspace_id, Connector.name == name, Connector.deleted_at.is_(None)]
    if channel_type is not None:
        mine.append(Connector.channel_type == channel_type)
    return (await session.scalars(select(Connector).where(*mine).order_by(Connector.created_at, Connector.id))).all()


async def by_routing_key(session: AsyncSession, workspace_id: str, routing_key: str) -> Connector | None:
    mine = (Connector.workspace_id == workspace_id, Connector.routing_key == routing_key, Connector.deleted_at.is_(None))
    return await session.scalar(select(Connector).where(*mine))


async def by_idempotency_key(session: AsyncSession, workspace_id: str, key: str) -> Connector | None:
    mine = (Connector.workspace_id == workspace_id, Connector.idempotency_key == key)
    return await session.scalar(select(Connector).where(*mine))


async def all_of(session: AsyncSession, workspace_id: str, channel_type: str | None = None) -> Sequence[Connector]:
    """Every connector in sending order, optionally of one channel."""
    where = Filter(channels=[channel_type] if channel_type else None)
    found = select(Connector).where(*where.clauses(workspace_id)).order_by(*ORDERS["PRIORITY"])
    return (await session.scalars(found)).all()


async def set_line(
    session: AsyncSession, organization_id: str, template_refs: Collection[str], line: JsonObject, identifier: str | None
) -> None:
    """Give the connectors of an organization that share its line what it is now, and have them checked."""
    ours = select(Workspace.id).where(Workspace.organization_id == organization_id)
    mine = (Connector.workspace_id.in_(ours), Connector.template_ref.in_(template_refs), Connector.deleted_at.is_(None))
    values = {"line": line, "check_due_at": now(), "config_revision": Connector.config_revision + 1}
    own = func.coalesce(Connector.config["phoneNumberId"].as_string(), "")
    shown = case((own != "", Connector.identifier), else_=identifier)
    changed = update(Connector).where(*mine).values(**values, identifier=shown, revision=Connector.revision + 1)
    await session.execute(changed.execution_options(synchronize_session=False))


async def change(
    session: AsyncSession, workspace_id: str, connector_id: str, revision: int, values: dict[str, Any]
) -> Connector | None:
    """Write `values` if the connector still has `revision`, which grows by one; None when somebody was quicker."""
    changed = (
        update(Connector)
        .where(
            and_(
                Connector.workspace_id == workspace_id,
                Connector.id == connector_id,
                Connector.revision == revision,
                Connector.deleted_at.is_(None),
            )
        )
        .values(**values, revision=Connector.revision + 1, updated_at=now())
        .returning(Connector)
        .execution_options(populate_existing=True)
    )
    return await session.scalar(changed)


async def set_status(
    session: AsyncSession, workspace_id: str, connector_id: str, config_revision: int, values: dict[str, Any]
) -> Connector | None:
    """Write what a check or a test found, unless the configuration has changed meanwhile."""
    changed = (
        update(Connector)
        .where(
            and_(
                Connector.workspace_id == workspace_id,
                Connector.id == connector_id,
                Connector.config_revision == config_revision,
                Connector.deleted_at.is_(None),
            )
        )
        .values(**values, status_updated_at=now())
        .returning(Connector)
        .execution_options(populate_existing=True)
    )
    return await session.scalar(changed)


async def hold(
    session: AsyncSession, workspace_id: str, connector_id: str, config_revision: int, values: dict[str, Any]
) -> Connector | None:
    """As `set_status`, and keep back what waits for the connector; None also when it is kept back already."""
    mine = (Connector.workspace_id == workspace_id, Connector.id == connector_id, Connector.held_since.is_(None))
    now_held = (
        update(Connector)
        .where(*mine, Connector.config_revision == config_revision, Connector.deleted_at.is_(None))
        .values(**values, held_since=now(), status_updated_at=now())
        .returning(Connector)
        .execution_options(populate_existing=True)
    )
    return await session.scalar(now_held)


async def set_circuit(session: AsyncSession, workspace_id: str, connector_id: str, state: str) -> Connector | None:
    """None when the circuit was in this state already."""
    mine = (Connector.workspace_id == workspace_id, Connector.id == connector_id, Connector.circuit != state)
    changed = update(Connector).where(*mine, Connector.deleted_at.is_(None)).values(circuit=state, status_updated_at=now())
    return await session.scalar(changed.returning(Connector).execution_options(populate_existing=True))


async def check_due(session: AsyncSession, before: dt.datetime, limit: int) -> Sequence[Connector]:
    """Connectors of all workspaces whose checks are to be run."""
    found = (
        select(Connector)
        .where(Connector.check_due_at <= before, Connector.deleted_at.is_(None))
        .order_by(Connector.check_due_at)
        .limit(limit)
    )
    return (await session.scalars(found)).all()


async def lease_check(session: AsyncSession, connector: Connector, until: dt.datetime) -> bool:
    """Take the checks of a connector upon oneself until `until`; False when another has."""
    mine = (Connector.id == connector.id, Connector.check_due_at == connector.check_due_at)
    taken = await session.scalar(update(Connector).where(*mine).values(check_due_at=until).returning(Connector.id))
    return taken is not None


async def delete(session: AsyncSession, workspace_id: str, connector_id: str, keep_one: bool) -> Connector | None:
    """Mark deleted and forget the secrets. With `keep_one`, not the last of the workspace: the count is part of the statement,
    and the caller holds the workspace's row, so two deletes cannot both pass."""
    mine = [Connector.workspace_id == workspace_id, Connector.id == connector_id, Connector.deleted_at.is_(None)]
    if keep_one:
        others = select(func.count()).select_from(Connector).where(*Filter().clauses(workspace_id)).scalar_subquery()
        mine.append(others > 1)
    gone = {
        "deleted_at": now(),
        "secrets": {},
        "enabled": False,
        "is_verified": False,
        "check_due_at": None,
        "stage": Stage.DEPROVISIONED,
        "component_status": ComponentStatus.UNKNOWN,
        "idempotency_key": None,
        "request_hash": None,
        "status_updated_at": now(),
    }
    removed = update(Connector).where(*mine).values(gone).returning(Connector).execution_options(populate_existing=True)
    return await session.scalar(removed)
