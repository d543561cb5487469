"""What a sender ID may be, and what it looks like to the person who gets the message.

Rules: three to eight digits are a short code, a plus sign begins a telephone number (E.164), everything else is a name of up to
eleven characters (3GPP TS 23.040, 9.1.2.5) of the GSM alphabet's common part, with a letter in it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from channels.phone import e164
from models.senders import SenderIdKind
from resolvers.names import is_reserved
from resolvers.problems import Problem, UserErrorCode

LONGEST_NAME = 11
_NAME = re.compile(r"[A-Za-z0-9 _&+.-]+")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_LOOKS = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "2": "z", "3": "e", "4": "a", "5": "s", "6": "b", "7": "t", "8": "b", "9": "g"}
)
_DISGUISED = re.compile(r"(?=.*[a-z])(?=.*[0134578])[a-z0-9]{2,}")


@dataclass(frozen=True, slots=True)
class SenderValue:
    """A value as it is shown, as it is compared within a workspace, and as it looks."""

    value: str
    kind: SenderIdKind
    key: str
    skeleton: str

    @classmethod
    def parse(cls, given: str) -> SenderValue:
        """Raises Problem with the rule that is broken."""
        text = " ".join(unicodedata.normalize("NFC", given).split())
        if text.startswith("+"):
            return _number(text)
        if text.isascii() and text.isdigit():
            if not _SHORT_CODE.fullmatch(text):
                raise _invalid(
                    "Digits alone are a short code and have 3 to 8 of them; a telephone number begins with a plus sign."
                )
            return cls(text, SenderIdKind.SHORT_CODE, text, text)
        return cls(_name(text), SenderIdKind.ALPHANUMERIC, text.casefold(), skeleton(text))


def skeleton(name: str) -> str:
    """What is left of a name when everything is taken for what it looks like: `PayPa1` and `Pay Pal` are the same."""
    looks = re.sub(r"[^a-z0-9]", "", name.casefold())
    for pair, letter in _PAIRS:
        looks = looks.replace(pair, letter)
    return looks.translate(_LOOKS)


def disguises(name: str) -> list[str]:
    """Words of a name in which digits may be meant to be read as letters."""
    words = re.split(r"[ _&+.-]+", name)
    return [word for word in words if _DISGUISED.fullmatch(word.casefold()) and not re.fullmatch(r"[A-Za-z]+[0-9]+", word)]


def _number(text: str) -> SenderValue:
    try:
        number = e164(text)
    except ValueError as error:
        raise _invalid(str(error)) from None
    return SenderValue(number, SenderIdKind.PHONE_NUMBER, number, number)


def _name(text: str) -> str:
    if is_reserved(text):
        raise Problem(UserErrorCode.RESERVED_CONNECTOR_NAME, "This name is reserved.", ["input", "value"])
    if not 1 <= len(text) <= LONGEST_NAME:
        raise _invalid(f"A sender name has 1 to {LONGEST_NAME} characters; this one has {len(text)}.")
    if not _NAME.fullmatch(text):
        strange = ", ".join(dict.fromkeys(f"U+{ord(c):04X}" for c in text if not _NAME.fullmatch(c)))
        raise _invalid(f"A sender name holds letters A to Z, digits, blanks and _ & + . - only; not {strange}.")
    if not any(c.isalpha() for c in text):
        raise _invalid("A sender name holds at least one letter.")
    if not (text[0].isalnum() and text[-1].isalnum()):
        raise _invalid("A sender name begins and ends with a letter or a digit.")
    return text


def _invalid(rule: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, rule, ["input", "value"])
