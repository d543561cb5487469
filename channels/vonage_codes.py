"""What Vonage's numbers mean. https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms and
https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts#dlr-error-codes"""

from __future__ import annotations

from collections.abc import Mapping

from channels.answers import Verdict
from channels.errors import FailureKind

_SLOW: Verdict = (FailureKind.THROTTLED, "RATE_LIMITED")
_AWAY: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")
_REJECTED: Verdict = (FailureKind.CONTENT, "REJECTED")
_INVALID: Verdict = (FailureKind.RECIPIENT, "INVALID_RECIPIENT")
_CLOSED: Verdict = (FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE")
_TOKEN: Verdict = (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED")
_DENIED: Verdict = (FailureKind.CONFIGURATION, "PERMISSION_DENIED")
_UNDELIVERED: Verdict = (FailureKind.TRANSIENT, "UNDELIVERED")
_FILTERED: Verdict = (FailureKind.CONTENT, "FILTERED")
_CREDIT: Verdict = (FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS")

STATUSES: Mapping[int, Verdict] = {
    1: _SLOW,
    2: _REJECTED,
    3: _REJECTED,
    4: _TOKEN,
    5: _AWAY,
    6: _INVALID,
    7: _CLOSED,
    8: _DENIED,
    9: _CREDIT,
    10: _SLOW,
    11: _DENIED,
    12: (FailureKind.CONTENT, "TEXT_TOO_LONG"),
    14: _TOKEN,
    15: (FailureKind.CONFIGURATION, "SENDER_REFUSED"),
    22: _REJECTED,
    23: _REJECTED,
    29: _DENIED,
    32: _TOKEN,
    33: _CLOSED,
}
"""`status` in the answer to a submitted message."""

RECEIPTS: Mapping[int, Verdict] = {
    1: _UNDELIVERED,
    2: _UNDELIVERED,
    3: _CLOSED,
    4: (FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT"),
    5: _INVALID,
    6: _FILTERED,
    7: _UNDELIVERED,
    8: _UNDELIVERED,
    9: _INVALID,
    10: _FILTERED,
    11: _INVALID,
    12: _UNDELIVERED,
    13: _CLOSED,
    14: _CLOSED,
    15: _CREDIT,
    16: _CREDIT,
    **dict.fromkeys(range(50, 55), _FILTERED),
}
"""`err-code` of a delivery receipt."""


def of_status(code: int) -> Verdict:
    return STATUSES.get(code, _REJECTED)


def of_receipt(code: int) -> Verdict:
    return RECEIPTS.get(code, _UNDELIVERED)
