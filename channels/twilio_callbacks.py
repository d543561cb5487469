"""What Twilio tells by callback: status of messages, and messages to us. https://www.twilio.com/docs/usage/webhooks"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from channels.answers import Verdict
from channels.base import DeliveryStatus, Inbound, Intent, Media, Received, Report
from channels.callbacks import Callback, CallbackRefusedError, Refusal, Reply, is_same, require, signed
from channels.errors import FailureKind, SendError
from channels.phone import e164
from channels.twilio_codes import CODES

STATUSES: Mapping[str, DeliveryStatus] = {
    "accepted": DeliveryStatus.PROCESSING,
    "scheduled": DeliveryStatus.PROCESSING,
    "queued": DeliveryStatus.PROCESSING,
    "sending": DeliveryStatus.PROCESSING,
    "sent": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    "read": DeliveryStatus.READ,
    "failed": DeliveryStatus.FAILED,
    "undelivered": DeliveryStatus.FAILED,
    "canceled": DeliveryStatus.FAILED,
}
INTENTS: Mapping[str, Intent] = {"STOP": Intent.OPT_OUT, "START": Intent.OPT_IN, "HELP": Intent.HELP}
MOST_MEDIA = 10
PORTS: Mapping[str, int] = {"https": 443, "http": 80}
NOTHING = Reply(204)


def authenticate(callback: Callback, auth_token: str) -> None:
    """Check X-Twilio-Signature: the HMAC-SHA1 of the URL and the sorted form fields, or, for a body that is no form, of the
    URL alone, which then holds the body's hash. https://www.twilio.com/docs/usage/security#validating-requests"""
    given = callback.header("x-twilio-signature")
    fields = "" if "bodySHA256" in callback.query else _fields(callback)
    expected = [_signature(auth_token, url + fields) for url in _spellings(callback.url)]
    if not any([is_same(signature, given) for signature in expected]):
        raise CallbackRefusedError(Refusal.NOT_AUTHENTIC)
    digest = callback.query.get("bodySHA256")
    if digest is not None:
        require(hashlib.sha256(callback.body).hexdigest(), digest.lower())


def _signature(auth_token: str, text: str) -> str:
    return base64.b64encode(signed(auth_token, text.encode("utf-8", "replace"), "sha1")).decode()


def _fields(callback: Callback) -> str:
    return "".join(name + value for name, value in sorted(set(callback.form_pairs)))


def _spellings(url: str) -> tuple[str, str]:
    """The URL with and without the port that goes without saying: Twilio signs one or the other."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", PORTS.get(parts.scheme)
    named = f"[{host}]" if ":" in host else host
    bare = urlunsplit(parts._replace(netloc=named))
    with_port = urlunsplit(parts._replace(netloc=f"{named}:{port}"))
    return (bare, with_port) if parts.port in (None, port) else (url, url)


def receive(callback: Callback) -> Received:
    """A message resource's change, or a message to us. Twilio wants no answer: 204."""
    told = callback.form or callback.query
    sid = told.get("MessageSid") or told.get("SmsSid")
    status = (told.get("MessageStatus") or told.get("SmsStatus") or "").lower()
    if not sid:
        return Received(reply=NOTHING)
    if status in STATUSES:
        return Received(reports=(_report(callback, told, sid, status),), reply=NOTHING)
    if status in ("received", "receiving") or (not status and "Body" in told):
        return Received(inbounds=(_inbound(callback, told, sid),), reply=NOTHING)
    return Received(reply=NOTHING)


def _report(callback: Callback, told: Mapping[str, str], sid: str, status: str) -> Report:
    ours = STATUSES[status]
    code = told.get("ErrorCode") or None
    return Report(
        event_id=f"{sid}:{status}",
        provider_id=sid,
        status=ours,
        occurred_at=callback.received_at,
        failure=_failure(status, code, told.get("ErrorMessage")) if ours is DeliveryStatus.FAILED else None,
        detail=status,
        message_id=callback.query.get("message"),
        raw={name: told[name] for name in ("MessageSid", "MessageStatus", "ErrorCode", "RawDlrDoneDate") if name in told},
    )


def _failure(status: str, code: str | None, words: str | None) -> SendError:
    kind, ours = _verdict(status, int(code) if code and code.isdecimal() and len(code) < 9 else 0)
    said = f"Twilio reports the message as {status}" + (f" (error {code})." if code else ".")
    return SendError(kind, ours, said, provider_code=code, provider_message=words or None)


def _verdict(status: str, code: int) -> Verdict:
    if status == "canceled":
        return FailureKind.CANCELED, "CANCELED"
    return CODES.get(code) or (
        (FailureKind.CONTENT, "REJECTED") if code // 1000 == 21 else (FailureKind.TRANSIENT, "UNDELIVERED")
    )


def _inbound(callback: Callback, told: Mapping[str, str], sid: str) -> Inbound:
    media = tuple(_media(told))
    body = told.get("Body")
    return Inbound(
        event_id=sid,
        sender=_address(told.get("From") or ""),
        to=_address(told.get("To") or "") or None,
        text=body or (None if media else ""),
        kind=(media[0].content_type or "media").partition("/")[0] if media and not body else "text",
        media=media,
        provider_id=sid,
        payload=told.get("ButtonPayload"),
        intent=INTENTS.get((told.get("OptOutType") or "").upper()),
        occurred_at=callback.received_at,
    )


def _media(told: Mapping[str, str]) -> list[Media]:
    number = told.get("NumMedia") or "0"
    count = min(int(number), MOST_MEDIA) if number.isdecimal() and len(number) < 4 else 0
    named = [(told.get(f"MediaUrl{i}"), told.get(f"MediaContentType{i}")) for i in range(count)]
    return [Media(url, content_type) for url, content_type in named if url]


def _address(address: str) -> str:
    """As one would send to it: without the channel before a number (`whatsapp:+44…`); a short code stays as it is."""
    bare = address.rpartition(":")[2].strip()
    try:
        return e164(bare)
    except ValueError:
        return bare
