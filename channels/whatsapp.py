"""WhatsApp through Meta's Cloud API: text, approved templates, and files the recipient's phone fetches by URL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, StringConstraints, field_validator

from channels import checks, contents, meta, whatsapp_callbacks
from channels.answers import Answer, Document, ErrorCode, Maybe, ProviderId, Verdict, refused, understood, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    DeliveryStatus,
    Media,
    Outbound,
    Provider,
    Received,
    Template,
)
from channels.callbacks import Callback
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.phone import e164_or_digits
from channels.templates import check_template
from channels.whatsapp_codes import CODES, PAUSES
from channels.wire import BaseUrl, Wire

MAX_TEXT = 4096
MAX_CAPTION = 1024
MAX_REFERENCE = 512

# What WhatsApp shows as itself; any other file travels as a document.
KINDS: Mapping[str, tuple[str, ...]] = {
    "image": ("image/jpeg", "image/png"),
    "audio": ("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"),
    "video": ("video/mp4", "video/3gpp"),
}

UNAVAILABLE: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")

_Digits = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")]


class ErrorData(Document):
    details: Maybe[str] = None


class GraphError(Document):
    code: ErrorCode
    message: Maybe[str] = None
    is_transient: Maybe[bool] = None
    error_data: Maybe[ErrorData] = None


class Problem(Document):
    error: GraphError


class Taken(Document):
    id: ProviderId
    message_status: Maybe[str] = None


class Sent(Document):
    messages: Annotated[list[Taken], Field(min_length=1)]


class Number(Document):
    """A sending number; what Meta leaves out is None."""

    id: Maybe[str] = None
    display_phone_number: Maybe[Annotated[str, Field(pattern=r"^[0-9+() .-]{1,40}$")]] = None
    code_verification_status: Maybe[str] = None
    name_status: Maybe[str] = None
    quality_rating: Maybe[str] = None


class Paging(Document):
    next: Maybe[str] = None


class Listing(Document):
    data: list[Number]
    paging: Maybe[Paging] = None


class WhatsappCloud(Provider):
    about: ClassVar[Template] = Template(
        slug="whatsapp",
        key="whatsappCloud",
        channel=ChannelType.WHATSAPP,
        provider="META_CLOUD",
        title="WhatsApp Cloud API",
        documentation_url="https://developers.facebook.com/docs/whatsapp/cloud-api",
        calls_back=True,
        capabilities=Capabilities(
            media=True,
            templates=True,
            inbound=True,
            delivery_receipts=True,
            read_receipts=True,
            max_text_length=MAX_TEXT,
        ),
    )
    api_version: ClassVar[str] = "v23.0"

    access_token: SecretStr = Field(
        title="Access token",
        description="A system user's token with the permissions whatsapp_business_messaging and whatsapp_business_management.",
        examples=["EAAB..."],
    )
    phone_number_id: _Digits = Field(
        title="Phone number ID",
        description="Meta's ID of the sending number; not the number itself.",
        examples=["106540352242922"],
    )
    business_account_id: _Digits = Field(
        title="Business account ID",
        description="Meta's ID of the WhatsApp business account the number belongs to.",
        examples=["102290129340398"],
    )
    app_secret: SecretStr | None = Field(
        None,
        title="App secret",
        description="The Meta app's secret; Meta signs its callbacks with it.",
        examples=["your-app-secret"],
    )
    verify_token: SecretStr | None = Field(
        None,
        title="Verify token",
        description="A word of your choice that Meta repeats when it first calls the webhook.",
        examples=["your-verify-token"],
    )
    base_url: BaseUrl = Field(
        "https://graph.facebook.com",
        title="Base URL",
        description="Meta's Graph API, without the version.",
        examples=["https://graph.facebook.com"],
    )

    @field_validator("access_token")
    @classmethod
    def _one_word(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value()
        if not token or not all("!" <= character <= "~" for character in token):
            raise ValueError("must be one word of printable ASCII characters")
        return value

    @property
    def identifier(self) -> str | None:
        return self.phone_number_id

    def destination(self, to: str) -> str:
        return e164_or_digits(to)

    def check(self, message: Outbound) -> None:
        if message.template is not None:
            if message.media:
                raise contents.refusal("UNSUPPORTED_CONTENT", "A template names its files in its header, not beside itself.")
            check_template(message.template)
            return
        contents.check_presence(message)
        contents.check_media(message.media, 1)
        name, limit = ("caption", MAX_CAPTION) if message.media else ("text", MAX_TEXT)
        contents.check_text(message.body, limit, name)
        if message.media and message.body and kind_of(message.media[0]) == "audio":
            raise contents.refusal("UNSUPPORTED_CONTENT", "WhatsApp carries no caption with a sound file.")

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        url = self._url(self.phone_number_id, "/messages")
        answer = await wire.call(exchange, "POST", url, json=_content(message), headers=self._headers)
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange)

    def authenticate(self, callback: Callback) -> None:
        meta.authenticate(callback, self.app_secret, self.verify_token)

    def receive(self, callback: Callback) -> Received:
        return whatsapp_callbacks.receive(callback)

    async def verify(self, wire: Wire) -> list[Check]:
        number = Check("phone_number", "Phone number", tuple(await self._check_number(wire)))
        if number.status in (CheckStatus.ERROR, CheckStatus.INDETERMINATE):
            return [number]
        account = (await self._check_account(wire), await self._check_webhooks(wire))
        return [number, Check("business_account", "Business account", account)]

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token.get_secret_value()}"}

    def _url(self, node: str, path: str = "") -> str:
        return f"{self.base_url}/{self.api_version}/{node}{path}"

    async def _get(self, wire: Wire, url: str, query: Mapping[str, str]) -> Answer:
        exchange = Exchange(self.hidden)
        answer = await wire.call(exchange, "GET", url, query=query, headers=self._headers)
        if not answer.ok or answer.read(Problem):
            raise _refusal(answer, exchange)
        return answer

    async def _check_number(self, wire: Wire) -> list[Assertion]:
        try:
            answer = await self._get(wire, self._url(self.phone_number_id), {"fields": _NUMBER_FIELDS})
        except SendError as error:
            name = "token" if error.code in ("AUTHENTICATION_FAILED", "PERMISSION_DENIED") else "phone_number_id"
            return [checks.failed(name, error)]
        number = answer.read(Number)
        if number is None or number.id is None:
            return [Assertion("phone_number_id", CheckStatus.INDETERMINATE, "Meta's answer could not be read.")]
        return list(_judge(number, self.phone_number_id))

    async def _check_account(self, wire: Wire) -> Assertion:
        name, unsure = "number_in_account", "The number is not among the first the account lists."
        url = self._url(self.business_account_id, "/phone_numbers")
        listing = await checks.told(name, self._get(wire, url, {"fields": "id", "limit": "100"}), Listing, unsure)
        if isinstance(listing, Assertion):
            return listing
        if any(number.id == self.phone_number_id for number in listing.data):
            return Assertion(name, CheckStatus.OK, "The number belongs to the business account.")
        if listing.paging and listing.paging.next:
            return Assertion(name, CheckStatus.INDETERMINATE, unsure)
        return Assertion(name, CheckStatus.ERROR, "The number does not belong to the business account.")

    async def _check_webhooks(self, wire: Wire) -> Assertion:
        name, url = "webhooks_subscribed", self._url(self.business_account_id, "/subscribed_apps")
        listing = await checks.told(name, self._get(wire, url, {}), Listing, "Meta's answer could not be read.")
        if isinstance(listing, Assertion):
            return listing
        if not listing.data:
            return Assertion(name, CheckStatus.WARNING, "No app is subscribed: delivery receipts will not arrive.")
        return Assertion(name, CheckStatus.OK, "An app is subscribed to the account's events.")


class WhatsappLine(WhatsappCloud):
    """As WhatsappCloud, over a number and with a token that its organization keeps for all its connectors, or the platform for
    all organizations; what is left out is filled in before this is made (`delivery.lines`)."""

    about: ClassVar[Template] = replace(
        WhatsappCloud.about,
        slug="whatsapp-line",
        key="whatsappLine",
        title="The organization's WhatsApp line",
        calls_back=False,
    )

    access_token: SecretStr = Field(SecretStr(""), title="Access token", description="Left out: the organization's line's.")
    phone_number_id: _Digits = Field("", title="Phone number ID", description="Left out: the organization's line's.")
    business_account_id: _Digits = Field(
        "", title="Business account ID", description="Left out: the business account is not checked."
    )

    @property
    def identifier(self) -> str | None:
        return self.phone_number_id or None

    @property
    def is_complete(self) -> bool:
        return bool(self.phone_number_id and self.access_token.get_secret_value())

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        if not self.is_complete:
            raise SendError(FailureKind.CONFIGURATION, "LINE_NOT_CONFIGURED", _NO_LINE)
        return await super().send(wire, message, exchange)

    async def verify(self, wire: Wire) -> list[Check]:
        if not self.is_complete:
            return [Check("line", "Line", (Assertion("line", CheckStatus.ERROR, _NO_LINE),))]
        if self.business_account_id:
            return await super().verify(wire)
        return [Check("phone_number", "Phone number", tuple(await self._check_number(wire)))]


_NO_LINE = "Neither the organization nor the platform has a WhatsApp line with a number and a token."
_NUMBER_FIELDS = (
    "verified_name,code_verification_status,display_phone_number,quality_rating,platform_type,throughput,name_status"
)
_NAMED = ("APPROVED", "AVAILABLE_WITHOUT_REVIEW")
_HELD = ("held_for_quality_assessment", "paused")


def kind_of(media: Media) -> str:
    """Meta's word for a file: image, audio, video or document."""
    kind = contents.content_type(media)
    return next((name for name, kinds in KINDS.items() if kind in kinds), "document")


