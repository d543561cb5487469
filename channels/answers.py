"""A provider's HTTP answer, tamed, and what its status says when the provider's own words are missing or new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidatorFunctionWrapHandler, WrapValidator

from channels.errors import FailureKind, SendError

LONGEST_WAIT = 3600.0
LONGEST_MESSAGE = 500

Verdict = tuple[FailureKind, str]
"""How a failure is to be taken, and our code for it."""

_BY_STATUS: Mapping[int, Verdict] = {
    401: (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
    403: (FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
    404: (FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND"),
    405: (FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND"),
    429: (FailureKind.THROTTLED, "RATE_LIMITED"),
    503: (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
}

_BY_CLASS: Mapping[int, Verdict] = {
    3: (FailureKind.CONFIGURATION, "UNEXPECTED_REDIRECT"),
    4: (FailureKind.CONTENT, "REJECTED"),
    5: (FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
}

_UNREADABLE: Verdict = (FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE")

_SAYING: Mapping[FailureKind, str] = {
    FailureKind.THROTTLED: "asks to slow down",
    FailureKind.TRANSIENT: "cannot take it now",
    FailureKind.UNKNOWN_OUTCOME: "may or may not have taken it",
}

T = TypeVar("T")
M = TypeVar("M", bound="Document")


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValueError:
        return None


Maybe = Annotated[T | None, WrapValidator(_or_none)]
"""A member we can do without: None where it is missing or not what it should be."""

ProviderId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
ErrorCode = Annotated[int, Field(ge=0, lt=100_000_000)]


class Document(BaseModel):
    """Base of what a provider sends: unknown members are dropped, the rest has the type it says. Validators are built for the
    providers a process meets."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's HTTP answer; the body is cut where the caller said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The parsed body. Raises ValueError on anything that is not JSON, however hostile."""
        return orjson.loads(self.body)

    def read(self, model: type[M]) -> M | None:
        """The body as `model`, or None when it is anything else."""
        try:
            return model.model_validate_json(self.body)
        except ValueError:
            return None

    @property
    def retry_after(self) -> float | None:
        """Seconds of the Retry-After header when it is a number (RFC 9110 §10.2.3); its date form is ignored."""
        value = self.headers.get("Retry-After", "").strip()
        return min(float(value), LONGEST_WAIT) if value.isdecimal() and len(value) < 10 else None


def verdict(status: int) -> Verdict:
    """What an HTTP status says by itself. A 5xx leaves open whether the message was taken."""
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, _UNREADABLE)


def refused(
    provider: str,
    answer: Answer,
    verdict: Verdict,
    *,
    code: int | str | None = None,
    message: str | None = None,
    retry_after: float | None = None,
) -> SendError:
    """The SendError for an answer that was no acceptance. `message` holds the provider's words, already redacted."""
    kind, ours = verdict
    words = message[:LONGEST_MESSAGE] if message else f"HTTP status {answer.status}"
    waits = kind in (FailureKind.THROTTLED, FailureKind.TRANSIENT)
    return SendError(
        kind,
        ours,
        f"{provider} {_SAYING.get(kind, 'refused')}: {words}",
        provider_code=None if code is None else str(code),
        provider_message=message[:LONGEST_MESSAGE] if message else None,
        retry_after=(retry_after if retry_after is not None else answer.retry_after) if waits else None,
    )


def understood(provider: str, answer: Answer, model: type[M]) -> M:
    """What a success says. Raises SendError where it cannot be read as that."""
    found = answer.read(model)
    if found is None:
        raise unreadable(provider, answer)
    return found


def unreadable(provider: str, answer: Answer) -> SendError:
    """For a success that does not say what it should: the message may be on its way."""
    return refused(provider, answer, _UNREADABLE, message="the answer could not be read")
