"""One call: who asks, and the means to answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from delivery.gather import Gather
from delivery.metrics import Meters
from delivery.providers import Providers
from delivery.route import Router
from delivery.webhook_attempts import Courier
from delivery.worker import Claiming
from models.bell import Bell
from models.database import Database, is_passing
from models.events import Event
from models.messages import Message
from models.reader import Reader
from models.tail import Tails
from models.vault import Vault
from resolvers.cursors import Cursors
from resolvers.problems import Problem, RequestErrorCode
from resolvers.rates import RateLimit, Rates
from resolvers.viewer import Viewer

if TYPE_CHECKING:
    from resolvers.acceptance import Sending

REQUEST = "idempotency"
RETRY_AFTER = 1

Opened = TypeVar("Opened")

log = structlog.get_logger()


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
    sends: Gather[Sending, tuple[Message, bool]]
    meters: Meters
    rates: Rates
    courier: Courier
    express: Callable[[Counter[str]], AbstractAsyncContextManager[Claiming]]
    region: str | None = None
    protected_names: Sequence[str] = ()
    invitations: Sequence[str] = field(default=(), repr=False)


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

    def require_session(self) -> None:
        self.viewer.require_session()

    def require_admin(self) -> None:
        self.viewer.require_admin()

    async def spend(self, name: str) -> None:
        """Count an execution of what is rate-limited under this name. Raises RATE_LIMITED; then nothing must have been done.
        Not from within a transaction: it has one of its own, which stays when the use case fails."""
        await self.means.rates.spend(self, name)

    async def rates(self) -> list[RateLimit]:
        """How the viewer stands with every rate limit."""
        return await self.means.rates.of(self)

    def signature(self, request: object) -> str:
        """What a repeated request is recognised by. Keyed, because a plain hash of one would let its secrets be guessed."""
        return self.means.vault.sign(REQUEST, self._canonical(request)).hex()

    def is_repeated(self, signature: str | None, request: object) -> bool:
        """The request has this signature, by whichever key of the ring it was made. One that nobody has checked may hold what
        cannot be written down; that was never signed."""
        try:
            written = self._canonical(request)
        except TypeError:
            return False
        return self.means.vault.verify(REQUEST, written, bytes.fromhex(signature or ""))

    def _canonical(self, request: object) -> bytes:
        """The same however the keys of the request are ordered; different in every workspace."""
        asked = {"workspace": self.workspace_id, "request": request}
        return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS, default=str)

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        return available(self.means.database.read())

    def look(self) -> Looking:
        """For reads that take one step: rows rather than entities."""
        return Looking(self.means.database.reader)

    def write(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One transaction; subscribers hear of its events after it is committed."""
        return available(self.means.database.write(urgent=True))


@asynccontextmanager
async def available(opened: AbstractAsyncContextManager[Opened]) -> AsyncIterator[Opened]:
    """`opened`; a database that is away, locked or full, also when it commits, is UNAVAILABLE and worth another try."""
    try:
        async with opened as session:
            yield session
    except Exception as error:
        if not is_passing(error):
            raise
        raise _unavailable(error) from None


class Looking:
    """As `available`, of what there is nothing to open of; without a generator, for each request passes through it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def __aenter__(self) -> Reader:
        return self._reader

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None and is_passing(error):
            raise _unavailable(error) from None


def _unavailable(error: BaseException) -> Problem:
    log.error("database_unavailable", error=type(error).__name__, reason=str(getattr(error, "orig", error)))
    message = "The database is not available now; try again."
    return Problem(RequestErrorCode.UNAVAILABLE, message, retryable=True, retryAfter=RETRY_AFTER)


def digest(value: Any) -> str:
    """A hash of a JSON-like value that does not depend on the order of keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
