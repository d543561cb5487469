"""Slack through an app's bot. No receipts come after SENT."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, StringConstraints, field_validator

from channels import checks, contents
from channels.answers import Answer, Document, Maybe, Verdict, refused, understood, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    Inbound,
    Media,
    Outbound,
    Provider,
    Received,
    Template,
)
from channels.callbacks import Callback, CallbackRefusedError, Refusal, Reply, require, require_recent, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import BaseUrl, Wire

MAX_TEXT = 4000
MAX_SECTION = 3000
MAX_MEDIA = 10

_TOKEN: Verdict = (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED")
_DENIED: Verdict = (FailureKind.CONFIGURATION, "PERMISSION_DENIED")
_INVALID: Verdict = (FailureKind.RECIPIENT, "INVALID_RECIPIENT")
_CLOSED: Verdict = (FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE")
_TOO_LONG: Verdict = (FailureKind.CONTENT, "TEXT_TOO_LONG")
_REJECTED: Verdict = (FailureKind.CONTENT, "REJECTED")
_SLOW: Verdict = (FailureKind.THROTTLED, "RATE_LIMITED")
_AWAY: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")
_LOST: Verdict = (FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR")

# https://docs.slack.dev/reference/methods/chat.postMessage#errors
ERRORS: Mapping[str, Verdict] = {
    **dict.fromkeys(("not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired"), _TOKEN),
    **dict.fromkeys(("missing_scope", "not_allowed_token_type", "no_permission", "ekm_access_denied"), _DENIED),
    **dict.fromkeys(("channel_not_found", "user_not_found"), _INVALID),
    **dict.fromkeys(("not_in_channel", "is_archived", "cannot_dm_bot", "restricted_action", "messages_tab_disabled"), _CLOSED),
    **dict.fromkeys(("msg_too_long", "msg_blocks_too_long"), _TOO_LONG),
    **dict.fromkeys(("invalid_blocks", "invalid_arguments", "too_many_attachments"), _REJECTED),
    "no_text": (FailureKind.CONTENT, "EMPTY_MESSAGE"),
    **dict.fromkeys(("rate_limited", "ratelimited"), _SLOW),
    **dict.fromkeys(("service_unavailable", "team_added_to_org"), _AWAY),
    **dict.fromkeys(("internal_error", "fatal_error", "request_timeout"), _LOST),
}

_CONVERSATION = re.compile(r"[CDGUW][A-Z0-9]{5,20}")
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_BOT_TOKEN = re.compile(r"xoxb-[A-Za-z0-9-]{1,250}")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Moment = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}\.[0-9]{1,9}$")]


class Problem(Document):
    ok: bool
    error: Name


class Sent(Document):
    channel: Name
    ts: Moment


class Me(Document):
    team: Maybe[str] = None
    user: Maybe[str] = None
    bot_id: Maybe[str] = None


class File(Document):
    id: Name
    mimetype: Maybe[str] = None
    name: Maybe[str] = None


class Event(Document):
    type: str
    subtype: Maybe[str] = None
    bot_id: Maybe[str] = None
    channel: Maybe[Name] = None
    user: Maybe[Name] = None
    text: Maybe[str] = None
    ts: Maybe[Moment] = None
    files: list[Maybe[File]] = []


class Call(Document):
    type: str
    challenge: Maybe[str] = None
    event_id: Maybe[Name] = None
    event_time: Maybe[Annotated[int, Field(ge=0, lt=253_402_300_800)]] = None
    event: Maybe[Event] = None


class Slack(Provider):
    about: ClassVar[Template] = Template(
        slug="slack",
        key="slack",
        channel=ChannelType.SLACK,
        provider="SLACK",
        title="Slack",
        documentation_url="https://docs.slack.dev/reference/methods/chat.postMessage",
        calls_back=True,
        capabilities=Capabilities(media=True, inbound=True, max_text_length=MAX_TEXT),
    )

    bot_token: SecretStr = Field(
        title="Bot token",
        description="Bot user OAuth token of your Slack app; it needs the scope chat:write.",
        examples=["xoxb-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1"],
    )
    signing_secret: SecretStr | None = Field(
        None,
        title="Signing secret",
        description="The app's signing secret: with it, events that Slack sends to our URL are taken.",
        examples=["8f742231b10e8888abcd99yyyzzz85a5"],
        min_length=8,
    )
    base_url: BaseUrl = Field(
        "https://slack.com/api",
        title="Base URL",
        description="Slack's Web API; change it for a proxy of your own.",
        examples=["https://slack.com/api"],
    )

    @field_validator("bot_token")
    @classmethod
    def _shape(cls, value: SecretStr) -> SecretStr:
        if not _BOT_TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("must be a bot user's token, which begins with xoxb-")
        return value

    def destination(self, to: str) -> str:
        """The id of a channel, a conversation or a person, as Slack shows it."""
        if _CONVERSATION.fullmatch(to):
            return to
        raise ValueError("A Slack recipient is the id of a channel (C…), a conversation (D…, G…) or a person (U…).")

    def check(self, message: Outbound) -> None:
        contents.check_no_template(message)
        contents.check_presence(message)
        contents.check_media(message.media, MAX_MEDIA)
        contents.check_text(message.body, MAX_SECTION if message.media else MAX_TEXT)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        answer = await self._call(wire, exchange, "chat.postMessage", _content(message))
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange)

    def authenticate(self, callback: Callback) -> None:
        """HMAC-SHA256 over version, timestamp and body: https://docs.slack.dev/authentication/verifying-requests-from-slack"""
        if self.signing_secret is None:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        timestamp = callback.header("x-slack-request-timestamp")
        base = f"v0:{timestamp or ''}:".encode("utf-8", "replace") + callback.body
        require(f"v0={signed(self.signing_secret.get_secret_value(), base).hex()}", callback.header("x-slack-signature"))
        require_recent(timestamp, callback)

    def receive(self, callback: Callback) -> Received:
        said = callback.read(Call)
        if said.type == "url_verification":
            return Received(reply=Reply(body=(said.challenge or "").encode(), content_type="text/plain; charset=utf-8"))
        inbound = _inbound(said, callback.received_at) if said.type == "event_callback" else None
        return Received(inbounds=(inbound,) if inbound else ())

    async def verify(self, wire: Wire) -> list[Check]:
        return [Check("token", "Bot token", (await self._check_token(wire),))]

    async def _call(self, wire: Wire, exchange: Exchange, method: str, content: Mapping[str, Any]) -> Answer:
        headers = {
            "Authorization": f"Bearer {self.bot_token.get_secret_value()}",
            "Content-Type": "application/json; charset=utf-8",
        }
        return await wire.call(exchange, "POST", f"{self.base_url}/{method}", json=content, headers=headers)

    async def _asked(self, wire: Wire, method: str) -> Answer:
        exchange = Exchange(self.hidden)
        answer = await self._call(wire, exchange, method, {})
        if _failed(answer):
            raise _refusal(answer, exchange)
        return answer

    async def _check_token(self, wire: Wire) -> Assertion:
        unknown = "Slack did not say whom the token belongs to."
        me = await checks.told("token", self._asked(wire, "auth.test"), Me, unknown)
        if isinstance(me, Assertion):
            return me
        if me.team is None:
            return Assertion("token", CheckStatus.INDETERMINATE, unknown)
        if me.bot_id is None:
            return Assertion("token", CheckStatus.ERROR, "The token belongs to a person; a bot's is needed.")
        return Assertion("token", CheckStatus.OK, f"The token belongs to {me.user or me.bot_id} of {me.team}.")


