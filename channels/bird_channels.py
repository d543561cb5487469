"""Bird's Channels API, which carries SMS, e-mail and more through channels of a Bird workspace. https://docs.bird.com/api"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, StringConstraints

from channels import checks
from channels.answers import Answer, Document, Maybe, ProviderId, Verdict, refused, understood, verdict
from channels.base import (
    Accepted,
    Assertion,
    Check,
    CheckStatus,
    DeliveryStatus,
    Inbound,
    Media,
    Outbound,
    Provider,
    Received,
    Report,
)
from channels.bird_codes import FAILURES, UNDELIVERED
from channels.callbacks import Callback, CallbackRefusedError, Refusal, require, require_recent, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import BaseUrl, Wire

STATUSES: Mapping[str, DeliveryStatus] = {
    "accepted": DeliveryStatus.PROCESSING,
    "processing": DeliveryStatus.PROCESSING,
    "sent": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    **dict.fromkeys(("sending_failed", "delivery_failed", "rejected", "skipped", "deleted"), DeliveryStatus.FAILED),
}
CODES: Mapping[int, Verdict] = {
    402: (FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
    409: (FailureKind.CONFIGURATION, "CONFLICT"),
    413: (FailureKind.CONTENT, "MESSAGE_TOO_LARGE"),
    422: (FailureKind.CONTENT, "REJECTED"),
}

Uuid = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", to_lower=True)]
_DETAIL = re.compile(r"[A-Za-z0-9_.\[\]-]{1,80}")


class Problem(Document):
    code: Maybe[str] = None
    message: Maybe[str] = None
    details: Maybe[dict[str, list[str]]] = None


class Sent(Document):
    id: ProviderId
    status: Maybe[str] = None


class Source(Document):
    code: Maybe[str | int] = None


class Failure(Document):
    code: Maybe[str | int] = None
    description: Maybe[str] = None
    source: Maybe[Source] = None


class Contact(Document):
    value: Maybe[Annotated[str, Field(max_length=320)]] = Field(None, alias="identifierValue")


class Party(Document):
    """Who wrote, or whom they wrote to: the channel's number or name."""

    contact: Maybe[Contact] = None
    connector: Maybe[Contact] = None


class Postback(Document):
    payload: Maybe[str] = None


class Action(Document):
    postback: Maybe[Postback] = None


class File(Document):
    url: Annotated[str, Field(alias="mediaUrl", max_length=2000)]
    content_type: Maybe[str] = Field(None, alias="contentType")
    filename: Maybe[str] = None


class Part(Document):
    """What a body holds under its type."""

    text: Maybe[str] = None
    actions: Maybe[list[Action]] = None
    images: Maybe[list[File]] = None
    files: Maybe[list[File]] = None


class Body(Document):
    type: Maybe[str] = None
    text: Maybe[Part] = None
    image: Maybe[Part] = None
    file: Maybe[Part] = None


class Message(Document):
    id: ProviderId
    channel_id: Maybe[str] = Field(None, alias="channelId")
    status: Maybe[str] = None
    reference: Maybe[str] = None
    reason: Maybe[str] = None
    failure: Maybe[Failure] = None
    sender: Maybe[Party] = None
    receiver: Maybe[Party] = None
    body: Maybe[Body] = None
    created_at: Maybe[dt.datetime] = Field(None, alias="createdAt")
    last_status_at: Maybe[dt.datetime] = Field(None, alias="lastStatusAt")


class Told(Document):
    event: str
    payload: Message


