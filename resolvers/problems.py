"""What the caller can act on. Raised anywhere in resolvers, translated once in schema.

A code of `UserErrorCode` becomes an entry of a payload's `userErrors` when a mutation raised it; every other code, and any
code raised by a query or a subscription, becomes `errors[].extensions.code`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum


class UserErrorCode(StrEnum):
    """What is wrong, in a word a program can match."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    MISSING_CONNECTOR_NAME = "MISSING_CONNECTOR_NAME"
    RESERVED_CONNECTOR_NAME = "RESERVED_CONNECTOR_NAME"
    MISSING_CONNECTOR_CONFIG = "MISSING_CONNECTOR_CONFIG"
    INVALID_CONNECTOR_DATA = "INVALID_CONNECTOR_DATA"
    INVALID_DESTINATION = "INVALID_DESTINATION"
    INVALID_EVENT_FILTER = "INVALID_EVENT_FILTER"
    INVALID_WEBHOOK_URL = "INVALID_WEBHOOK_URL"
    INVITATION_REQUIRED = "INVITATION_REQUIRED"
    CONNECTOR_NOT_FOUND = "CONNECTOR_NOT_FOUND"
    MESSAGE_NOT_FOUND = "MESSAGE_NOT_FOUND"
    SENDER_ID_NOT_FOUND = "SENDER_ID_NOT_FOUND"
    WEBHOOK_NOT_FOUND = "WEBHOOK_NOT_FOUND"
    API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND"
    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    OPT_OUT_NOT_FOUND = "OPT_OUT_NOT_FOUND"
    SENDER_ID_ALREADY_EXISTS = "SENDER_ID_ALREADY_EXISTS"
    CONNECTOR_ALREADY_EXISTS = "CONNECTOR_ALREADY_EXISTS"
    AMBIGUOUS_NAME = "AMBIGUOUS_NAME"
    LAST_CONNECTOR_WHILE_WILL_ACTIVE = "LAST_CONNECTOR_WHILE_WILL_ACTIVE"
    CONNECTOR_STILL_REFERENCED = "CONNECTOR_STILL_REFERENCED"
    REVISION_CONFLICT = "REVISION_CONFLICT"
    WHATSAPP_PHONE_NUMBER_ID_IN_USE = "WHATSAPP_PHONE_NUMBER_ID_IN_USE"
    ALREADY_REVIEWED = "ALREADY_REVIEWED"
    CHANNEL_DISABLED = "CHANNEL_DISABLED"
    INVALID_STATE = "INVALID_STATE"
    SENDER_ID_REQUIRED = "SENDER_ID_REQUIRED"
    SENDER_ID_NOT_APPROVED = "SENDER_ID_NOT_APPROVED"
    RECIPIENT_OPTED_OUT = "RECIPIENT_OPTED_OUT"
    NO_ROUTE_AVAILABLE = "NO_ROUTE_AVAILABLE"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    IDEMPOTENCY_IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
    CONNECTOR_DELIVERY_FAILED = "CONNECTOR_DELIVERY_FAILED"


class RequestErrorCode(StrEnum):
    """What is wrong with the request as a whole; never part of a payload."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    SESSION_REQUIRED = "SESSION_REQUIRED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    INVALID_CURSOR = "INVALID_CURSOR"
    RATE_LIMITED = "RATE_LIMITED"
    RESYNC_REQUIRED = "RESYNC_REQUIRED"
    UNAVAILABLE = "UNAVAILABLE"


HTTP_STATUS: dict[UserErrorCode | RequestErrorCode, int] = {
    UserErrorCode.INVALID_CONNECTOR_DATA: 422,
    UserErrorCode.INVALID_WEBHOOK_URL: 422,
    UserErrorCode.INVITATION_REQUIRED: 403,
    UserErrorCode.CONNECTOR_NOT_FOUND: 404,
    UserErrorCode.MESSAGE_NOT_FOUND: 404,
    UserErrorCode.SENDER_ID_NOT_FOUND: 404,
    UserErrorCode.WEBHOOK_NOT_FOUND: 404,
    UserErrorCode.API_KEY_NOT_FOUND: 404,
    UserErrorCode.WORKSPACE_NOT_FOUND: 404,
    UserErrorCode.OPT_OUT_NOT_FOUND: 404,
    UserErrorCode.SENDER_ID_ALREADY_EXISTS: 409,
    UserErrorCode.CONNECTOR_ALREADY_EXISTS: 409,
    UserErrorCode.AMBIGUOUS_NAME: 409,
    UserErrorCode.LAST_CONNECTOR_WHILE_WILL_ACTIVE: 409,
    UserErrorCode.CONNECTOR_STILL_REFERENCED: 422,
    UserErrorCode.REVISION_CONFLICT: 409,
    UserErrorCode.WHATSAPP_PHONE_NUMBER_ID_IN_USE: 409,
    UserErrorCode.ALREADY_REVIEWED: 409,
    UserErrorCode.CHANNEL_DISABLED: 409,
    UserErrorCode.INVALID_STATE: 409,
    UserErrorCode.SENDER_ID_REQUIRED: 422,
    UserErrorCode.SENDER_ID_NOT_APPROVED: 422,
    UserErrorCode.RECIPIENT_OPTED_OUT: 422,
    UserErrorCode.NO_ROUTE_AVAILABLE: 422,
    UserErrorCode.IDEMPOTENCY_KEY_REUSED: 422,
    UserErrorCode.IDEMPOTENCY_IN_PROGRESS: 409,
    UserErrorCode.CONNECTOR_DELIVERY_FAILED: 502,
    RequestErrorCode.UNAUTHENTICATED: 401,
    RequestErrorCode.FORBIDDEN: 403,
    RequestErrorCode.SESSION_REQUIRED: 403,
    RequestErrorCode.RATE_LIMITED: 429,
    RequestErrorCode.UNAVAILABLE: 503,
}


class Problem(Exception):
    """One thing the caller can act on. `field` is the path into the arguments; `extra` holds what else a program may need."""

    def __init__(
        self,
        code: UserErrorCode | RequestErrorCode,
        message: str,
        field: Sequence[str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = list(field) if field is not None else None
        self.extra = extra

    @property
    def http_status(self) -> int:
        return HTTP_STATUS.get(self.code, 400)


class Problems(Exception):
    """Several at once: validation reports everything it found, never only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = list(problems)


@contextmanager
def collected(problems: list[Problem]) -> Iterator[None]:
    """Add the problems a block raises to `problems` and go on behind it."""
    try:
        yield
    except Problem as problem:
        problems.append(problem)
    except Problems as several:
        problems += several.problems
