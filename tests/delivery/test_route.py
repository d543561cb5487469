"""Which connector gets a message, and why not the others."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models import connectors, lanes
from models.base import now
from models.connectors import CircuitState
from tests import lab, make
from tests.harness import Gateway, Json, running, settings_for
from tests.provider_server import ProviderServer, Reply

ROUTE = """query($id: ID!) { message(id: $id) {
  connector { id } route { rank decision reason connector { name } } } }"""
CHOSEN = "Verified and enabled, priority 0."


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that sends nothing."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def route(gateway: Gateway, **given: Json) -> list[tuple[str, str, str]]:
    """Name, decision and reason of every candidate, in rank order, of a message just accepted."""
    accepted = await make.message(gateway, **given)
    found = (await gateway.gql(ROUTE, id=accepted["id"]))["message"]
    assert [row["rank"] for row in found["route"]] == list(range(len(found["route"])))
    return [(row["connector"]["name"], row["decision"], row["reason"]) for row in found["route"]]


async def chosen(gateway: Gateway, **given: Json) -> str:
    (name,) = [name for name, decision, _reason in await route(gateway, **given) if decision == "CHOSEN"]
    return name


async def unverified(gateway: Gateway, name: str, **given: Json) -> None:
    await make.connector(gateway, name, config={"simulator": {"apiKey": "invalid"}}, **given)


async def pause(gateway: Gateway, connector_id: str, seconds: float) -> dt.datetime:
    until = now() + dt.timedelta(seconds=seconds)
    async with gateway.application.database.write() as session:
        await lanes.pause(session, connector_id, until, until)
    return until


async def test_the_first_by_priority_and_the_others_stand_behind(idle: Gateway) -> None:
    await lab.verified(idle, "Third", priority=7)
    await lab.verified(idle, "First", priority=0)
    await lab.verified(idle, "Second", priority=3)
    expected = [
        ("First", "CHOSEN", CHOSEN),
        ("Second", "FALLBACK", "Usable, with priority 3 behind the chosen one."),
        ("Third", "FALLBACK", "Usable, with priority 7 behind the chosen one."),
    ]
    for _ in range(3):
        assert await route(idle) == expected


async def test_equals_take_turns(idle: Gateway) -> None:
    for name in ("A", "B", "C"):
        await lab.verified(idle, name, priority=1)
    await lab.verified(idle, "Last", priority=2)
    names = [await chosen(idle) for _ in range(9)]
    assert Counter(names) == {"A": 3, "B": 3, "C": 3} and names[:3] == names[3:6] == names[6:]


async def test_turns_of_channels_and_workspaces_do_not_meet(idle: Gateway) -> None:
    for name in ("A", "B"):
        await lab.verified(idle, name)
    other = await idle.workspace("other")
    token = idle.token(workspace=other)
    for name in ("A", "B"):
        made = await make.connector(idle, name, token)
        await make.mutate(idle, "connectorVerify", token, id=made["id"])
    names = []
    for _ in range(3):
        names.append(await chosen(idle))
        await make.mutate(idle, "messageSend", token, to="x", channel="SIMULATOR", body="b")
    assert names == ["A", "B", "A"]


async def test_every_reason_not_to_be_chosen(idle: Gateway) -> None:
    off = await lab.verified(idle, "Off", priority=0)
    await make.change(idle, off, enabled=False)
    await unverified(idle, "Unverified", priority=1)
    await lab.circuit(idle, await lab.verified(idle, "Broken", priority=2), CircuitState.OPEN)
    until = await pause(idle, await lab.verified(idle, "Paused", priority=3), 60)
    await lab.verified(idle, "Good", priority=4)
    await lab.verified(idle, "Spare", priority=5)
    assert await route(idle) == [
        ("Off", "DISABLED", "The connector is disabled."),
        ("Unverified", "NOT_VERIFIED", "Its last check or test did not succeed."),
        ("Broken", "CIRCUIT_OPEN", "It failed too often of late."),
        ("Paused", "THROTTLED", f"Its provider asked for a pause until {until:%H:%M:%S} UTC."),
        ("Good", "CHOSEN", "Verified and enabled, priority 4."),
        ("Spare", "FALLBACK", "Usable, with priority 5 behind the chosen one."),
    ]


async def test_half_open_is_as_good_as_closed(idle: Gateway) -> None:
    only = await lab.verified(idle, "Only")
    await lab.circuit(idle, only, CircuitState.HALF_OPEN)
    assert await route(idle) == [("Only", "CHOSEN", CHOSEN)]


async def test_a_paused_one_is_better_than_none_and_better_than_a_broken_one(idle: Gateway) -> None:
    await lab.circuit(idle, await lab.verified(idle, "Broken", priority=0), CircuitState.OPEN)
    paused = await lab.verified(idle, "Paused", priority=1)
    await pause(idle, paused, 60)
    assert [(name, decision) for name, decision, _ in await route(idle)] == [("Broken", "CIRCUIT_OPEN"), ("Paused", "CHOSEN")]
    await make.change(idle, paused, enabled=False)
    assert [(name, decision) for name, decision, _ in await route(idle)] == [("Broken", "CHOSEN"), ("Paused", "DISABLED")]


async def test_a_pause_that_is_over_is_none(idle: Gateway) -> None:
    await pause(idle, await lab.verified(idle, "Only"), -1)
    assert await route(idle) == [("Only", "CHOSEN", CHOSEN)]


async def test_what_a_provider_cannot_carry_or_reach(idle: Gateway) -> None:
    """A mail server takes no SMS content: here the simulator refuses a script it does not understand."""
    await lab.verified(idle, "Only")
    refused = await make.refused(idle, "messageSend", channel="SIMULATOR", to="a", metadata={"simulator": {"steps": 3}})
    ((code, path, text),) = refused
    assert (code, path) == ("VALIDATION_ERROR", ["input"]) and text.startswith("metadata.simulator.steps: ")
    refused = await make.refused(idle, "messageSend", channel="SIMULATOR", to="invalid")
    assert refused == [("INVALID_DESTINATION", ["input", "to"], "is an address the simulator refuses on purpose")]


async def test_no_route_says_why_of_each(idle: Gateway) -> None:
    assert await make.refused(idle, "messageSend", channel="SIMULATOR", to="a") == [
        ("NO_ROUTE_AVAILABLE", ["input", "channel"], "There is no SIMULATOR connector.")
    ]
    await unverified(idle, "New", priority=1)
    await make.change(idle, await lab.verified(idle, "Off"), enabled=False)
    text = "No connector can take this message. Off: The connector is disabled.; New: Its last check or test did not succeed."
    assert await make.refused(idle, "messageSend", channel="SIMULATOR", to="a") == [
        ("NO_ROUTE_AVAILABLE", ["input", "channel"], text)
    ]


async def test_a_named_connector_is_taken_as_it_is(idle: Gateway) -> None:
    await lab.verified(idle, "Better", priority=0)
    named = (await make.connector(idle, "Named", priority=9, config={"simulator": {"apiKey": "invalid"}}))["id"]
    await pause(idle, named, 60)
    await lab.circuit(idle, named, CircuitState.OPEN)
    assert await route(idle, connectorId=named) == [("Named", "CHOSEN", "Named by the caller.")]


async def test_a_named_connector_that_is_off_or_cannot(idle: Gateway) -> None:
    named = await lab.verified(idle, "Named")
    assert await make.refused(idle, "messageSend", connectorId=named, to="invalid") == [
        ("INVALID_DESTINATION", ["input", "to"], "is an address the simulator refuses on purpose")
    ]
    await make.change(idle, named, enabled=False)
    assert await make.refused(idle, "messageSend", connectorId=named, to="a") == [
        (
            "NO_ROUTE_AVAILABLE",
            ["input", "connectorId"],
            "No connector can take this message. Named: The connector is disabled.",
        )
    ]


async def test_a_configuration_that_cannot_be_opened_is_not_the_recipients_fault(idle: Gateway) -> None:
    only = await lab.verified(idle, "Only")
    async with idle.application.database.write() as session:
        found = await connectors.get(session, idle.demo.id, only)
        assert found is not None
        found.config, found.config_revision = {"latencyMs": -1}, 9
    ((code, path, text),) = await make.refused(idle, "messageSend", channel="SIMULATOR", to="a")
    assert (code, path) == ("NO_ROUTE_AVAILABLE", ["input", "channel"])
    assert text.endswith("Only: The connector's configuration cannot be used any more; save it again.")


async def test_one_time_passwords_prefer_a_number_registered_for_them(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        for name, kind in (("Shop", "TRANSACTIONAL"), ("Codes", "TWO_FACTOR"), ("Ads", "PROMOTIONAL")):
            config = make.twilio(twilio.url, fromNumber="Shop", trafficType=kind)
            await lab.verified(idle, name, config)
        assert {await chosen(idle, **lab.sms("1", flow="OTP")) for _ in range(4)} == {"Codes"}
        assert {await chosen(idle, **lab.sms("1")) for _ in range(4)} == {"Shop", "Ads"}


async def test_bird_tells_what_its_number_is_registered_for(idle: Gateway) -> None:
    workspace, channel = "3fa85f64-5717-4562-b3fc-2c963f66afa6", "a1405560-c8d3-4b1a-877d-3f449ad95352"
    async with ProviderServer() as bird:
        bird.on("GET", f"/workspaces/{workspace}/channels/{channel}", Reply(200, {"id": channel, "status": "active"}))
        for name, kind in (("Codes", "TWO_FACTOR"), ("Shop", "TRANSACTIONAL")):
            settings = {"accessKey": "bird-access-key", "workspaceId": workspace, "channelId": channel, "baseUrl": bird.url}
            await lab.verified(idle, name, {"bird": {**settings, "channelMessageType": kind}})
        assert {await chosen(idle, **lab.sms("1", flow="OTP")) for _ in range(4)} == {"Codes"}
        assert {await chosen(idle, **lab.sms("1")) for _ in range(4)} == {"Shop"}


async def test_priority_goes_before_the_kind_of_number(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        codes = make.twilio(twilio.url, fromNumber="Shop", trafficType="TWO_FACTOR")
        await lab.verified(idle, "Codes", codes, priority=1)
        await lab.verified(idle, "Any", twilio.config, priority=0)
        assert await chosen(idle, **lab.sms("1", flow="OTP")) == "Any"
