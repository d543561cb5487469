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
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.alias_generators import to_camel

from channels.errors import SendError
from channels.exchange import Exchange
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
    """A file the provider fetches by its URL."""

    url: str
    content_type: str | None = None
    filename: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """One message to one recipient, as an adapter sees it. `to` has passed `Provider.destination`."""

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

    `event_id` is unique per connector and makes a repeated receipt harmless.
    """

    event_id: str
    provider_id: str
    status: DeliveryStatus
    occurred_at: dt.datetime
    failure: SendError | None = None
    detail: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


class CheckStatus(StrEnum):
    INVALID = "INVALID"
    OK = "OK"
    WARNING = "WARNING"
    ERROR = "ERROR"
    INDETERMINATE = "INDETERMINATE"


@dataclass(frozen=True, slots=True)
class Assertion:
    """One thing a check looked at, in words the owner of the connector can act on."""

    name: str
    status: CheckStatus
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """A named group of assertions, as bad as its worst one."""

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
    """The catalogue entry of a provider. `key` is its member of the API's `ConnectorConfigInput`."""

    slug: str
    key: str
    channel: ChannelType
    provider: str
    title: str
    version: int = 1
    documentation_url: str | None = None
    release_status: ReleaseStatus = ReleaseStatus.GA
    capabilities: Capabilities = Capabilities()

    @property
    def ref(self) -> str:
        return f"{self.slug}:{self.version}"


class Provider(BaseModel):
    """Base of every adapter: immutable configuration. Connections an instance keeps are private and closed by `close`."""

    model_config = ConfigDict(
        frozen=True,
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

    def secrets(self) -> tuple[str, ...]:
        """The secret values set on this instance, for redaction."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(v.get_secret_value() for v in values if isinstance(v, SecretStr) and v.get_secret_value())

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

    def test_message(self, to: str, message_id: str) -> Outbound:
        """What `connectorTest` sends."""
        text = "This is a test message from Patchbay. Your connector works."
        return Outbound(id=message_id, to=to, subject="Patchbay test message", body=text)

    async def close(self) -> None:
        """Let go of kept connections."""
