"""SMS through Vonage, by its SMS API or its Messages API. A text of several parts counts as delivered when one of them is."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import checks, contents, vonage_callbacks
from channels.answers import Answer, Document, Maybe, ProviderId, refused, understood, unreadable, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    Outbound,
    Provider,
    Received,
    Template,
)
from channels.callbacks import Callback
from channels.choices import Choice
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.phone import e164
from channels.sms_text import is_gsm
from channels.vonage_callbacks import VonageSignatureMethod
from channels.vonage_codes import of_status
from channels.wire import BaseUrl, Wire

MAX_TEXT = 1530
LONGEST_TTL = 7 * 24 * 3600
LOW_BALANCE = 1.0  # euros

_SENDER = re.compile(r"\+?[1-9][0-9]{2,14}|(?=.*[A-Za-z])[A-Za-z0-9_&.-][A-Za-z0-9 _&+.-]{0,10}")


class VonageApi(Choice):
    """Which of Vonage's interfaces carries the messages."""

    SMS = "SMS", "The SMS API."
    MESSAGES = "MESSAGES", "The Messages API."


class Part(Document):
    """One part of a text, as the SMS API took it or refused it."""

    status: Annotated[str, Field(pattern=r"^[0-9]{1,3}$")]
    message_id: Maybe[ProviderId] = Field(None, alias="message-id")
    error_text: Maybe[str] = Field(None, alias="error-text")


class Submitted(Document):
    messages: Annotated[list[Part], Field(min_length=1)]


class Taken(Document):
    message_uuid: ProviderId


class Problem(Document):
    title: Maybe[str] = None
    detail: Maybe[str] = None


class Balance(Document):
    value: float


