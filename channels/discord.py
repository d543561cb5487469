"""Discord through a bot, or through the webhook of one channel. No receipts come after SENT.

Ordinary messages of a channel reach a bot by Discord's own websocket only; over HTTP come commands and pressed buttons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

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
    Outbound,
    Provider,
    Received,
    Template,
)
from channels.callbacks import OK, Callback, CallbackRefusedError, Refusal, Reply, require_recent
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import BaseUrl, Wire, checked_url

MAX_TEXT = 2000
MAX_MEDIA = 10
NONCE = 25
WEBHOOK = "webhook"
PING, COMMAND, COMPONENT = 1, 2, 3

_INVALID: Verdict = (FailureKind.RECIPIENT, "INVALID_RECIPIENT")
_CLOSED: Verdict = (FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE")
_DENIED: Verdict = (FailureKind.CONFIGURATION, "PERMISSION_DENIED")
_TOKEN: Verdict = (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED")
_SLOW: Verdict = (FailureKind.THROTTLED, "RATE_LIMITED")
UNAVAILABLE: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
CODES: Mapping[int, Verdict] = {
    10003: _INVALID,
    10004: _INVALID,
    10013: _INVALID,
    10015: (FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND"),
    20016: _SLOW,
    20028: _SLOW,
    20029: _SLOW,
    40001: _TOKEN,
    40003: _SLOW,
    40005: (FailureKind.CONTENT, "MESSAGE_TOO_LARGE"),
    40062: _SLOW,
    50001: _DENIED,
    50006: (FailureKind.CONTENT, "EMPTY_MESSAGE"),
    50007: _CLOSED,
    50013: _DENIED,
    50035: (FailureKind.CONTENT, "REJECTED"),
    130000: UNAVAILABLE,
}

Snowflake = Annotated[str, StringConstraints(pattern=r"^[0-9]{15,20}$")]
_SNOWFLAKE = re.compile(r"[0-9]{15,20}")
_USER = re.compile(r"user:([0-9]{15,20})")
_WEBHOOK = re.compile(r"/api(/v[0-9]{1,2})?/webhooks/[0-9]{15,20}/[A-Za-z0-9_-]{20,128}")


class Problem(Document):
    message: str = ""
    code: Annotated[int, Field(ge=0, lt=10_000_000)] = 0
    retry_after: Maybe[Annotated[float, Field(ge=0, le=3600)]] = None


class Channel(Document):
    id: Snowflake


class Sent(Document):
    id: Snowflake
    channel_id: Snowflake


class User(Document):
    id: Snowflake
    username: Maybe[str] = None
    bot: bool = False


class Hook(Document):
    id: Snowflake
    name: Maybe[str] = None


class Member(Document):
    user: User


class Option(Document):
    value: Maybe[str | int | float | bool] = None


class InteractionData(Document):
    name: Maybe[str] = None
    custom_id: Maybe[str] = None
    options: list[Option] = []


class Interaction(Document):
    id: Maybe[Snowflake] = None
    type: int
    channel_id: Maybe[Snowflake] = None
    member: Maybe[Member] = None
    user: Maybe[User] = None
    data: Maybe[InteractionData] = None


class Discord(Provider):
    about: ClassVar[Template] = Template(
        slug="discord",
        key="discord",
        channel=ChannelType.DISCORD,
        provider="DISCORD",
        title="Discord",
        documentation_url="https://docs.discord.com/developers/resources/message",
        calls_back=True,
        capabilities=Capabilities(media=True, inbound=True, max_text_length=MAX_TEXT),
    )

    bot_token: SecretStr | None = Field(
        None,
        title="Bot token",
        description="Token of the bot that writes, from the developer portal; either this or a webhook URL.",
        examples=["MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"],
    )
    webhook_url: SecretStr | None = Field(
        None,
        title="Webhook URL",
        description="URL of a channel's webhook, as Discord shows it; whoever has it may write.",
        examples=[
            "https://discord.com/api/webhooks/223704706495545344/3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2"
        ],
    )
    public_key: str | None = Field(
        None,
        title="Public key",
        description="The application's public key, 64 hexadecimal digits: with it, commands and pressed buttons are taken.",
        examples=["e11b5d1a4f8c2c2d3f9e8a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d"],
        pattern=r"^[0-9a-fA-F]{64}$",
    )
    base_url: BaseUrl = Field(
        "https://discord.com/api/v10",
        title="Base URL",
        description="Discord's API; change it for a proxy of your own.",
        examples=["https://discord.com/api/v10"],
    )

    @field_validator("webhook_url")
    @classmethod
    def _is_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            url = checked_url(value.get_secret_value())
            if not _WEBHOOK.fullmatch(url.path) or url.query_string or url.fragment:
                raise ValueError("must be a webhook's URL, as Discord shows it")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.bot_token is None) == (self.webhook_url is None):
            raise ValueError("give either botToken or webhookUrl")
        return self

    @property
    def identifier(self) -> str | None:
        """The number of the webhook; a bot's is not in its configuration."""
        return self._webhook.rsplit("/", 2)[-2] if self.webhook_url is not None else None

    def secrets(self) -> tuple[str, ...]:
        tokens = (self._webhook.rsplit("/", 1)[-1],) if self.webhook_url is not None else ()
        return (*super().secrets(), *tokens)

    def destination(self, to: str) -> str:
        """Of a bot, a channel's id or `user:` and a person's; of a webhook, `webhook` for its channel, or a thread's id."""
        if _SNOWFLAKE.fullmatch(to) or (to == WEBHOOK if self.webhook_url is not None else _USER.fullmatch(to)):
            return to
        if self.webhook_url is not None:
            raise ValueError(
                'A recipient through a Discord webhook is "webhook", for its channel, or the id of a thread there.'
            )
        raise ValueError('A Discord recipient is the id of a channel, or "user:" and the id of a person.')

    def check(self, message: Outbound) -> None:
        contents.check_no_template(message)
        contents.check_presence(message)
        contents.check_media(message.media, MAX_MEDIA)
        contents.check_text(message.body, MAX_TEXT)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        if self.webhook_url is not None:
            query = {"wait": "true", **({} if message.to == WEBHOOK else {"thread_id": message.to})}
            answer = await wire.call(exchange, "POST", self._webhook, query=query, json=_content(message))
        else:
            channel = await self._channel(wire, message.to, exchange)
            once = {"nonce": message.id[-NONCE:], "enforce_nonce": True}
            answer = await self._call(wire, exchange, "POST", f"/channels/{channel}/messages", {**_content(message), **once})
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange)

    def authenticate(self, callback: Callback) -> None:
        """Ed25519 over the timestamp and the body: https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint"""
        if self.public_key is None:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        timestamp = callback.header("x-signature-timestamp")
        signed = (timestamp or "").encode("utf-8", "replace") + callback.body
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key))
        try:
            key.verify(bytes.fromhex(callback.header("x-signature-ed25519") or ""), signed)
        except (InvalidSignature, ValueError):
            raise CallbackRefusedError(Refusal.NOT_AUTHENTIC) from None
        require_recent(timestamp, callback)

    def receive(self, callback: Callback) -> Received:
        said = callback.read(Interaction)
        inbound = _inbound(said, callback)
        return Received(inbounds=(inbound,) if inbound else (), reply=_reply(said.type))

    async def verify(self, wire: Wire) -> list[Check]:
        if self.webhook_url is not None:
            return [Check("webhook", "Webhook", (await self._check_webhook(wire),))]
        return [Check("token", "Bot token", (await self._check_token(wire),))]

    @property
    def _webhook(self) -> str:
        assert self.webhook_url is not None
        return self.webhook_url.get_secret_value()

    async def _channel(self, wire: Wire, to: str, exchange: Exchange) -> str:
        """The channel to write to; with a person, Discord opens one, always the same."""
        person = _USER.fullmatch(to)
        if person is None:
            return to
        try:
            answer = await self._call(wire, exchange, "POST", "/users/@me/channels", {"recipient_id": person[1]})
            if not answer.ok:
                raise _refusal(answer, exchange)
            opened = understood("Discord", answer, Channel)
        except SendError as error:
            raise _nothing_sent(error) from None
        return opened.id

    async def _call(
        self, wire: Wire, exchange: Exchange, method: Literal["GET", "POST"], path: str, content: Any = None
    ) -> Answer:
        assert self.bot_token is not None
        headers = {"Authorization": f"Bot {self.bot_token.get_secret_value()}", "User-Agent": AGENT}
        return await wire.call(exchange, method, f"{self.base_url}{path}", json=content, headers=headers)

    async def _check_token(self, wire: Wire) -> Assertion:
        asking = checks.asked(self, lambda exchange: self._call(wire, exchange, "GET", "/users/@me"), _refusal)
        me = await checks.told("token", asking, User, "Discord did not say whom the token belongs to.")
        if isinstance(me, Assertion):
            return me
        if not me.bot:
            return Assertion("token", CheckStatus.ERROR, "The token belongs to a person; a bot's is needed.")
        return Assertion("token", CheckStatus.OK, f"The token belongs to the bot {me.username or me.id}.")

    async def _check_webhook(self, wire: Wire) -> Assertion:
        asking = checks.asked(self, lambda exchange: wire.call(exchange, "GET", self._webhook), _refusal)
        hook = await checks.told("webhook_exists", asking, Hook, "Discord did not say which webhook this is.")
        if isinstance(hook, Assertion):
            return hook
        return Assertion("webhook_exists", CheckStatus.OK, f"The webhook is {hook.name or hook.id}.")


