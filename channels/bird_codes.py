"""Bird's codes for why a message was not delivered.

https://docs.bird.com/api/channels-api/message-status-and-interactions
"""

from __future__ import annotations

from collections.abc import Mapping

from channels.answers import Verdict
from channels.errors import FailureKind

UNDELIVERED: Verdict = (FailureKind.TRANSIENT, "UNDELIVERED")

# The mobile network's, behind an SMS.
NETWORK: Mapping[str, Verdict] = {
    **dict.fromkeys(("1", "2", "3", "5"), (FailureKind.RECIPIENT, "INVALID_RECIPIENT")),
    **dict.fromkeys(("9", "11", "12", "13", "21"), (FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE")),
    **dict.fromkeys(("6", "27", "31", "32", "34", "35", "36"), UNDELIVERED),
}

# Bird's own, whatever the medium.
FAILURES: Mapping[str, Verdict] = {
    **dict.fromkeys(("11002", "12002"), (FailureKind.CONTENT, "REJECTED")),
    "15005": (FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
}
