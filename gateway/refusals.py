"""Why a request is turned away before GraphQL sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resolvers.problems import Problem, RequestErrorCode

BAD_USER_INPUT = "BAD_USER_INPUT"
METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"


class RefusalError(Exception):
    """Answered with an HTTP status and one coded error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.entry: dict[str, Any] = {"message": message, "extensions": {**(extensions or {}), "code": code}}


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


def malformed(message: str) -> RefusalError:
    return RefusalError(400, BAD_USER_INPUT, message)


def too_large(limit: int) -> RefusalError:
    return RefusalError(413, PAYLOAD_TOO_LARGE, f"The request is larger than {limit} bytes.")


def not_admitted(problem: Problem, sent_credentials: bool) -> RefusalError:
    """The refusal for what `authenticate` raised."""
    headers = {}
    if problem.code is RequestErrorCode.UNAUTHENTICATED:
        headers["www-authenticate"] = 'Bearer realm="patchbay"' + (', error="invalid_token"' if sent_credentials else "")
    extensions = {**problem.extra, "httpStatus": problem.http_status}
    return RefusalError(problem.http_status, str(problem.code), problem.message, headers, extensions)
