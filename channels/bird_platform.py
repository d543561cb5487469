"""SMS through Bird's platform API, which removes doubles by itself. https://docs.bird.com/api"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import checks, contents, standard_webhooks
from channels.answers import Answer, Document, Maybe, ProviderId, Verdict, refused, understood, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    DeliveryStatus,
    Inbound,
    Outbound,
    Provider,
    Received,
    Report,
    Template,
)
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.phone import e164
from channels.wire import BaseUrl, Wire

MAX_TEXT = 1836  # twelve parts
STATUSES: Mapping[str, DeliveryStatus] = {
    "accepted": DeliveryStatus.PROCESSING,
    "sent": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    **dict.fromkeys(("undelivered", "failed", "rejected", "expired", "canceled"), DeliveryStatus.FAILED),
}
_UNDELIVERED: Verdict = (FailureKind.TRANSIENT, "UNDELIVERED")
_CLOSED: Verdict = (FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE")
_FILTERED: Verdict = (FailureKind.CONTENT, "FILTERED")

CODES: Mapping[int, Verdict] = {
    402: (FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
    409: (FailureKind.UNKNOWN_OUTCOME, "CONFLICT"),
    412: (FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
    413: (FailureKind.CONTENT, "TEXT_TOO_LONG"),
    422: (FailureKind.CONTENT, "REJECTED"),
    428: (FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
    501: (FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND"),
}
NAMED: Mapping[str, Verdict] = {"SMSInvalidRecipient": (FailureKind.RECIPIENT, "INVALID_RECIPIENT")}
REASONS: Mapping[str, Verdict] = {
    "invalid_destination": (FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
    "landline_unreachable": _CLOSED,
    "blocked_by_recipient": (FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT"),
    "recipient_opted_out": (FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT"),
    "content_rejected": _FILTERED,
    "blocked_by_carrier": _FILTERED,
    "blocked_by_fraud_protection": _FILTERED,
    "sender_unregistered": (FailureKind.CONFIGURATION, "SENDER_REFUSED"),
    "insufficient_balance": (FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
}
CATEGORIES: Mapping[str, str] = {"OTP": "authentication"}
_KEY = re.compile(r"bk_([a-z]{2}[0-9])_[A-Za-z0-9_-]{1,200}")


class Trouble(Document):
    code: Maybe[str] = None
    message: Maybe[str] = None


class Problem(Document):
    error: Trouble


class Segments(Document):
    count: Maybe[Annotated[int, Field(ge=0, le=100)]] = None


class Created(Document):
    id: ProviderId
    status: Maybe[str] = None
    segments: Maybe[Segments] = None


class Workspace(Document):
    id: str
    name: Maybe[str] = None


class Reason(Document):
    code: Maybe[str] = None
    description: Maybe[str] = None


class Data(Document):
    sms_id: ProviderId
    to: Maybe[str] = None
    sender: Maybe[str] = Field(None, alias="from")
    text: Maybe[str] = None
    metadata: Maybe[dict[str, Any]] = None
    error: Maybe[Reason] = None


class Told(Document):
    type: str
    timestamp: Maybe[dt.datetime] = None
    data: Maybe[Data] = None


class BirdPlatform(Provider):
    about: ClassVar[Template] = Template(
        slug="sms-bird",
        key="birdPlatform",
        channel=ChannelType.SMS,
        provider="BIRD",
        title="Bird SMS (platform API)",
        documentation_url="https://docs.bird.com/api",
        calls_back=True,
        sender="fromNumber",
        capabilities=Capabilities(inbound=True, delivery_receipts=True, max_text_length=MAX_TEXT, deduplicates=True),
    )

    api_key: SecretStr = Field(
        title="API key", description="A key of the Bird workspace: bk_, its region, and a secret.", examples=["bk_eu1_…"]
    )
    from_number: str = Field(
        title="From",
        description="The sender when a message names none: a number, a short code, or a name of up to 11 characters.",
        examples=["AcmeInc"],
        min_length=3,
        max_length=16,
    )
    signing_secret: SecretStr | None = Field(
        None,
        title="Signing secret",
        description="Secret of the webhook endpoint (whsec_…): with it, what Bird tells is taken.",
        examples=["whsec_…"],
        min_length=8,
    )
    base_url: BaseUrl | None = Field(
        None,
        title="Base URL",
        description="Bird's platform; without it, the region in the key says where.",
        examples=["https://eu1.platform.bird.com"],
    )

    @field_validator("api_key")
    @classmethod
    def _shape(cls, value: SecretStr) -> SecretStr:
        if not _KEY.fullmatch(value.get_secret_value()):
            raise ValueError("must be bk_, a region such as eu1, and a secret")
        return value

    @property
    def identifier(self) -> str | None:
        return self.from_number

    def destination(self, to: str) -> str:
        return e164(to)

    def check(self, message: Outbound) -> None:
        contents.check_text_only(message, MAX_TEXT)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        content = {
            "to": message.to,
            "from": message.sender or self.from_number,
            "text": message.body,
            "category": CATEGORIES.get(message.flow, "transactional"),
            "metadata": {"patchbay_id": message.id},
        }
        answer = await self._call(wire, exchange, "POST", "/v1/sms/messages", content, {"Idempotency-Key": message.id})
        with exchange.stage(StageName.ACCEPTED):
            if not answer.ok:
                raise _refusal(answer, exchange)
            created = understood("Bird", answer, Created)
            return Accepted(created.id, segments=created.segments.count if created.segments else None, detail=created.status)

    def authenticate(self, callback: Callback) -> None:
        if self.signing_secret is None:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        standard_webhooks.authenticate(callback, self.signing_secret.get_secret_value())

    def receive(self, callback: Callback) -> Received:
        told = callback.read(Told)
        noun, _, kind = told.type.partition(".")
        data = told.data
        if noun != "sms" or data is None:
            return Received()
        at = told.timestamp if told.timestamp and told.timestamp.tzinfo else callback.received_at
        if kind in STATUSES:
            return Received(reports=(_report(data, kind, at),))
        if kind == "received" and data.sender:
            return Received(inbounds=(_inbound(data, data.sender, at),))
        return Received()

    async def verify(self, wire: Wire) -> list[Check]:
        return [Check("token", "API key", (await self._check_key(wire),))]

    @property
    def _key(self) -> str:
        return self.api_key.get_secret_value()

    async def _call(
        self,
        wire: Wire,
        exchange: Exchange,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        base = self.base_url or f"https://{self._key.split('_')[1]}.platform.bird.com"
        bearer = {"Authorization": f"Bearer {self._key}", **(headers or {})}
        return await wire.call(exchange, method, f"{base}{path}", json=content, headers=bearer)

    async def _check_key(self, wire: Wire) -> Assertion:
        asking = checks.asked(self, lambda exchange: self._call(wire, exchange, "GET", "/v1/workspace"), _refusal)
        found = await checks.told("token", asking, Workspace, "Bird did not say which workspace the key is of.")
        if isinstance(found, Assertion):
            return found
        return Assertion("token", CheckStatus.OK, f"The key is of the workspace {found.name or found.id}.")


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None:
        return refused("Bird", answer, CODES.get(answer.status) or verdict(answer.status))
    code, words = problem.error.code, problem.error.message
    known = NAMED.get(code or "") or CODES.get(answer.status) or verdict(answer.status)
    return refused("Bird", answer, known, code=code, message=exchange.redact(words) if words else None)


def _report(data: Data, status: str, at: dt.datetime) -> Report:
    ours = STATUSES[status]
    ours_id = (data.metadata or {}).get("patchbay_id")
    return Report(
        event_id=f"{data.sms_id}:{status}",
        provider_id=data.sms_id,
        status=ours,
        occurred_at=at,
        failure=_failure(data, status) if ours is DeliveryStatus.FAILED else None,
        detail=status,
        message_id=ours_id if isinstance(ours_id, str) and ours_id.startswith("msg_") else None,
        raw={"sms_id": data.sms_id, "status": status, "error": data.error.code if data.error else None},
    )


def _failure(data: Data, status: str) -> SendError:
    reason = data.error or Reason()
    kind, ours = REASONS.get(reason.code or "", _UNDELIVERED)
    said = f"Bird reports the message as {status}."
    return SendError(kind, ours, said, provider_code=reason.code, provider_message=reason.description)


def _inbound(data: Data, sender: str, at: dt.datetime) -> Inbound:
    return Inbound(event_id=data.sms_id, sender=sender, occurred_at=at, to=data.to, text=data.text, provider_id=data.sms_id)
