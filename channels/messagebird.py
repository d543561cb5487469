"""SMS through MessageBird's REST API, which Bird keeps for those who have it. https://developers.messagebird.com/api/sms-messaging/"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jwt
from pydantic import Field, SecretStr, field_validator

from channels import checks, contents
from channels.answers import Answer, Document, Maybe, ProviderId, Verdict, refused, understood, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    DeliveryStatus,
    Outbound,
    Provider,
    Received,
    Report,
    Template,
)
from channels.bird_codes import NETWORK
from channels.callbacks import Callback, CallbackRefusedError, Refusal, Reply
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.phone import e164
from channels.wire import BaseUrl, Wire

MAX_TEXT = 1377
LONGEST_VALIDITY = 604_800
SHOWN = ("id", "status", "statusDatetime", "statusReason", "statusErrorCode", "mccmnc")
TAKEN = Reply(200, b"OK", "text/plain; charset=utf-8")

STATUSES: Mapping[str, DeliveryStatus] = {
    "scheduled": DeliveryStatus.PROCESSING,
    "buffered": DeliveryStatus.PROCESSING,
    "sent": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    "expired": DeliveryStatus.FAILED,
    "delivery_failed": DeliveryStatus.FAILED,
}
CODES: Mapping[int, Verdict] = {
    2: (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
    9: (FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
    10: (FailureKind.CONTENT, "REJECTED"),
    20: (FailureKind.CONTENT, "REJECTED"),
    25: (FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
    98: (FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND"),
    99: (FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
}
_SENDER = re.compile(r"\+?[1-9][0-9]{2,16}|(?=.*[A-Za-z])[A-Za-z0-9_&.-][A-Za-z0-9 _&+.-]{0,10}")


class Trouble(Document):
    code: Annotated[int, Field(ge=0, lt=100_000)]
    description: Maybe[str] = None
    parameter: Maybe[str] = None


class Problem(Document):
    errors: Annotated[list[Trouble], Field(min_length=1)]


class Item(Document):
    parts: Maybe[Annotated[int, Field(ge=0, le=1000)]] = Field(None, alias="messagePartCount")


class Recipients(Document):
    items: list[Item] = []


class Created(Document):
    id: ProviderId
    recipients: Maybe[Recipients] = None


class Balance(Document):
    amount: float
    type: Maybe[str] = None


class MessageBird(Provider):
    about: ClassVar[Template] = Template(
        slug="sms-messagebird-rest",
        key="messagebird",
        channel=ChannelType.SMS,
        provider="MESSAGEBIRD",
        title="MessageBird SMS (REST)",
        documentation_url="https://developers.messagebird.com/api/sms-messaging/",
        calls_back=True,
        capabilities=Capabilities(delivery_receipts=True, max_text_length=MAX_TEXT),
        sender="originator",
    )

    access_key: SecretStr = Field(
        title="Access key", description="A live access key of the account.", examples=["your-access-key"], min_length=8
    )
    originator: str = Field(
        title="Originator",
        description="The sender when a message names none: a number, or a name of up to 11 characters.",
        examples=["AcmeInc"],
    )
    signing_key: SecretStr | None = Field(
        None,
        title="Signing key",
        description="The account's signing key: with it, status reports are believed only when signed.",
        examples=["your-signing-key"],
        min_length=8,
    )
    base_url: BaseUrl = Field(
        "https://rest.messagebird.com",
        title="Base URL",
        description="MessageBird's REST API.",
        examples=["https://rest.messagebird.com"],
    )

    @field_validator("originator")
    @classmethod
    def _sender(cls, value: str) -> str:
        if not _SENDER.fullmatch(value):
            raise ValueError("must be a number, or a name of up to 11 characters")
        return value

    @property
    def identifier(self) -> str | None:
        return self.originator

    def destination(self, to: str) -> str:
        return e164(to)

    def check(self, message: Outbound) -> None:
        contents.check_text_only(message, MAX_TEXT)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        content = self._content(message, wire.callback_url)
        answer = await wire.call(exchange, "POST", f"{self.base_url}/messages", json=content, headers=self._headers)
        with exchange.stage(StageName.ACCEPTED):
            if not answer.ok:
                raise _refusal(answer, exchange)
            created = understood("MessageBird", answer, Created)
            items = created.recipients.items if created.recipients else []
            return Accepted(created.id, segments=items[0].parts if items else None)

    def authenticate(self, callback: Callback) -> None:
        """A JWT over URL and body: https://developers.messagebird.com/api/#verifying-http-requests. Without a signing key the
        secret in our URL has to do."""
        if self.signing_key is not None:
            _check_signature(callback, self.signing_key.get_secret_value())

    def receive(self, callback: Callback) -> Received:
        """A status report, as a query. MessageBird wants to read OK."""
        told = callback.query
        status, name = told.get("status", ""), told.get("id")
        if not name or status not in STATUSES:
            return Received(reply=TAKEN)
        ours = STATUSES[status]
        reference = told.get("reference", "")
        report = Report(
            event_id=f"{name}:{status}",
            provider_id=name,
            status=ours,
            occurred_at=_time(told.get("statusDatetime"), callback),
            failure=_failure(status, told) if ours is DeliveryStatus.FAILED else None,
            detail=status,
            message_id=reference if reference.startswith("msg_") else None,
            raw={field: told[field] for field in SHOWN if field in told},
        )
        return Received(reports=(report,), reply=TAKEN)

    async def verify(self, wire: Wire) -> list[Check]:
        url = f"{self.base_url}/balance"
        asking = checks.asked(self, lambda exchange: wire.call(exchange, "GET", url, headers=self._headers), _refusal)
        balance = await checks.told("credentials", asking, Balance, "MessageBird's answer could not be read.")
        found = [balance] if isinstance(balance, Assertion) else _judge(balance)
        return [Check("credentials", "Credentials", tuple(found))]

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"AccessKey {self.access_key.get_secret_value()}"}

    def _content(self, message: Outbound, callback_url: str | None) -> dict[str, Any]:
        content: dict[str, Any] = {
            "originator": (message.sender or self.originator).removeprefix("+"),
            "recipients": [message.to.removeprefix("+")],
            "body": message.body,
            "reference": message.id,
            "datacoding": "auto",
            "type": "sms",
        }
        if callback_url:
            content["reportUrl"] = callback_url
        if message.validity_seconds is not None:
            content["validity"] = min(max(message.validity_seconds, 1), LONGEST_VALIDITY)
        return content


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None:
        return refused("MessageBird", answer, verdict(answer.status))
    trouble = problem.errors[0]
    known = CODES.get(trouble.code) if answer.status not in (429, 503) else None
    words = exchange.redact(trouble.description) if trouble.description else None
    return refused("MessageBird", answer, known or verdict(answer.status), code=trouble.code, message=words)


def _failure(status: str, told: Mapping[str, str]) -> SendError:
    code = told.get("statusErrorCode")
    kind, ours = NETWORK.get(code or "", (FailureKind.TRANSIENT, "UNDELIVERED"))
    words = told.get("statusReason")
    return SendError(kind, ours, f"MessageBird reports the message as {status}.", provider_code=code, provider_message=words)


def _check_signature(callback: Callback, key: str) -> None:
    try:
        claims = _claims(callback.header("messagebird-signature-jwt") or "", key)
        begins, ends = float(claims["nbf"]), float(claims["exp"])
    except (jwt.PyJWTError, TypeError, ValueError):
        raise CallbackRefusedError(Refusal.NOT_AUTHENTIC) from None
    body = hashlib.sha256(callback.body).hexdigest() if callback.body else None
    if claims["url_hash"] != hashlib.sha256(callback.url.encode()).hexdigest() or claims.get("payload_hash") != body:
        raise CallbackRefusedError(Refusal.NOT_AUTHENTIC)
    if not begins - 60 <= callback.received_at.timestamp() <= ends:
        raise CallbackRefusedError(Refusal.STALE)


def _claims(token: str, key: str) -> dict[str, Any]:
    """What the token says, if it is MessageBird's. The length of the key is the account's affair, not ours to warn of."""
    with warnings.catch_warnings(action="ignore", category=jwt.warnings.InsecureKeyLengthWarning):
        return jwt.decode(
            token,
            key,
            algorithms=["HS256", "HS384", "HS512"],
            issuer="MessageBird",
            options={"require": ["exp", "nbf", "iss", "url_hash"], "verify_exp": False, "verify_nbf": False},
        )


def _judge(balance: Balance) -> list[Assertion]:
    known = Assertion("credentials", CheckStatus.OK, "MessageBird knows the key.")
    if balance.amount <= 0:
        return [known, Assertion("balance", CheckStatus.WARNING, "The account's balance is used up.")]
    return [known, Assertion("balance", CheckStatus.OK, "The account has a balance.")]


def _time(text: str | None, callback: Callback) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat((text or "").replace(" ", "+"))
    except ValueError:
        return callback.received_at
    return at if at.tzinfo else callback.received_at
