"""SMS and MMS through Twilio Programmable Messaging."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Mapping
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from yarl import URL

from channels import checks, contents, twilio_callbacks
from channels.answers import Answer, Document, ErrorCode, Maybe, ProviderId, Verdict, refused, understood, verdict
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
    TrafficType,
)
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.phone import e164
from channels.twilio_codes import CODES
from channels.wire import BaseUrl, Wire

MAX_TEXT = 1600
MAX_MEDIA = 10
MAX_VALIDITY = 36_000
FAILED_STATUSES = frozenset({"failed", "undelivered"})

_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9_&.-][A-Za-z0-9 _&+.-]{0,10}")

_Sid = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}[0-9A-Za-z]{1,62}$")]


class Problem(Document):
    """Twilio's error document."""

    code: Maybe[ErrorCode] = None
    message: Maybe[str] = None


class Created(Document):
    """A message resource as it is answered to its creation."""

    sid: ProviderId
    status: Maybe[str] = None
    num_segments: Maybe[Annotated[int, Field(ge=0, le=10_000)]] = None
    error_code: Maybe[ErrorCode] = None
    error_message: Maybe[str] = None


class Account(Document):
    status: str


class NumberCapabilities(Document):
    sms: Maybe[bool] = None


class Number(Document):
    capabilities: Maybe[NumberCapabilities] = None


class Numbers(Document):
    incoming_phone_numbers: list[Number]


class Twilio(Provider):
    about: ClassVar[Template] = Template(
        slug="sms-twilio",
        key="twilio",
        channel=ChannelType.SMS,
        provider="TWILIO",
        title="Twilio SMS",
        documentation_url="https://www.twilio.com/docs/messaging",
        calls_back=True,
        capabilities=Capabilities(
            media=True, inbound=True, delivery_receipts=True, read_receipts=True, max_text_length=MAX_TEXT
        ),
        sender="fromNumber",
    )

    account_sid: _Sid | None = Field(
        None,
        title="Account SID",
        description="The account the key belongs to (AC…). Required before the connector can be verified or can send.",
        examples=["AC00000000000000000000000000000000"],
    )
    api_key_sid: _Sid = Field(
        title="API key SID",
        description="The API key's SID (SK…), or the Account SID when the secret is the account's auth token.",
        examples=["SK00000000000000000000000000000000"],
    )
    api_key_secret: SecretStr = Field(
        min_length=1,
        title="API key secret",
        description="The secret shown once when the API key was made.",
        examples=["your-api-key-secret"],
    )
    auth_token: SecretStr | None = Field(
        None,
        title="Auth token",
        description="The account's auth token; Twilio signs its callbacks with it.",
        examples=["your-auth-token"],
    )
    from_number: str | None = Field(
        None,
        title="From number",
        description="The sender: an E.164 number, a short code, or a name of up to 11 characters.",
        examples=["+15005550006"],
    )
    messaging_service_sid: _Sid | None = Field(
        None,
        title="Messaging service SID",
        description="A messaging service (MG…) that picks the sender. This or the from number is required.",
        examples=["MG00000000000000000000000000000000"],
    )
    traffic_type: TrafficType | None = Field(
        None,
        title="Traffic type",
        description="What the sender is registered to carry.",
        examples=["TRANSACTIONAL"],
    )
    base_url: BaseUrl = Field(
        "https://api.twilio.com",
        title="Base URL",
        description="Twilio's API; change it for a regional endpoint.",
        examples=["https://api.dublin.ie1.twilio.com"],
    )

    @field_validator("from_number")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        if value is not None and not _SENDER.fullmatch(value):
            raise ValueError("must be an E.164 number, a short code of 3 to 8 digits, or a name of up to 11 characters")
        return value

    @model_validator(mode="after")
    def _has_a_sender(self) -> Twilio:
        if not (self.from_number or self.messaging_service_sid):
            raise ValueError("give fromNumber or messagingServiceSid: Twilio needs one of them to send from")
        return self

    @property
    def traffic(self) -> TrafficType | None:
        return self.traffic_type

    @property
    def identifier(self) -> str | None:
        return self.from_number or self.messaging_service_sid

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), self._credentials)

    def destination(self, to: str) -> str:
        return e164(to)

    def check(self, message: Outbound) -> None:
        if message.template is not None:
            raise contents.refusal("UNSUPPORTED_CONTENT", "This channel sends text and files, not templates.")
        contents.check_presence(message)
        contents.check_text(message.body, MAX_TEXT)
        contents.check_media(message.media, MAX_MEDIA)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        form = self._form(message, wire.callback_url)
        answer = await wire.call(exchange, "POST", self._url("/Messages.json"), form=form, headers=self._headers)
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange)

    def authenticate(self, callback: Callback) -> None:
        if self._signing_token is None:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        twilio_callbacks.authenticate(callback, self._signing_token)

    def receive(self, callback: Callback) -> Received:
        return twilio_callbacks.receive(callback)

    async def verify(self, wire: Wire) -> list[Check]:
        if self._account is None:
            missing = Assertion("account_sid", CheckStatus.ERROR, _NO_ACCOUNT)
            return [Check("credentials", "Credentials", (missing,))]
        found = [Check("credentials", "Credentials", await self._check_credentials(wire))]
        if found[0].status == CheckStatus.OK and self.from_number and self.from_number.startswith("+"):
            found.append(Check("phone_number", "Phone number", (await self._check_sender(wire, self.from_number),)))
        return found

    @property
    def _account(self) -> str | None:
        return self.account_sid or (self.api_key_sid if self.api_key_sid.startswith("AC") else None)

    @property
    def _signing_token(self) -> str | None:
        """Twilio signs with the account's auth token, never with an API key's secret."""
        if self.auth_token is not None:
            return self.auth_token.get_secret_value()
        return self.api_key_secret.get_secret_value() if self.api_key_sid.startswith("AC") else None

    @cached_property
    def _credentials(self) -> str:
        pair = f"{self.api_key_sid}:{self.api_key_secret.get_secret_value()}"
        return base64.b64encode(pair.encode(errors="replace")).decode()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Basic {self._credentials}"}

    def _url(self, path: str) -> str:
        if self._account is None:
            raise SendError(FailureKind.CONFIGURATION, "ACCOUNT_SID_REQUIRED", _NO_ACCOUNT)
        return f"{self.base_url}/2010-04-01/Accounts/{self._account}{path}"

    def _form(self, message: Outbound, callback_url: str | None) -> list[tuple[str, str]]:
        form = [("To", message.to)]
        if callback_url and self._signing_token:
            form.append(("StatusCallback", str(URL(callback_url).update_query(message=message.id))))
        if sender := message.sender or self.from_number:
            form.append(("From", sender))
        if self.messaging_service_sid and not message.sender:
            form.append(("MessagingServiceSid", self.messaging_service_sid))
        if message.body:
            form.append(("Body", message.body))
        form += [("MediaUrl", item.url) for item in message.media]
        if message.validity_seconds is not None:
            form.append(("ValidityPeriod", str(min(max(message.validity_seconds, 1), MAX_VALIDITY))))
        return form

    async def _get(self, wire: Wire, path: str, query: Mapping[str, str] | None = None) -> Answer:
        def call(exchange: Exchange) -> Awaitable[Answer]:
            return wire.call(exchange, "GET", self._url(path), query=query, headers=self._headers)

        return await checks.asked(self, call, _refusal)

    async def _check_credentials(self, wire: Wire) -> tuple[Assertion, ...]:
        try:
            answer = await self._get(wire, ".json")
        except SendError as error:
            if error.code not in ("AUTHENTICATION_FAILED", "PERMISSION_DENIED"):
                return (checks.failed("credentials", error),)
            return (await self._check_standard_key(wire),)
        return (Assertion("credentials", CheckStatus.OK, "Twilio knows the key."), _account_state(answer))

    async def _check_standard_key(self, wire: Wire) -> Assertion:
        """A Standard key may send, but not read its account; it may read the list of messages."""
        try:
            await self._get(wire, "/Messages.json", {"PageSize": "1"})
        except SendError as error:
            return checks.failed("credentials", error)
        return Assertion("credentials", CheckStatus.OK, "Twilio knows the key; it may not read the account's state.")

    async def _check_sender(self, wire: Wire, number: str) -> Assertion:
        try:
            answer = await self._get(wire, "/IncomingPhoneNumbers.json", {"PhoneNumber": number})
        except SendError as error:
            if error.code in ("AUTHENTICATION_FAILED", "PERMISSION_DENIED"):
                return Assertion("sender_owned", CheckStatus.INDETERMINATE, "The key may not read the account's numbers.")
            return checks.failed("sender_owned", error)
        return _ownership(answer.read(Numbers), number)