def _content(message: Outbound) -> dict[str, Any]:
    kind, content = _payload(message)
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to.removeprefix("+"),
        "type": kind,
        kind: content,
        "biz_opaque_callback_data": message.id[:MAX_REFERENCE],
    }


def _payload(message: Outbound) -> tuple[str, dict[str, Any]]:
    if message.template is not None:
        return "template", dict(message.template)
    if not message.media:
        return "text", {"preview_url": False, "body": message.body}
    media = message.media[0]
    kind = kind_of(media)
    caption = {"caption": message.body} if message.body else {}
    filename = {"filename": media.filename} if kind == "document" and media.filename else {}
    return kind, {"link": media.url, **caption, **filename}


def _accepted(answer: Answer, exchange: Exchange) -> Accepted:
    if not answer.ok or answer.read(Problem):
        raise _refusal(answer, exchange)
    sent = understood("Meta", answer, Sent)
    taken = sent.messages[0]
    if taken.message_status in _HELD:
        return Accepted(taken.id, DeliveryStatus.PROCESSING, detail=taken.message_status)
    return Accepted(taken.id)


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None:
        return refused("Meta", answer, verdict(answer.status))
    error = problem.error
    details = error.error_data.details if error.error_data else None
    words = " — ".join(dict.fromkeys(part for part in (error.message, details) if part))
    return refused(
        "Meta",
        answer,
        _verdict(answer.status, error),
        code=error.code,
        message=exchange.redact(words) or None,
        retry_after=answer.retry_after or PAUSES.get(error.code),
    )


