"""From bytes to a GraphQL request, trusting nothing in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive

from gateway.refusals import ClientGoneError, malformed, too_large
from schema.documents import Request

_DEEPEST = 100
_MOST_PARAMETERS = 20


async def read_body(receive: Receive, declared: str | None, limit: int) -> bytes:
    """The whole body. Raise RefusalError as soon as it is known to pass `limit` bytes, whatever length was declared."""
    if declared is not None and declared.isdecimal() and int(declared[:20]) > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse_json(text: bytes | str) -> Any:
    """Raise RefusalError unless the text is JSON, in UTF-8, nested no deeper than what can be answered again."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise malformed("The request is not valid JSON in UTF-8.") from None
    if _is_nested_beyond(value, _DEEPEST):
        raise malformed(f"The request is nested deeper than {_DEEPEST} levels.")
    return value


def _is_nested_beyond(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [inner for outer in level for inner in _members(outer) if type(inner) in (dict, list)]
        if not level:
            return False
    return True


def _members(value: object) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def request_from_json(value: object) -> Request:
    """The request in a decoded body or `subscribe` payload. Raise RefusalError for a wrong shape; batches are one."""
    if isinstance(value, list):
        raise malformed("Batches are not supported: send one request object.")
    if not isinstance(value, dict):
        raise malformed("The request must be a JSON object.")
    request = Request(
        query=_member(value, "query", str),
        variables=_member(value, "variables", dict),
        operation_name=_member(value, "operationName", str),
        extensions=_member(value, "extensions", dict),
        document_id=_member(value, "documentId", str),
    )
    if request.query is None and request.document_id is None and not (request.extensions or {}).get("persistedQuery"):
        raise malformed("The request has no query.")
    return request


def request_from_query(query_string: bytes) -> Request:
    """The request in a URL: `variables` and `extensions` are JSON texts."""
    parameters = _parameters(query_string)
    value: dict[str, Any] = {name: parameters.get(name) for name in ("query", "operationName", "documentId")}
    for name in "variables", "extensions":
        if text := parameters.get(name):
            value[name] = parse_json(text)
    return request_from_json(value)


def asks_nothing(query_string: bytes) -> bool:
    """Whether a URL carries no GraphQL request: what a browser opens."""
    return not any(name in query_string for name in (b"query=", b"extensions=", b"documentId="))


def _parameters(query_string: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query_string.decode("ascii"), True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise malformed("The query string is malformed.") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise malformed("A parameter is given twice.")
    return parameters


def _member(value: Mapping[str, Any], name: str, kind: type) -> Any:
    """None where it is absent or null."""
    member = value.get(name)
    if member is not None and not isinstance(member, kind):
        raise malformed(f"{name} must be {'a string' if kind is str else 'an object'}.")
    return member
