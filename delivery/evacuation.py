"""What waits for a connector that cannot take it now is given to another one of its channel, message by message.

A connector whose provider refused it is held: nothing is claimed for it until its checks or a test succeed or it is changed.
What nobody else takes waits for that; a message with other channels goes on to those, and one that has grown too old ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from delivery import fallback, route
from delivery.fallback import through
from delivery.outbound import outbound
from delivery.route import Candidates, Route, Router
from delivery.verdict import EXPIRED, is_too_old
from models import connectors, messages, queue, stranded
from models.base import now
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
    gone, held = connector.deleted_at is not None, connector.held_since is not None
    found = await route.candidates(session, workspace_id, connector.channel_type)
    if not (gone or held or any(router.is_usable(other) for other in found.connectors if other.id != connector_id)):
        return Evacuated(0, 0, None)
    waiting = await stranded.waiting(session, connector_id, place, AT_ONCE, pinned=gone or held)
    ways = _ways(router, found, connector, await messages.by_ids(session, workspace_id, [job.message_id for job in waiting]))
    await _give_away(session, connector, [(message, way) for message, way in ways if way.chosen is not None])
    left = [message for message, way in ways if way.chosen is None]
    ended = left if gone else [message for message in left if held and _ends(message)]
    await queue.finish(session, [message.id for message in ended])
    for message in ended:
        await _end(session, router, message, connector)
    behind = Place(waiting[-1].priority, waiting[-1].message_id) if len(waiting) == AT_ONCE else None
    return Evacuated(sum(way.chosen is not None for _message, way in ways), len(ended), behind)


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


def _ends(message: Message) -> bool:
    """Whether it does not wait for a connector that is held: it has another channel, or has waited as long as any may."""
    return message.status == MessageStatus.QUEUED and (bool(message.fallbacks) or is_too_old(message, now()))


async def _end(session: AsyncSession, router: Router, message: Message, connector: Connector) -> None:
    """Of a message whose job is finished."""
    if connector.deleted_at is not None:
        await fallback.end(session, message, MessageStatus.FAILED, DELETED)
    elif is_too_old(message, now()):
        text = f"It waited too long for {connector.name}: {connector.status_error}"
        await fallback.end(session, message, MessageStatus.EXPIRED, SendError(EXPIRED.kind, EXPIRED.code, text))
    elif not await fallback.take_next(session, router, message):
        text = f"{connector.name} cannot take it: {connector.status_error}"
        await fallback.end(session, message, MessageStatus.FAILED, SendError(FailureKind.CONFIGURATION, "CONNECTOR_HELD", text))
