"""How a failed call looks in the result of a verification."""

from __future__ import annotations

from channels.base import Assertion, CheckStatus
from channels.errors import FailureKind, SendError

_UNDECIDED = (FailureKind.TRANSIENT, FailureKind.THROTTLED, FailureKind.UNKNOWN_OUTCOME)


def failed(name: str, error: SendError) -> Assertion:
    """An outage says nothing of the configuration; a refusal does."""
    status = CheckStatus.INDETERMINATE if error.kind in _UNDECIDED else CheckStatus.ERROR
    return Assertion(name, status, error.message)
