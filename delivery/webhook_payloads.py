"""How events are told to customers' webhooks: what a subscriber of the same event sees, without the text of messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from delivery import status as readiness
from delivery.webhook_events import EventType, named
from models import connectors, inbound, messages, senders
from models.base import JsonObject
from models.connectors import CircuitState, ComponentStatus, Connector, Stage, StatusView
from models.events import CHANNEL, INBOUND, MESSAGE, OPT_OUT, SENDER, Event
from models.inbound import InboundMessage
from models.messages import Message, MessageStatus
from models.senders import SenderId
from models.webhook_deliveries import TEST, WebhookDelivery
from models.webhooks import WebhookSubscription

PRIVATE = frozenset({"to", "from", "recipient", "body", "metadata"})
"""Members that a receiver may repeat in its answer, and that the log of attempts must not keep."""


@dataclass(frozen=True, slots=True)
class Noun:
    """Events of one kind: `load` reads what they are about, `tell` makes `data` of an event and that, `sample` is an event
    of a type with what it is about, to document it."""

    load: Callable[[AsyncSession, str, Sequence[str]], Awaitable[Sequence[Any]]]
    tell: Callable[[Event, Any], JsonObject]
    sample: Callable[[str], tuple[Event, Any]]


def _channel(event: Event, connector: Connector) -> JsonObject:
    view = StatusView.load(event.payload["status"])
    data: JsonObject = {"identifier": connector.identifier, "connectorId": connector.id, "channelId": view.channel_id}
    if event.type == "channel.created":
        return data
    reasons = readiness.reasons(view)
    return {
        **data,
        "channelType": connector.channel_type,
        "platform": connector.provider,
        "ready": not reasons,
        "reasons": reasons,
        "stage": view.stage,
        "previousStage": event.payload["previousStage"],
        "status": view.component_status,
        "errorMessage": view.status_error,
        "cause": event.payload["cause"],
    }


def _message(event: Event, message: Message) -> JsonObject:
    told = event.payload
    failed = told["status"] == message.status == MessageStatus.FAILED
    return {
        "message": {
            "id": message.id,
            "channelType": message.channel_type,
            "flow": message.flow,
            "to": message.to,
            "connectorId": event.connector_id,
            "clientReference": message.client_reference,
            "externalId": message.external_id,
            "batchId": message.batch_id,
            "metadata": message.details,
            "createdAt": shown(message.created_at),
        },
        "status": told["status"],
        "previousStatus": told["previousStatus"],
        "source": told["source"],
        "detail": told["detail"],
        "failure": _failure(message.failure) if failed else None,
    }


def _failure(stored: JsonObject | None) -> JsonObject | None:
    if stored is None:
        return None
    return {
        "kind": stored["kind"],
        "code": stored["code"],
        "message": stored["message"],
        "providerCode": stored["provider_code"],
        "providerMessage": stored["provider_message"],
    }


def _inbound(event: Event, message: InboundMessage) -> JsonObject:
    media = [{"url": m.get("url"), "contentType": m.get("content_type"), "filename": m.get("filename")} for m in message.media]
    return {
        "message": {
            "id": message.id,
            "channelType": message.channel_type,
            "connectorId": message.connector_id,
            "from": message.sender,
            "to": message.to,
            "body": message.body,
            "media": media,
            "keyword": message.keyword,
            "externalId": message.external_id,
            "receivedAt": shown(message.received_at),
        }
    }


def _sender(event: Event, sender: SenderId) -> JsonObject:
    return {
        "senderId": {
            "id": sender.id,
            "value": sender.value,
            "kind": sender.kind,
            "channelType": sender.channel_type,
            "country": sender.country,
            "reviewNote": sender.review_note,
        },
        "status": event.payload["status"],
        "previousStatus": event.payload["previousStatus"],
    }


@dataclass(frozen=True, slots=True)
class _Subject:
    """An object that may be gone, of which its events tell everything."""

    id: str


async def _themselves(_session: AsyncSession, _workspace_id: str, ids: Sequence[str]) -> Sequence[_Subject]:
    return [_Subject(subject_id) for subject_id in ids]


def _opt_out(event: Event, _subject: _Subject) -> JsonObject:
    told = event.payload
    return {
        "recipient": told["recipient"],
        "channelType": event.channel_type,
        "action": told["action"],
        "source": told["source"],
        "keyword": told["keyword"],
    }


# ------------------------------------------------------------------ samples

_AT = dt.datetime(2026, 2, 21, 10, 0, tzinfo=dt.UTC)
_WORKSPACE = "wsp_019c7f3e2a407000a1b2c3d4e5f60718"
_CONNECTOR = "con_019c7f3e2a407001a1b2c3d4e5f60718"
_CHANNEL_ID = "chn_019c7f3e2a407002a1b2c3d4e5f60718"
_MESSAGE_ID = "msg_019c7f3e2a407003a1b2c3d4e5f60718"
_INBOUND_ID = "inb_019c7f3e2a407004a1b2c3d4e5f60718"
_SENDER_ID = "snd_019c7f3e2a407006a1b2c3d4e5f60718"
_OPT_OUT_ID = "opt_019c7f3e2a407007a1b2c3d4e5f60718"


def _event(kind: str, type: str, subject_id: str, payload: JsonObject) -> Event:
    return Event(
        id="evt_019c7f3e2a407005a1b2c3d4e5f60718",
        workspace_id=_WORKSPACE,
        seq=4711,
        kind=kind,
        type=type,
        subject_id=subject_id,
        connector_id=_CONNECTOR,
        channel_type=type.partition(".")[0].upper(),
        payload=payload,
        occurred_at=_AT,
    )


def _sample_channel(type: str) -> tuple[Event, Connector]:
    stage = {"created": Stage.PROVISIONING, "deleted": Stage.DEPROVISIONED}.get(type.partition(".")[2], Stage.ACTIVE)
    connector = Connector(
        id=_CONNECTOR,
        channel_type="SMS",
        provider="twilio",
        identifier="+15005550006",
        enabled=True,
        is_verified=True,
        stage=stage,
        component_status=ComponentStatus.OK if stage is Stage.ACTIVE else ComponentStatus.PENDING,
        status_updated_at=_AT,
        circuit=CircuitState.CLOSED,
        channel_id=_CHANNEL_ID,
    )
    view = orjson.loads(orjson.dumps(StatusView.of(connector).stored()))
    previous = {Stage.ACTIVE: Stage.PROVISIONING, Stage.DEPROVISIONED: Stage.DEPROVISIONING}.get(stage)
    cause = {Stage.ACTIVE: "provisioning", Stage.DEPROVISIONED: "deleted"}.get(stage, "created")
    return _event(CHANNEL, type, _CONNECTOR, {"previousStage": previous, "cause": cause, "status": view}), connector


_BEFORE = {
    "SCHEDULED": None,
    "QUEUED": None,
    "PROCESSING": "QUEUED",
    "CANCELED": "QUEUED",
    "EXPIRED": "QUEUED",
    "READ": "DELIVERED",
    "DELIVERED": "SENT",
}


def _sample_message(type: str) -> tuple[Event, Message]:
    noun, _, verb = type.partition(".")
    type = f"{noun}.sent" if verb == "outbound" else type
    verb = type.partition(".")[2].upper()
    is_status = verb in MessageStatus.__members__
    status = verb if is_status else {"UPDATED": "QUEUED", "RECEIPT": "DELIVERED"}.get(verb, "SENT")
    by_receipt = verb in ("DELIVERED", "READ", "RECEIPT")
    payload = {
        "status": status,
        "previousStatus": _BEFORE.get(status, "PROCESSING") if is_status else status,
        "source": "PROVIDER_CALLBACK" if by_receipt else "PROVIDER_RESPONSE" if verb in ("SENT", "FAILED") else "API",
        "detail": "SENT reported while DELIVERED" if verb == "RECEIPT" else None,
        "flow": "STANDARD",
        "batchId": None,
    }
    failure = {
        "kind": "RECIPIENT",
        "code": "INVALID_RECIPIENT",
        "message": "The provider refused: no such recipient.",
        "provider_code": "404",
        "provider_message": "no such recipient",
    }
    message = Message(
        id=_MESSAGE_ID,
        channel_type=noun.upper(),
        flow="STANDARD",
        to="" if verb == "REDACTED" else {"email": "ada@example.com", "telegram": "123456789"}.get(noun, "+15005550006"),
        status=status,
        client_reference="order-1815",
        external_id="SM00000000000000000000000000000001" if by_receipt or status == "SENT" else None,
        details=None if verb == "REDACTED" else {"orderId": "1815"},
        failure=failure if status == "FAILED" else None,
        created_at=_AT,
    )
    return _event(MESSAGE, type, _MESSAGE_ID, payload), message


def _sample_inbound(type: str) -> tuple[Event, InboundMessage]:
    message = InboundMessage(
        id=_INBOUND_ID,
        channel_type=type.partition(".")[0].upper(),
        connector_id=_CONNECTOR,
        sender="+15005550010",
        to="+15005550006",
        body="STOP",
        media=[],
        keyword="STOP",
        external_id="SM00000000000000000000000000000002",
        received_at=_AT,
    )
    return _event(INBOUND, type, _INBOUND_ID, {"keyword": "STOP", "source": "PROVIDER_CALLBACK"}), message


def _sample_sender(type: str) -> tuple[Event, SenderId]:
    status = {"approved": "APPROVED", "rejected": "REJECTED", "revoked": "REVOKED"}.get(type.partition(".")[2], "PENDING")
    previous = {"REVOKED": "APPROVED", "PENDING": None if type == "sender.created" else "REJECTED"}.get(status, "PENDING")
    note = "Papers seen." if status == "APPROVED" else None
    sender = SenderId(id=_SENDER_ID, value="Acme", kind="ALPHANUMERIC", channel_type="SMS", country="GB", review_note=note)
    return _event(SENDER, type, _SENDER_ID, {"status": status, "previousStatus": previous, "value": "Acme"}), sender


def _sample_opt_out(type: str) -> tuple[Event, _Subject]:
    noun = type.partition(".")[0]
    to = {"email": "ada@example.com", "telegram": "123456789"}.get(noun, "+15005550010")
    told = {"action": "ADDED", "recipient": to, "source": "INBOUND", "keyword": "STOP"}
    return _event(OPT_OUT, type, _OPT_OUT_ID, told), _Subject(_OPT_OUT_ID)


NOUNS: dict[str, Noun] = {
    SENDER: Noun(senders.by_ids, _sender, _sample_sender),
    OPT_OUT: Noun(_themselves, _opt_out, _sample_opt_out),
    CHANNEL: Noun(connectors.by_ids, _channel, _sample_channel),
    MESSAGE: Noun(messages.by_ids, _message, _sample_message),
    INBOUND: Noun(inbound.by_ids, _inbound, _sample_inbound),
}


# ------------------------------------------------------------------ bodies

Payload = JsonObject


def shown(at: dt.datetime) -> str:
    """A time as the API writes it."""
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


async def subjects(session: AsyncSession, workspace_id: str, about: Sequence[Event]) -> dict[str, Any]:
    """What events of one workspace are about, by id."""
    found: dict[str, Any] = {}
    for kind in {event.kind for event in about}:
        ids = [event.subject_id for event in about if event.kind == kind]
        found |= {row.id: row for row in await NOUNS[kind].load(session, workspace_id, ids)}
    return found


def payload_of(event: Event, subject: Any, naming: str, cursor: str) -> Payload:
    """What is sent of an event. The members come in this order."""
    return {
        "id": event.id,
        "cursor": cursor,
        "type": named(event.type, naming),
        "occurredAt": shown(event.occurred_at),
        "workspaceId": event.workspace_id,
        "data": NOUNS[event.kind].tell(event, subject),
    }


def test_payload(delivery: WebhookDelivery, subscription: WebhookSubscription, cursor: str) -> Payload:
    """What `webhookSubscriptionTest` sends."""
    return {
        "id": delivery.event_id,
        "cursor": cursor,
        "type": named(TEST, subscription.naming),
        "occurredAt": shown(delivery.created_at),
        "workspaceId": delivery.workspace_id,
        "data": {"subscriptionId": subscription.id, "service": subscription.service, "event": subscription.event},
    }


def example(known: EventType, naming: str = "DOTTED") -> Payload:
    """An event of this type as it would be sent."""
    event, subject = NOUNS[known.kind].sample(known.name)
    return payload_of(event, subject, naming, "eyJzZXEiOjQ3MTF9")


def private_texts(payload: Any) -> Iterator[str]:
    """The texts of members that must not be kept."""
    if isinstance(payload, dict):
        for name, value in payload.items():
            if name in PRIVATE:
                yield from _texts(value)
            else:
                yield from private_texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
