"""SMS text: which encoding a text needs and how many parts it travels in.

In the GSM 7-bit default alphabet (3GPP TS 23.038) a message holds 160 septets, or 153 in each part of several. One character
outside it makes the whole text UCS-2: 70 UTF-16 units, or 67 in each part. A part ends early rather than tear an escape or a
surrogate pair, so the number of parts is found by packing, not by division.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPE = 0x1B
_EXTENSION = {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65}
_SEPTETS: Mapping[int, str] = {
    **{ord(character): chr(code) for code, character in enumerate(_BASIC) if code != _ESCAPE},
    **{ord(character): chr(_ESCAPE) + chr(code) for character, code in _EXTENSION.items()},
}
_ALPHABET = frozenset(map(chr, _SEPTETS))
_PLAINLY = {code: character for code, character in enumerate(_BASIC) if code != _ESCAPE}
_ESCAPED = {code: character for character, code in _EXTENSION.items()}
UNREADABLE = "\N{REPLACEMENT CHARACTER}"
MOST_OFFENDING = 100


class TextEncoding(StrEnum):
    GSM7 = "GSM7"
    UCS2 = "UCS2"
    UTF8 = "UTF8"


class SmsCoding(StrEnum):
    """What the octets of a received part stand for: a GSM 7-bit septet each, UTF-16BE, Latin-1, or UTF-8."""

    GSM7 = "GSM7"
    UCS2 = "UCS2"
    LATIN1 = "LATIN1"
    UTF8 = "UTF8"


@dataclass(frozen=True, slots=True)
class Packed:
    """The parts as they travel, without headers: one septet per octet for GSM7, UTF-16BE for UCS2. Never empty."""

    encoding: TextEncoding
    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """`characters` are code points, whatever they cost. `offending_characters` force UCS2: each once, in order of appearance,
    at most `MOST_OFFENDING`. `gsm_safe_body` says the same in GSM7; None where the text already is, or cannot be made so."""

    encoding: TextEncoding
    characters: int
    segments: int
    offending_characters: tuple[str, ...] = ()
    gsm_safe_body: str | None = None


@dataclass(frozen=True, slots=True)
class _Room:
    """How many octets fit, how many a unit has, and which first octets begin a pair."""

    single: int
    part: int
    unit: int
    leads: bytes


_GSM7 = _Room(160, 153, 1, bytes([_ESCAPE]))
_UCS2 = _Room(140, 134, 2, bytes(range(0xD8, 0xDC)))


def estimate(text: str) -> Estimate:
    packed = pack(text)
    offending: tuple[str, ...] = ()
    if packed.encoding is TextEncoding.UCS2:
        offending = tuple(islice((each for each in dict.fromkeys(text) if each not in _ALPHABET), MOST_OFFENDING))
    return Estimate(packed.encoding, len(text), len(packed.parts), offending, gsm_safe(text))


def pack(text: str) -> Packed:
    """The text as an SMSC takes it, in the fewest parts. Raises UnicodeEncodeError for unpaired surrogates."""
    if is_gsm(text):
        return Packed(TextEncoding.GSM7, tuple(_parts(text.translate(_SEPTETS).encode("latin-1"), _GSM7)))
    return pack_ucs2(text)


def pack_ucs2(text: str) -> Packed:
    """`pack` without the default alphabet. Raises UnicodeEncodeError for unpaired surrogates."""
    return Packed(TextEncoding.UCS2, tuple(_parts(text.encode("utf-16-be"), _UCS2)))


def unpacked(part: bytes) -> str:
    """The text of GSM 7-bit septets, one in each octet; what stands for nothing becomes U+FFFD."""
    text, septets = "", iter(part)
    for septet in septets:
        text += _ESCAPED.get(next(septets, -1), UNREADABLE) if septet == _ESCAPE else _PLAINLY.get(septet, UNREADABLE)
    return text


def read(octets: bytes, coding: SmsCoding) -> str:
    """The text of octets; what stands for nothing becomes U+FFFD."""
    match coding:
        case SmsCoding.GSM7:
            return unpacked(octets)
        case SmsCoding.UCS2:
            return octets.decode("utf-16-be", "replace")
        case SmsCoding.LATIN1:
            return octets.decode("latin-1")
        case SmsCoding.UTF8:
            return octets.decode("utf-8", "replace")


def is_gsm(text: str) -> bool:
    return _ALPHABET.issuperset(text)


def gsm_safe(text: str) -> str | None:
    """The text with its typography made plain, if that makes it GSM7. Never half, and never another spelling: an accent stays
    or nothing changes. None where nothing needs to change, or that is not enough."""
    if is_gsm(text) or not _CURABLE.issuperset(text):
        return None
    # Not NFC: it takes quadratic time on a long run of combining marks.
    for pair, letter in _COMPOSED.items():
        text = text.replace(pair, letter)
    plain = text.translate(_PLAIN)
    return plain if plain and is_gsm(plain) else None


def _parts(data: bytes, room: _Room) -> Iterator[bytes]:
    if len(data) <= room.single:
        yield data
        return
    start = 0
    while start < len(data):
        end = start + room.part
        if end < len(data) and data[end - room.unit] in room.leads:
            end -= room.unit
        yield data[start:end]
        start = end


def _composed() -> dict[str, str]:
    pairs = {unicodedata.normalize("NFD", letter): letter for letter in sorted(_ALPHABET)}
    return {pair: letter for pair, letter in pairs.items() if pair != letter}


_COMPOSED: Mapping[str, str] = _composed()
_PLAIN: Mapping[int, str] = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′‵ʹʻʼʽˈˊˋ`´＇", "'"),
        **dict.fromkeys("“”„‟″‶ʺˮ«»〝〞＂", '"'),
        **{"‹": "<", "›": ">", "‴": "'''"},
        **dict.fromkeys("‐‑‒–—―⁃−﹘﹣－", "-"),
        **{"…": "...", "‥": "..", "․": ".", "·": ".", "•": "*", "⁄": "/", "∕": "/", "∗": "*", "∼": "~", "˜": "~", "ˆ": "^"},
        **dict.fromkeys(
            "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
        ),
        **dict.fromkeys("\v\x85\u2028", "\n"),
        "\u2029": "\n\n",
        **dict.fromkeys("\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", ""),
        **{"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"},
        **{"\u212b": "Å", "\u2126": "Ω", "\u2206": "Δ", "\u212a": "K"},
    }
)
_CURABLE = _ALPHABET.union(map(chr, _PLAIN), *_COMPOSED)
