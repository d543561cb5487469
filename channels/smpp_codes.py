"""What SMPP's numbers mean (SMPP 3.4, §5.1.3 `command_status` and §5.2.28 `message_state`)."""

from __future__ import annotations

from collections.abc import Mapping

from channels.base import DeliveryStatus
from channels.errors import FailureKind, SendError

Verdict = tuple[FailureKind, str]

OK = 0x00
INVALID_LENGTH = 0x02
INVALID_COMMAND = 0x03
INVALID_BIND = 0x04
ALREADY_BOUND = 0x05
SYSTEM_ERROR = 0x08
THROTTLED = 0x58

_REJECTED: Verdict = (FailureKind.CONTENT, "REJECTED")
_RECIPIENT: Verdict = (FailureKind.RECIPIENT, "INVALID_RECIPIENT")
_SENDER: Verdict = (FailureKind.CONFIGURATION, "SENDER_REFUSED")
_LOGIN: Verdict = (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED")
_DENIED: Verdict = (FailureKind.CONFIGURATION, "PERMISSION_DENIED")
_BOUND: Verdict = (FailureKind.TRANSIENT, "SESSION_REFUSED")
_AWAY: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")

STATUSES: Mapping[int, tuple[Verdict, str]] = {
    0x01: (_REJECTED, "the message's length is invalid"),
    0x02: (_REJECTED, "the command's length is invalid"),
    0x03: (_DENIED, "the command is not known"),
    0x04: (_BOUND, "the session is not bound for this"),
    0x05: (_BOUND, "the account is already bound"),
    0x06: (_REJECTED, "the priority is invalid"),
    0x07: (_REJECTED, "the registered delivery is invalid"),
    0x08: (_AWAY, "system error"),
    0x0A: (_SENDER, "the source address is invalid"),
    0x0B: (_RECIPIENT, "the destination address is invalid"),
    0x0D: (_LOGIN, "the bind failed"),
    0x0E: (_LOGIN, "the password is wrong"),
    0x0F: (_LOGIN, "the system id is not known"),
    0x14: (_AWAY, "the queue is full"),
    0x15: (_DENIED, "the service type is invalid"),
    0x33: (_RECIPIENT, "the number of destinations is invalid"),
    0x43: (_REJECTED, "the message class is invalid"),
    0x45: (_AWAY, "the submission failed"),
    0x48: (_SENDER, "the source's type of number is invalid"),
    0x49: (_SENDER, "the source's numbering plan is invalid"),
    0x50: (_RECIPIENT, "the destination's type of number is invalid"),
    0x51: (_RECIPIENT, "the destination's numbering plan is invalid"),
    0x53: (_DENIED, "the system type is invalid"),
    0x58: ((FailureKind.THROTTLED, "RATE_LIMITED"), "too many messages"),
    0x61: (_REJECTED, "the scheduled time is invalid"),
    0x62: (_REJECTED, "the validity period is invalid"),
    0x63: (_REJECTED, "the predefined message is not known"),
    0x64: (_AWAY, "temporary error"),
    0x65: (_REJECTED, "permanent error"),
    0x66: (_DENIED, "the receiver refuses"),
    0xC0: (_REJECTED, "the optional part is invalid"),
    0xC1: (_REJECTED, "an optional parameter is not allowed"),
    0xC2: (_REJECTED, "a parameter's length is invalid"),
    0xC3: (_REJECTED, "a parameter is missing"),
    0xC4: (_REJECTED, "a parameter's value is invalid"),
    0xFE: (_AWAY, "the delivery failed"),
}
"""`command_status` of an answer that refuses."""

# 0x400–0x4FF are the vendor's: most often they say that something is not possible now.
_VENDOR = range(0x400, 0x500)

STATES: Mapping[int, str] = {
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
}
"""`message_state` as the word that stands for it in a receipt's text."""

RECEIPTS: Mapping[str, DeliveryStatus] = {
    "ENROUTE": DeliveryStatus.PROCESSING,
    "ACCEPTD": DeliveryStatus.PROCESSING,
    "DELIVRD": DeliveryStatus.DELIVERED,
    "EXPIRED": DeliveryStatus.FAILED,
    "DELETED": DeliveryStatus.FAILED,
    "UNDELIV": DeliveryStatus.FAILED,
    "REJECTD": DeliveryStatus.FAILED,
}
"""What a receipt's word says of a message; UNKNOWN says nothing."""


def refusal(status: int, retry_after: float | None = None) -> SendError:
    """The SendError for a `command_status` other than 0."""
    unknown = (_AWAY, "an error of the vendor's own") if status in _VENDOR else (_REJECTED, "an unknown error")
    (kind, code), words = STATUSES.get(status, unknown)
    text = f"The SMSC refused: {words} (0x{status:02X})."
    return SendError(kind, code, text, provider_code=f"0x{status:02X}", provider_message=words, retry_after=retry_after)
