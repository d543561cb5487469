"""What a text would cost to send. Nothing is read or stored, so whoever may ask anything may ask this."""

from __future__ import annotations

from channels import sms_text
from channels.base import ChannelType
from channels.sms_text import Estimate, TextEncoding
from resolvers.limits import LONGEST
from resolvers.problems import Problem, UserErrorCode


def of(body: str, channel: str) -> Estimate:
    """Only SMS has parts and alphabets; elsewhere a text is one message in UTF-8. Raises Problem for what is no text."""
    _check(body)
    return sms_text.estimate(body) if channel == ChannelType.SMS else Estimate(TextEncoding.UTF8, len(body), 1)


def _check(body: str) -> None:
    if len(body) > LONGEST["body"]:
        raise _invalid(f"body has at most {LONGEST['body']} characters.")
    if "\x00" in body or not _is_unicode(body):
        raise _invalid("body must not hold NUL or unpaired surrogates.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(message: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "body"])