def _verdict(status: int, error: GraphError) -> Verdict:
    """Meta's code decides, not the HTTP status."""
    known = CODES.get(error.code)
    if known and known[0] in (FailureKind.THROTTLED, FailureKind.TRANSIENT):
        return known
    if error.is_transient or (known is None and status >= 500):
        return UNAVAILABLE if status != 429 else verdict(status)
    return known or (verdict(status) if status >= 300 else (FailureKind.CONTENT, "REJECTED"))


def _judge(number: Number, phone_number_id: str) -> Iterator[Assertion]:
    shown = number.display_phone_number or phone_number_id
    yield Assertion("token", CheckStatus.OK, "Meta knows the token.")
    yield Assertion("phone_number_id", CheckStatus.OK, f"The number is {shown}.", number.display_phone_number)
    if number.code_verification_status:
        verified = number.code_verification_status == "VERIFIED"
        said = "The number is verified." if verified else "The number's ownership is not verified with Meta."
        yield Assertion("code_verified", CheckStatus.OK if verified else CheckStatus.WARNING, said)
    if number.name_status:
        named = number.name_status in _NAMED
        said = "The display name is approved." if named else "The display name is not approved."
        yield Assertion("name_approved", CheckStatus.OK if named else CheckStatus.WARNING, said)
    if number.quality_rating:
        poor = number.quality_rating == "RED"
        said = "Meta rates the number's quality as low." if poor else "The number's quality is not rated low."
        yield Assertion("quality", CheckStatus.WARNING if poor else CheckStatus.OK, said)
