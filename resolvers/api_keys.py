"""API keys: made by a person for a program, listed and revoked by people only."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Sequence
from typing import Any

from models import api_keys as rows
from models import ids
from models.api_keys import ApiKey
from models.base import now
from resolvers import audit
from resolvers.call import Call
from resolvers.key_texts import KeyText
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, Problems, UserErrorCode, collected
from resolvers.viewer import SCOPES

READ, WRITE = "keys:read", "keys:write"
LONGEST_NAME = 200


async def page(call: Call, arguments: PageArguments) -> Page[ApiKey]:
    """Newest first, those that have ended included."""
    _admit(call, READ)
    scope = f"api_keys|{call.workspace_id}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await rows.page(session, call.workspace_id, window)

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session, call.workspace_id)

    return cut(found, window, arguments, lambda key: call.means.cursors.seal(scope, (key.id,)), total)


async def get(call: Call, key_id: str) -> ApiKey | None:
    _admit(call, READ)
    async with call.read() as session:
        return await rows.get(session, call.workspace_id, key_id)


async def create(call: Call, name: str, scopes: Sequence[str], expires_at: dt.datetime | None) -> tuple[ApiKey, str]:
    """A new key and its text, which cannot be had again. Raises Problems for a bad name, scope or time."""
    _admit(call, WRITE)
    await call.spend("apiKeyCreate")
    name = unicodedata.normalize("NFC", name).strip()
    _check(call, name, scopes, expires_at)
    text = KeyText.mint()
    key = ApiKey(
        id=ids.new_id(ids.API_KEY),
        workspace_id=call.workspace_id,
        name=name,
        prefix=text.prefix,
        digest=text.digest,
        scopes=" ".join(sorted(set(scopes))),
        created_by=call.viewer.subject,
        expires_at=expires_at,
        created_at=now(),
    )
    async with call.write() as session:
        session.add(key)
        audit.record(call, session, "apiKeyCreate", key.id, after=_shown(key))
    return key, text.text


async def revoke(call: Call, key_id: str) -> ApiKey:
    """The key, which opens nothing any more; what runs under it ends within a second. Repeating it changes nothing.

    Raises API_KEY_NOT_FOUND.
    """
    _admit(call, WRITE)
    async with call.write() as session:
        key = await rows.revoke(session, call.workspace_id, key_id, now())
        if key is not None:
            audit.record(call, session, "apiKeyRevoke", key.id, {"revoked": False}, {"revoked": True})
        else:
            key = await rows.get(session, call.workspace_id, key_id)
    if key is None:
        raise Problem(UserErrorCode.API_KEY_NOT_FOUND, "There is no such key.", ["input", "id"])
    call.means.bell.ring(rows.HINT)
    return key


def _shown(key: ApiKey) -> dict[str, Any]:
    """A key as the audit log knows it."""
    ends = key.expires_at.isoformat() if key.expires_at else None
    return {"name": key.name, "prefix": key.prefix, "scopes": key.scopes.split(), "expiresAt": ends}


def _admit(call: Call, scope: str) -> None:
    call.require_session()
    call.require(scope)


def _check(call: Call, name: str, scopes: Sequence[str], expires_at: dt.datetime | None) -> None:
    problems: list[Problem] = []
    with collected(problems):
        _check_name(name)
    with collected(problems):
        _check_scopes(call, scopes)
    if expires_at is not None and expires_at <= now():
        problems.append(_invalid("expiresAt must lie in the future.", "expiresAt"))
    if problems:
        raise Problems(problems)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise _invalid(f"A key's name has 1 to {LONGEST_NAME} characters, none of them a control character.", "name")


def _check_scopes(call: Call, scopes: Sequence[str]) -> None:
    if not scopes:
        raise _invalid("A key needs at least one scope.", "scopes")
    problems = []
    for i, scope in enumerate(scopes[: len(SCOPES)]):
        if scope not in SCOPES:
            problems.append(_invalid("There is no such scope.", "scopes", str(i)))
        elif not call.viewer.has(scope):
            problems.append(_invalid(f"You do not have the scope {scope} yourself.", "scopes", str(i)))
    if len(scopes) > len(SCOPES):
        problems.append(_invalid(f"A key has at most {len(SCOPES)} scopes.", "scopes"))
    if problems:
        raise Problems(problems)


def _invalid(message: str, *path: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", *path])
