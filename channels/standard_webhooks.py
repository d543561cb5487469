"""Calls signed as Standard Webhooks are: https://github.com/standard-webhooks/standard-webhooks"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from channels.callbacks import Callback, CallbackRefusedError, Refusal, is_same, require_recent, signed

PREFIX = "whsec_"
MOST_SIGNATURES = 10


def authenticate(callback: Callback, secret: str) -> str:
    """Check the call's signatures, one of which must be ours, and its time; the id of the event.
    Raises CallbackRefusedError: NOT_AUTHENTIC or STALE."""
    event_id, timestamp = callback.header("webhook-id") or "", callback.header("webhook-timestamp") or ""
    signature = _signature(key_of(secret), event_id, timestamp, callback.body)
    given = (callback.header("webhook-signature") or "").split(" ")
    if not event_id or not any([is_same(signature, one) for one in given[:MOST_SIGNATURES]]):
        raise CallbackRefusedError(Refusal.NOT_AUTHENTIC)
    require_recent(timestamp, callback)
    return event_id


def headers(keys: Sequence[bytes], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a call; the signature has one part for each key, so that receivers may hold any of them."""
    parts = [_signature(key, event_id, str(timestamp), body) for key in keys]
    return {"webhook-id": event_id, "webhook-timestamp": str(timestamp), "webhook-signature": " ".join(parts)}


def _signature(key: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    return "v1," + base64.b64encode(signed(key, f"{event_id}.{timestamp}.".encode() + body)).decode()


def key_of(secret: str) -> bytes:
    """The bytes a secret stands for: base64 after `whsec_`, else the text itself."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else secret.encode()
    except binascii.Error:
        return secret.encode()
