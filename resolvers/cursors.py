"""Cursors: opaque to clients, signed by us, and bound to the list they were made for."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from typing import Any

import orjson

from models.vault import Vault
from resolvers.problems import Problem, RequestErrorCode

LONGEST = 8_000
MAC_BYTES = 16


class Cursors:
    """`scope` names the list: workspace, noun, filter and order. A cursor of another scope is refused."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def seal(self, scope: str, position: Sequence[Any]) -> str:
        data = orjson.dumps([_packed(part) for part in position])
        mac = self._vault.sign("cursor", _bound(scope, data))[:MAC_BYTES]
        return base64.urlsafe_b64encode(mac + data).decode().rstrip("=")

    def open(self, scope: str, cursor: str, field: Sequence[str] = ("after",)) -> tuple[Any, ...]:
        """The position. Raises INVALID_CURSOR for a cursor that is too long, forged or of another list."""
        refusal = Problem(RequestErrorCode.INVALID_CURSOR, "The cursor is not one of this list.", field)
        if len(cursor) > LONGEST:
            raise refusal
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise refusal from None
        mac, data = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if len(mac) < MAC_BYTES or not self._vault.verify("cursor", _bound(scope, data), mac):
            raise refusal
        return tuple(_unpacked(part) for part in orjson.loads(data))


def _bound(scope: str, data: bytes) -> bytes:
    return scope.encode() + b"\n" + data


def _packed(part: Any) -> Any:
    return {"t": part.isoformat()} if isinstance(part, dt.datetime) else part


def _unpacked(part: Any) -> Any:
    return dt.datetime.fromisoformat(part["t"]) if isinstance(part, dict) else part
