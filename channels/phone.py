"""Telephone numbers as recipients: E.164 (`+` and at most 15 digits)."""

from __future__ import annotations

import re

_WRITTEN = re.compile(r"\+[0-9 ().\-/]{6,30}")


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
