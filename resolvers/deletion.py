"""Unplugging a connector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from delivery import fallback, route
from delivery.evacuation import evacuate
from delivery.outbound import outbound
from models import connectors as rows
from models import messages, workspaces
from models.connectors import ComponentStatus, Connector, Filter, Stage
from models.messages import MessageStatus
from models.stranded import START, Place
from models.timeline import channel_changed
from resolvers import audit, connectors
from resolvers.call import Call
from resolvers.names import connector_name
from resolvers.problems import Problem, UserErrorCode


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion did, or would do."""

    connector: Connector
    rerouted: int
    failed: int


async def delete(call: Call, connector_id: str | None, name: str | None, channel_type: str | None, dry_run: bool) -> Deleted:
    """The channel goes with it; queued messages go to another connector or fail. Guards hold within the transaction."""
    call.require(connectors.WRITE)
    await call.spend("connectorDelete")
    async with call.write() as session:
        workspace = await workspaces.lock(session, call.workspace_id)
        connector = await _target(session, call, connector_id, name, channel_type)
        path = ["input", "name" if connector_id is None else "id"]
        await _check_references(session, call, connector, path)
        if dry_run:
            return await _foresee(session, call, connector, bool(workspace and workspace.will_active), path)
        before = audit.of_connector(connector)
        await _announce(session, connector)
        gone = await rows.delete(session, call.workspace_id, connector.id, bool(workspace and workspace.will_active))
        if gone is None:
            raise _last(path)
        rerouted, failed = await _empty(session, call, connector)
        channel_changed(session, gone, "deleted", Stage.DEPROVISIONING, "deleted")
        audit.record(call, session, "connectorDelete", gone.id, before)
        return Deleted(gone, rerouted, failed)


async def _announce(session: AsyncSession, connector: Connector) -> None:
    previous = connector.stage
    connector.stage, connector.component_status = Stage.DEPROVISIONING, ComponentStatus.PENDING
    channel_changed(session, connector, "updated", previous, "deleted")
    await session.flush()


async def _target(
    session: AsyncSession, call: Call, connector_id: str | None, name: str | None, channel_type: str | None
) -> Connector:
    if connector_id is not None:
        for given, value in (("name", name), ("channel", channel_type)):
            if value is not None:
                raise Problem(UserErrorCode.VALIDATION_ERROR, f"Give id or {given}, not both.", ["input", given])
        return await connectors.found(session, call, connector_id)
    if name is None or not name.strip():
        raise Problem(UserErrorCode.MISSING_CONNECTOR_NAME, "Give the connector's id or name.", ["input", "name"])
    named = await connectors.named(session, call, connector_name(name), channel_type, ["input", "name"])
    if named is None:
        raise connectors.missing(["input", "name"])
    return named


def _last(path: Sequence[str]) -> Problem:
    message = "This is the last connector, and the workspace's will is active: it must keep one."
    return Problem(UserErrorCode.LAST_CONNECTOR_WHILE_WILL_ACTIVE, message, path)


async def _check_references(session: AsyncSession, call: Call, connector: Connector, path: Sequence[str]) -> None:
    scheduled = await messages.unfinished_of(session, call.workspace_id, connector.id, [MessageStatus.SCHEDULED])
    pinned = [message.id for message in scheduled if message.is_pinned]
    if pinned:
        message = f"{len(pinned)} scheduled message(s) name this connector; cancel them first."
        raise Problem(UserErrorCode.CONNECTOR_STILL_REFERENCED, message, path)


async def _foresee(session: AsyncSession, call: Call, connector: Connector, keep_one: bool, path: list[str]) -> Deleted:
    if keep_one and await rows.count(session, call.workspace_id, Filter()) == 1:
        raise _last(path)
    waiting = await messages.unfinished_of(session, call.workspace_id, connector.id, fallback.WAITING)
    found = await route.candidates(session, call.workspace_id, connector.channel_type)
    ways = [
        call.means.router.among(found, outbound(message), {connector.id}, peeks=True)
        for message in waiting
        if not message.is_pinned
    ]
    movable = sum(way.chosen is not None for way in ways)
    return Deleted(connector, movable, len(waiting) - movable)


async def _empty(session: AsyncSession, call: Call, connector: Connector) -> tuple[int, int]:
    """Where the messages go that wait for a connector that is gone: (elsewhere, failed)."""
    rerouted = failed = 0
    place: Place | None = START
    while place is not None:
        done = await evacuate(session, call.means.router, call.workspace_id, connector.id, place)
        rerouted, failed, place = rerouted + done.rerouted, failed + done.failed, done.place
    return rerouted, failed
