"""Messages: accept, look at, list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import ChannelType, Media, Outbound
from channels.errors import SendError
from delivery import retry
from delivery.outbound import form_of, from_of
from delivery.route import Route
from models import ids, queue
from models import messages as rows
from models.base import now
from models.connectors import Connector
from models.messages import Filter, Message, MessageStatus
from models.paging import Window
from models.reader import Columns
from models.senders import SenderId
from models.timeline import TimelineSource, message_changed
from models.underway import Sendable
from resolvers import permits
from resolvers.call import Call, digest
from resolvers.candidates import Lookup
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, RequestErrorCode, UserErrorCode
from resolvers.viewer import grants

_SCOPES_KEPT = 1_024


class MessageFlow(StrEnum):
    OTP = "OTP"
    STANDARD = "STANDARD"


class MessagePriority(StrEnum):
    HIGH = "HIGH"
    NORMAL = "NORMAL"
    BULK = "BULK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Where a message goes when it failed, or when no receipt came within `after_seconds`."""

    channel: str
    to: str | None = None
    after_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message somebody wants sent. A channel or a connector says where through."""

    to: str
    channel: str | None = None
    connector_id: str | None = None
    routing_key: str | None = None
    flow: str = "STANDARD"
    priority: str | None = None
    sender_id: str | None = None
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    template: Any = None
    media: Sequence[Media] = ()
    metadata: Any = None
    client_reference: str | None = None
    idempotency_key: str | None = None
    scheduled_at: dt.datetime | None = None
    validity_seconds: int | None = None
    fallbacks: Sequence[Fallback] = ()

    @property
    def is_pinned(self) -> bool:
        """The caller named a connector: no other may take it."""
        return self.connector_id is not None or self.routing_key is not None

    def content(self) -> dict[str, Any]:
        """All that was asked for, whatever its idempotency key."""
        return asdict(replace(self, idempotency_key=None))


@dataclass(frozen=True, slots=True)
class Planned:
    """A draft that may be sent: where through, and in its final form."""

    route: Route
    connector: Connector
    outbound: Outbound
    sender: SenderId | None = None
    expires_at: dt.datetime | None = field(default=None)

    def asks(self, draft: Draft) -> tuple[Draft, str, str]:
        """What its recipient may have said no to."""
        return draft, self.connector.channel_type, self.outbound.to


def send_scope(channel_type: str) -> str:
    return f"send:{channel_type.lower()}"


def read_scope(channel_type: str) -> str:
    return f"read:{channel_type.lower()}"


async def plan(session: AsyncSession, call: Call, draft: Draft, lookup: Lookup | None = None) -> Planned:
    """Where a draft would go. Raises Problem for a recipient, a content or a route that cannot be."""
    lookup = lookup or Lookup(session, call.workspace_id)
    way = await route(call, draft, lookup)
    sender = await permits.sender(lookup, call, draft, way)
    choice = way.choice
    if choice is None:
        raise no_route(way, draft)
    await check_fallbacks(lookup, call, draft)
    outbound = outbound_of(draft, ids.new_id(ids.MESSAGE), choice.to)
    return Planned(way, choice.connector, outbound, sender, _expiry(draft))


async def route(call: Call, draft: Draft, lookup: Lookup, peeks: bool = False) -> Route:
    """Every connector that was considered. Raises Problem for a connector or a channel that cannot be meant. Who only `peeks`
    takes nobody's turn."""
    router, outbound = call.means.router, outbound_of(draft)
    named, path = await _named(lookup, draft)
    _check_enabled(call, named.channel_type if named is not None else draft.channel)
    if named is not None:
        call.require(send_scope(named.channel_type))
        if draft.channel is not None and draft.channel != named.channel_type:
            message = f"The connector is of channel {named.channel_type}, not {draft.channel}."
            raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "channel"])
        return router.named(named, outbound)
    if path is not None:
        _require_any_send_scope(call)
        raise Problem(UserErrorCode.CONNECTOR_NOT_FOUND, "There is no such connector.", path)
    if draft.channel is None:
        message = "Give channel, connectorId or routingKey."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "channel"])
    call.require(send_scope(draft.channel))
    return router.among(await lookup.of_channel(draft.channel), outbound, waits=True, peeks=peeks)