class Vonage(Provider):
    about: ClassVar[Template] = Template(
        slug="sms-vonage",
        key="vonage",
        channel=ChannelType.SMS,
        provider="VONAGE",
        title="Vonage SMS",
        documentation_url="https://developer.vonage.com/en/messaging/sms/overview",
        calls_back=True,
        capabilities=Capabilities(inbound=True, delivery_receipts=True, max_text_length=MAX_TEXT),
        sender="fromNumber",
    )

    api_key: str = Field(
        title="API key", description="The account's API key.", examples=["abcd1234"], pattern=r"^[A-Za-z0-9]{4,32}$"
    )
    api_secret: SecretStr = Field(
        title="API secret", description="The secret that goes with the key.", examples=["your-api-secret"], min_length=1
    )
    from_number: str = Field(
        title="From",
        description="The sender when a message names none: a number, a short code, or a name of up to 11 characters.",
        examples=["AcmeInc"],
    )
    api: VonageApi = Field(
        VonageApi.SMS,
        title="API",
        description="SMS for the SMS API, MESSAGES for the Messages API; callbacks are set in the account for each.",
        examples=["SMS"],
    )
    signature_secret: SecretStr | None = Field(
        None,
        title="Signature secret",
        description="Set it when the account signs its callbacks; those without a right signature are then refused.",
        examples=["your-signature-secret"],
        min_length=1,
    )
    signature_method: VonageSignatureMethod = Field(
        VonageSignatureMethod.SHA256,
        title="Signature method",
        description="How the account signs: MD5HASH, or an HMAC with MD5, SHA1, SHA256 or SHA512.",
        examples=["SHA256"],
    )
    base_url: BaseUrl | None = Field(
        None,
        title="Base URL",
        description="Vonage's API, for a proxy of your own; without it, rest.nexmo.com or api.nexmo.com.",
        examples=["https://rest.nexmo.com"],
    )

    @field_validator("from_number")
    @classmethod
    def _sender(cls, value: str) -> str:
        if not _SENDER.fullmatch(value):
            raise ValueError("must be a number, a short code, or a name of up to 11 characters")
        return value

    @property
    def identifier(self) -> str | None:
        return self.from_number

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), self._credentials)

    def destination(self, to: str) -> str:
        return e164(to)

    def check(self, message: Outbound) -> None:
        contents.check_text_only(message, MAX_TEXT)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        if self.api is VonageApi.MESSAGES:
            return await self._send_by_messages(wire, message, exchange)
        form = self._form(message, wire.callback_url)
        answer = await wire.call(exchange, "POST", f"{self._rest}/sms/json", form=form, headers=self._headers)
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange)

    def authenticate(self, callback: Callback) -> None:
        """Without a signature secret the account does not sign, and the secret in our URL has to do."""
        if self.signature_secret is not None:
            vonage_callbacks.authenticate(callback, self.signature_secret.get_secret_value(), self.signature_method)

    def receive(self, callback: Callback) -> Received:
        return vonage_callbacks.receive(callback)

    async def verify(self, wire: Wire) -> list[Check]:
        url = f"{self._rest}/account/get-balance"
        asking = checks.asked(self, lambda exchange: wire.call(exchange, "GET", url, headers=self._headers), _refusal)
        balance = await checks.told("credentials", asking, Balance, "Vonage's answer could not be read.")
        found = [balance] if isinstance(balance, Assertion) else _judge(balance)
        return [Check("credentials", "Credentials", tuple(found))]

    @property
    def _rest(self) -> str:
        return self.base_url or "https://rest.nexmo.com"

    @property
    def _credentials(self) -> str:
        pair = f"{self.api_key}:{self.api_secret.get_secret_value()}"
        return base64.b64encode(pair.encode(errors="replace")).decode()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Basic {self._credentials}"}

    def _form(self, message: Outbound, callback_url: str | None) -> list[tuple[str, str]]:
        text = message.body or ""
        form = [("from", self._from(message)), ("to", message.to.removeprefix("+")), ("text", text), ("client-ref", message.id)]
        if not is_gsm(text):
            form.append(("type", "unicode"))
        if callback_url:
            form.append(("callback", callback_url))
        if message.validity_seconds is not None:
            form.append(("ttl", str(min(max(message.validity_seconds, 20), LONGEST_TTL) * 1000)))
        return form

    def _from(self, message: Outbound) -> str:
        return (message.sender or self.from_number).removeprefix("+")

    async def _send_by_messages(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        content: dict[str, Any] = {
            "message_type": "text",
            "channel": "sms",
            "to": message.to.removeprefix("+"),
            "from": self._from(message),
            "text": message.body,
            "client_ref": message.id,
        }
        if wire.callback_url:
            content["webhook_url"] = wire.callback_url
        if message.validity_seconds is not None:
            content["ttl"] = min(max(message.validity_seconds, 20), LONGEST_TTL)
        url = f"{self.base_url or 'https://api.nexmo.com'}/v1/messages"
        answer = await wire.call(exchange, "POST", url, json=content, headers=self._headers)
        with exchange.stage(StageName.ACCEPTED):
            if not answer.ok:
                raise _refusal(answer, exchange)
            taken = understood("Vonage", answer, Taken)
            return Accepted(taken.message_uuid)


def _accepted(answer: Answer, exchange: Exchange) -> Accepted:
    """The SMS API answers 200 whatever it did; each part has a status of its own."""
    if not answer.ok:
        raise _refusal(answer, exchange)
    submitted = understood("Vonage", answer, Submitted)
    parts = submitted.messages
    failed = next((part for part in parts if int(part.status) != 0), None)
    taken = next((part.message_id for part in parts if int(part.status) == 0 and part.message_id), None)
    if failed is not None and taken is None:
        words = exchange.redact(failed.error_text) if failed.error_text else None
        raise refused("Vonage", answer, of_status(int(failed.status)), code=failed.status, message=words)
    if taken is None:
        raise unreadable("Vonage", answer)
    return Accepted(taken, segments=len(parts), detail="Only some of its parts were taken." if failed else None)


CODES: Mapping[int, tuple[FailureKind, str]] = {
    402: (FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
    422: (FailureKind.CONTENT, "REJECTED"),
}


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    words = (problem.detail or problem.title) if problem else None
    known = CODES.get(answer.status) or verdict(answer.status)
    return refused("Vonage", answer, known, message=exchange.redact(words) if words else None)


def _judge(balance: Balance) -> list[Assertion]:
    known = Assertion("credentials", CheckStatus.OK, "Vonage knows the key.")
    if balance.value < LOW_BALANCE:
        return [known, Assertion("balance", CheckStatus.WARNING, "The account's balance is nearly used up.")]
    return [known, Assertion("balance", CheckStatus.OK, "The account has a balance.")]
