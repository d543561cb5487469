"""Meta's error codes, and how a failure that bears one is to be taken.

https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping

from channels.answers import Verdict
from channels.errors import FailureKind

PAIR_PAUSE = 6.0  # Meta takes about one message in six seconds to the same recipient
SPAM_PAUSE = 3600.0

_RECIPIENT, _CONTENT = FailureKind.RECIPIENT, FailureKind.CONTENT
_CONFIGURATION, _TRANSIENT, _THROTTLED = FailureKind.CONFIGURATION, FailureKind.TRANSIENT, FailureKind.THROTTLED

VERDICTS: Mapping[Verdict, tuple[int, ...]] = {
    (_CONFIGURATION, "AUTHENTICATION_FAILED"): (0, 190),
    (_CONFIGURATION, "PERMISSION_DENIED"): (3, 10, *range(200, 300), 131005),
    (_CONFIGURATION, "ACCOUNT_INACTIVE"): (368, 131031, 131042, 131044, 131045, 131063),
    (_CONFIGURATION, "INVALID_SENDER"): (131037, 133010),
    (_CONFIGURATION, "DESTINATION_NOT_PERMITTED"): (130497,),
    (_RECIPIENT, "RECIPIENT_UNREACHABLE"): (130472, 131026, 131049, 131062),
    (_RECIPIENT, "INVALID_RECIPIENT"): (131021, 131030, 137000),
    (_RECIPIENT, "RECIPIENT_OPTED_OUT"): (131050,),
    (_CONTENT, "REJECTED"): (100, 131008, 131009, 131051, 135000),
    (_CONTENT, "INVALID_MEDIA"): (131052, 131053),
    (_CONTENT, "OUTSIDE_SERVICE_WINDOW"): (131047,),
    (_CONTENT, "INVALID_TEMPLATE"): (132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132068),
    (_THROTTLED, "RATE_LIMITED"): (4, 80007, 130429, 131048),
    (_TRANSIENT, "RATE_LIMITED"): (131056, 131064),  # too fast for one recipient: no reason to hold the others
    (_TRANSIENT, "PROVIDER_UNAVAILABLE"): (1, 2, 131000, 131016, 131057, 132069, 133016),
}
CODES: Mapping[int, Verdict] = {code: verdict for verdict, codes in VERDICTS.items() for code in codes}
PAUSES: Mapping[int, float] = {131048: SPAM_PAUSE, 131056: PAIR_PAUSE}
