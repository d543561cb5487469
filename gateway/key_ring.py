"""API keys in this process: who comes with one, when it was used, and the end of what runs under one that was revoked."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import structlog

from models import api_keys, workspaces
from models.base import now
from models.bell import Bell
from models.database import Database, is_passing
from resolvers.call import Looking
from resolvers.key_texts import KeyText
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import CredentialKind, Viewer

POLL_SECONDS = 1.0
AT_ONCE = 500

INVALID = "The API key is not valid."
REVOKED = "The API key was revoked."
EXPIRED = "The API key has expired."

log = structlog.get_logger()


class Holder(Protocol):
    """What keeps viewers connected for longer than a request."""

    @property
    def viewers(self) -> Iterable[Viewer]: ...

    def close_where(self, matches: Callable[[Viewer], bool], reason: str) -> None: ...


class KeyRing:
    """Looks keys up in the database at every request, so that a revoked one opens nothing from then on."""

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell
        self._holders: list[Holder] = []
        self._used: dict[str, dt.datetime] = {}
        self._organizations: dict[str, str] = {}
        self._rung = asyncio.Event()

    def watch(self, *holders: Holder) -> None:
        """Close what these keep open for a key once it is revoked."""
        self._holders += holders

    async def admit(self, text: str) -> Viewer:
        """Who comes with this key. Raises Problem(UNAUTHENTICATED), or UNAVAILABLE when the database is away."""
        key = KeyText.parse(text)
        if key is None:
            raise _refusal(INVALID)
        async with Looking(self._database.reader) as reader:
            row = await api_keys.by_prefix(reader, key.prefix)
        if row is None or not key.matches(row.digest):
            raise _refusal(INVALID)
        at = now()
        if row.revoked_at is not None:
            raise _refusal(REVOKED)
        if row.expires_at is not None and row.expires_at <= at:
            raise _refusal(EXPIRED)
        if row.last_used_at is None or row.last_used_at <= at - api_keys.USE_PRECISION:
            self._used.setdefault(row.id, at)
        return Viewer(
            subject=row.id,
            workspace_id=row.workspace_id,
            organization_id=await self._organization(row.workspace_id),
            scopes=frozenset(row.scopes.split()),
            credential=CredentialKind.API_KEY,
            expires_at=row.expires_at,
            key_id=row.id,
        )

    async def _organization(self, workspace_id: str) -> str:
        """Whose a workspace is; it is never given to another."""
        if workspace_id not in self._organizations:
            async with Looking(self._database.reader) as reader:
                workspace = await workspaces.shown(reader, workspace_id)
            if workspace is None:
                raise _refusal(INVALID)
            self._organizations[workspace_id] = workspace.organization_id
        return self._organizations[workspace_id]

    async def run(self) -> None:
        """Until cancelled: close what runs under revoked keys, when the bell rings and every second; write what was used."""
        forget = self._bell.listen(self._hear)
        try:
            while True:
                self._rung.clear()
                try:
                    await self._close_revoked()
                    await self.write_uses()
                except Exception as error:
                    if not is_passing(error):
                        raise
                    log.warning("keys_unchecked", error=type(error).__name__)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._rung.wait()
        finally:
            forget()

    async def write_uses(self) -> None:
        """Store when keys were used. What cannot be stored now is kept for the next time."""
        if not self._used:
            return
        uses = dict(self._used)
        async with self._database.write() as session:
            await api_keys.note_use(session, uses)
        for key_id in uses:
            del self._used[key_id]

    def _hear(self, hint: str) -> None:
        if hint == api_keys.HINT:
            self._rung.set()

    async def _close_revoked(self) -> None:
        held = sorted({viewer.key_id for holder in self._holders for viewer in holder.viewers if viewer.key_id is not None})
        ended: set[str] = set()
        for start in range(0, len(held), AT_ONCE):
            async with self._database.read() as session:
                ended |= await api_keys.revoked(session, held[start : start + AT_ONCE])
        for holder in self._holders if ended else ():
            holder.close_where(lambda viewer: viewer.key_id in ended, REVOKED)


def _refusal(sentence: str) -> Problem:
    return Problem(RequestErrorCode.UNAUTHENTICATED, sentence)
