"""graphql-transport-ws messages: https://github.com/graphql/graphql-over-http/blob/main/rfcs/GraphQLOverWebSocket.md"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.bodies import parse_json, request_from_json
from gateway.refusals import RefusalError
from schema.answers import ErrorEntry
from schema.documents import Request

SUBPROTOCOL = "graphql-transport-ws"
_LONGEST_ID = 128
_LONGEST_REASON = 123  # bytes; a longer close frame is a protocol error


class CloseError(Exception):
    """The socket must be closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")


@dataclass(frozen=True, slots=True)
class Init:
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pong:
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    id: str
    request: Request


@dataclass(frozen=True, slots=True)
class Complete:
    id: str


Frame = Init | Ping | Pong | Subscribe | Complete


def read_frame(text: str | None) -> Frame:
    """The client's message. Raise CloseError (4400) for anything else."""
    if text is None:
        raise CloseError(4400, "Messages must be text.")
    try:
        return _frame(parse_json(text))
    except RefusalError as error:
        raise CloseError(4400, str(error)) from None


def _frame(message: object) -> Frame:
    if not isinstance(message, dict):
        raise CloseError(4400, "A message must be an object.")
    match message.get("type"):
        case "connection_init":
            return Init(_payload(message) or {})
        case "ping":
            return Ping(_payload(message))
        case "pong":
            return Pong(_payload(message))
        case "subscribe":
            return Subscribe(_id(message), request_from_json(_payload(message)))
        case "complete":
            return Complete(_id(message))
        case _:
            raise CloseError(4400, "The message type is unknown.")


def _payload(message: dict[str, Any]) -> dict[str, Any] | None:
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise CloseError(4400, "The payload must be an object.")
    return payload


def _id(message: dict[str, Any]) -> str:
    name = message.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        raise CloseError(4400, f"The id must be a string of 1 to {_LONGEST_ID} characters.")
    return name


ACK = '{"type":"connection_ack"}'
PING = '{"type":"ping"}'


def pong(payload: dict[str, Any] | None) -> str:
    return _text({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})


def next_frame(name: str, payload: str) -> str:
    """One answer. The payload is JSON already: subscribers who get the same answer share its text."""
    return f'{{"id":{_text(name)},"type":"next","payload":{payload}}}'


def wire_frame(name: str, tail: bytes) -> bytes:
    """`next_frame` as it stands on the wire: a header, the operation's id, and the bytes that all who get the answer share."""
    return framed(b'{"id":' + orjson.dumps(name) + b',"type":"next","payload":', tail)


def framed(head: bytes, tail: bytes = b"") -> bytes:
    """An unmasked text frame, whole: RFC 6455, section 5.2."""
    size = len(head) + len(tail)
    if size < 126:
        header = bytes((0x81, size))
    elif size < 65_536:
        header = b"\x81\x7e" + size.to_bytes(2, "big")
    else:
        header = b"\x81\x7f" + size.to_bytes(8, "big")
    return b"".join((header, head, tail))


def error_frame(name: str, errors: list[ErrorEntry]) -> str:
    return _text({"id": name, "type": "error", "payload": errors})


def complete_frame(name: str) -> str:
    return _text({"id": name, "type": "complete"})


def _text(value: object) -> str:
    return orjson.dumps(value).decode()
