"""Identifiers: a prefix that says the kind, and a UUIDv7 (RFC 9562) in hex, so that text order is creation order."""

from __future__ import annotations

import datetime as dt
import secrets
import threading
import time

CONNECTOR, CHANNEL, MESSAGE, EVENT, WORKSPACE, ORGANIZATION, BATCH = "con", "chn", "msg", "evt", "wsp", "org", "bat"
RECEIPT = "rcp"
AUDIT = "aud"
API_KEY = "key"
INBOUND, WEBHOOK, DELIVERY = "inb", "whs", "whd"
SENDER_ID, OPT_OUT = "snd", "opt"

_last = 0
_lock = threading.Lock()


def new_id(prefix: str) -> str:
    """A fresh id. Ids of one process strictly increase, also within a millisecond and when the clock steps back."""
    global _last
    with _lock:
        _last = max(_last + 1, time.time_ns() // 1_000_000 << 12)
        stamp = _last
    high = (stamp >> 12) << 16 | 0x7000 | (stamp & 0xFFF)
    low = 0x2 << 62 | secrets.randbits(62)
    return f"{prefix}_{high:016x}{low:016x}"


def earliest(prefix: str, at: dt.datetime) -> str:
    """Not above any id of this kind made at `at` or later, as long as the clock did not step back."""
    stamp = max(0, int(at.timestamp() * 1000))
    return f"{prefix}_{stamp << 16:016x}{0:016x}"


def prefix_of(value: str) -> str:
    """The kind an id claims to be; the empty string for anything that is not shaped like an id."""
    prefix, _, rest = value.partition("_")
    return prefix if len(rest) == 32 else ""
