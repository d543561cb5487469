"""The text of an API key: `pb_<12 of name>_<30 of secret><6 of checksum>`, all base 62.

The beginning lets people and secret scanners recognise a key, the name finds its row, and the checksum turns garbage away
before the database is asked. The secret has 178 random bits: a plain hash of the text is enough to store, none can be guessed
back, and the keys that seal other secrets can be changed without ending any.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

START = "pb_"
NAME, SECRET, CHECKSUM = 12, 30, 6
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(f"({START}[0-9A-Za-z]{{{NAME}}})_[0-9A-Za-z]{{{SECRET + CHECKSUM}}}")


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as its owner holds it. `prefix` may be shown, `text` is the secret."""

    prefix: str
    text: str = field(repr=False)

    @classmethod
    def mint(cls) -> KeyText:
        prefix = START + _random(NAME)
        body = f"{prefix}_{_random(SECRET)}"
        return cls(prefix, body + _checksum(body))

    @classmethod
    def parse(cls, text: str) -> KeyText | None:
        """None for what cannot be a key: of another shape, mistyped or cut."""
        found = _SHAPE.fullmatch(text)
        if found is None or not hmac.compare_digest(_checksum(text[:-CHECKSUM]), text[-CHECKSUM:]):
            return None
        return cls(found[1], text)

    @property
    def digest(self) -> str:
        """What is stored of it: SHA-256, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """In a time that does not depend on how much is right."""
        return hmac.compare_digest(self.digest, digest)


def _random(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))


def _checksum(body: str) -> str:
    """CRC-32 in six digits."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
