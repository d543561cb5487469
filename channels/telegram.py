"""Telegram through a bot. A bot cannot write first: the recipient must have started it. No receipts come after SENT."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import checks, contents, telegram_updates
from channels.answers import LONGEST_WAIT, Answer, Document, Maybe, Verdict, refused, understood, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    Media,
    Outbound,
    Polled,
    Provider,
    Received,
    Template,
)
from channels.callbacks import Callback, require, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.http import BODY_LIMIT
from channels.wire import BaseUrl, Wire

MAX_TEXT = 4096
MAX_CAPTION = 1024
POLL_SECONDS, POLL_LIMIT, POLL_BYTES = 20, 50, 4_194_304
PHOTOS = frozenset({"image/jpeg", "image/png", "image/webp"})

_INVALID: Verdict = (FailureKind.RECIPIENT, "INVALID_RECIPIENT")
_BLOCKED: Verdict = (FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT")
_CLOSED: Verdict = (FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE")

# By error code and a fragment of the description, which is all Telegram gives; the first that fits, "" fits always.
VERDICTS: Mapping[int, tuple[tuple[str, Verdict], ...]] = {
    400: (
        ("chat not found", _INVALID),
        ("user not found", _INVALID),
        ("chat_id is empty", _INVALID),
        ("peer_id_invalid", _INVALID),
        ("upgraded to a supergroup", _INVALID),
        ("not enough rights", _CLOSED),
        ("have no rights", _CLOSED),
        ("message is too long", (FailureKind.CONTENT, "TEXT_TOO_LONG")),
        ("caption is too long", (FailureKind.CONTENT, "TEXT_TOO_LONG")),
        ("text is empty", (FailureKind.CONTENT, "EMPTY_MESSAGE")),
        ("can't parse entities", (FailureKind.CONTENT, "INVALID_TEXT")),
        ("failed to get http url content", (FailureKind.CONTENT, "INVALID_MEDIA")),
        ("wrong file identifier", (FailureKind.CONTENT, "INVALID_MEDIA")),
        ("wrong type of the web page content", (FailureKind.CONTENT, "INVALID_MEDIA")),
        ("", (FailureKind.CONTENT, "REJECTED")),
    ),
    401: (("", (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED")),),
    403: (
        ("blocked by the user", _BLOCKED),
        ("was kicked", _BLOCKED),
        ("", _CLOSED),
    ),
    404: (("", (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED")),),
    409: (("", (FailureKind.CONFIGURATION, "CONFLICT")),),
    429: (("", (FailureKind.THROTTLED, "RATE_LIMITED")),),
}
UNAVAILABLE: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")

_TOKEN = re.compile(r"[0-9]{3,20}:[A-Za-z0-9_-]{20,64}")
_CHAT_ID = re.compile(r"-?[1-9][0-9]{0,15}")
_CHANNEL = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,31}")

_Integer = Annotated[int, Field(strict=True, ge=-(2**52), le=2**52)]


class Parameters(Document):
    retry_after: Maybe[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = None
    migrate_to_chat_id: Maybe[_Integer] = None


class Problem(Document):
    """An answer that is not ok."""

    error_code: Annotated[int, Field(strict=True, ge=300, le=599)]
    description: Maybe[str] = None
    parameters: Maybe[Parameters] = None


class Chat(Document):
    id: _Integer


class Message(Document):
    message_id: Annotated[int, Field(strict=True, gt=0, lt=2**63)]
    chat: Chat


class Sent(Document):
    result: Message


class Bot(Document):
    is_bot: bool
    username: Maybe[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,64}$")]] = None


class Me(Document):
    result: Bot


class Webhook(Document):
    url: str
    last_error_date: Maybe[int] = None
    last_error_message: Maybe[str] = None


class WebhookInfo(Document):
    result: Webhook


class TelegramBot(Provider):
    about: ClassVar[Template] = Template(
        slug="telegram",
        key="telegramBot",
        channel=ChannelType.TELEGRAM,
        provider="TELEGRAM_BOT",
        title="Telegram bot",
        documentation_url="https://core.telegram.org/bots/api",
        calls_back=True,
        capabilities=Capabilities(media=True, inbound=True, max_text_length=MAX_TEXT),
    )

    bot_token: SecretStr = Field(
        title="Bot token",
        description="The token BotFather gave for the bot: digits, a colon, a secret.",
        examples=["1234567890:ABCdefGHIjklMNOpqrsTUVwxyz012345678"],
    )
    receive_messages: bool = Field(
        False,
        title="Receive messages",
        description="Take what people write to the bot: through its webhook where this server has a public https URL, else by "
        "asking for it. Replaces a webhook the bot may have elsewhere.",
        examples=[True],
    )
    base_url: BaseUrl = Field(
        "https://api.telegram.org",
        title="Base URL",
        description="The Bot API; change it for a Bot API server of your own.",
        examples=["https://api.telegram.org"],
    )

    @field_validator("bot_token")
    @classmethod
    def _shape(cls, value: SecretStr) -> SecretStr:
        if not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("must be the bot's digits, a colon and its secret, as BotFather shows it")
        return value

    @property
    def identifier(self) -> str | None:
        return self._bot_id

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), self._token.partition(":")[2])

    def destination(self, to: str) -> str:
        """A chat's number, or a public channel's or group's @name."""
        if _CHANNEL.fullmatch(to) or (_CHAT_ID.fullmatch(to) and abs(int(to)) < 2**52):
            return to
        raise ValueError("A Telegram recipient is a chat's number or a channel's @name; a telephone number is neither.")

    def check(self, message: Outbound) -> None:
        contents.check_no_template(message)
        contents.check_presence(message)
        contents.check_media(message.media, 1)
        name, limit = ("caption", MAX_CAPTION) if message.media else ("text", MAX_TEXT)
        contents.check_text(message.body, limit, name)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        method, content = _content(message)
        answer = await self._call(wire, exchange, method, {"chat_id": _chat(message.to), **content})
        if moved := _moved_to(answer):
            exchange.note("migratedTo", moved)
            answer = await self._call(wire, exchange, method, {"chat_id": moved, **content})
        with exchange.stage(StageName.ACCEPTED):
            return _accepted(answer, exchange, moved)

    def authenticate(self, callback: Callback) -> None:
        require(self._webhook_secret, callback.header("x-telegram-bot-api-secret-token"))

    def receive(self, callback: Callback) -> Received:
        update = callback.read(telegram_updates.Update)
        inbound = telegram_updates.inbound(update, self._bot_id, callback.received_at)
        return Received(inbounds=(inbound,) if inbound else ())

    @property
    def listens(self) -> bool:
        return self.receive_messages

    async def subscribe(self, wire: Wire) -> None:
        allowed = list(telegram_updates.ALLOWED)
        content = {"url": wire.callback_url, "secret_token": self._webhook_secret, "allowed_updates": allowed}
        await self._ask(wire, "setWebhook", content)

    async def unsubscribe(self, wire: Wire) -> None:
        await self._ask(wire, "deleteWebhook", {})

    async def poll(self, wire: Wire, cursor: str | None) -> Polled:
        """Telegram forgets the updates before the number we ask from. It answers 409 while a webhook is set."""
        asked = {"timeout": POLL_SECONDS, "limit": POLL_LIMIT, "allowed_updates": list(telegram_updates.ALLOWED)}
        content = {"offset": int(cursor), **asked} if cursor else asked
        try:
            answer = await self._ask(wire, "getUpdates", content, POLL_BYTES)
        except SendError as error:
            if error.code != "CONFLICT" or "webhook" not in (error.provider_message or ""):
                raise
            await self.unsubscribe(wire)
            answer = await self._ask(wire, "getUpdates", content, POLL_BYTES)
        updates = understood("Telegram", answer, telegram_updates.Updates)
        found = [update for update in updates.result if update is not None]
        said = (telegram_updates.inbound(update, self._bot_id, dt.datetime.now(dt.UTC)) for update in found)
        after = max((update.update_id for update in found), default=int(cursor or 0) - 1)
        return Polled(tuple(one for one in said if one is not None), str(after + 1))

    async def verify(self, wire: Wire) -> list[Check]:
        token = await self._check_token(wire)
        found = [Check("token", "Bot token", (token,))]
        if token.status == CheckStatus.OK and (webhook := await self._check_webhook(wire)):
            found.append(Check("webhook", "Webhook", (webhook,)))
        return found

    @property
    def _token(self) -> str:
        return self.bot_token.get_secret_value()

    @property
    def _bot_id(self) -> str:
        return self._token.partition(":")[0]

    async def _call(self, wire: Wire, exchange: Exchange, method: str, content: Mapping[str, Any]) -> Answer:
        return await wire.call(exchange, "POST", self._url(method), json=content)

    def _url(self, method: str) -> str:
        return f"{self.base_url}/bot{self._token}/{method}"

    @property
    def _webhook_secret(self) -> str:
        """What Telegram repeats with every call to our webhook: made of the token, so nobody has to keep it."""
        return signed(self._token, b"patchbay webhook").hex()

    async def _ask(
        self, wire: Wire, method: str, content: Mapping[str, Any] | None = None, body_limit: int = BODY_LIMIT
    ) -> Answer:
        exchange = Exchange((*self.hidden, *wire.secrets))
        answer = await wire.call(
            exchange, "POST", self._url(method), json=content, form=None if content else (), body_limit=body_limit
        )
        if not answer.ok or answer.read(Problem):
            raise _refusal(answer, exchange)
        return answer

    async def _check_token(self, wire: Wire) -> Assertion:
        unknown = "Telegram did not say which bot the token belongs to."
        me = await checks.told("token", self._ask(wire, "getMe"), Me, unknown)
        if isinstance(me, Assertion):
            return me
        if not me.result.is_bot:
            return Assertion("token", CheckStatus.INDETERMINATE, unknown)
        return Assertion("token", CheckStatus.OK, f"The token belongs to @{me.result.username or self._bot_id}.")

    async def _check_webhook(self, wire: Wire) -> Assertion | None:
        """None when no webhook is set: sending needs none."""
        try:
            info = (await self._ask(wire, "getWebhookInfo")).read(WebhookInfo)
        except SendError as error:
            return checks.failed("webhook_healthy", error)
        if info is None or not info.result.url:
            return None
        if info.result.last_error_date:
            said = Exchange(self.hidden).redact(info.result.last_error_message or "no reason given")[:200]
            return Assertion("webhook_healthy", CheckStatus.WARNING, f"Telegram could not call the webhook: {said}")
        return Assertion("webhook_healthy", CheckStatus.OK, "Telegram reaches the webhook.")


