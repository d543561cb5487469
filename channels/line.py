"""LINE through a Messaging API channel. Recipients are known from what they wrote; no receipts come after SENT."""

from __future__ import annotations

import base64
import datetime as dt
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, StringConstraints
from yarl import URL

from channels import checks, contents
from channels.answers import Answer, Document, Maybe, ProviderId, Verdict, refused, unreadable, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    Inbound,
    Intent,
    Media,
    Outbound,
    Provider,
    Received,
    Template,
)
from channels.callbacks import Callback, CallbackRefusedError, Refusal, require, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import BaseUrl, Wire

MAX_TEXT = 5000  # UTF-16 code units
MAX_MEDIA = 4
FILES = ("image", "video", "audio", "file")
INTENTS = {"follow": Intent.OPT_IN, "unfollow": Intent.OPT_OUT}

_DENIED: Verdict = (FailureKind.CONFIGURATION, "PERMISSION_DENIED")
_QUOTA: Verdict = (FailureKind.CONFIGURATION, "QUOTA_EXCEEDED")
_INVALID: Verdict = (FailureKind.RECIPIENT, "INVALID_RECIPIENT")
_RECIPIENT = re.compile(r"[UCR][0-9a-f]{32}")
_NAMESPACE = uuid.UUID("6f0f4a4b-8f5b-5d53-9d0e-7c3c1f0a2b11")

Recipient = Annotated[str, StringConstraints(pattern=r"^[UCR][0-9a-f]{32}$")]


class Detail(Document):
    message: Maybe[str] = None
    property: Maybe[str] = None


class Problem(Document):
    message: str
    details: list[Maybe[Detail]] = []


class SentMessage(Document):
    id: ProviderId


class Sent(Document):
    sent_messages: Annotated[list[SentMessage], Field(alias="sentMessages", min_length=1)]


class Me(Document):
    user_id: Annotated[str, Field(alias="userId")]
    basic_id: Maybe[str] = Field(None, alias="basicId")
    display_name: Maybe[str] = Field(None, alias="displayName")


class Source(Document):
    user_id: Maybe[Recipient] = Field(None, alias="userId")
    group_id: Maybe[Recipient] = Field(None, alias="groupId")
    room_id: Maybe[Recipient] = Field(None, alias="roomId")


class Content(Document):
    id: Maybe[ProviderId] = None
    type: str
    text: Maybe[str] = None
    file_name: Maybe[str] = Field(None, alias="fileName")


class Postback(Document):
    data: Maybe[str] = None


class Event(Document):
    type: str
    timestamp: Annotated[int, Field(ge=0, lt=253_402_300_800_000)]
    webhook_event_id: Annotated[str, Field(alias="webhookEventId", min_length=1, max_length=64)]
    source: Maybe[Source] = None
    message: Maybe[Content] = None
    postback: Maybe[Postback] = None


class Call(Document):
    destination: Maybe[str] = None
    events: list[Maybe[Event]]


