"""What is answered. The one place where an error becomes something a client may see."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import structlog
from graphql import GraphQLError

from resolvers.problems import Problem, Problems, RequestErrorCode

INTERNAL = "INTERNAL"

_log = structlog.get_logger()

ErrorEntry = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A GraphQL response. `executed` is false where the request was refused: then there is no `data` entry at all."""

    data: dict[str, Any] | None = None
    errors: Sequence[ErrorEntry] = ()
    executed: bool = True
    extensions: Mapping[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"data": self.data} if self.executed else {}
        if self.errors or not self.executed:
            body["errors"] = self.errors
        if self.extensions:
            body["extensions"] = self.extensions
        return body

    @cached_property
    def encoded(self) -> bytes:
        """The body as JSON, encoded once however many get it. A body that is no JSON becomes a masked error."""
        try:
            return orjson.dumps(self.body())
        except TypeError as error:
            return orjson.dumps({"errors": present_exception(error)})

    @cached_property
    def text(self) -> str:
        return self.encoded.decode()

    @cached_property
    def tail(self) -> bytes:
        """The end of a message that carries the body: what subscribers with the same answer share."""
        return self.encoded + b"}"


def refusal(errors: Iterable[GraphQLError], operation: str | None = None) -> Answer:
    """The answer to a request that was not run, or to a stream that broke."""
    return Answer(errors=present(errors, operation), executed=False)


def present(errors: Iterable[GraphQLError], operation: str | None = None) -> list[ErrorEntry]:
    """Errors as the client sees them; what is our own fault is masked, and logged once with the id the client gets."""
    logged: dict[int, str] = {}
    return [entry for error in errors for entry in _entries(error, operation, logged)]


def present_exception(error: Exception, operation: str | None = None) -> list[ErrorEntry]:
    """As `present`, for an exception raised outside of any field."""
    return present([error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)], operation)


def _entries(error: GraphQLError, operation: str | None, logged: dict[int, str]) -> list[ErrorEntry]:
    cause = _cause(error)
    if isinstance(cause, Problem):
        return [_entry(error, cause.message, _extensions(cause))]
    if isinstance(cause, Problems):
        return [_entry(error, problem.message, _extensions(problem)) for problem in cause.problems]
    if code := _code(error, cause):
        return [_entry(error, error.message, {**(error.extensions or {}), "code": code})]
    if id(cause) not in logged:
        logged[id(cause)] = _log_failure(cause, error, operation)
    return [_entry(error, "Internal error.", {"code": INTERNAL, "errorId": logged[id(cause)]})]


def _cause(error: GraphQLError) -> Exception:
    """The innermost exception: graphql-core wraps what resolvers raise."""
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _code(error: GraphQLError, cause: Exception) -> str | None:
    """The code of an error the client may see, None of one that is our fault.

    An error of graphql-core itself is the caller's, unless a field failed without a place in the query to blame: that is
    how it reports a value of ours which does not fit its type.
    """
    code = (error.extensions or {}).get("code")
    if isinstance(code, str):
        return code
    theirs = isinstance(cause, GraphQLError) and (error.path is None or cause.nodes)
    return str(RequestErrorCode.BAD_USER_INPUT) if theirs else None


def _extensions(problem: Problem) -> dict[str, Any]:
    return {**problem.extra, "code": str(problem.code), "httpStatus": problem.http_status}


def _entry(error: GraphQLError, message: str, extensions: dict[str, Any]) -> ErrorEntry:
    entry: ErrorEntry = {"message": message}
    if error.locations:
        entry["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path:
        entry["path"] = error.path
    entry["extensions"] = extensions
    return entry


def _log_failure(cause: Exception, error: GraphQLError, operation: str | None) -> str:
    error_id = uuid.uuid4().hex
    _log.error("internal_error", error_id=error_id, operation=operation, path=error.path, exc_info=cause)
    return error_id
