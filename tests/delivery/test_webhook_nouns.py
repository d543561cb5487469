"""Every noun of the event log is told to webhooks as it is documented; and what that counts for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from delivery.webhook_events import EVENT_TYPES, types_of
from delivery.webhook_payloads import NOUNS, example
from tests import hooks, make
from tests.gateway.test_metrics import TOKEN, fresh, labelled
from tests.harness import Gateway, Json, eventually, running, settings_for
from tests.provider_server import ProviderServer, Reply


@pytest.fixture
async def measured(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path, metrics_token=TOKEN)) as started:
        yield started


def shape(value: Any) -> Any:
    """The members of an object, whatever they hold."""
    return {name: shape(item) for name, item in value.items()} if isinstance(value, dict) else None


async def test_sender_ids_and_opt_outs_are_told_of(gateway: Gateway) -> None:
    async with ProviderServer(default=Reply(200)) as receiver:
        await hooks.subscribe(gateway, f"{receiver.url}/senders", "*", "SENDER_IDS")
        await hooks.subscribe(gateway, f"{receiver.url}/opt-outs", "simulator_opt_out", "OPT_OUTS", naming="UNDERSCORE")
        removed: Json = [{"key": "STATUS", "value": "removed"}]
        await hooks.subscribe(gateway, f"{receiver.url}/removed", "*", "OPT_OUTS", eventFilters=removed)
        asked = {"value": "Acme", "channel": "SIMULATOR", "useCase": "Codes", "sampleMessage": "1 is your code."}
        await hooks.payload(gateway, "senderIdCreate", select="senderId { id }", **asked)
        them = {"recipient": "ada@simulator", "channel": "SIMULATOR"}
        await hooks.payload(gateway, "optOutAdd", select="optOut { id }", **them)
        await hooks.payload(gateway, "optOutRemove", select="removedOptOutId", **them)
        requests = await hooks.came(receiver, 4)
    opted = [(request.path, request.json()) for request in requests if request.path != "/senders"]
    assert sorted((path, body["type"], body["data"]["action"]) for path, body in opted) == [
        ("/opt-outs", "simulator_opt_out", "ADDED"),
        ("/opt-outs", "simulator_opt_out", "REMOVED"),
        ("/removed", "simulator.opt_out", "REMOVED"),
    ]
    assert {body["data"]["recipient"] for _path, body in opted} == {"ada@simulator"}
    (sender,) = [request.json() for request in requests if request.path == "/senders"]
    assert (sender["type"], sender["data"]["senderId"]["value"], sender["data"]["status"]) == (
        "sender.created",
        "Acme",
        "PENDING",
    )
    documented = {known.name: example(known) for known in EVENT_TYPES}
    for body in (sender, *[body for path, body in opted if path == "/removed"]):
        assert shape(body) == shape(documented[body["type"]])


def test_every_type_is_of_a_noun_that_can_be_told_and_knows_itself() -> None:
    for known in EVENT_TYPES:
        assert known.kind in NOUNS
        told = example(known)["type"]
        assert known in types_of(known.kind, told), known.name


async def test_what_is_delivered_is_counted(measured: Gateway) -> None:
    await make.working(measured)
    async with ProviderServer(Reply(500), default=Reply(200)) as receiver:
        made = await hooks.subscribe(measured, receiver.url, "simulator.sent")
        await make.message(measured)
        await hooks.standing(measured, made["id"], "RETRYING")
        waiting = await fresh(measured)
        await make.message(measured)

        async def arrived() -> bool:
            return len(await hooks.deliveries(measured, made["id"], "DELIVERED")) >= 1

        await eventually(arrived)
        found = await fresh(measured)
    assert waiting["patchbay_database_webhook_deliveries"] == {
        labelled(status="pending"): 0,
        labelled(status="retrying"): 1,
    }
    attempts = found["patchbay_webhook_attempts_total"]
    assert (attempts[labelled(status="retrying")], attempts[labelled(status="delivered")] >= 1) == (1, True)
    assert found["patchbay_webhook_latency_seconds_count"][()] >= 1
    assert found["patchbay_webhook_attempt_duration_seconds_count"][()] >= 2
