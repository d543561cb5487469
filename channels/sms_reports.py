"""Receipts and messages to us in our own JSON, for SMS centres and relays that have no adapter here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, AwareDatetime, Field, StringConstraints

from channels.answers import Document, Maybe
from channels.base import DeliveryStatus, Inbound, Report
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind, SendError
from channels.phone import e164

# Ours, and those of SMPP (its appendix B), in whatever case.
STATUSES: Mapping[str, DeliveryStatus] = {
    "queued": DeliveryStatus.PROCESSING,
    "accepted": DeliveryStatus.PROCESSING,
    "buffered": DeliveryStatus.PROCESSING,
    "sending": DeliveryStatus.PROCESSING,
    "processing": DeliveryStatus.PROCESSING,
    "enroute": DeliveryStatus.PROCESSING,
    "acceptd": DeliveryStatus.PROCESSING,
    "sent": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    "delivrd": DeliveryStatus.DELIVERED,
    "read": DeliveryStatus.READ,
    "failed": DeliveryStatus.FAILED,
    "undelivered": DeliveryStatus.FAILED,
    "undeliv": DeliveryStatus.FAILED,
    "expired": DeliveryStatus.FAILED,
    "rejected": DeliveryStatus.FAILED,
    "rejectd": DeliveryStatus.FAILED,
    "deleted": DeliveryStatus.FAILED,
}
MOST = 1000

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


class Line(Document):
    """One receipt. `messageId` is the provider's id of the message, or ours."""

    message_id: Annotated[_Name, Field(validation_alias=AliasChoices("messageId", "id", "externalId"))]
    status: _Name
    error_code: Annotated[Maybe[str], Field(validation_alias="errorCode")] = None
    error_message: Annotated[Maybe[str], Field(validation_alias="errorMessage")] = None
    timestamp: Maybe[AwareDatetime] = None
    event_id: Annotated[Maybe[_Name], Field(validation_alias="eventId")] = None
    connector_id: Annotated[Maybe[_Name], Field(validation_alias="connectorId")] = None


class Lines(Document):
    reports: Annotated[list[Line], Field(max_length=MOST)]


class Text(Document):
    """A message to us."""

    sender: Annotated[_Name, Field(validation_alias="from")]
    to: Maybe[_Name] = None
    text: Annotated[str, Field(validation_alias=AliasChoices("text", "keyword", "body"), max_length=10_000)]
    message_id: Annotated[_Name, Field(validation_alias=AliasChoices("messageId", "id"))]
    timestamp: Maybe[AwareDatetime] = None
    connector_id: Annotated[Maybe[_Name], Field(validation_alias="connectorId")] = None


def reports(callback: Callback, event_id: str | None = None) -> list[Report]:
    """The receipts of a body: one object, or `{"reports": [...]}`. `line` is the connector's id where it says one. Words that
    are no status say nothing. `event_id` names the call where its sender does. Raises CallbackRefusedError(MALFORMED)."""
    lines = callback.read(Lines).reports if "reports" in _object(callback) else [callback.read(Line)]
    named = ((line, line.event_id or (event_id and f"{event_id}:{i}")) for i, line in enumerate(lines))
    return [_report(callback, line, name) for line, name in named if line.status.lower() in STATUSES]


def _object(callback: Callback) -> Mapping[str, Any]:
    if not isinstance(callback.json, dict):
        raise CallbackRefusedError(Refusal.MALFORMED)
    return callback.json


def _report(callback: Callback, line: Line, event_id: str | None) -> Report:
    status = STATUSES[line.status.lower()]
    return Report(
        event_id=event_id or f"{line.message_id}:{line.status.lower()}",
        provider_id=line.message_id,
        status=status,
        occurred_at=line.timestamp or callback.received_at,
        failure=_failure(line) if status is DeliveryStatus.FAILED else None,
        detail=line.status,
        message_id=line.message_id,
        line=line.connector_id,
        raw=line.model_dump(mode="json", exclude_none=True, exclude={"error_message"}),
    )


def _failure(line: Line) -> SendError:
    code, words = line.error_code and line.error_code[:40], line.error_message and line.error_message[:500]
    said = f"The provider reports the message as {line.status.lower()}."
    return SendError(FailureKind.TRANSIENT, "UNDELIVERED", said, provider_code=code or None, provider_message=words or None)


def inbound(callback: Callback) -> Inbound:
    """The message in a body; `line` is the connector's id where it says one. Raises CallbackRefusedError(MALFORMED)."""
    text = callback.read(Text)
    return Inbound(
        event_id=text.message_id,
        sender=_address(text.sender),
        to=_address(text.to) if text.to else None,
        text=text.text,
        provider_id=text.message_id,
        occurred_at=text.timestamp or callback.received_at,
        line=text.connector_id,
    )


def _address(written: str) -> str:
    try:
        return e164(f"+{written}" if written.isdecimal() and len(written) > 8 else written)
    except ValueError:
        return written
