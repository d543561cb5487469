"""Addresses and header lines of e-mail (RFC 5321, RFC 5322)."""

from __future__ import annotations

import re

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """`text`, which may stand in a header. Raises ValueError."""
    if UNPRINTABLE.search(text):
        raise ValueError("must be one line without control characters")
    return text


def parsed_address(text: str) -> ValidatedEmail:
    """An e-mail address, not looked up. Raises ValueError with a sentence."""
    try:
        return validate_email(text, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(f"must be an e-mail address: {error}") from None
