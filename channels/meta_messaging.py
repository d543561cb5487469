"""What Messenger and Instagram have in common: sending through the Graph API, and what Meta tells of conversations.

People write first; for 24 hours after that one may answer. https://developers.facebook.com/docs/messenger-platform
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr

from channels import checks, contents, meta
from channels.answers import Answer, Document, ErrorCode, Maybe, ProviderId, Verdict, refused, understood, verdict
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
    Watermark,
)
from channels.callbacks import Callback, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import BaseUrl, Wire

VERSION = "v23.0"
_CONFIGURATION, _RECIPIENT, _CONTENT = FailureKind.CONFIGURATION, FailureKind.RECIPIENT, FailureKind.CONTENT
_UNAVAILABLE: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")
_CLOSED: Verdict = (_CONTENT, "OUTSIDE_SERVICE_WINDOW")

# https://developers.facebook.com/docs/messenger-platform/error-codes
CODES: Mapping[int, Verdict] = {
    1: _UNAVAILABLE,
    2: _UNAVAILABLE,
    3: (_CONFIGURATION, "PERMISSION_DENIED"),
    4: (FailureKind.THROTTLED, "RATE_LIMITED"),
    10: (_CONFIGURATION, "PERMISSION_DENIED"),
    32: (FailureKind.THROTTLED, "RATE_LIMITED"),
    100: (_CONTENT, "REJECTED"),
    190: (_CONFIGURATION, "AUTHENTICATION_FAILED"),
    **dict.fromkeys(range(200, 300), (_CONFIGURATION, "PERMISSION_DENIED")),
    368: (_CONFIGURATION, "ACCOUNT_INACTIVE"),
    551: (_RECIPIENT, "RECIPIENT_UNREACHABLE"),
    613: (FailureKind.THROTTLED, "RATE_LIMITED"),
    1200: _UNAVAILABLE,
    80006: (FailureKind.THROTTLED, "RATE_LIMITED"),
}
SUBCODES: Mapping[int, Verdict] = {
    1545041: (_RECIPIENT, "RECIPIENT_UNREACHABLE"),
    2018001: (_RECIPIENT, "INVALID_RECIPIENT"),
    2018065: _CLOSED,
    2018108: _CLOSED,
    2018278: _CLOSED,
}
_PERSON = re.compile(r"[0-9]{5,32}")
_UNKNOWN = "Meta did not say whom the token belongs to."
_Moment = Annotated[int, Field(ge=0, lt=253_402_300_800_000)]


class GraphError(Document):
    code: ErrorCode
    message: Maybe[str] = None
    subcode: Maybe[ErrorCode] = Field(None, alias="error_subcode")
    is_transient: bool = False


class Problem(Document):
    error: GraphError


class Sent(Document):
    message_id: ProviderId


class Me(Document):
    id: Maybe[str] = None
    user_id: Maybe[str] = None
    name: Maybe[str] = None
    username: Maybe[str] = None


class Party(Document):
    id: Annotated[str, Field(min_length=1, max_length=100)]


class Payload(Document):
    url: Maybe[str] = None


class Attachment(Document):
    type: str
    payload: Maybe[Payload] = None


class QuickReply(Document):
    payload: Maybe[str] = None


class Message(Document):
    mid: ProviderId
    text: Maybe[str] = None
    is_echo: bool = False
    attachments: list[Maybe[Attachment]] = []
    quick_reply: Maybe[QuickReply] = None


class Postback(Document):
    mid: Maybe[ProviderId] = None
    title: Maybe[str] = None
    payload: Maybe[str] = None


class Delivery(Document):
    mids: list[ProviderId] = []
    watermark: Maybe[_Moment] = None


class Read(Document):
    mid: Maybe[ProviderId] = None
    watermark: Maybe[_Moment] = None


class Happening(Document):
    sender: Party
    recipient: Party
    timestamp: Maybe[_Moment] = None
    message: Maybe[Message] = None
    postback: Maybe[Postback] = None
    delivery: Maybe[Delivery] = None
    read: Maybe[Read] = None


class Entry(Document):
    messaging: list[Maybe[Happening]] = []


class Told(Document):
    entry: list[Maybe[Entry]]


class MetaMessaging(Provider):
    """A page or an account that answers people through the Graph API."""

    max_text: ClassVar[int]
    whose: ClassVar[str]

    access_token: SecretStr = Field(
        title="Access token",
        description="Token of the page, or of the Instagram account, that may send messages for it.",
        examples=["EAAG…"],
        min_length=8,
    )
    app_secret: SecretStr | None = Field(
        None,
        title="App secret",
        description="The Meta app's secret: Meta signs what it tells with it, and it proves our calls.",
        examples=["0123456789abcdef0123456789abcdef"],
        min_length=8,
    )
    verify_token: SecretStr | None = Field(
        None,
        title="Verify token",
        description="A word of yours, entered at Meta too, by which it introduces itself once.",
        examples=["choose-a-random-word"],
        min_length=1,
    )
    base_url: BaseUrl = Field(
        "https://graph.facebook.com",
        title="Base URL",
        description="Meta's Graph API; graph.instagram.com for a token from an Instagram login.",
        examples=["https://graph.facebook.com"],
    )

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), *self._proof.values())

    def destination(self, to: str) -> str:
        """A person's id as this page or account knows it; only people who wrote first have one."""
        if _PERSON.fullmatch(to):
            return to
        raise ValueError(f"{self.whose} recipient is a person's number in this conversation, as their first message told it.")

    def check(self, message: Outbound) -> None:
        contents.check_no_template(message)
        contents.check_presence(message)
        contents.check_media(message.media, 1)
        if message.media and message.body:
            raise contents.refusal("UNSUPPORTED_CONTENT", "This channel sends a text or a file in one message, not both.")
        contents.check_text(message.body, self.max_text)

    def content(self, message: Outbound) -> dict[str, Any]:
        """The request's body."""
        return {"recipient": {"id": message.to}, "message": _content(message)}

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        answer = await self._call(wire, exchange, "POST", "me/messages", json=self.content(message))
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange)

    def authenticate(self, callback: Callback) -> None:
        meta.authenticate(callback, self.app_secret, self.verify_token)

    def receive(self, callback: Callback) -> Received:
        if callback.method == "GET":
            return meta.handshake(callback)
        happenings = [one for entry in callback.read(Told).entry if entry for one in entry.messaging if one is not None]
        return Received(
            reports=tuple(report for one in happenings for report in _reports(one, callback.received_at)),
            watermarks=tuple(mark for one in happenings for mark in _watermarks(one)),
            inbounds=tuple(inbound for one in happenings if (inbound := _inbound(one, callback.received_at))),
        )

    async def verify(self, wire: Wire) -> list[Check]:
        query = {"fields": self.about_me}
        asking = checks.asked(self, lambda exchange: self._call(wire, exchange, "GET", "me", query=query), _refusal)
        me = await checks.told("token", asking, Me, _UNKNOWN)
        return [Check("token", "Access token", (me if isinstance(me, Assertion) else self._judge(me),))]

    about_me: ClassVar[str] = "id,name"

    def _judge(self, me: Me) -> Assertion:
        number = me.user_id or me.id
        if number is None:
            return Assertion("token", CheckStatus.INDETERMINATE, _UNKNOWN)
        if self.identifier not in (None, number):
            return Assertion("token", CheckStatus.ERROR, f"The token belongs to {number}, not to {self.identifier}.")
        return Assertion("token", CheckStatus.OK, f"The token belongs to {me.name or me.username or number}.")

    @property
    def _proof(self) -> dict[str, str]:
        """What Meta asks for where an app requires proof that the caller knows its secret."""
        if self.app_secret is None:
            return {}
        return {"appsecret_proof": signed(self.app_secret.get_secret_value(), self._token.encode()).hex()}

    @property
    def _token(self) -> str:
        return self.access_token.get_secret_value()

    async def _call(
        self, wire: Wire, exchange: Exchange, method: str, path: str, query: Mapping[str, str] | None = None, json: Any = None
    ) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}"}
        asked = {**self._proof, **(query or {})} or None
        return await wire.call(exchange, method, f"{self.base_url}/{VERSION}/{path}", query=asked, json=json, headers=headers)