AGENT = "DiscordBot (https://patchbay.example, 0.1)"  # Discord turns away bots that do not give an address and a version


def _content(message: Outbound) -> dict[str, Any]:
    """The text as it is: nobody is pinged by what it says."""
    content = {"content": message.body} if message.body else {}
    pictures = {"embeds": [{"image": {"url": media.url}} for media in message.media]} if message.media else {}
    return {**content, **pictures, "allowed_mentions": {"parse": []}}


def _accepted(answer: Answer, exchange: Exchange) -> Accepted:
    if not answer.ok:
        raise _refusal(answer, exchange)
    sent = understood("Discord", answer, Sent)
    return Accepted(f"{sent.channel_id}:{sent.id}")


def _nothing_sent(error: SendError) -> SendError:
    """Opening a channel sends nothing: what became of that call leaves nothing open about the message."""
    if error.kind is not FailureKind.UNKNOWN_OUTCOME:
        return error
    return SendError(FailureKind.TRANSIENT, error.code, error.message, provider_code=error.provider_code)


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None or answer.status == 401:
        return refused("Discord", answer, verdict(answer.status))
    return refused(
        "Discord",
        answer,
        verdict(429) if answer.status == 429 else CODES.get(problem.code) or verdict(answer.status),
        code=problem.code,
        message=exchange.redact(problem.message) or None,
        retry_after=problem.retry_after,
    )


def _inbound(said: Interaction, callback: Callback) -> Inbound | None:
    """A command, with what was entered, or a pressed button with what it carries."""
    person = said.user or (said.member.user if said.member else None)
    if said.type not in (COMMAND, COMPONENT) or said.data is None or person is None or said.id is None:
        return None
    entered = [str(option.value) for option in said.data.options if option.value is not None]
    is_command = said.type == COMMAND
    return Inbound(
        event_id=said.id,
        sender=f"user:{person.id}",
        occurred_at=callback.received_at,
        to=said.channel_id,
        text=" ".join([said.data.name or "", *entered]).strip() if is_command else None,
        kind="command" if is_command else "button",
        provider_id=said.id,
        payload=said.data.custom_id,
    )


def _reply(kind: int) -> Reply:
    """What Discord wants to hear within three seconds; a command is thanked for where only its author sees it."""
    answers = {
        PING: b'{"type":1}',
        COMMAND: b'{"type":4,"data":{"content":"Received.","flags":64}}',
        COMPONENT: b'{"type":6}',
    }
    return Reply(body=answers[kind], content_type="application/json") if kind in answers else OK
