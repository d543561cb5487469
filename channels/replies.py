"""What a mail server's reply, or its silence, means for a message (RFC 5321 and the codes of RFC 3463)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import NamedTuple

import aiosmtplib

from channels.egress import BlockedAddressError
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange

UNREADABLE = "ANSWER_UNREADABLE"
GREYLIST_SECONDS = 300.0


class Meaning(NamedTuple):
    kind: FailureKind
    code: str
    message: str


_LOGIN = Meaning(FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", "The mail server refused the credentials.")
_LOGIN_NEEDED = Meaning(
    FailureKind.CONFIGURATION, "AUTHENTICATION_REQUIRED", "The mail server asks for credentials or encryption."
)
_SENDER = Meaning(FailureKind.CONFIGURATION, "SENDER_REFUSED", "The mail server refused the sender address.")
_SERVICE = Meaning(FailureKind.CONFIGURATION, "SERVICE_REFUSED", "The mail server refused to serve us.")
_UNKNOWN_RECIPIENT = Meaning(FailureKind.RECIPIENT, "INVALID_RECIPIENT", "The mail server knows no such recipient.")
_RECIPIENT = Meaning(FailureKind.RECIPIENT, "RECIPIENT_REFUSED", "The mail server refused the recipient.")
_FULL = Meaning(FailureKind.TRANSIENT, "MAILBOX_FULL", "The recipient's mailbox is full.")
_LARGE = Meaning(FailureKind.CONTENT, "MESSAGE_TOO_LARGE", "The mail server refused the message for its size.")
_CONTENT = Meaning(FailureKind.CONTENT, "MESSAGE_REFUSED", "The mail server refused the message.")
_POLICY = Meaning(FailureKind.CONTENT, "POLICY_REFUSED", "The mail server refused the message by policy or as spam.")
_BUSY = Meaning(FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "The mail server is not available now.")
_LATER = Meaning(FailureKind.TRANSIENT, "TEMPORARILY_REFUSED", "The mail server refused the message for now.")
_GREYLISTED = Meaning(FailureKind.TRANSIENT, "GREYLISTED", "The mail server asks to try again in some minutes.")

_CREDENTIALS: Mapping[int, Meaning] = {530: _LOGIN_NEEDED, 534: _LOGIN, 535: _LOGIN, 538: _LOGIN_NEEDED}
_DETAILS: Mapping[str, Meaning] = {
    "5.1.1": _UNKNOWN_RECIPIENT,
    "5.1.2": _UNKNOWN_RECIPIENT,
    "5.1.3": _UNKNOWN_RECIPIENT,
    "5.1.10": _UNKNOWN_RECIPIENT,
    "5.1.7": _SENDER,
    "5.1.8": _SENDER,
    "5.2.2": _FULL,
}
_SIZES = ("5.2.3", "5.3.4")
_SUBJECTS: Mapping[str, Meaning] = {"1": _RECIPIENT, "2": _RECIPIENT, "6": _CONTENT, "7": _POLICY}
_STEPS: Mapping[type[aiosmtplib.SMTPResponseException], Meaning] = {
    aiosmtplib.SMTPAuthenticationError: _LOGIN,
    aiosmtplib.SMTPSenderRefused: _SENDER,
    aiosmtplib.SMTPRecipientRefused: _RECIPIENT,
    aiosmtplib.SMTPDataError: _CONTENT,
}
# qmail writes its code at the end, in brackets: "sorry, no mailbox here by that name. (#5.1.1)"
_ENHANCED = re.compile(r"(?:^|#)([245]\.\d{1,3}\.\d{1,3})\b")
_GREYLIST = re.compile(r"gr[ae]y-?list", re.IGNORECASE)


def failure(error: Exception, exchange: Exchange) -> SendError:
    """The SendError for trouble with a mail server, whatever the library made of it."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _refusal(error, exchange)
    origin = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) and error.__cause__ else error
    if isinstance(origin, BlockedAddressError):
        return SendError(FailureKind.CONFIGURATION, "ADDRESS_BLOCKED", f"The address is refused: {origin}.")
    if exchange.sent:
        return SendError(
            FailureKind.UNKNOWN_OUTCOME,
            "ANSWER_LOST",
            f"The message was sent but the mail server's answer was lost ({type(origin).__name__}).",
        )
    if isinstance(origin, ssl.SSLCertVerificationError):
        reason = f"The mail server's certificate is not trusted: {origin.verify_message}."
        return SendError(FailureKind.CONFIGURATION, "TLS_CERTIFICATE_INVALID", reason)
    if isinstance(origin, ssl.SSLError) and not isinstance(origin, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        reason = f"The mail server does not speak TLS here ({origin.reason or 'handshake failed'})."
        return SendError(FailureKind.CONFIGURATION, "TLS_FAILED", reason)
    what = "did not answer in time" if isinstance(origin, TimeoutError) else "could not be reached"
    return SendError(FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", f"The mail server {what} ({type(origin).__name__}).")


def readable(text: str) -> str:
    """A server's words as text any database and any client takes: no lone surrogates, no control characters."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _refusal(error: aiosmtplib.SMTPResponseException, exchange: Exchange) -> SendError:
    text = readable(error.message)
    found = _ENHANCED.search(text)
    enhanced = found[1] if found else None
    meaning = _meaning(error, enhanced, text) or _unreadable(exchange)
    return SendError(
        meaning.kind,
        meaning.code,
        meaning.message,
        provider_code=enhanced or (str(error.code) if error.code > 0 else None),
        provider_message=exchange.redact(text) or None,
        retry_after=GREYLIST_SECONDS if meaning is _GREYLISTED else None,
    )


def _meaning(error: aiosmtplib.SMTPResponseException, enhanced: str | None, text: str) -> Meaning | None:
    """None for a reply that is neither a 4xx nor a 5xx."""
    if error.code in _CREDENTIALS:
        return _CREDENTIALS[error.code]
    if 400 <= error.code < 500:
        return _delay(error.code, enhanced, text)
    return _rejection(error, enhanced) if 500 <= error.code < 600 else None


def _delay(code: int, enhanced: str | None, text: str) -> Meaning:
    if _GREYLIST.search(text) or (code, enhanced) == (451, "4.7.1"):
        return _GREYLISTED
    if enhanced == "4.2.2":
        return _FULL
    return _BUSY if code in (421, 454) else _LATER


def _rejection(error: aiosmtplib.SMTPResponseException, enhanced: str | None) -> Meaning:
    step = _STEPS.get(type(error), _SERVICE)
    if enhanced in _SIZES:
        return _LARGE
    if enhanced is None or step not in (_RECIPIENT, _CONTENT):
        return step
    return _DETAILS.get(enhanced) or _SUBJECTS.get(enhanced.split(".")[1], step)


def _unreadable(exchange: Exchange) -> Meaning:
    kind = FailureKind.UNKNOWN_OUTCOME if exchange.sent else FailureKind.TRANSIENT
    return Meaning(kind, UNREADABLE, "The mail server's answer makes no sense.")