class BirdChannel(Provider):
    """A channel of a Bird workspace."""

    identifier_key: ClassVar[str]
    sources: ClassVar[Mapping[str, Verdict]] = {}  # what the codes of the platform behind the channel mean

    access_key: SecretStr = Field(
        title="Access key", description="Access key of the Bird workspace.", examples=["your-access-key"], min_length=8
    )
    workspace_id: Uuid = Field(
        title="Workspace id", description="The Bird workspace.", examples=["3fa85f64-5717-4562-b3fc-2c963f66afa6"]
    )
    channel_id: Uuid = Field(
        title="Channel id",
        description="The channel that sends, in that workspace.",
        examples=["a1405560-c8d3-4b1a-877d-3f449ad95352"],
    )
    signing_key: SecretStr | None = Field(
        None,
        title="Signing key",
        description="The key of the workspace's webhook subscription: with it, what Bird tells is taken.",
        examples=["your-signing-key"],
        min_length=8,
    )
    base_url: BaseUrl = Field(
        "https://api.bird.com", title="Base URL", description="Bird's API.", examples=["https://api.bird.com"]
    )

    @property
    def identifier(self) -> str | None:
        return self.channel_id

    def content(self, message: Outbound) -> dict[str, Any]:
        """What the request says: a `body`, or a `template`."""
        raise NotImplementedError

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        contact = {"identifierKey": self.identifier_key, "identifierValue": message.to}
        content = {"receiver": {"contacts": [contact]}, "reference": message.id, **self.content(message)}
        answer = await self._call(wire, exchange, "POST", "/messages", content)
        with exchange.stage(StageName.ACCEPTED):
            if not answer.ok:
                raise _refusal(answer, exchange)
            sent = understood("Bird", answer, Sent)
            return Accepted(sent.id, detail=sent.status)

    def authenticate(self, callback: Callback) -> None:
        """HMAC-SHA256 over time, URL and the body's hash: https://docs.bird.com/api/notifications-api/api-reference/webhook-subscriptions"""
        if self.signing_key is None:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        timestamp = callback.header("messagebird-request-timestamp")
        head = f"{timestamp or ''}\n{callback.url}\n".encode("utf-8", "replace")
        mac = signed(self.signing_key.get_secret_value(), head + hashlib.sha256(callback.body).digest())
        require(base64.b64encode(mac).decode(), callback.header("messagebird-signature"))
        require_recent(timestamp, callback)

    def receive(self, callback: Callback) -> Received:
        told = callback.read(Told)
        message, status, kind = told.payload, told.payload.status or "", told.event.rpartition(".")[2]
        if message.channel_id is not None and message.channel_id.lower() != self.channel_id:
            return Received()
        if kind == "outbound" and status in STATUSES:
            return Received(reports=(_report(message, status, callback, self.sources),))
        sender = message.sender.contact.value if message.sender and message.sender.contact else None
        if kind == "inbound" and sender:
            return Received(inbounds=(_inbound(message, sender, callback),))
        return Received()

    async def verify(self, wire: Wire) -> list[Check]:
        return [Check("channel", "Channel", (await self._check_channel(wire),))]

    async def _call(self, wire: Wire, exchange: Exchange, method: str, path: str, content: Any = None) -> Answer:
        url = f"{self.base_url}/workspaces/{self.workspace_id}/channels/{self.channel_id}{path}"
        headers = {"Authorization": f"AccessKey {self.access_key.get_secret_value()}"}
        return await wire.call(exchange, method, url, json=content, headers=headers)

    async def _check_channel(self, wire: Wire) -> Assertion:
        asking = checks.asked(self, lambda exchange: self._call(wire, exchange, "GET", ""), _refusal)
        found = await checks.told("channel_active", asking, Sent, "Bird's answer could not be read.")
        if isinstance(found, Assertion):
            return found
        if found.status != "active":
            return Assertion("channel_active", CheckStatus.ERROR, f"The channel is {found.status or 'in an unknown state'}.")
        return Assertion("channel_active", CheckStatus.OK, "The channel is active.")


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem) or Problem()
    details = [f"{name} {', '.join(said)}" for name, said in (problem.details or {}).items() if _DETAIL.fullmatch(name)]
    words = exchange.redact(" — ".join(part for part in (problem.message, *details) if part))
    return refused("Bird", answer, CODES.get(answer.status) or verdict(answer.status), code=problem.code, message=words or None)


def _report(message: Message, status: str, callback: Callback, sources: Mapping[str, Verdict]) -> Report:
    ours = STATUSES[status]
    return Report(
        event_id=f"{message.id}:{status}",
        provider_id=message.id,
        status=ours,
        occurred_at=_moment(message.last_status_at, callback),
        failure=_failure(message, status, sources) if ours is DeliveryStatus.FAILED else None,
        detail=status,
        message_id=message.reference if (message.reference or "").startswith("msg_") else None,
        raw={"id": message.id, "status": status, "reason": message.reason},
    )


def _moment(told: dt.datetime | None, callback: Callback) -> dt.datetime:
    return told if told and told.tzinfo else callback.received_at


def _failure(message: Message, status: str, sources: Mapping[str, Verdict]) -> SendError:
    """The platform's code says more than Bird's own."""
    failure = message.failure or Failure()
    code = failure.source.code if failure.source else None
    unknown = (FailureKind.CONTENT, "REJECTED") if status == "rejected" else UNDELIVERED
    kind, ours = sources.get(str(code)) or FAILURES.get(str(failure.code)) or unknown
    told = code or failure.code
    return SendError(
        kind,
        ours,
        f"Bird reports the message as {status}.",
        provider_code=str(told) if told is not None else None,
        provider_message=failure.description or message.reason,
    )


def _inbound(message: Message, sender: str, callback: Callback) -> Inbound:
    body = message.body or Body()
    part = body.text or body.image or body.file or Part()
    files = [*(part.images or ()), *(part.files or ())]
    payloads = [action.postback.payload for action in part.actions or () if action.postback]
    receiver = message.receiver.connector if message.receiver else None
    return Inbound(
        event_id=message.id,
        sender=sender,
        occurred_at=_moment(message.created_at, callback),
        to=(receiver.value if receiver else None) or None,
        text=part.text if body.text else None,
        kind=body.type or "text",
        media=tuple(_media(file, part.text) for file in files),
        provider_id=message.id,
        payload=payloads[0] if payloads else None,
    )


def _media(file: File, caption: str | None) -> Media:
    """Bird gives a file only to who has the access key."""
    return Media(f"bird-media:{file.url.partition('://')[2]}", file.content_type, file.filename, caption)
