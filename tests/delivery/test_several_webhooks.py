"""Worker processes side by side on PostgreSQL deliver every event once for each webhook, also when one of them dies."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import hooks, make
from tests.delivery.test_several_workers import gateway, workers
from tests.harness import Gateway, eventually
from tests.provider_server import ProviderServer, Reply

__all__ = ["gateway"]  # the fixture

pytestmark = pytest.mark.fault
MESSAGES = 100


async def happen(gateway: Gateway, connector_id: str) -> None:
    """An event for each of many messages, which nobody can send before the connector is checked."""
    text = """mutation($input: MessageSendBatchInput!) { messageSendBatch(input: $input) { userErrors { message } } }"""
    messages = [{"to": "no-receipt", "body": "x", "connectorId": connector_id} for _ in range(MESSAGES)]
    assert (await gateway.gql(text, input={"messages": messages}))["messageSendBatch"] == {"userErrors": []}


@pytest.fixture
async def receiver() -> AsyncIterator[ProviderServer]:
    async with ProviderServer(default=Reply(200, delay=0.02)) as started:
        yield started


def twice(receiver: ProviderServer) -> list[tuple[str, str]]:
    came = Counter((request.path, request.headers["webhook-id"]) for request in receiver.requests)
    return [pair for pair, count in came.items() if count > 1]


async def delivered(gateway: Gateway, count: int) -> None:
    text = "{ webhookDeliveries(filter: {statuses: [DELIVERED]}) { totalCount } }"

    async def probe() -> bool:
        return bool((await gateway.gql(text))["webhookDeliveries"]["totalCount"] == count)

    try:
        await eventually(probe, 60)
    except TimeoutError:
        found = await gateway.gql("{ webhookDeliveries(first: 5) { totalCount nodes { status statusReason } } }")
        raise AssertionError(found) from None


async def test_two_share_the_work_and_nothing_comes_twice(gateway: Gateway, tmp_path: Path, receiver: ProviderServer) -> None:
    connector = await make.connector(gateway)
    for number in range(2):
        await hooks.subscribe(gateway, f"{receiver.url}/{number}", "simulator.queued")
    with workers(gateway, tmp_path, 2, WEBHOOK_HTTP="true") as processes:
        for _ in range(2):
            await happen(gateway, connector["id"])
        await delivered(gateway, 4 * MESSAGES)
        processes[0].send_signal(signal.SIGTERM)
        await asyncio.to_thread(processes[0].wait, 20)
    assert (len(receiver.requests), twice(receiver)) == (4 * MESSAGES, [])


async def test_one_is_killed_and_the_other_delivers_what_it_held(
    gateway: Gateway, tmp_path: Path, receiver: ProviderServer
) -> None:
    """What was on the wire comes again under the same id when its lease ends; nothing else does, and nothing is lost."""
    receiver.default = Reply(200, delay=0.2)
    connector = await make.connector(gateway)
    await hooks.subscribe(gateway, receiver.url, "simulator.queued")
    with workers(gateway, tmp_path, 2, WEBHOOK_HTTP="true") as processes:
        await happen(gateway, connector["id"])
        await eventually(lambda: _some(receiver, 20), 30)
        processes[0].send_signal(signal.SIGKILL)
        await delivered(gateway, MESSAGES)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == MESSAGES
    assert len(twice(receiver)) <= 10, "one process has at most ten requests to one receiver under way"


async def _some(receiver: ProviderServer, count: int) -> bool:
    return len(receiver.requests) >= count