_NO_ACCOUNT = "Set accountSid (AC…): Twilio's addresses hold the account, also when an API key is used."


def _accepted(answer: Answer, exchange: Exchange) -> Accepted:
    if not answer.ok:
        raise _refusal(answer, exchange)
    created = understood("Twilio", answer, Created)
    if created.status in FAILED_STATUSES:
        raise _failure(answer, created.error_code, created.error_message, exchange)
    return Accepted(created.sid, segments=created.num_segments, detail=exchange.redact(created.status or "")[:100] or None)


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem) or Problem()
    return _failure(answer, problem.code, problem.message, exchange)


def _failure(answer: Answer, code: int | None, message: str | None, exchange: Exchange) -> SendError:
    words = exchange.redact(message) if message else None
    return refused("Twilio", answer, _verdict(answer.status, code), code=code, message=words)


def _verdict(status: int, code: int | None) -> Verdict:
    if known := CODES.get(code or 0):
        return known
    if status < 300:
        return FailureKind.CONTENT, "REJECTED"
    # Twilio splits its codes further over time.
    if code is not None and status != 429 and code // 1000 in (21, 30):
        return (FailureKind.CONTENT, "REJECTED") if code // 1000 == 21 else (FailureKind.TRANSIENT, "UNDELIVERED")
    return verdict(status)


def _account_state(answer: Answer) -> Assertion:
    account = answer.read(Account)
    status = account.status if account else None
    if status == "active":
        return Assertion("account_active", CheckStatus.OK, "The account is active.")
    if status in ("suspended", "closed"):
        return Assertion("account_active", CheckStatus.ERROR, f"The account is {status}.")
    return Assertion("account_active", CheckStatus.INDETERMINATE, "Twilio did not say whether the account is active.")


def _ownership(numbers: Numbers | None, number: str) -> Assertion:
    name = "sender_owned"
    if numbers is None:
        return Assertion(name, CheckStatus.INDETERMINATE, "Twilio's list of numbers could not be read.")
    if not numbers.incoming_phone_numbers:
        return Assertion(name, CheckStatus.ERROR, f"The account does not own {number}.")
    if any(found.capabilities and found.capabilities.sms for found in numbers.incoming_phone_numbers):
        return Assertion(name, CheckStatus.OK, f"The account owns {number}.")
    return Assertion(name, CheckStatus.ERROR, f"{number} cannot send SMS.")