def _content(message: Outbound) -> dict[str, Any]:
    if not message.media:
        return {"text": message.body}
    media = message.media[0]
    kind = (media.content_type or "").partition("/")[0]
    return {"attachment": {"type": kind if kind in ("image", "video", "audio") else "file", "payload": {"url": media.url}}}


def _accepted(answer: Answer, exchange: Exchange) -> Accepted:
    if not answer.ok or answer.read(Problem):
        raise _refusal(answer, exchange)
    sent = understood("Meta", answer, Sent)
    return Accepted(sent.message_id)


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None:
        return refused("Meta", answer, verdict(answer.status))
    error = problem.error
    known = SUBCODES.get(error.subcode or 0) or CODES.get(error.code)
    found = _UNAVAILABLE if error.is_transient else known or verdict(answer.status)
    return refused("Meta", answer, found, code=error.code, message=exchange.redact(error.message) if error.message else None)


def _reports(one: Happening, received_at: dt.datetime) -> Iterator[Report]:
    """Receipts that name their message."""
    named = [(mid, DeliveryStatus.DELIVERED) for mid in (one.delivery.mids if one.delivery else [])]
    if one.read is not None and one.read.mid is not None:
        named.append((one.read.mid, DeliveryStatus.READ))
    for mid, status in named:
        at = _time(one.timestamp, received_at)
        event_id = f"{mid}:{status.lower()}"
        yield Report(
            event_id=event_id, provider_id=mid, status=status, occurred_at=at, detail=status.lower(), line=one.recipient.id
        )


def _watermarks(one: Happening) -> Iterator[Watermark]:
    for said, status in ((one.delivery, DeliveryStatus.DELIVERED), (one.read, DeliveryStatus.READ)):
        if said is not None and said.watermark is not None:
            until = dt.datetime.fromtimestamp(said.watermark / 1000, dt.UTC)
            yield Watermark(recipient=one.sender.id, status=status, until=until)


def _inbound(one: Happening, received_at: dt.datetime) -> Inbound | None:
    """What a person wrote or pressed; not the echo of what we wrote."""
    said, pressed = one.message, one.postback
    common: dict[str, Any] = {
        "sender": one.sender.id,
        "to": one.recipient.id,
        "line": one.recipient.id,
        "occurred_at": _time(one.timestamp, received_at),
    }
    if said is not None and not said.is_echo:
        files = [item for item in said.attachments if item is not None]
        media = tuple(Media(item.payload.url, item.type) for item in files if item.payload and item.payload.url)
        kind = files[0].type if files else "text"
        payload = said.quick_reply.payload if said.quick_reply else None
        return Inbound(
            event_id=said.mid, text=said.text, kind=kind, media=media, provider_id=said.mid, payload=payload, **common
        )
    if pressed is not None and (pressed.mid or one.timestamp):
        name = pressed.mid or f"{one.sender.id}:{one.timestamp}"
        return Inbound(event_id=name, text=pressed.title, kind="postback", payload=pressed.payload, **common)
    return None


def _time(milliseconds: int | None, received_at: dt.datetime) -> dt.datetime:
    return received_at if milliseconds is None else dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
