"""Telephone numbers: recipients in E.164 (`+` and at most 15 digits), and the numbers and names messages come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_WRITTEN = re.compile(r"\+[0-9 ().\-/]{6,30}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_WITHOUT_PLUS = re.compile(r"[0-9]{9,15}")


class EndpointType(StrEnum):
    """What a message comes from. To a name nobody can answer."""

    LONG_CODE_NUMBER = "LONG_CODE_NUMBER"
    SHORT_CODE_NUMBER = "SHORT_CODE_NUMBER"
    ALPHA_NUMBER = "ALPHA_NUMBER"


class NumberType(StrEnum):
    """What a number is in its country's plan; LOCAL is also one that may be a mobile telephone's, as in North America."""

    MOBILE = "MOBILE"
    TOLLFREE = "TOLLFREE"
    LOCAL = "LOCAL"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What messages come from. `country` is ISO 3166-1, where the number tells it; a name has neither number nor country."""

    endpoint_type: EndpointType
    number_type: NumberType | None = None
    phone_number: str | None = None
    country: str | None = None


def e164(text: str) -> str:
    """The canonical spelling of an international number. Raises ValueError with a sentence for the caller.

    A number only has to be possible, not known as assigned: numbering plans change more often than this software.
    """
    import phonenumbers  # 20 ms and some MB that a process without telephone channels need not spend

    written = text.strip()
    if not _WRITTEN.fullmatch(written):
        raise ValueError("A telephone number is written internationally: a plus sign, the country code, the number.")
    try:
        number = phonenumbers.parse(written, None)
    except phonenumbers.NumberParseException:
        raise ValueError("The telephone number has no known country code.") from None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise ValueError("The telephone number is too short or too long for its country.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def e164_or_digits(text: str) -> str:
    """As `e164`; the plus sign may be missing, as it is in WhatsApp's own IDs."""
    written = text.strip()
    return e164(f"+{written}" if written.isdecimal() else written)


def is_country(code: str) -> bool:
    """Two capital letters that stand for a country or territory with telephone numbers (ISO 3166-1)."""
    import phonenumbers  # as above

    return code in phonenumbers.SUPPORTED_REGIONS


def endpoint(sender: str) -> Endpoint | None:
    """What kind of sender this is: a number, a short code, or a name, which has a letter; None when it is none of them."""
    written = sender.strip()
    if _SHORT_CODE.fullmatch(written):
        return Endpoint(endpoint_type=EndpointType.SHORT_CODE_NUMBER, number_type=NumberType.OTHER, phone_number=written)
    try:
        number = e164(f"+{written}" if _WITHOUT_PLUS.fullmatch(written) else written)
    except ValueError:
        is_name = any(character.isalpha() for character in written)
        return Endpoint(endpoint_type=EndpointType.ALPHA_NUMBER) if is_name else None
    return _long_code(number)


def _long_code(number: str) -> Endpoint:
    import phonenumbers  # as above

    kinds = {
        phonenumbers.PhoneNumberType.MOBILE: NumberType.MOBILE,
        phonenumbers.PhoneNumberType.TOLL_FREE: NumberType.TOLLFREE,
        phonenumbers.PhoneNumberType.FIXED_LINE: NumberType.LOCAL,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberType.LOCAL,
    }
    parsed = phonenumbers.parse(number, None)
    country = phonenumbers.region_code_for_number(parsed)
    return Endpoint(
        endpoint_type=EndpointType.LONG_CODE_NUMBER,
        number_type=kinds.get(phonenumbers.number_type(parsed), NumberType.OTHER),
        phone_number=number,
        country=country if country in phonenumbers.SUPPORTED_REGIONS else None,
    )