def _require_any_send_scope(call: Call) -> None:
    """Who may send nothing is told that, and not which connectors there are."""
    if not any(call.viewer.has(send_scope(channel.value)) for channel in ChannelType):
        call.require("send:*")


def _check_enabled(call: Call, channel: str | None) -> None:
    if channel == ChannelType.WHATSAPP and not call.means.providers.platform.is_enabled:
        raise Problem(UserErrorCode.CHANNEL_DISABLED, "WhatsApp is switched off in this installation.", ["input", "channel"])


async def check_fallbacks(lookup: Lookup, call: Call, draft: Draft) -> None:
    """A fallback recipient that no connector of its channel would take is refused now, not when it is needed."""
    for i, choice in enumerate(draft.fallbacks):
        call.require(send_scope(choice.channel))
        outbound = outbound_of(draft, to=choice.to)
        way = call.means.router.among(await lookup.of_channel(choice.channel), outbound, waits=True, peeks=True)
        refusals = [decision.refusal for decision in way.decisions if decision.refusal is not None]
        if way.choice is None and refusals:
            path = ["input", "fallbackChannels", str(i)]
            code = UserErrorCode.VALIDATION_ERROR if isinstance(refusals[0], SendError) else UserErrorCode.INVALID_DESTINATION
            raise Problem(code, str(refusals[0]), path)


async def _named(lookup: Lookup, draft: Draft) -> tuple[Connector | None, list[str] | None]:
    """The connector the draft names, and the argument that names one."""
    if draft.connector_id is not None:
        return await lookup.get(draft.connector_id), ["input", "connectorId"]
    if draft.routing_key is not None:
        return await lookup.by_routing_key(draft.routing_key), ["input", "routingKey"]
    return None, None


def no_route(way: Route, draft: Draft) -> Problem:
    refusal = next((decision.refusal for decision in way.decisions if decision.refusal is not None), None)
    if isinstance(refusal, SendError):
        return Problem(UserErrorCode.VALIDATION_ERROR, refusal.message, ["input"])
    if refusal is not None:
        return Problem(UserErrorCode.INVALID_DESTINATION, str(refusal), ["input", "to"])
    reasons = "; ".join(f"{d.connector.name}: {d.reason}" for d in way.decisions[:5])
    message = f"No connector can take this message. {reasons}" if reasons else f"There is no {draft.channel} connector."
    path = "channel" if draft.connector_id is None and draft.routing_key is None else "connectorId"
    return Problem(UserErrorCode.NO_ROUTE_AVAILABLE, message, ["input", path])


def outbound_of(draft: Draft, message_id: str = "", to: str | None = None) -> Outbound:
    """A draft as a provider would see it; `to` is the recipient where it is not as it was given."""
    return Outbound(
        id=message_id,
        to=to or draft.to,
        flow=draft.flow,
        subject=draft.subject,
        body=draft.body,
        html=draft.html,
        template=draft.template,
        media=tuple(draft.media),
        metadata=draft.metadata or {},
        validity_seconds=draft.validity_seconds,
    )


def _expiry(draft: Draft) -> dt.datetime | None:
    begins = max(now(), draft.scheduled_at or now())
    if draft.validity_seconds is not None:
        return begins + dt.timedelta(seconds=draft.validity_seconds)
    return begins + retry.OTP_VALIDITY if draft.flow == "OTP" else None


async def accept(session: AsyncSession, call: Call, draft: Draft, planned: Planned, detail: str = "Accepted") -> Message:
    """Store a message with its job; `detail` begins its timeline."""
    message = Message(**row_of(call, draft, planned))
    session.add(message)
    await session.flush()
    await queue.enqueue_all(session, [job_of(message)])
    message_changed(session, message, None, TimelineSource.API, detail=detail)
    return message