def _content(message: Outbound) -> dict[str, Any]:
    """The text is plain: what it says pings nobody, and no link in it is unfolded."""
    text = (message.body or "").translate(_ESCAPED)
    shown = {"text": text or "Picture", "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    if not message.media:
        return {"channel": message.to, **shown}
    section = [{"type": "section", "text": {"type": "plain_text", "text": message.body}}] if message.body else []
    pictures = [{"type": "image", "image_url": item.url, "alt_text": item.filename or "Picture"} for item in message.media]
    return {"channel": message.to, **shown, "blocks": [*section, *pictures]}


def _failed(answer: Answer) -> bool:
    """Slack says no with a 200 and `"ok": false`."""
    problem = answer.read(Problem)
    return not answer.ok or (problem is not None and not problem.ok)


def _accepted(answer: Answer, exchange: Exchange) -> Accepted:
    if _failed(answer):
        raise _refusal(answer, exchange)
    sent = understood("Slack", answer, Sent)
    return Accepted(f"{sent.channel}:{sent.ts}")


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None or problem.ok:
        return refused("Slack", answer, verdict(answer.status))
    known = verdict(429) if answer.status == 429 else ERRORS.get(problem.error)
    unknown = _REJECTED if answer.ok else verdict(answer.status)
    return refused("Slack", answer, known or unknown, code=problem.error, message=exchange.redact(problem.error))


def _inbound(said: Call, received_at: dt.datetime) -> Inbound | None:
    """What a person wrote; not what bots wrote, edited or announced, which is us too."""
    event = said.event
    if event is None or said.event_id is None or event.type not in ("message", "app_mention"):
        return None
    if event.user is None or event.bot_id is not None or event.subtype not in (None, "file_share"):
        return None
    at = received_at if said.event_time is None else dt.datetime.fromtimestamp(said.event_time, dt.UTC)
    files = [file for file in event.files if file is not None]
    return Inbound(
        event_id=said.event_id,
        sender=event.user,
        occurred_at=at,
        to=event.channel,
        text=event.text,
        kind="file" if files else "text",
        media=tuple(Media(f"slack-file:{file.id}", file.mimetype, file.name) for file in files),
        provider_id=f"{event.channel}:{event.ts}" if event.channel and event.ts else None,
    )
