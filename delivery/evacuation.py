"""What waits for a connector that cannot take it now is given to another one of its channel, message by message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from delivery import fallback, route
from delivery.fallback import through
from delivery.outbound import outbound
from delivery.route import Candidates, Route, Router
from models import connectors, messages, queue, stranded
from models.connectors import Connector
from models.database import Database
from models.messages import Message, MessageStatus
from models.stranded import Place
from models.timeline import TimelineSource, message_changed

AT_ONCE = 500
DELETED = SendError(FailureKind.NO_ROUTE, "CONNECTOR_DELETED", "The connector was deleted and no other can take the message.")


@dataclass(frozen=True, slots=True)
class Evacuated:
    """How many messages went elsewhere, how many failed, and where to go on; None at the end of the queue."""

    rerouted: int
    failed: int
    place: Place | None


class Evacuations:
    """Empties the lanes of connectors that are off, dead or broken, as far as others can take what waits there."""

    def __init__(self, database: Database, router: Router) -> None:
        self._database = database
        self._router = router
        self._places: dict[str, Place] = {}

    async def run(self) -> None:
        """As long as messages find another way; from a lane where none of them did, the next ones next time."""
        async with self._database.read() as session:
            waiting = await stranded.waiting_lanes(session)
        lanes = {connector_id for _workspace_id, connector_id in waiting}
        self._places = {lane_id: place for lane_id, place in self._places.items() if lane_id in lanes}
        for workspace_id, connector_id in waiting:
            await self._empty(workspace_id, connector_id)

    async def _empty(self, workspace_id: str, connector_id: str) -> None:
        place = self._places.pop(connector_id, stranded.START)
        while True:
            async with self._database.write() as session:
                done = await evacuate(session, self._router, workspace_id, connector_id, place)
            if done.place is None:
                return
            place = done.place
            if not done.rerouted + done.failed:
                self._places[connector_id] = place
                return


async def evacuate(
    session: AsyncSession, router: Router, workspace_id: str, connector_id: str, place: Place = stranded.START
) -> Evacuated:
    """The next AT_ONCE messages behind `place`. Messages that name the connector stay; with it gone for good they fail, and so
    do those nobody else takes."""
    (connector,) = await connectors.by_ids(session, workspace_id, [connector_id])
    gone = connector.deleted_at is not None
    found = await route.candidates(session, workspace_id, connector.channel_type)
    if not gone and not any(router.is_usable(other) for other in found.connectors if other.id != connector_id):
        return Evacuated(0, 0, None)
    waiting = await stranded.waiting(session, connector_id, place, AT_ONCE, pinned=gone)
    ways = _ways(router, found, connector, await messages.by_ids(session, workspace_id, [job.message_id for job in waiting]))
    await _give_away(session, connector, [(message, way) for message, way in ways if way.chosen is not None])
    left = [message for message, way in ways if way.chosen is None] if gone else []
    await _fail(session, left)
    behind = Place(waiting[-1].priority, waiting[-1].message_id) if len(waiting) == AT_ONCE else None
    return Evacuated(sum(way.chosen is not None for _message, way in ways), len(left), behind)


def _ways(router: Router, found: Candidates, connector: Connector, waiting: Sequence[Message]) -> list[tuple[Message, Route]]:
    return [
        (message, Route([]) if message.is_pinned else router.among(found, outbound(message), {connector.id}))
        for message in waiting
    ]


async def _give_away(session: AsyncSession, connector: Connector, ways: Sequence[tuple[Message, Route]]) -> None:
    moves = [(message.id, way.chosen.id) for message, way in ways if way.chosen is not None]
    hurried = [message.id for message, _way in ways if message.status == MessageStatus.QUEUED]
    await stranded.hand_on(session, moves, hurried)
    await messages.write_all(session, [through(message, way) for message, way in ways])
    for message, way in ways:
        await _tell(session, connector, message, way)


async def _tell(session: AsyncSession, connector: Connector, message: Message, way: Route) -> None:
    if way.chosen is not None:
        message.connector_id = way.chosen.id
        detail = f"Going through {way.chosen.name}: {connector.name} cannot take it."
        message_changed(session, message, message.status, TimelineSource.DISPATCHER, detail=detail)


async def _fail(session: AsyncSession, left: Sequence[Message]) -> None:
    await queue.finish(session, [message.id for message in left])
    for message in left:
        await fallback.end(session, message, MessageStatus.FAILED, DELETED)
