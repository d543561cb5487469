"""Accepting messages: what is answered with an id is stored, and a refusal leaves nothing behind."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from sqlalchemy import event, select, text

from channels import BY_REF
from models.base import now
from models.messages import Message
from models.queue import Job
from tests import lab
from tests.harness import POSTGRESQL, Gateway, running, settings_for
from tests.sending import CREATE, SEND, change, log_of, message, plug, send, settled, stored, try_send

Json = Any

NOTHING = {"message": 0, "job": 0, "attempt": 0}


def only(payload: Json) -> tuple[str, list[str] | None]:
    """The code and the path of the one thing that is wrong."""
    assert payload["message"] is None and payload["isReplay"] is False
    (error,) = payload["userErrors"]
    return error["code"], error["field"]


@pytest.fixture
async def idle(tmp_path: Any) -> Any:
    """A gateway that sends nothing."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def connector(gateway: Gateway, **given: Json) -> Json:
    """A verified connector where no worker runs the checks."""
    made = await gateway.gql(CREATE, input={"name": "sim", "config": {"simulator": {}}, **given})
    found = made["connectorCreate"]["connector"]
    verified = "mutation($id: ID!) { connectorVerify(input: {id: $id}) { userErrors { code } } }"
    await gateway.gql(verified, id=found["id"])
    return found


async def test_by_channel_by_id_and_by_routing_key(gateway: Gateway) -> None:
    made = await plug(gateway)
    ways = [{"channel": "SIMULATOR"}, {"connectorId": made["id"]}, {"routingKey": made["routingKey"]}]
    ways.append({"connectorId": made["id"], "channel": "SIMULATOR"})
    for way in ways:
        found = await settled(gateway, await send(gateway, **way), "DELIVERED")
        assert found["connector"] == {"id": made["id"]}
        assert [attempt["outcome"] for attempt in found["attempts"]] == ["SENT"]


REFUSALS: list[tuple[Json, str, list[str]]] = [
    ({"channel": "SIMULATOR", "to": "invalid"}, "INVALID_DESTINATION", ["to"]),
    ({"channel": "SIMULATOR", "to": "  "}, "INVALID_DESTINATION", ["to"]),
    ({"channel": "SIMULATOR", "to": "x" * 321}, "VALIDATION_ERROR", ["to"]),
    ({"channel": "SIMULATOR", "metadata": {"simulator": {"steps": []}}}, "VALIDATION_ERROR", []),
    ({"channel": "SIMULATOR", "senderId": "sid_x"}, "SENDER_ID_NOT_APPROVED", ["senderId"]),
    ({"channel": "EMAIL"}, "NO_ROUTE_AVAILABLE", ["channel"]),
    ({}, "VALIDATION_ERROR", ["channel"]),
    ({"connectorId": "con_00000000000000000000000000000000"}, "CONNECTOR_NOT_FOUND", ["connectorId"]),
    ({"routingKey": "rk_none"}, "CONNECTOR_NOT_FOUND", ["routingKey"]),
    ({"connectorId": "@id", "channel": "EMAIL"}, "VALIDATION_ERROR", ["channel"]),
    ({"connectorId": "@id", "routingKey": "@key"}, "VALIDATION_ERROR", ["routingKey"]),
    ({"channel": "SIMULATOR", "idempotencyKey": ""}, "VALIDATION_ERROR", ["idempotencyKey"]),
    ({"channel": "SIMULATOR", "idempotencyKey": "k" * 256}, "VALIDATION_ERROR", ["idempotencyKey"]),
    ({"channel": "SIMULATOR", "clientReference": "k" * 256}, "VALIDATION_ERROR", ["clientReference"]),
    ({"channel": "SIMULATOR", "validitySeconds": 0}, "VALIDATION_ERROR", ["validitySeconds"]),
    ({"channel": "SIMULATOR", "scheduledAt": "2099-01-01T00:00:00Z"}, "VALIDATION_ERROR", ["scheduledAt"]),
    ({"channel": "SIMULATOR", "metadata": ["no", "object"]}, "VALIDATION_ERROR", ["metadata"]),
    ({"channel": "SIMULATOR", "metadata": {"a": {"__proto__": 1}}}, "VALIDATION_ERROR", ["metadata", "a", "__proto__"]),
]


async def test_refusals_store_nothing(idle: Gateway) -> None:
    made = await connector(idle)
    events = len(await log_of(idle))
    names = {"@id": made["id"], "@key": made["routingKey"]}
    for case, code, path in REFUSALS:
        given = {name: names.get(value, value) if isinstance(value, str) else value for name, value in case.items()}
        payload = await try_send(idle, **{"to": "someone", "body": "Hello", **given})
        assert only(payload) == (code, ["input", *path]), case
        assert await stored(idle) == NOTHING
    assert len(await log_of(idle)) == events