def row_of(call: Call, draft: Draft, planned: Planned, batch_id: str | None = None) -> dict[str, Any]:
    """The attributes of a message as it is stored first; a Message of them is made where somebody will look at it."""
    at = now()
    later = draft.scheduled_at is not None and draft.scheduled_at > at
    outbound = planned.outbound
    encoding, segments = form_of(planned.connector.channel_type, draft.body, bool(draft.media))
    return dict(
        id=outbound.id,
        workspace_id=call.workspace_id,
        channel_type=planned.connector.channel_type,
        flow=draft.flow,
        priority=priority_of(draft),
        status=MessageStatus.SCHEDULED if later else MessageStatus.QUEUED,
        to=outbound.to,
        sender=from_of(planned.connector, planned.sender),
        sender_id=draft.sender_id,
        subject=draft.subject,
        body=draft.body,
        html=draft.html,
        template=draft.template,
        media=[asdict(item) for item in draft.media],
        details=draft.metadata,
        client_reference=draft.client_reference,
        batch_id=batch_id,
        connector_id=planned.connector.id,
        is_pinned=draft.is_pinned,
        fallbacks=[asdict(choice) for choice in draft.fallbacks],
        route=planned.route.stored(),
        encoding=encoding,
        segments=segments,
        idempotency_key=draft.idempotency_key,
        request_hash=call.signature(draft.content()) if draft.idempotency_key is not None else None,
        scheduled_at=draft.scheduled_at,
        expires_at=planned.expires_at,
        created_at=at,
        updated_at=at,
    )


def job_of(message: Sendable) -> dict[str, Any]:
    """The job of a message that was accepted just now."""
    if message.connector_id is None:
        raise ValueError("a message without a connector cannot be queued")
    return queue.entry(
        message.workspace_id,
        message.id,
        message.connector_id,
        queue.urgency(message.flow, message.priority),
        run_at=message.scheduled_at if message.status == MessageStatus.SCHEDULED else None,
        expires_at=message.expires_at,
        is_pinned=message.is_pinned,
    )


def priority_of(draft: Draft) -> str:
    """What the caller asked for; a one-time password is urgent unless they say otherwise."""
    return draft.priority or ("HIGH" if draft.flow == "OTP" else "NORMAL")


async def get(call: Call, message_id: str, columns: Columns = None) -> Message | None:
    """With `columns`, the message has no other attributes."""
    needed = None if columns is None else columns | {"channel_type"}
    async with call.look() as reader:
        return _readable(call, await rows.shown(reader, call.workspace_id, message_id, needed))


async def by_external_id(call: Call, external_id: str) -> Message | None:
    """The newest message a provider knows by this id."""
    async with call.read() as session:
        return _readable(call, await rows.by_external_id(session, call.workspace_id, external_id))


def _readable(call: Call, message: Message | None) -> Message | None:
    """A missing message, another workspace's, and one of a channel the viewer may not read look the same."""
    readable = readable_channels(call)
    if not readable:
        raise _unreadable()
    return message if message is not None and message.channel_type in readable else None


def readable_channels(call: Call) -> Sequence[str]:
    return _readable_with(call.viewer.scopes)


@lru_cache(_SCOPES_KEPT)
def _readable_with(scopes: frozenset[str]) -> Sequence[str]:
    return tuple(channel.value for channel in ChannelType if grants(scopes, read_scope(channel.value)))


def _unreadable() -> Problem:
    message = "This needs a scope to read messages, such as read:*."
    return Problem(RequestErrorCode.FORBIDDEN, message, requiredScope="read:*")


async def page(call: Call, arguments: PageArguments, where: Filter, columns: Columns = None) -> Page[Message]:
    """Newest first, of the channels the viewer may read. Naming a channel one may not read is FORBIDDEN. With `columns`, the
    messages may have no other attributes."""
    readable = readable_channels(call)
    if not readable:
        raise _unreadable()
    for channel in where.channels or ():
        call.require(read_scope(channel))
    if where.channels is None and len(readable) < len(ChannelType):
        where = replace(where, channels=readable)
    scope = f"messages|{call.workspace_id}|{digest([getattr(where, name) for name in where.__slots__])}"
    window = arguments.window(call.means.cursors, scope)
    found = await _found(call, where, window, None if columns is None else columns | {"id"})

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session, call.workspace_id, where)

    return cut(found, window, arguments, lambda message: call.means.cursors.seal(scope, (message.id,)), total)


async def _found(call: Call, where: Filter, window: Window, columns: Columns) -> Sequence[Message]:
    if where == Filter() and not window.offset:
        async with call.look() as reader:
            return await rows.newest(reader, call.workspace_id, window, columns)
    async with call.read() as session:
        return await rows.page(session, call.workspace_id, where, window)