def _chat(to: str) -> int | str:
    return to if to.startswith("@") else int(to)


def _content(message: Outbound) -> tuple[str, dict[str, Any]]:
    """The method to call and its arguments but the chat."""
    guarded: dict[str, Any] = {"protect_content": True} if message.flow == "OTP" else {}
    if not message.media:
        return "sendMessage", {"text": message.body, **guarded}
    method, name = ("sendPhoto", "photo") if _is_photo(message.media[0]) else ("sendDocument", "document")
    caption = {"caption": message.body} if message.body else {}
    return method, {name: message.media[0].url, **caption, **guarded}


def _is_photo(media: Media) -> bool:
    return contents.content_type(media) in PHOTOS


def _moved_to(answer: Answer) -> int | None:
    """The chat's new number: the message was refused because its group became a supergroup."""
    problem = answer.read(Problem)
    return problem.parameters.migrate_to_chat_id if problem and problem.error_code == 400 and problem.parameters else None


def _accepted(answer: Answer, exchange: Exchange, moved: int | None) -> Accepted:
    if not answer.ok or answer.read(Problem):
        raise _refusal(answer, exchange)
    sent = understood("Telegram", answer, Sent)
    detail = f"The chat has the new number {moved}." if moved else None
    return Accepted(f"{sent.result.chat.id}:{sent.result.message_id}", detail=detail)


def _refusal(answer: Answer, exchange: Exchange) -> SendError:
    problem = answer.read(Problem)
    if problem is None:
        return refused("Telegram", answer, verdict(answer.status))
    waits = problem.parameters.retry_after if problem.parameters else None
    return refused(
        "Telegram",
        answer,
        _verdict(problem),
        code=problem.error_code,
        message=exchange.redact(problem.description) if problem.description else None,
        retry_after=None if waits is None else min(waits, LONGEST_WAIT),
    )


def _verdict(problem: Problem) -> Verdict:
    if problem.error_code >= 500:
        return UNAVAILABLE
    said = (problem.description or "").lower()
    table = VERDICTS.get(problem.error_code, ())
    return next((found for fragment, found in table if fragment in said), verdict(problem.error_code))