async def test_everything_wrong_is_said_at_once(idle: Gateway) -> None:
    payload = await try_send(idle, to="", body="b" * 100_001, validitySeconds=-1, media=[{"url": "ftp://x"}])
    found = {(error["code"], tuple(error["field"])) for error in payload["userErrors"]}
    assert found == {
        ("INVALID_DESTINATION", ("input", "to")),
        ("VALIDATION_ERROR", ("input", "body")),
        ("VALIDATION_ERROR", ("input", "validitySeconds")),
        ("VALIDATION_ERROR", ("input", "media", "0", "url")),
    }
    assert await stored(idle) == NOTHING


async def test_no_route_says_why_of_each_connector(idle: Gateway) -> None:
    off = await connector(idle, name="off")
    await connector(idle, name="bad", config={"simulator": {"apiKey": "invalid"}})
    await change(idle, off["id"], enabled=False)
    (error,) = (await try_send(idle, to="x", body="b", channel="SIMULATOR"))["userErrors"]
    assert error["code"] == "NO_ROUTE_AVAILABLE" and error["httpStatus"] == 422
    assert "off: The connector is disabled." in error["message"]
    assert "bad: Its last check or test did not succeed." in error["message"]
    (error,) = (await try_send(idle, to="x", body="b", connectorId=off["id"]))["userErrors"]
    assert (error["code"], error["field"]) == ("NO_ROUTE_AVAILABLE", ["input", "connectorId"])
    assert await stored(idle) == NOTHING


async def test_scopes(idle: Gateway) -> None:
    made = await connector(idle)
    answers = [
        await idle.post(SEND, {"input": {"to": "x", "body": "b", **way}}, idle.token(*scopes))
        for scopes in (["read:*"], ["send:sms"], ["connectors:*"])
        for way in ({"channel": "SIMULATOR"}, {"connectorId": made["id"]}, {"routingKey": made["routingKey"]})
    ]
    for answer in answers:
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert error["extensions"]["requiredScope"] == "send:simulator"
        assert answer["data"] == {"messageSend": None}
    assert await stored(idle) == NOTHING
    for scopes in (["send:simulator"], ["send:*"], ["*"]):
        assert (await try_send(idle, idle.token(*scopes), to="x", body="b", channel="SIMULATOR"))["userErrors"] == []
    assert (await stored(idle))["message"] == 3


async def test_who_may_send_nothing_learns_nothing_of_connectors(idle: Gateway) -> None:
    made, other = await connector(idle), await idle.workspace("other")
    for named in (made["id"], "con_none"):
        given = {"to": "x", "body": "b", "connectorId": named}
        answer = await idle.post(SEND, {"input": given}, idle.token("read:*", workspace=other))
        (error,) = answer["errors"]
        assert (error["extensions"]["code"], error["extensions"]["requiredScope"]) == ("FORBIDDEN", "send:*")
        payload = await try_send(idle, idle.token("send:sms", workspace=other), **given)
        assert only(payload) == ("CONNECTOR_NOT_FOUND", ["input", "connectorId"])
    assert await stored(idle) == NOTHING


async def test_another_workspaces_connector_is_not_there(idle: Gateway) -> None:
    made = await connector(idle)
    stranger = idle.token(workspace=await idle.workspace("other"))
    for way, name in (({"connectorId": made["id"]}, "connectorId"), ({"routingKey": made["routingKey"]}, "routingKey")):
        assert only(await try_send(idle, stranger, to="x", body="b", **way)) == ("CONNECTOR_NOT_FOUND", ["input", name])
    assert await stored(idle) == NOTHING


async def test_the_same_request_again_gets_the_stored_answer(gateway: Gateway) -> None:
    await plug(gateway)
    given = {"to": "delivered", "body": "once", "channel": "SIMULATOR", "idempotencyKey": "k1", "metadata": {"a": 1, "b": 2}}
    first = await try_send(gateway, **given)
    assert first["isReplay"] is False
    found = await settled(gateway, first["message"]["id"], "DELIVERED")
    replay = await try_send(gateway, **{**given, "metadata": {"b": 2, "a": 1}})
    assert replay["isReplay"] is True and replay["userErrors"] == []
    assert replay["message"]["id"] == first["message"]["id"]
    assert replay["message"]["status"] == "DELIVERED"
    assert (await stored(gateway))["message"] == 1
    assert (await message(gateway, found["id"]))["timeline"] == found["timeline"]


