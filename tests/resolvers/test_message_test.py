"""A message tried without sending it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import lab, make
from tests.harness import Gateway, Json, running, settings_for

SELECT = """wouldSend route { rank decision reason connector { name } }
  estimate { encoding characters segments offendingCharacters gsmSafeBody }"""
SEND = "mutation($input: MessageSendInput!) { messageSend(input: $input) { message { connector { name } } } }"


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def tried(gateway: Gateway, token: str | None = None, **given: Json) -> Json:
    """The payload of a dry run, which must leave every table as it was."""
    text = f"mutation($input: MessageSendInput!) {{ messageTest(input: $input) {{ {SELECT} {make.ERRORS} }} }}"
    before = await make.counts(gateway)
    payload = (await gateway.gql(text, token, input=given))["messageTest"]
    assert await make.counts(gateway) == before
    return payload


def decisions(payload: Json) -> list[tuple[int, str, str]]:
    return [(row["rank"], row["connector"]["name"], row["decision"]) for row in payload["route"]]


async def test_where_it_would_go_and_what_it_would_cost(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        off = await lab.verified(idle, "Off", twilio.config, priority=0)
        await make.change(idle, off, enabled=False)
        await lab.verified(idle, "Good", twilio.config, priority=1)
        payload = await tried(idle, **lab.sms("“Hi”"))
        assert [request.method for request in twilio.requests if request.method == "POST"] == []
    assert (payload["wouldSend"], payload["userErrors"]) == (True, [])
    assert decisions(payload) == [(0, "Off", "DISABLED"), (1, "Good", "CHOSEN")]
    assert payload["estimate"] == {
        "encoding": "UCS2",
        "characters": 4,
        "segments": 1,
        "offendingCharacters": ["“", "”"],
        "gsmSafeBody": '"Hi"',
    }


async def test_other_channels_have_one_part(idle: Gateway) -> None:
    await lab.verified(idle, "Sim")
    payload = await tried(idle, to="ada", channel="SIMULATOR", body="x" * 500)
    assert (payload["estimate"]["encoding"], payload["estimate"]["segments"]) == ("UTF8", 1)
    assert (await tried(idle, to="ada", channel="SIMULATOR", subject="s"))["estimate"] is None


async def test_a_refused_one_shows_its_route_as_well(idle: Gateway) -> None:
    await make.change(idle, await lab.verified(idle, "Off"), enabled=False)
    payload = await tried(idle, to="ada", channel="SIMULATOR", body="b")
    assert not payload["wouldSend"] and decisions(payload) == [(0, "Off", "DISABLED")]
    ((error),) = payload["userErrors"]
    assert (error["code"], error["field"]) == ("NO_ROUTE_AVAILABLE", ["input", "channel"])
    assert error["message"] == "No connector can take this message. Off: The connector is disabled."
    assert payload["estimate"]["characters"] == 1


async def test_a_named_connector(idle: Gateway) -> None:
    named = await lab.verified(idle, "Named")
    payload = await tried(idle, to="ada", connectorId=named, body="b")
    assert (payload["wouldSend"], decisions(payload)) == (True, [(0, "Named", "CHOSEN")])
    payload = await tried(idle, to="ada", connectorId="con_none", body="b")
    assert (payload["wouldSend"], payload["route"], payload["estimate"]) == (False, [], None)
    assert [error["code"] for error in payload["userErrors"]] == ["CONNECTOR_NOT_FOUND"]


REFUSALS: list[tuple[Json, list[tuple[str, list[str]]]]] = [
    ({"to": "invalid"}, [("INVALID_DESTINATION", ["input", "to"])]),
    ({"to": " "}, [("INVALID_DESTINATION", ["input", "to"])]),
    ({"channel": None}, [("VALIDATION_ERROR", ["input", "channel"])]),
    ({"senderId": "snd_1"}, [("SENDER_ID_NOT_APPROVED", ["input", "senderId"])]),
    (
        {"body": "x" * 100_001, "validitySeconds": 0},
        [("VALIDATION_ERROR", ["input", "body"]), ("VALIDATION_ERROR", ["input", "validitySeconds"])],
    ),
    (
        {"to": "invalid", "fallbackChannels": [{"channel": "SIMULATOR"}]},
        [("INVALID_DESTINATION", ["input", "to"]), ("INVALID_DESTINATION", ["input", "fallbackChannels", "0"])],
    ),
]


@pytest.mark.parametrize(("given", "expected"), REFUSALS)
async def test_everything_it_would_refuse_at_once(idle: Gateway, given: Json, expected: list[tuple[str, list[str]]]) -> None:
    await lab.verified(idle, "Sim")
    payload = await tried(idle, **{"to": "ada", "channel": "SIMULATOR", "body": "b", **given})
    assert not payload["wouldSend"]
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == expected


async def test_nobodys_turn_is_taken(idle: Gateway) -> None:
    for name in ("A", "B"):
        await lab.verified(idle, name)
    given = {"to": "ada", "channel": "SIMULATOR", "body": "b", "fallbackChannels": [{"channel": "SIMULATOR"}]}
    for expected in ("A", "B", "A"):
        for _ in range(3):
            assert [name for _, name, decision in decisions(await tried(idle, **given)) if decision == "CHOSEN"] == [expected]
        sent = (await idle.gql(SEND, input=given))["messageSend"]
        assert sent["message"]["connector"]["name"] == expected


async def test_it_needs_the_scope_to_send(idle: Gateway) -> None:
    await lab.verified(idle, "Sim")
    text = "mutation($input: MessageSendInput!) { messageTest(input: $input) { wouldSend } }"
    given: Json = {"to": "ada", "channel": "SIMULATOR", "body": "b"}
    for scopes, more in ((["send:sms"], {}), (["send:simulator"], {"fallbackChannels": [{"channel": "SMS"}]})):
        answer = await idle.post(text, {"input": {**given, **more}}, idle.token(*scopes))
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert (await idle.gql(text, idle.token("send:simulator"), input=given))["messageTest"] == {"wouldSend": True}
