"""Which part of which message something is that came by itself."""

from __future__ import annotations

import hashlib

from channels.base import Part
from channels.sms_text import SmsCoding

MOST = 255
LONGEST = 1_000  # octets; an SMS has 140


def part(names: tuple[object, ...], number: int, total: int, content: bytes, coding: SmsCoding) -> Part | None:
    """The part of the message that all these names together stand for; None for what is none, or none to wait for."""
    if not 1 <= number <= total or not 2 <= total <= MOST or len(content) > LONGEST:
        return None
    group = hashlib.sha256(repr((*names, total)).encode("utf-8", "replace")).hexdigest()
    return Part(group, number, total, content, coding)
