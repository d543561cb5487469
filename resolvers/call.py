"""One call: who asks, and the means to answer."""

from __future__ import annotations

import hashlib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from delivery.providers import Providers
from delivery.route import Router
from models.bell import Bell
from models.database import Database
from models.events import Event
from models.tail import Tails
from models.vault import Vault
from resolvers.cursors import Cursors
from resolvers.viewer import Viewer


@dataclass(frozen=True, slots=True)
class Means:
    """What the process has to answer with; made once in `gateway/app.py`."""

    database: Database
    vault: Vault
    providers: Providers
    router: Router
    bell: Bell
    tails: Tails[Event]
    cursors: Cursors
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Handed to every use case. Everything it can reach lies in the viewer's workspace."""

    viewer: Viewer
    means: Means

    @property
    def workspace_id(self) -> str:
        return self.viewer.workspace_id

    def require(self, scope: str) -> None:
        self.viewer.require(scope)

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self.means.database.read()

    def write(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One transaction; subscribers hear of its events after it is committed."""
        return self.means.database.write()


def digest(value: Any) -> str:
    """A hash of a JSON-like value that does not depend on the order of keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
