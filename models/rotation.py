"""Every secret at rest, sealed anew under the primary key. When none is left under an old key, that key may go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models import sealing
from models.base import Base
from models.connectors import Connector
from models.database import Database
from models.vault import SecretError, Vault
from models.webhooks import WebhookSubscription
from models.workspaces import Organization

BATCH = 100

Rewrap = Callable[[str, tuple[str, ...]], str]
"""The same secret under the primary key, given its context."""


@dataclass(slots=True)
class Rotation:
    """What a rotation found: secrets sealed anew, those under the primary key already, and rows whose secrets do not open."""

    rewrapped: int = 0
    current: int = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """A table with secrets. `values` answers the columns of a row as they become."""

    table: type[Base]
    values: Callable[[Any, Rewrap, Vault], dict[str, Any]]


async def rotate(database: Database, vault: Vault) -> Rotation:
    """Seal every secret under the vault's primary key, a row a transaction. A row that was changed meanwhile is left as it is;
    repeat it until nothing is sealed anew."""
    done = Rotation()
    for place in _PLACES:
        async for row in _rows(database, place.table):
            await _rotated(database, vault, place, row, done)
    return done


async def _rows(database: Database, table: Any) -> AsyncIterator[Any]:
    beyond = ""
    while True:
        async with database.read() as session:
            found = (await session.scalars(select(table).where(table.id > beyond).order_by(table.id).limit(BATCH))).all()
        for row in found:
            yield row
        if len(found) < BATCH:
            return
        beyond = found[-1].id


async def _rotated(database: Database, vault: Vault, place: _Place, row: Any, done: Rotation) -> None:
    counted = Rotation()

    def rewrap(token: str, context: tuple[str, ...]) -> str:
        fresh = vault.rewrap(token, *context)
        counted.rewrapped += fresh != token
        counted.current += fresh == token
        return fresh

    try:
        values = place.values(row, rewrap, vault)
    except SecretError:
        done.unreadable.append(row.id)
        return
    if counted.rewrapped:
        async with database.write() as session:
            await _write(session, place.table, row, values)
    done.rewrapped += counted.rewrapped
    done.current += counted.current


async def _write(session: AsyncSession, table: Any, row: Any, values: dict[str, Any]) -> None:
    unchanged = [
        getattr(table, column) == getattr(row, column) for column in ("revision", "updated_at") if hasattr(table, column)
    ]
    await session.execute(update(table).where(table.id == row.id, *unchanged).values(values))


def _of_connector(row: Connector, rewrap: Rewrap, vault: Vault) -> dict[str, Any]:
    secrets = {}
    for name, kept in row.secrets.items():
        context = sealing.of_connector(row.workspace_id, row.id, name)
        sealed = rewrap(kept["sealed"], context)
        fingerprint = (
            kept["fingerprint"] if sealed == kept["sealed"] else vault.fingerprint(vault.open(sealed, *context), *context)
        )
        secrets[name] = {**kept, "sealed": sealed, "fingerprint": fingerprint}
    if row.line is None or row.line["access_token"] is None:
        return {"secrets": secrets}
    owner = row.line["organization_id"]
    return {"secrets": secrets, "line": {**row.line, "access_token": rewrap(row.line["access_token"], sealing.of_line(owner))}}


def _of_organization(row: Organization, rewrap: Rewrap, _vault: Vault) -> dict[str, Any]:
    token = row.whatsapp_access_token
    return {} if token is None else {"whatsapp_access_token": rewrap(token, sealing.of_line(row.id))}


def _of_webhook(row: WebhookSubscription, rewrap: Rewrap, _vault: Vault) -> dict[str, Any]:
    keys = [
        {**key, "sealed": rewrap(key["sealed"], sealing.of_webhook(row.workspace_id, row.id, key["id"]))}
        for key in row.signing_keys
    ]
    return {"signing_keys": keys}


_PLACES = (
    _Place(Connector, _of_connector),
    _Place(Organization, _of_organization),
    _Place(WebhookSubscription, _of_webhook),
)
