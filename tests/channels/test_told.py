"""What providers tell, in calls made up after their documentation: the parts that recorded calls do not show."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from channels import BY_REF
from channels.base import DeliveryStatus, Inbound, Intent, Media, Provider, Received
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from tests.channels.test_golden_callbacks import RECORDED

Json = Any
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
URL = "https://gw.example/v1/hooks/con_1/key"


def provider(name: str, **changes: Json) -> Provider:
    ref, recorded = RECORDED[name]
    return BY_REF[ref].model_validate({**recorded.config, **changes})


def form(fields: dict[str, str], url: str = URL) -> Callback:
    return Callback("POST", url, {}, urlencode(fields).encode(), AT)


def body(content: Json) -> Callback:
    return Callback("POST", URL, {}, json.dumps(content).encode(), AT)


def whatsapp(**value: Json) -> Received:
    metadata = {"phone_number_id": "106540352242922", "display_phone_number": "15550783881"}
    entry = [{"id": "1", "changes": [{"field": "messages", "value": {"metadata": metadata, **value}}]}]
    return provider("whatsapp").receive(body({"object": "whatsapp_business_account", "entry": entry}))


def telegram(**update: Json) -> tuple[Inbound, ...]:
    return provider("telegram").receive(body({"update_id": 7, **update})).inbounds


# ------------------------------------------------------------------ Twilio


def test_twilio_repeats_our_id_in_the_address_it_calls() -> None:
    told = form({"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005"}, f"{URL}?message=msg_1")
    (report,) = provider("twilio").receive(told).reports
    assert (report.message_id, report.event_id, report.status) == ("msg_1", "SM1:undelivered", DeliveryStatus.FAILED)
    assert report.failure is not None
    assert (report.failure.code, report.failure.provider_code) == ("RECIPIENT_UNREACHABLE", "30005")


def test_twilios_files_and_channels_are_told() -> None:
    fields = {"MessageSid": "MM1", "From": "whatsapp:+447700900123", "To": "whatsapp:+15005550006", "NumMedia": "1"}
    fields |= {
        "Body": "",
        "MediaUrl0": "https://api.twilio.com/m/1",
        "MediaContentType0": "image/jpeg",
        "SmsStatus": "received",
    }
    (inbound,) = provider("twilio").receive(form(fields)).inbounds
    assert (inbound.sender, inbound.to, inbound.text, inbound.kind) == ("+447700900123", "+15005550006", None, "image")
    assert inbound.media == (Media("https://api.twilio.com/m/1", "image/jpeg"),)


@pytest.mark.parametrize("fields", [{}, {"MessageSid": "SM1"}, {"MessageSid": "SM1", "MessageStatus": "pondering"}])
def test_what_twilio_may_tell_one_day_says_nothing(fields: dict[str, str]) -> None:
    said = provider("twilio").receive(form(fields))
    assert said == Received(reply=said.reply) and said.reply.status == 204


def test_twilio_signs_with_an_auth_token_and_not_with_an_api_keys_secret() -> None:
    with pytest.raises(CallbackRefusedError) as error:
        provider("twilio", authToken=None).authenticate(form({"MessageSid": "SM1"}))
    assert error.value.refusal is Refusal.NOT_ENABLED


# ------------------------------------------------------------------ WhatsApp


@pytest.mark.parametrize(
    ("message", "text", "payload"),
    [
        ({"type": "button", "button": {"text": "Yes", "payload": "y1"}}, "Yes", "y1"),
        ({"type": "interactive", "interactive": {"button_reply": {"id": "b1", "title": "Go"}}}, "Go", "b1"),
        ({"type": "interactive", "interactive": {"list_reply": {"id": "l1", "title": "One"}}}, "One", "l1"),
        ({"type": "interactive", "interactive": {"nfm_reply": {}}}, None, None),
        ({"type": "reaction", "reaction": {"emoji": "👍", "message_id": "wamid.A"}}, None, "👍"),
        ({"type": "text", "text": {"body": ["no text"]}}, None, None),
        ({"type": "order", "order": {}}, None, None),
    ],
)
def test_whatsapp_buttons_and_reactions(message: Json, text: str | None, payload: str | None) -> None:
    (inbound,) = whatsapp(messages=[{"from": "447700900123", "id": "wamid.B", "timestamp": "1", **message}]).inbounds
    assert (inbound.text, inbound.payload, inbound.kind) == (text, payload, message["type"])
    assert (inbound.sender, inbound.to) == ("+447700900123", "+15550783881")


def test_a_whatsapp_file_has_its_caption() -> None:
    image = {"id": "99", "mime_type": "image/jpeg", "caption": "Taj Mahal"}
    (inbound,) = whatsapp(messages=[{"from": "447700900123", "id": "wamid.B", "type": "image", "image": image}]).inbounds
    assert inbound.media == (Media("whatsapp-media:99", "image/jpeg", None, "Taj Mahal"),)


def test_one_unreadable_part_of_a_whatsapp_call_takes_no_other_with_it() -> None:
    good = {"id": "wamid.A", "status": "delivered", "timestamp": "1", "biz_opaque_callback_data": "msg_1"}
    said = whatsapp(
        statuses=[7, {"id": "x y", "status": "sent"}, {"id": "wamid.A", "status": "pondering"}, good], messages=[{}]
    )
    (report,) = said.reports
    assert (report.provider_id, report.message_id, report.line) == ("wamid.A", "msg_1", "106540352242922")
    assert report.occurred_at == dt.datetime.fromtimestamp(1, dt.UTC)
    assert said.inbounds == ()


def test_a_wish_about_marketing_is_an_opt_out() -> None:
    (inbound,) = whatsapp(user_preferences=[{"wa_id": "447700900123", "value": "stop", "timestamp": 1}]).inbounds
    assert (inbound.intent, inbound.sender, inbound.text) == (Intent.OPT_OUT, "+447700900123", None)


# ------------------------------------------------------------------ Telegram


CHAT = {"id": 42, "type": "private"}


def test_telegram_buttons_files_and_commands() -> None:
    (pressed,) = telegram(callback_query={"id": "1", "data": "yes", "message": {"message_id": 5, "chat": CHAT}})
    assert (pressed.kind, pressed.payload, pressed.provider_id) == ("callback_query", "yes", "42:5")
    photo = [{"file_id": "small"}, {"file_id": "large"}]
    (file,) = telegram(message={"message_id": 6, "chat": CHAT, "photo": photo, "caption": "us"})
    assert (file.kind, file.text, file.media) == ("photo", None, (Media("telegram-file:large", "image/jpeg", None, "us"),))
    (stop,) = telegram(message={"message_id": 7, "chat": CHAT, "text": "/stop"})
    assert stop.intent is Intent.OPT_OUT
    (started,) = telegram(message={"message_id": 8, "chat": CHAT, "text": "/start"})
    assert (started.intent, started.payload) == (Intent.OPT_IN, None)
    (talk,) = telegram(message={"message_id": 9, "chat": CHAT, "text": "/started to think"})
    assert talk.intent is None


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"edited_message": {"message_id": 1, "chat": CHAT, "text": "x"}},
        {"my_chat_member": {"chat": {"id": -1, "type": "group"}, "new_chat_member": {"status": "kicked"}}},
        {"message": {"message_id": "no number", "chat": CHAT}},
    ],
)
def test_what_telegram_was_not_asked_for_says_nothing(update: Json) -> None:
    assert telegram(**update) == ()


def test_telegram_shows_the_secret_we_gave_it() -> None:
    bot = provider("telegram")
    with pytest.raises(CallbackRefusedError) as error:
        bot.authenticate(body({"update_id": 1}))
    assert error.value.refusal is Refusal.NOT_AUTHENTIC
    with pytest.raises(CallbackRefusedError):
        bot.receive(body({"no": "update"}))