async def test_another_request_under_the_same_key_is_refused(idle: Gateway) -> None:
    await connector(idle)
    given = {"to": "x", "body": "b", "channel": "SIMULATOR", "idempotencyKey": "k"}
    await try_send(idle, **given)
    before, events = await stored(idle), len(await log_of(idle))
    for other in ({"body": "other"}, {"to": "y"}, {"flow": "OTP"}, {"metadata": {"a": 1}}, {"clientReference": "r"}):
        assert only(await try_send(idle, **{**given, **other})) == ("IDEMPOTENCY_KEY_REUSED", ["input", "idempotencyKey"])
    assert await stored(idle) == before and len(await log_of(idle)) == events


async def test_fifty_equal_requests_at_once_are_one_message(gateway: Gateway) -> None:
    await plug(gateway)
    given = {"to": "no-receipt", "body": "b", "channel": "SIMULATOR", "idempotencyKey": "k"}
    payloads = await asyncio.gather(*(try_send(gateway, **given) for _ in range(50)))
    assert len({payload["message"]["id"] for payload in payloads}) == 1
    assert [payload["isReplay"] for payload in payloads].count(False) == 1
    found = await settled(gateway, payloads[0]["message"]["id"], "SENT")
    assert len(found["attempts"]) == 1
    assert (await stored(gateway)) == {"message": 1, "job": 0, "attempt": 1}


async def test_keys_are_of_a_workspace(idle: Gateway) -> None:
    stranger = idle.token(workspace=await idle.workspace("other"))
    ids = []
    for token in (idle.token(), stranger):
        made = await idle.gql(
            'mutation { connectorCreate(input: {name: "s", config: {simulator: {}}}) { connector { id } } }', token
        )
        verify = "mutation($id: ID!) { connectorVerify(input: {id: $id}) { userErrors { code } } }"
        await idle.gql(verify, token, id=made["connectorCreate"]["connector"]["id"])
        payload = await try_send(idle, token, to="x", body="b", channel="SIMULATOR", idempotencyKey="k")
        assert payload["isReplay"] is False
        ids.append(payload["message"]["id"])
    assert len(set(ids)) == 2


async def test_a_scheduled_message_waits_for_its_time(gateway: Gateway) -> None:
    await plug(gateway)
    at = now() + dt.timedelta(seconds=0.7)
    message_id = await send(gateway, scheduledAt=at.isoformat())
    waiting = await message(gateway, message_id)
    assert waiting["status"] == "SCHEDULED" and waiting["attempts"] == []
    found = await settled(gateway, message_id, "DELIVERED")
    statuses = [entry["status"] for entry in found["timeline"]]
    assert statuses == ["SCHEDULED", "QUEUED", "PROCESSING", "SENT", "DELIVERED"]
    sent_at = dt.datetime.fromisoformat(found["sentAt"])
    assert dt.timedelta(0) <= sent_at - at < dt.timedelta(seconds=5)


async def test_a_time_that_has_passed_means_now(gateway: Gateway) -> None:
    """Also where what is left of the validity would have passed, counted from then."""
    await plug(gateway)
    past = "2020-01-01T00:00:00+02:00"
    for given in ({}, {"validitySeconds": 60}, {"flow": "OTP"}):
        found = await settled(gateway, await send(gateway, scheduledAt=past, **given), "DELIVERED")
        assert found["scheduledAt"] == "2019-12-31T22:00:00Z"
        assert [entry["status"] for entry in found["timeline"]] == ["QUEUED", "PROCESSING", "SENT", "DELIVERED"]


async def test_what_is_not_sent_in_its_validity_expires(idle: Gateway) -> None:
    made = await connector(idle)
    message_id = await send(idle, validitySeconds=1)
    await change(idle, made["id"], enabled=False)
    async with lab.working(idle):
        found = await settled(idle, message_id, "EXPIRED")
    assert found["failure"]["code"] == "MESSAGE_EXPIRED" and found["failure"]["kind"] == "EXPIRED"
    assert found["failure"]["isRetryable"] is False
    assert (await stored(idle))["job"] == 0
    last = (await log_of(idle))[-1]
    assert (last.type, last.payload["previousStatus"]) == ("simulator.expired", "QUEUED")


VALIDITY: list[tuple[Json, int | None]] = [
    ({}, None),
    ({"flow": "OTP"}, 300),
    ({"flow": "OTP", "validitySeconds": 10}, 10),
    ({"validitySeconds": 3600}, 3600),
    ({"flow": "OTP", "scheduledAt": "@later"}, 900),
]


async def test_how_long_a_message_is_good(idle: Gateway) -> None:
    await connector(idle)
    later = (now() + dt.timedelta(seconds=600)).isoformat()
    for case, seconds in VALIDITY:
        given = {name: later if value == "@later" else value for name, value in case.items()}
        found = await message(idle, await send(idle, **given))
        assert found["priority"] == ("HIGH" if given.get("flow") == "OTP" else "NORMAL")
        if seconds is None:
            assert found["expiresAt"] is None
        else:
            good = dt.datetime.fromisoformat(found["expiresAt"]) - dt.datetime.fromisoformat(found["createdAt"])
            assert abs(good.total_seconds() - seconds) < 2


