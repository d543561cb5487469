"""What Meta tells of WhatsApp: statuses of messages, and messages to us, many in one call.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from channels import meta
from channels.answers import Document, ErrorCode, Maybe, ProviderId
from channels.base import DeliveryStatus, Inbound, Intent, Media, Received, Report
from channels.callbacks import Callback
from channels.errors import FailureKind, SendError
from channels.phone import e164
from channels.whatsapp_codes import CODES

STATUSES: Mapping[str, DeliveryStatus] = {
    "accepted": DeliveryStatus.PROCESSING,
    "sent": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    "read": DeliveryStatus.READ,
    "played": DeliveryStatus.READ,
    "failed": DeliveryStatus.FAILED,
}
FILES = ("image", "video", "audio", "document", "sticker")
MARKETING: Mapping[str, Intent] = {"stop": Intent.OPT_OUT, "resume": Intent.OPT_IN}

_Timestamp = Annotated[int, Field(ge=0, lt=2**33)]
_Json = dict[str, Any]


class Details(Document):
    details: Maybe[str] = None


class Failure(Document):
    code: ErrorCode
    title: Maybe[str] = None
    message: Maybe[str] = None
    error_data: Maybe[Details] = None


class Status(Document):
    id: ProviderId
    status: str
    timestamp: Maybe[_Timestamp] = None
    errors: Maybe[list[Maybe[Failure]]] = None
    biz_opaque_callback_data: Maybe[str] = None


class Message(Document):
    """A message to us; what it holds lies under the name of its type."""

    id: ProviderId
    sender: Annotated[str, Field(alias="from", min_length=1, max_length=100)]
    type: Annotated[str, Field(max_length=40)]
    timestamp: Maybe[_Timestamp] = None
    text: Maybe[_Json] = None
    button: Maybe[_Json] = None
    interactive: Maybe[_Json] = None
    reaction: Maybe[_Json] = None
    image: Maybe[_Json] = None
    video: Maybe[_Json] = None
    audio: Maybe[_Json] = None
    document: Maybe[_Json] = None
    sticker: Maybe[_Json] = None


class Preference(Document):
    """A recipient's wish about marketing messages."""

    wa_id: Annotated[str, Field(min_length=1, max_length=100)]
    value: str
    timestamp: Maybe[_Timestamp] = None


class Metadata(Document):
    phone_number_id: Maybe[str] = None
    display_phone_number: Maybe[str] = None


class Value(Document):
    metadata: Maybe[Metadata] = None
    statuses: Maybe[list[Maybe[Status]]] = None
    messages: Maybe[list[Maybe[Message]]] = None
    user_preferences: Maybe[list[Maybe[Preference]]] = None


class Change(Document):
    value: Maybe[Value] = None


class Entry(Document):
    changes: Maybe[list[Maybe[Change]]] = None


class Told(Document):
    entry: list[Maybe[Entry]]


def receive(callback: Callback) -> Received:
    """Everything in the call, of whatever number; each says which as its `line`."""
    if callback.method == "GET":
        return meta.handshake(callback)
    values = [change.value for entry in callback.read(Told).entry if entry for change in entry.changes or () if change]
    known = [value for value in values if value is not None]
    return Received(
        reports=tuple(report for value in known for report in _reports(callback, value)),
        inbounds=tuple(inbound for value in known for inbound in _inbounds(callback, value)),
    )


def _reports(callback: Callback, value: Value) -> Iterator[Report]:
    for status in value.statuses or ():
        if status is None or status.status not in STATUSES:
            continue
        ours = STATUSES[status.status]
        failure = _failure(status) if ours is DeliveryStatus.FAILED else None
        yield Report(
            event_id=f"{status.id}:{status.status}",
            provider_id=status.id,
            status=ours,
            occurred_at=_at(callback, status.timestamp),
            failure=failure,
            detail=status.status,
            message_id=status.biz_opaque_callback_data,
            line=value.metadata.phone_number_id if value.metadata else None,
            raw={"id": status.id, "status": status.status, **({"code": failure.provider_code} if failure else {})},
        )


def _failure(status: Status) -> SendError:
    error = next((error for error in status.errors or () if error), None)
    if error is None:
        return SendError(FailureKind.TRANSIENT, "UNDELIVERED", "Meta reports the message as failed.")
    details = error.error_data.details if error.error_data else None
    words = " — ".join(dict.fromkeys(part for part in (error.message or error.title, details) if part))[:500]
    kind, ours = CODES.get(error.code, (FailureKind.CONTENT, "REJECTED"))
    said = f"Meta reports the message as failed (error {error.code})."
    return SendError(kind, ours, said, provider_code=str(error.code), provider_message=words or None)


def _inbounds(callback: Callback, value: Value) -> Iterator[Inbound]:
    line = value.metadata.phone_number_id if value.metadata else None
    to = value.metadata.display_phone_number if value.metadata else None
    for message in value.messages or ():
        if message is not None:
            text, payload = _words(message)
            yield Inbound(
                event_id=message.id,
                sender=_address(message.sender),
                to=_address(to) if to else None,
                text=text,
                kind=message.type,
                media=_media(message),
                provider_id=message.id,
                payload=payload,
                line=line,
                occurred_at=_at(callback, message.timestamp),
            )
    for wish in value.user_preferences or ():
        if wish is not None and wish.value in MARKETING:
            at = _at(callback, wish.timestamp)
            yield Inbound(
                event_id=f"{wish.wa_id}:{wish.value}:{at.timestamp():.0f}",
                sender=_address(wish.wa_id),
                kind="user_preferences",
                intent=MARKETING[wish.value],
                line=line,
                occurred_at=at,
            )


def _words(message: Message) -> tuple[str | None, str | None]:
    """The text, and what a button or an emoji carries."""
    if message.type == "text":
        return _member(message.text, "body"), None
    if message.type == "button":
        return _member(message.button, "text"), _member(message.button, "payload")
    if message.type == "interactive":
        held = message.interactive or {}
        reply = held.get("button_reply") or held.get("list_reply")
        chosen = reply if isinstance(reply, dict) else None
        return _member(chosen, "title"), _member(chosen, "id")
    return None, _member(message.reaction, "emoji") if message.type == "reaction" else None


def _media(message: Message) -> tuple[Media, ...]:
    """Meta gives a file's number, by which the Graph API tells where it can be fetched with the access token."""
    held = getattr(message, message.type) if message.type in FILES else None
    number = _member(held, "id")
    if number is None:
        return ()
    kind, filename, caption = (_member(held, name) for name in ("mime_type", "filename", "caption"))
    return (Media(f"whatsapp-media:{number}", kind, filename, caption),)


def _member(held: _Json | None, name: str) -> str | None:
    value = (held or {}).get(name)
    return value if isinstance(value, str) else None


def _address(number: str) -> str:
    try:
        return e164(f"+{number.lstrip('+')}")
    except ValueError:
        return number


def _at(callback: Callback, timestamp: int | None) -> dt.datetime:
    return callback.received_at if timestamp is None else dt.datetime.fromtimestamp(timestamp, dt.UTC)
