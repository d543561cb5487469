"""How a hand-over fails.

SendError
  RECIPIENT      this address will never work           CONTENT    this message will never work
  CONFIGURATION  the connector is wrong or refused      TRANSIENT  not accepted now; may be tried again
  THROTTLED      slow down; the message is not at fault UNKNOWN_OUTCOME  the answer was lost after the request left
"""

from __future__ import annotations

from enum import StrEnum


class FailureKind(StrEnum):
    """Why a message did not get through; decides retry and failover."""

    RECIPIENT = "RECIPIENT"
    CONTENT = "CONTENT"
    CONFIGURATION = "CONFIGURATION"
    TRANSIENT = "TRANSIENT"
    THROTTLED = "THROTTLED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    NO_ROUTE = "NO_ROUTE"


class SendError(Exception):
    """The provider refused, or its answer was lost.

    `code` is ours and stable (`INVALID_RECIPIENT`, `AUTHENTICATION_FAILED`, …); `provider_code` and `provider_message`
    are the provider's own words. `retry_after` is in seconds and obeyed exactly.
    """

    def __init__(
        self,
        kind: FailureKind,
        code: str,
        message: str,
        *,
        provider_code: str | None = None,
        provider_message: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.message = message
        self.provider_code = provider_code
        self.provider_message = provider_message
        self.retry_after = retry_after