async def test_a_time_without_an_offset_is_refused(idle: Gateway) -> None:
    await connector(idle)
    for naive in ("2030-01-01T10:00:00", "2030-01-01", "tomorrow", 1900000000):
        answer = await idle.post(SEND, {"input": {"to": "x", "body": "b", "channel": "SIMULATOR", "scheduledAt": naive}})
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert await stored(idle) == NOTHING


async def test_metadata_that_no_database_could_hold_is_refused(idle: Gateway) -> None:
    await connector(idle)
    for literal in ("1" * 40, "[" * 18 + "]" * 18, '"\\u0000"', '"' + "x" * 17_000 + '"'):
        query = f"""mutation {{ messageSend(input: {{to: "x", body: "b", channel: SIMULATOR, metadata: {{a: {literal}}}}}) {{
          message {{ id metadata }} userErrors {{ code field }} }} }}"""
        payload = (await idle.gql(query))["messageSend"]
        assert payload["message"] is None, payload
        assert [(error["code"], error["field"][:2]) for error in payload["userErrors"]] == [
            ("VALIDATION_ERROR", ["input", "metadata"])
        ]
    assert await stored(idle) == NOTHING


async def test_what_was_sent_is_what_is_stored(idle: Gateway) -> None:
    made = await connector(idle)
    given = {
        "to": " Someone@simulator ",
        "subject": "Über 🚀",
        "body": "a\nb",
        "html": "<b>a</b>",
        "template": {"name": "t", "values": [1, None, True]},
        "media": [{"url": "https://x.example/a.png", "contentType": "image/png", "filename": "a.png"}],
        "metadata": {"deep": {"er": [1.5]}},
        "clientReference": "ref",
        "priority": "BULK",
    }
    message_id = await send(idle, **given)
    query = """query($id: ID!) { message(id: $id) { to subject body html template metadata clientReference priority flow status
      media { url contentType filename } route { decision rank reason connector { id } } workspaceId channelType } }"""
    found = (await idle.gql(query, id=message_id))["message"]
    route = found.pop("route")
    assert found == {
        **given,
        "to": "Someone@simulator",
        "flow": "STANDARD",
        "status": "QUEUED",
        "workspaceId": idle.demo.id,
        "channelType": "SIMULATOR",
    }
    assert [(step["decision"], step["rank"], step["connector"]["id"]) for step in route] == [("CHOSEN", 0, made["id"])]
    async with idle.read() as session:
        (job,) = await session.scalars(select(Job))
        assert (job.message_id, job.state, job.attempts) == (message_id, 0, 0)


async def test_a_full_disk_is_unavailable_and_nothing_is_accepted(idle: Gateway) -> None:
    if POSTGRESQL:
        pytest.skip("SQLite alone can be told that its disk is full")
    await connector(idle)
    engine = idle.application.database.engine
    limits: list[int] = []

    def connected(raw: Any, _record: Any) -> None:
        raw.cursor().execute(f"PRAGMA max_page_count={limits[-1]}")

    event.listen(engine.sync_engine, "connect", connected)
    async with engine.connect() as connection:
        limits.append((await connection.execute(text("PRAGMA page_count"))).scalar_one() + 2)
        await connection.execute(text(f"PRAGMA max_page_count={limits[-1]}"))
    given = {"to": "x", "body": "b" * 50_000, "channel": "SIMULATOR"}
    answers = await asyncio.gather(*(idle.post(SEND, {"input": {**given, "idempotencyKey": f"k{i}"}}) for i in range(5)))
    for answer in answers:
        (error,) = answer["errors"]
        told = error["extensions"]
        assert (told["code"], told["retryable"], told["retryAfter"]) == ("UNAVAILABLE", True, 1)
    assert await stored(idle) == NOTHING

    limits.append(1_000_000)
    await engine.dispose()
    again = await asyncio.gather(*(try_send(idle, **given, idempotencyKey=f"k{i}") for i in range(5)))
    assert [payload["isReplay"] for payload in again] == [False] * 5
    async with idle.read() as session:
        assert len((await session.scalars(select(Message.id))).all()) == 5


async def test_a_template_that_is_gone_is_no_internal_error(idle: Gateway) -> None:
    """A connector whose stored template no release knows any more."""
    made = await connector(idle)
    assert "gone:1" not in BY_REF
    async with idle.application.database.write() as session:
        await session.execute(text("UPDATE connector SET template_ref='gone:1', config_revision=99"))
    payload = await try_send(idle, to="x", body="b", connectorId=made["id"])
    assert payload["message"] is None and len(payload["userErrors"]) == 1
    assert await stored(idle) == NOTHING
