"""Anything with an id, by its id."""

from __future__ import annotations

from collections.abc import Sequence

from models import ids
from models.connectors import ChannelView
from resolvers import batches, connectors, messages, workspaces
from resolvers.call import Call
from resolvers.problems import Problem, RequestErrorCode

MOST = 100


async def get(call: Call, node_id: str) -> object | None:
    """The object, or None for one that does not exist here or may not be seen."""
    prefix = ids.prefix_of(node_id)
    if prefix == ids.CONNECTOR and call.viewer.has(connectors.READ):
        return await connectors.get(call, node_id)
    if prefix == ids.CHANNEL and call.viewer.has(connectors.READ):
        opened_by = await connectors.by_channel(call, node_id)
        return ChannelView.of(opened_by) if opened_by else None
    if prefix == ids.MESSAGE and messages.readable_channels(call):
        return await messages.get(call, node_id)
    if prefix == ids.BATCH and messages.readable_channels(call):
        return await batches.get(call, node_id)
    if prefix == ids.WORKSPACE and node_id == call.workspace_id:
        return await workspaces.get(call)
    return None


async def get_all(call: Call, node_ids: Sequence[str]) -> list[object | None]:
    """In the order asked for. Raises BAD_USER_INPUT for more than 100."""
    if len(node_ids) > MOST:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, f"ids takes at most {MOST} ids.", ["ids"])
    return [await get(call, node_id) for node_id in node_ids]
