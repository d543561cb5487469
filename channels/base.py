"""The contract between the engine and a provider.

A provider is a class; a configured connector is an instance of it. The class's pydantic fields are the configuration
(secrets are `SecretStr`), and everything that shows a configuration is derived from them: the GraphQL input, the template
catalogue, redaction, the README table. Adapters name what happened; what follows from it is decided in `delivery/`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.alias_generators import to_camel

from channels.callbacks import OK, Callback, CallbackRefusedError, Refusal, Reply
from channels.errors import SendError
from channels.exchange import Exchange
from channels.sms_text import SmsCoding
from channels.wire import Wire


class ChannelType(StrEnum):
    """The medium a message travels through; the vendor is the template's `provider`."""

    EMAIL = "EMAIL"
    SMS = "SMS"
    WHATSAPP = "WHATSAPP"
    TELEGRAM = "TELEGRAM"
    DISCORD = "DISCORD"
    SLACK = "SLACK"
    FACEBOOK = "FACEBOOK"
    INSTAGRAM = "INSTAGRAM"
    LINE = "LINE"
    WEBHOOK = "WEBHOOK"
    SIMULATOR = "SIMULATOR"


class ReleaseStatus(StrEnum):
    GA = "GA"
    BETA = "BETA"
    INTERNAL = "INTERNAL"


class TrafficType(StrEnum):
    """What a sending number is registered to carry."""

    PROMOTIONAL = "PROMOTIONAL"
    TRANSACTIONAL = "TRANSACTIONAL"
    CONVERSATIONAL = "CONVERSATIONAL"
    EMERGENCY = "EMERGENCY"
    TWO_FACTOR = "TWO_FACTOR"


