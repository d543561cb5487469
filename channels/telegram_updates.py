"""What Telegram tells a bot, called by webhook or asked for: https://core.telegram.org/bots/api#update"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from channels.answers import Document, Maybe
from channels.base import Inbound, Intent, Media

ALLOWED = ("message", "callback_query", "my_chat_member")
FILES = ("document", "video", "audio", "voice", "animation", "sticker", "video_note")
MEMBERSHIP: Mapping[str, Intent] = {"kicked": Intent.OPT_OUT, "member": Intent.OPT_IN}

_START = re.compile(r"/start(?:@\w{1,64})?(?:\s+([A-Za-z0-9_-]{1,64}))?\s*")
_STOP = re.compile(r"/stop(?:@\w{1,64})?\s*", re.IGNORECASE)
_Integer = Annotated[int, Field(strict=True, ge=-(2**52), le=2**52)]
_Timestamp = Annotated[int, Field(strict=True, ge=0, lt=2**33)]
_Json = dict[str, Any]


class Chat(Document):
    id: _Integer
    type: Maybe[str] = None


class Message(Document):
    message_id: Annotated[int, Field(strict=True, ge=0, lt=2**63)]
    chat: Chat
    date: Maybe[_Timestamp] = None
    text: Maybe[str] = None
    caption: Maybe[str] = None
    photo: Maybe[list[_Json]] = None
    document: Maybe[_Json] = None
    video: Maybe[_Json] = None
    audio: Maybe[_Json] = None
    voice: Maybe[_Json] = None
    animation: Maybe[_Json] = None
    sticker: Maybe[_Json] = None
    video_note: Maybe[_Json] = None
    contact: Maybe[_Json] = None
    location: Maybe[_Json] = None


class Pressed(Document):
    """A button under one of our messages was pressed."""

    message: Message
    data: Maybe[Annotated[str, Field(max_length=64)]] = None


class Member(Document):
    status: str


class Membership(Document):
    chat: Chat
    date: Maybe[_Timestamp] = None
    new_chat_member: Member


class Update(Document):
    update_id: Annotated[int, Field(strict=True, ge=0, lt=2**53)]
    message: Maybe[Message] = None
    callback_query: Maybe[Pressed] = None
    my_chat_member: Maybe[Membership] = None


class Updates(Document):
    """The answer to getUpdates."""

    result: list[Maybe[Update]]


def inbound(update: Update, bot_id: str, received_at: dt.datetime) -> Inbound | None:
    """What an update says to us; None for what we did not ask for. Each bot numbers its own, so the bot goes along."""
    name = f"{bot_id}:{update.update_id}"
    if update.message is not None:
        return _message(name, update.message, received_at)
    if update.callback_query is not None:
        return _pressed(name, update.callback_query, received_at)
    if update.my_chat_member is not None:
        return _membership(name, update.my_chat_member, received_at)
    return None


def _message(name: str, message: Message, received_at: dt.datetime) -> Inbound:
    media, kind = _media(message)
    started = _START.fullmatch(message.text or "")
    stopped = _STOP.fullmatch(message.text or "")
    return Inbound(
        event_id=name,
        sender=str(message.chat.id),
        text=message.text,
        kind=kind,
        media=media,
        provider_id=f"{message.chat.id}:{message.message_id}",
        payload=started[1] if started else None,
        intent=Intent.OPT_IN if started else Intent.OPT_OUT if stopped else None,
        occurred_at=_at(message.date, received_at),
    )


def _pressed(name: str, pressed: Pressed, received_at: dt.datetime) -> Inbound:
    chat, number = pressed.message.chat, pressed.message.message_id
    return Inbound(
        event_id=name,
        sender=str(chat.id),
        kind="callback_query",
        provider_id=f"{chat.id}:{number}",
        payload=pressed.data,
        occurred_at=received_at,
    )


def _membership(name: str, change: Membership, received_at: dt.datetime) -> Inbound | None:
    intent = MEMBERSHIP.get(change.new_chat_member.status)
    if intent is None or change.chat.type != "private":
        return None
    return Inbound(
        event_id=name,
        sender=str(change.chat.id),
        kind="my_chat_member",
        intent=intent,
        occurred_at=_at(change.date, received_at),
    )


def _media(message: Message) -> tuple[tuple[Media, ...], str]:
    """A message's file by Telegram's name for it, and the message's kind. Of a photo's sizes the last is the largest."""
    held = {"photo": message.photo[-1]} if message.photo else {}
    held |= {name: value for name in FILES if (value := getattr(message, name)) is not None}
    for name, value in held.items():
        kind, filename = value.get("mime_type"), value.get("file_name")
        file = Media(
            f"telegram-file:{value.get('file_id')}",
            kind if isinstance(kind, str) else "image/jpeg" if name == "photo" else None,
            filename if isinstance(filename, str) else None,
            message.caption,
        )
        return (file,), name
    return (), next((name for name in ("text", "contact", "location") if getattr(message, name) is not None), "other")


def _at(timestamp: int | None, received_at: dt.datetime) -> dt.datetime:
    return received_at if timestamp is None else dt.datetime.fromtimestamp(timestamp, dt.UTC)