class Line(Provider):
    about: ClassVar[Template] = Template(
        slug="line",
        key="line",
        channel=ChannelType.LINE,
        provider="LINE",
        title="LINE",
        documentation_url="https://developers.line.biz/en/docs/messaging-api/",
        calls_back=True,
        capabilities=Capabilities(media=True, inbound=True, max_text_length=MAX_TEXT, deduplicates=True),
    )

    channel_access_token: SecretStr = Field(
        title="Channel access token",
        description="Access token of the Messaging API channel, from the LINE Developers Console.",
        examples=["bNl4YEFPI/hjFWhTqexp4MuEw5YPs7qhr6dJDXKwNPuLka..."],
        min_length=8,
        max_length=1000,
    )
    channel_secret: SecretStr | None = Field(
        None,
        title="Channel secret",
        description="The channel's secret: with it, what people write to the account is taken.",
        examples=["8c570fa6dd201bb328f1c1eac23a96d8"],
        min_length=8,
    )
    base_url: BaseUrl = Field(
        "https://api.line.me",
        title="Base URL",
        description="LINE's API; change it for a proxy of your own.",
        examples=["https://api.line.me"],
    )

    def destination(self, to: str) -> str:
        """A user's, group's or room's id, as webhooks tell them."""
        if _RECIPIENT.fullmatch(to):
            return to
        raise ValueError("A LINE recipient is the id of a user (U…), a group (C…) or a room (R…), with 32 hexadecimal digits.")

    def check(self, message: Outbound) -> None:
        contents.check_no_template(message)
        contents.check_presence(message)
        contents.check_media(message.media, MAX_MEDIA)
        if any(URL(item.url).scheme != "https" for item in message.media):
            raise contents.refusal("INVALID_MEDIA_URL", "LINE fetches pictures by https only.")
        contents.check_text(message.body, MAX_TEXT)
        if message.body and len(message.body.encode("utf-16-le")) // 2 > MAX_TEXT:
            raise contents.refusal("TEXT_TOO_LONG", f"The text has more than {MAX_TEXT} UTF-16 code units, as LINE counts.")

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        content = {"to": message.to, "messages": _parts(message), "notificationDisabled": False}
        once = {"X-Line-Retry-Key": str(uuid.uuid5(_NAMESPACE, message.id))}
        answer = await self._call(wire, exchange, "POST", "/v2/bot/message/push", content, once)
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange)

    def authenticate(self, callback: Callback) -> None:
        """HMAC-SHA256 of the body: https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/"""
        if self.channel_secret is None:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        mac = signed(self.channel_secret.get_secret_value(), callback.body)
        require(base64.b64encode(mac).decode(), callback.header("x-line-signature"))

    def receive(self, callback: Callback) -> Received:
        said = callback.read(Call)
        found = (_inbound(event, said.destination) for event in said.events if event is not None)
        return Received(inbounds=tuple(inbound for inbound in found if inbound is not None))

    async def verify(self, wire: Wire) -> list[Check]:
        return [Check("token", "Channel access token", (await self._check_token(wire),))]

    async def _call(
        self,
        wire: Wire,
        exchange: Exchange,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        bearer = {"Authorization": f"Bearer {self.channel_access_token.get_secret_value()}"}
        return await wire.call(exchange, method, f"{self.base_url}{path}", json=content, headers={**bearer, **(headers or {})})

    async def _check_token(self, wire: Wire) -> Assertion:
        asking = checks.asked(self, lambda exchange: self._call(wire, exchange, "GET", "/v2/bot/info"), _refusal)
        me = await checks.told("token", asking, Me, "LINE did not say which account the token belongs to.")
        if isinstance(me, Assertion):
            return me
        return Assertion("token", CheckStatus.OK, f"The token belongs to {me.display_name or me.basic_id or me.user_id}.")


def _parts(message: Outbound) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": message.body}] if message.body else []
    return [*text, *({"type": "image", "originalContentUrl": m.url, "previewImageUrl": m.url} for m in message.media)]


def _accepted(answer: Answer, exchange: Exchange) -> Accepted:
    """A 409 says that an earlier request with this retry key was accepted, and what its messages are."""
    if not answer.ok and answer.status != 409:
        raise _refusal(answer, exchange)
    sent = answer.read(Sent)
    if sent is not None:
        return Accepted(sent.sent_messages[0].id)
    earlier = answer.headers.get("x-line-accepted-request-id")
    if answer.status == 409 and earlier:
        return Accepted(earlier[:255], detail="LINE had accepted it before.")
    raise unreadable("LINE", answer)


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None:
        return refused("LINE", answer, verdict(answer.status))
    details = (f"{detail.property or 'message'}: {detail.message}" for detail in problem.details if detail and detail.message)
    words = " — ".join([problem.message, *details])
    return refused("LINE", answer, _verdict(answer.status, problem), message=exchange.redact(words))


def _verdict(status: int, problem: Problem) -> Verdict:
    said = problem.message.lower()
    if status == 429 and "monthly limit" in said:
        return _QUOTA
    to_is_wrong = any(detail is not None and detail.property == "to" for detail in problem.details)
    if status == 400 and ("failed to send messages" in said or to_is_wrong):
        return _INVALID
    return _DENIED if status == 403 else verdict(status)


def _inbound(event: Event, destination: str | None) -> Inbound | None:
    """What a person wrote or pressed, or that they added or blocked the account."""
    source = event.source
    sender = (source.user_id or source.group_id or source.room_id) if source else None
    content, intent = event.message, INTENTS.get(event.type)
    pressed = event.postback.data if event.postback else None
    if sender is None or (content is None and intent is None and pressed is None):
        return None
    kind = content.type if content else event.type
    files = (Media(f"line-content:{content.id}", None, content.file_name),) if content and kind in FILES and content.id else ()
    return Inbound(
        event_id=event.webhook_event_id,
        sender=sender,
        occurred_at=dt.datetime.fromtimestamp(event.timestamp / 1000, dt.UTC),
        to=destination,
        text=content.text if content else None,
        kind=kind,
        media=files,
        provider_id=content.id if content else None,
        payload=pressed,
        intent=intent,
    )
