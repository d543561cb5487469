"""Signatures of what we send to customers' webhooks, after Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence

from channels.standard_webhooks import PREFIX, headers

NEW_BYTES = 32
FEWEST_BYTES, MOST_BYTES = 24, 64
RULE = f"must be {PREFIX} and the base64 of {FEWEST_BYTES} to {MOST_BYTES} random bytes"


def new_key() -> str:
    """A fresh signing key."""
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_BYTES)).decode()


def key_bytes(key: str) -> bytes:
    """What a signing key stands for. Raises ValueError, naming the rule and not the key."""
    try:
        raw = base64.b64decode(key.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if not key.startswith(PREFIX) or not FEWEST_BYTES <= len(raw) <= MOST_BYTES:
        raise ValueError(RULE)
    return raw


def signed(keys: Sequence[str], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; the signature has one part for each key, so that receivers may hold any of them."""
    return headers([key_bytes(key) for key in keys], event_id, timestamp, body)
