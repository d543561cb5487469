"""How changes of messages and channels are written down in the event log."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from models.base import now
from models.connectors import Connector, StatusView
from models.events import CHANNEL, INBOUND, MESSAGE, NewEvent, record
from models.inbound import InboundMessage
from models.underway import Sendable


class TimelineSource(StrEnum):
    """Who made a message change."""

    API = "API"
    DISPATCHER = "DISPATCHER"
    PROVIDER_RESPONSE = "PROVIDER_RESPONSE"
    PROVIDER_CALLBACK = "PROVIDER_CALLBACK"
    OPERATOR = "OPERATOR"


def message_changed(
    session: AsyncSession,
    message: Sendable,
    previous: str | None,
    source: TimelineSource,
    *,
    detail: str | None = None,
    attempt: int | None = None,
    occurred_at: dt.datetime | None = None,
) -> None:
    """`email.sent` and the like, with the status the message has now."""
    _message_event(session, message, message.status.lower(), previous, source, detail, attempt, occurred_at)


def message_noted(
    session: AsyncSession, message: Sendable, verb: str, detail: str, source: TimelineSource = TimelineSource.API
) -> None:
    """`email.updated`, `email.resent` or `email.redacted`: something was done that leaves the status as it is."""
    _message_event(session, message, verb, message.status, source, detail, None, None)


def receipt_ignored(session: AsyncSession, message: Sendable, reported: str, occurred_at: dt.datetime) -> None:
    """A late, repeated or reordered receipt: seen, written down, without effect."""
    detail = f"{reported} reported while {message.status}"
    source = TimelineSource.PROVIDER_CALLBACK
    _message_event(session, message, "receipt", message.status, source, detail, None, occurred_at)


def _message_event(
    session: AsyncSession,
    message: Sendable,
    verb: str,
    previous: str | None,
    source: TimelineSource,
    detail: str | None,
    attempt: int | None,
    occurred_at: dt.datetime | None,
) -> None:
    payload: dict[str, Any] = {
        "status": message.status,
        "previousStatus": previous,
        "source": source.value,
        "detail": detail,
        "attempt": attempt,
        "flow": message.flow,
        "batchId": message.batch_id,
    }
    record(
        session,
        NewEvent(
            workspace_id=message.workspace_id,
            kind=MESSAGE,
            type=f"{message.channel_type.lower()}.{verb}",
            subject_id=message.id,
            connector_id=message.connector_id,
            channel_type=message.channel_type,
            payload=payload,
            occurred_at=occurred_at or now(),
        ),
    )


def inbound_received(session: AsyncSession, message: InboundMessage) -> None:
    """`sms.inbound` and the like."""
    record(
        session,
        NewEvent(
            workspace_id=message.workspace_id,
            kind=INBOUND,
            type=f"{message.channel_type.lower()}.inbound",
            subject_id=message.id,
            connector_id=message.connector_id,
            channel_type=message.channel_type,
            payload={"keyword": message.keyword, "source": TimelineSource.PROVIDER_CALLBACK.value},
        ),
    )


def channel_changed(session: AsyncSession, connector: Connector, verb: str, previous: str | None, cause: str) -> None:
    """`channel.created`, `channel.updated` or `channel.deleted`, with the status the connector has now."""
    payload = {"previousStage": previous, "cause": cause, "status": StatusView.of(connector).stored()}
    record(
        session,
        NewEvent(
            workspace_id=connector.workspace_id,
            kind=CHANNEL,
            type=f"channel.{verb}",
            subject_id=connector.id,
            connector_id=connector.id,
            channel_type=connector.channel_type,
            payload=payload,
        ),
    )