class DeliveryStatus(StrEnum):
    """What a provider can tell us of a message it took; the words of our message status."""

    PROCESSING = "PROCESSING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Media:
    """A file the provider fetches by its URL. In a message to us, what was written under it, and instead of a URL that would
    need the provider's credentials its name there (`telegram-file:…`, `whatsapp-media:…`, `bird-media:…`)."""

    url: str
    content_type: str | None = None
    filename: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """One message to one recipient, as an adapter sees it. `to` has passed `Provider.destination`. A POST to `unsubscribe_url`
    opts the recipient out; bulk mail has one."""

    id: str
    to: str
    attempt: int = 1
    flow: str = "STANDARD"
    sender: str | None = None
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    template: Mapping[str, Any] | None = None
    media: tuple[Media, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    validity_seconds: int | None = None
    unsubscribe_url: str | None = None

    def texts(self) -> tuple[str, ...]:
        """What must not be copied into a recorded exchange: it may hold a one-time password."""
        return tuple(text for text in (self.subject, self.body, self.html) if text)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message."""

    provider_id: str | None
    status: DeliveryStatus = DeliveryStatus.SENT
    segments: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a provider tells later of a message: a delivery receipt.

    `event_id` is unique per connector and makes a repeated receipt harmless: the provider's own, or, where it has none, the
    message and the status (`SM1:delivered`). `provider_id` is what `Accepted` called the message; `message_id` is our own id
    where the provider echoes it, which also finds messages whose acceptance was lost. `line` is the `Provider.identifier` it
    concerns, for callbacks that may speak of several. `failure` goes with FAILED. `raw` is what an operator may read of it.
    """

    event_id: str
    provider_id: str
    status: DeliveryStatus
    occurred_at: dt.datetime
    failure: SendError | None = None
    detail: str | None = None
    message_id: str | None = None
    line: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """A receipt for everything sent to one recipient until a moment, as Messenger gives it. `recipient` is the canonical
    address (`Provider.destination`)."""

    recipient: str
    status: DeliveryStatus
    until: dt.datetime


class Intent(StrEnum):
    """What a provider itself knows an inbound message to be; where it does not, keywords decide."""

    OPT_OUT = "OPT_OUT"
    OPT_IN = "OPT_IN"
    HELP = "HELP"


@dataclass(frozen=True, slots=True)
class Part:
    """What of a text message came by itself: `number`, from 1, of `total`. `group` is what the parts of one message have in
    common and, while they come, no other message from anybody to the connector has."""

    group: str
    number: int
    total: int
    content: bytes = field(repr=False)
    coding: SmsCoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A message to us, or a contact who blocked or unblocked us (then without text, with an `intent`). With a `part` it is one
    of several that make the message, and `text` what it would be alone.

    `event_id` is unique per connector and makes a repetition harmless. `sender` is the canonical address one would answer to
    (`Provider.destination`). `kind` is the provider's word for what it is (`text`, `image`, `reaction`). `payload` is what a
    button or a deep link carried. `line` as in `Report`.
    """

    event_id: str
    sender: str
    occurred_at: dt.datetime
    to: str | None = None
    text: str | None = None
    kind: str = "text"
    media: tuple[Media, ...] = ()
    provider_id: str | None = None
    payload: str | None = None
    intent: Intent | None = None
    line: str | None = None
    part: Part | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """All that one callback said, and what to answer once it is stored. What means nothing to us is left out."""

    reports: tuple[Report, ...] = ()
    watermarks: tuple[Watermark, ...] = ()
    inbounds: tuple[Inbound, ...] = ()
    reply: Reply = OK


@dataclass(frozen=True, slots=True)
class Polled:
    """What a provider told when it was asked; `cursor` is given back to it the next time."""

    inbounds: tuple[Inbound, ...]
    cursor: str


class CheckStatus(StrEnum):
    INVALID = "INVALID"
    OK = "OK"
    WARNING = "WARNING"
    ERROR = "ERROR"
    INDETERMINATE = "INDETERMINATE"


@dataclass(frozen=True, slots=True)
class Assertion:
    """One thing a check looked at, in words the owner of the connector can act on. `number` is the telephone number messages
    come from, where the provider told it."""

    name: str
    status: CheckStatus
    message: str
    number: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A named group of assertions, as bad as its worst one. The one of the sender's number is named `phone_number`."""

    name: str
    display_name: str
    assertions: tuple[Assertion, ...]

    @property
    def status(self) -> CheckStatus:
        worst_first = (
            CheckStatus.ERROR,
            CheckStatus.INVALID,
            CheckStatus.INDETERMINATE,
            CheckStatus.WARNING,
            CheckStatus.OK,
        )
        found = {assertion.status for assertion in self.assertions}
        return next((status for status in worst_first if status in found), CheckStatus.INDETERMINATE)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a message through this channel may hold and what comes back."""

    text: bool = True
    subject: bool = False
    media: bool = False
    templates: bool = False
    inbound: bool = False
    delivery_receipts: bool = False
    read_receipts: bool = False
    max_text_length: int | None = None
    verifies_without_sending: bool = True
    deduplicates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The catalogue entry of a provider. `key` is its member of the API's `ConnectorConfigInput`, which the versions of a
    `slug` share. With `calls_back`, it tells what it has to tell by calling us, and `Provider.authenticate` and `receive`
    understand it. `sender` is the API's name of the setting that holds the number, short code or name recipients see."""

    slug: str
    key: str
    channel: ChannelType
    provider: str
    title: str
    version: int = 1
    documentation_url: str | None = None
    release_status: ReleaseStatus = ReleaseStatus.GA
    capabilities: Capabilities = Capabilities()
    calls_back: bool = False
    sender: str | None = None

    @property
    def ref(self) -> str:
        return f"{self.slug}:{self.version}"


class Provider(BaseModel):
    """Base of every adapter: immutable configuration. Connections an instance keeps are private and closed by `close`."""

    model_config = ConfigDict(
        frozen=True,
        defer_build=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    about: ClassVar[Template]

    @property
    def identifier(self) -> str | None:
        """The public address messages come from, if the configuration knows it."""
        return None

    @property
    def traffic(self) -> TrafficType | None:
        """What its number is registered to carry, if the configuration says."""
        return None

    def secrets(self) -> tuple[str, ...]:
        """The secret values set on this instance, for redaction."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(v.get_secret_value() for v in values if isinstance(v, SecretStr) and v.get_secret_value())

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """`secrets`, gathered once."""
        return self.secrets()

    def destination(self, to: str) -> str:
        """The canonical form of a recipient address. Raises ValueError with a sentence for the caller."""
        raise NotImplementedError

    def check(self, message: Outbound) -> None:
        """Refuse, before anything is stored or sent, content this channel cannot carry. Raises SendError(CONTENT)."""
        raise NotImplementedError

    async def verify(self, wire: Wire) -> list[Check]:
        """Check the configuration against the provider without sending anything. Reports, never raises SendError."""
        raise NotImplementedError

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        """Hand one message to the provider. Raises SendError; any other exception is our bug."""
        raise NotImplementedError

    def authenticate(self, callback: Callback) -> None:
        """Prove, from the raw bytes and the configuration alone, that the provider made this call. Raises CallbackRefusedError:
        NOT_ENABLED when the secret to check with is not configured, NOT_AUTHENTIC, STALE. The URL holds a secret of the
        connector and has been checked; a provider that cannot sign may therefore accept every call."""
        raise CallbackRefusedError(Refusal.NOT_ENABLED)

    def receive(self, callback: Callback) -> Received:
        """What an authenticated callback says, and the answer it needs. Unknown kinds of event say nothing.
        Raises CallbackRefusedError(MALFORMED) for what cannot be read at all."""
        raise CallbackRefusedError(Refusal.NOT_ENABLED)

    @property
    def listens(self) -> bool:
        """Somebody has to see to it that messages come in: the worker calls `subscribe` where the provider can reach us,
        `poll` again and again where it cannot. False where the owner enters our URL at the provider."""
        return False

    async def subscribe(self, wire: Wire) -> None:
        """Have the provider call `wire.callback_url` from now on. Raises SendError."""
        raise NotImplementedError

    async def unsubscribe(self, wire: Wire) -> None:
        """Take `subscribe` back. Raises SendError."""
        raise NotImplementedError

    async def poll(self, wire: Wire, cursor: str | None) -> Polled:
        """What came since `cursor`, waiting for it up to 25 seconds. Raises SendError."""
        raise NotImplementedError

    def test_message(self, to: str, message_id: str) -> Outbound:
        """What `connectorTest` sends."""
        text = "This is a test message from Patchbay. Your connector works."
        return Outbound(id=message_id, to=to, subject="Patchbay test message", body=text)

    async def close(self) -> None:
        """Let go of kept connections."""
