"""Anything with an id, by its id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from models import ids
from models.connectors import ChannelView
from resolvers import api_keys, batches, connectors, inbound, messages, optouts, senders, tenants, webhooks
from resolvers.call import Call
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import CredentialKind

MOST = 100


async def get(call: Call, node_id: str) -> object | None:
    """The object, or None for one that does not exist here or may not be seen."""
    found = _KINDS.get(ids.prefix_of(node_id))
    if found is None:
        return None
    may_see, find = found
    return await find(call, node_id) if may_see(call) else None


async def get_all(call: Call, node_ids: Sequence[str]) -> list[object | None]:
    """In the order asked for. Raises BAD_USER_INPUT for more than 100."""
    if len(node_ids) > MOST:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, f"ids takes at most {MOST} ids.", ["ids"])
    return [await get(call, node_id) for node_id in node_ids]


async def _channel(call: Call, channel_id: str) -> ChannelView | None:
    opened_by = await connectors.by_channel(call, channel_id)
    return ChannelView.of(opened_by) if opened_by else None


def _scoped(scope: str) -> Callable[[Call], bool]:
    return lambda call: call.viewer.has(scope)


def _reads_messages(call: Call) -> bool:
    return bool(messages.readable_channels(call))


def _reads_keys(call: Call) -> bool:
    return call.viewer.credential is CredentialKind.SESSION and call.viewer.has(api_keys.READ)


def _reads_senders(call: Call) -> bool:
    return senders.reviews(call) or call.viewer.has(senders.READ)


def _anybody(_call: Call) -> bool:
    return True


# By the prefix of an id: who may see such things, and how one is found.
_KINDS: dict[str, tuple[Callable[[Call], bool], Callable[[Call, str], Awaitable[Any]]]] = {
    ids.CONNECTOR: (_scoped(connectors.READ), connectors.get),
    ids.CHANNEL: (_scoped(connectors.READ), _channel),
    ids.MESSAGE: (_reads_messages, messages.get),
    ids.INBOUND: (_reads_messages, inbound.get),
    ids.BATCH: (_reads_messages, batches.get),
    ids.API_KEY: (_reads_keys, api_keys.get),
    ids.WEBHOOK: (_scoped(webhooks.READ), webhooks.get),
    ids.DELIVERY: (_scoped(webhooks.READ), webhooks.delivery),
    ids.OPT_OUT: (_scoped(optouts.READ), optouts.get),
    ids.SENDER_ID: (_reads_senders, senders.get),
    ids.WORKSPACE: (_anybody, tenants.get),
}
