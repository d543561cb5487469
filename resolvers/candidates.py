"""The connectors and sender IDs of messages that are accepted together, each read once."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from delivery import route
from delivery.route import Candidates
from models import connectors, senders
from models.connectors import Connector
from models.senders import SenderId


class Lookup:
    """Remembers what it has read for as long as one request is answered."""

    def __init__(self, session: AsyncSession, workspace_id: str) -> None:
        self._session = session
        self._workspace_id = workspace_id
        self._channels: dict[str, Candidates] = {}
        self._by_id: dict[str, Connector | None] = {}
        self._by_routing_key: dict[str, Connector | None] = {}
        self._senders: dict[str, SenderId | None] = {}

    async def of_channel(self, channel_type: str) -> Candidates:
        if channel_type not in self._channels:
            self._channels[channel_type] = await route.candidates(self._session, self._workspace_id, channel_type)
        return self._channels[channel_type]

    async def get(self, connector_id: str) -> Connector | None:
        if connector_id not in self._by_id:
            self._by_id[connector_id] = await connectors.get(self._session, self._workspace_id, connector_id)
        return self._by_id[connector_id]

    async def by_routing_key(self, key: str) -> Connector | None:
        if key not in self._by_routing_key:
            self._by_routing_key[key] = await connectors.by_routing_key(self._session, self._workspace_id, key)
        return self._by_routing_key[key]

    async def sender(self, sender_id: str) -> SenderId | None:
        if sender_id not in self._senders:
            self._senders[sender_id] = await senders.get(self._session, self._workspace_id, sender_id)
        return self._senders[sender_id]
