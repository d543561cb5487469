"""What Vonage tells by callback: delivery receipts and messages to us, as a query, a form or JSON, as the account says.
https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping

from channels import parts
from channels.base import DeliveryStatus, Inbound, Part, Received, Report
from channels.callbacks import Callback, CallbackRefusedError, Refusal, require, require_recent, signed
from channels.choices import Choice
from channels.errors import FailureKind, SendError
from channels.phone import e164
from channels.sms_text import SmsCoding
from channels.vonage_codes import of_receipt

STATUSES: Mapping[str, DeliveryStatus] = {
    "accepted": DeliveryStatus.PROCESSING,
    "buffered": DeliveryStatus.PROCESSING,
    "unknown": DeliveryStatus.PROCESSING,
    "submitted": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    "read": DeliveryStatus.READ,
    "failed": DeliveryStatus.FAILED,
    "expired": DeliveryStatus.FAILED,
    "rejected": DeliveryStatus.FAILED,
    "undeliverable": DeliveryStatus.FAILED,
}
_COUNT = re.compile(r"[0-9]{1,3}")
SHOWN = ("messageId", "message_uuid", "status", "err-code", "network-code", "scts", "message-timestamp")


class VonageSignatureMethod(Choice):
    """How a Vonage account signs its callbacks."""

    MD5HASH = "MD5HASH", "An MD5 over fields and secret."
    MD5 = "MD5", "HMAC-MD5."
    SHA1 = "SHA1", "HMAC-SHA1."
    SHA256 = "SHA256", "HMAC-SHA256."
    SHA512 = "SHA512", "HMAC-SHA512."


def authenticate(callback: Callback, secret: str, method: VonageSignatureMethod) -> None:
    """Check `sig`: https://developer.vonage.com/en/getting-started/concepts/signing-messages"""
    told = fields(callback)
    require(signature(told, secret, method), told.get("sig", "").lower())
    require_recent(told.get("timestamp"), callback)


def signature(told: Mapping[str, str], secret: str, method: VonageSignatureMethod) -> str:
    """In lower-case hexadecimal, over all fields but `sig` by name; `&` and `=` in their values count as `_`."""
    neat = str.maketrans("&=", "__")
    text = "".join(f"&{name}={value.translate(neat)}" for name, value in sorted(told.items()) if name != "sig")
    if method is VonageSignatureMethod.MD5HASH:
        return hashlib.md5((text + secret).encode(), usedforsecurity=False).hexdigest()
    return signed(secret, text.encode(), method.lower()).hex()


def fields(callback: Callback) -> Mapping[str, str]:
    """What is told, wherever it stands. Raises CallbackRefusedError(MALFORMED)."""
    if callback.method == "GET" or not callback.body:
        return callback.query
    if not callback.body.lstrip().startswith(b"{"):
        return callback.form
    said = callback.json
    if not isinstance(said, dict):
        raise CallbackRefusedError(Refusal.MALFORMED)
    return {name: value if isinstance(value, str) else str(value) for name, value in said.items() if value is not None}


def receive(callback: Callback) -> Received:
    told = fields(callback)
    name = told.get("messageId") or told.get("message_uuid")
    status = told.get("status", "").lower()
    if not name:
        return Received()
    if status in STATUSES:
        return Received(reports=(_report(callback, told, name, status),))
    if "text" in told and (told.get("msisdn") or told.get("from")):
        return Received(inbounds=(_inbound(callback, told, name),))
    return Received()


def _report(callback: Callback, told: Mapping[str, str], name: str, status: str) -> Report:
    ours = STATUSES[status]
    reference = told.get("client-ref") or told.get("client_ref") or ""
    return Report(
        event_id=f"{name}:{status}",
        provider_id=name,
        status=ours,
        occurred_at=_time(told, callback),
        failure=_failure(status, told.get("err-code")) if ours is DeliveryStatus.FAILED else None,
        detail=status,
        message_id=reference if reference.startswith("msg_") else None,
        raw={field: told[field] for field in SHOWN if field in told},
    )


def _failure(status: str, code: str | None) -> SendError:
    known = int(code) if code and code.isdecimal() and len(code) < 6 else 0
    kind, ours = (FailureKind.TRANSIENT, "UNDELIVERED") if known == 0 else of_receipt(known)
    said = f"Vonage reports the message as {status}" + (f" (error {known})." if known else ".")
    return SendError(kind, ours, said, provider_code=str(known) if known else None)


def _inbound(callback: Callback, told: Mapping[str, str], name: str) -> Inbound:
    return Inbound(
        event_id=name,
        sender=_number(told.get("msisdn") or told.get("from") or ""),
        to=told.get("to"),
        text=told.get("text"),
        kind=told.get("type") or told.get("message_type") or "text",
        provider_id=name,
        occurred_at=_time(told, callback),
        part=_part(told),
    )


def _part(told: Mapping[str, str]) -> Part | None:
    """https://developer.vonage.com/en/messaging/sms/guides/inbound-sms, concatenated inbound messages"""
    reference, total, number = (told.get(f"concat-{name}", "") for name in ("ref", "total", "part"))
    if told.get("concat", "").lower() != "true" or not all(_COUNT.fullmatch(count) for count in (total, number)):
        return None
    names = (told.get("msisdn"), told.get("to"), reference)
    return parts.part(names, int(number), int(total), told["text"].encode("utf-8", "replace"), SmsCoding.UTF8)


def _number(digits: str) -> str:
    """As one would send to it; a short code stays as it is."""
    try:
        return e164(f"+{digits.removeprefix('+')}")
    except ValueError:
        return digits


def _time(told: Mapping[str, str], callback: Callback) -> dt.datetime:
    """When it happened; the moment of the call where that is not said, or not in a way one could read."""
    try:
        at = dt.datetime.fromisoformat(told.get("message-timestamp") or told.get("timestamp") or "")
    except ValueError:
        return callback.received_at
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
