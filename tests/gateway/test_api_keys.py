"""API keys from the making to the end: what they open, what they never open, and how fast they end."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from pathlib import Path
from typing import Any

import pytest
import websockets

from resolvers.key_texts import KeyText
from tests import make
from tests.harness import Gateway, eventually, process, running, settings_for

Json = Any
WHO = "{ viewer { subject credential scopes isPlatformAdmin expiresAt workspace { id } } }"
LIST = "{ apiKeys { nodes { id name prefix scopes expiresAt lastUsedAt revokedAt } totalCount } }"


async def asked(gateway: Gateway, headers: dict[str, str], query: str = WHO) -> tuple[int, Json]:
    async with gateway.http.post(f"{gateway.url}/graphql", json={"query": query}, headers=headers) as response:
        return response.status, await response.json()


async def refusal(gateway: Gateway, headers: dict[str, str], query: str = WHO) -> tuple[int, str, str]:
    status, answer = await asked(gateway, headers, query)
    (error,) = answer["errors"]
    return status, error["extensions"]["code"], error["message"]


async def test_a_key_is_shown_once_and_opens_what_it_was_made_for(gateway: Gateway) -> None:
    ends = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=30)
    payload = await make.mutate(
        gateway, "apiKeyCreate", name=" Shop ", scopes=["send:sms", "read:sms", "send:sms"], expiresAt=ends.isoformat()
    )
    made, text = payload["apiKey"], payload["key"]
    shown = ends.isoformat().replace("+00:00", "Z")
    assert (made["name"], made["scopes"], made["createdBy"]) == ("Shop", ["read:sms", "send:sms"], "tester")
    assert (made["expiresAt"], made["lastUsedAt"], made["revokedAt"]) == (shown, None, None)
    assert made["id"].startswith("key_") and text.startswith(made["prefix"] + "_")
    _, answer = await asked(gateway, {"authorization": f"Bearer {text}"})
    assert answer["data"]["viewer"] == {
        "subject": made["id"],
        "credential": "API_KEY",
        "scopes": ["read:sms", "send:sms"],
        "isPlatformAdmin": False,
        "expiresAt": shown,
        "workspace": {"id": gateway.demo.id},
    }
    listed = await gateway.gql(LIST)
    assert listed["apiKeys"]["totalCount"] == 1 and text not in str(listed)
    assert (await gateway.gql("query($id: ID!) { node(id: $id) { id } }", id=made["id"]))["node"] == {"id": made["id"]}


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())


async def test_the_text_of_a_key_is_nowhere_on_the_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running(settings_for(tmp_path, database_url=f"sqlite:///{tmp_path}/keys.db")) as gateway:
        _, text = await make.api_key(gateway)
        await asked(gateway, {"x-api-key": text})
        await refusal(gateway, {"x-api-key": text[:-1]})
    stored = contents(tmp_path)
    assert text[:15].encode() in stored and text[16:].encode() not in stored
    said = capsys.readouterr()
    assert text[16:40] not in said.out + said.err


@pytest.mark.parametrize(
    ("header", "value"), [("Authorization", "Bearer {}"), ("authorization", "AccessKey {}"), ("X-API-Key", "{}")]
)
async def test_the_ways_to_send_a_key(gateway: Gateway, header: str, value: str) -> None:
    key_id, text = await make.api_key(gateway, "connectors:read")
    _, answer = await asked(gateway, {header: value.format(text)})
    assert answer["data"]["viewer"]["subject"] == key_id
    protocol = websockets.Subprotocol("graphql-transport-ws")
    async with websockets.connect(gateway.url.replace("http", "ws") + "/graphql", subprotocols=[protocol]) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {header: value.format(text)}}))
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}


async def test_keys_that_are_none(gateway: Gateway) -> None:
    _, text = await make.api_key(gateway)
    _, other = await make.api_key(gateway)
    invalid = (401, "UNAUTHENTICATED", "The API key is not valid.")
    swapped = {"x": text[:16] + other[16:], "cut": text[:-1], "bare": "pb_", "changed": text[:20] + "-" + text[21:]}
    for wrong in swapped.values():
        assert await refusal(gateway, {"x-api-key": wrong}) == invalid
    assert await refusal(gateway, {"x-api-key": KeyText.mint().text}) == invalid
    both = await refusal(gateway, {"x-api-key": text, "authorization": f"Bearer {text}"})
    assert both == (401, "UNAUTHENTICATED", "Send one credential: Authorization or X-API-Key, not both.")
    token = await refusal(gateway, {"x-api-key": gateway.token()})
    assert token[2] == "The Authorization header does not hold a bearer token or an API key."


async def test_a_key_does_only_what_its_scopes_allow(gateway: Gateway) -> None:
    _, text = await make.api_key(gateway, "connectors:read")
    headers = {"x-api-key": text}
    assert (await asked(gateway, headers, "{ connectors { totalCount } }"))[1]["data"]["connectors"] == {"totalCount": 0}
    _, answer = await asked(gateway, headers, 'mutation { connectorDelete(input: {name: "x"}) { deletedConnectorId } }')
    assert answer["errors"][0]["extensions"]["requiredScope"] == "connectors:write"


async def test_a_key_manages_no_keys(gateway: Gateway) -> None:
    key_id, text = await make.api_key(gateway)
    before = await make.counts(gateway)
    for query in (
        "{ apiKeys { totalCount } }",
        'mutation { apiKeyCreate(input: {name: "x", scopes: ["*"]}) { key } }',
        f'mutation {{ apiKeyRevoke(input: {{id: "{key_id}"}}) {{ apiKey {{ id }} }} }}',
    ):
        _, code, _ = await refusal(gateway, {"x-api-key": text}, query)
        assert code == "SESSION_REQUIRED"
    _, answer = await asked(gateway, {"x-api-key": text}, f'{{ node(id: "{key_id}") {{ id }} }}')
    assert answer["data"] == {"node": None}
    assert await make.counts(gateway) == before


@pytest.mark.parametrize(
    ("input", "field", "message"),
    [
        ({"name": " "}, ["name"], "A key's name has 1 to 200 characters, none of them a control character."),
        ({"name": "a" * 201}, ["name"], "A key's name has 1 to 200 characters, none of them a control character."),
        ({"name": "a\nb"}, ["name"], "A key's name has 1 to 200 characters, none of them a control character."),
        ({"scopes": []}, ["scopes"], "A key needs at least one scope."),
        ({"scopes": ["send:sms", "send:fax"]}, ["scopes", "1"], "There is no such scope."),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, ["expiresAt"], "expiresAt must lie in the future."),
    ],
)
async def test_what_no_key_can_be_made_of(gateway: Gateway, input: Json, field: list[str], message: str) -> None:
    errors = await make.refused(gateway, "apiKeyCreate", **{"name": "x", "scopes": ["send:sms"], **input})
    assert errors == [("VALIDATION_ERROR", ["input", *field], message)]


async def test_nobody_gives_away_what_they_do_not_have(gateway: Gateway) -> None:
    token = gateway.token("keys:write", "send:sms", "read:*")
    before = await make.counts(gateway)
    wanted = ["send:sms", "read:email", "read:*", "send:*", "*", "keys:read"]
    payload = await make.mutate(gateway, "apiKeyCreate", token, name="x", scopes=wanted)
    assert payload["key"] is None and await make.counts(gateway) == before
    assert [(error["field"][2], error["message"]) for error in payload["userErrors"]] == [
        ("3", "You do not have the scope send:* yourself."),
        ("4", "You do not have the scope * yourself."),
        ("5", "You do not have the scope keys:read yourself."),
    ]
    assert (await make.mutate(gateway, "apiKeyCreate", token, name="x", scopes=wanted[:3]))["key"] is not None


async def test_another_workspaces_key_is_not_there(gateway: Gateway) -> None:
    key_id, text = await make.api_key(gateway)
    elsewhere = gateway.token(workspace=await gateway.workspace("elsewhere"))
    for id in (key_id, "key_" + "0" * 32, "x"):
        payload = await make.mutate(gateway, "apiKeyRevoke", elsewhere, id=id)
        (error,) = payload["userErrors"]
        assert (error["code"], error["field"], error["httpStatus"]) == ("API_KEY_NOT_FOUND", ["input", "id"], 404)
    assert (await gateway.gql(LIST, elsewhere))["apiKeys"] == {"nodes": [], "totalCount": 0}
    assert (await gateway.gql("query($id: ID!) { node(id: $id) { id } }", elsewhere, id=key_id))["node"] is None
    assert (await asked(gateway, {"x-api-key": text}))[0] == 200


async def test_a_revoked_key_opens_nothing_and_is_revoked_only_once(gateway: Gateway) -> None:
    key_id, text = await make.api_key(gateway)
    first = await make.mutate(gateway, "apiKeyRevoke", id=key_id)
    assert first["apiKey"]["revokedAt"] is not None
    assert await refusal(gateway, {"x-api-key": text}) == (401, "UNAUTHENTICATED", "The API key was revoked.")
    assert await make.mutate(gateway, "apiKeyRevoke", id=key_id) == first
    assert await audited(gateway, key_id) == ["apiKeyRevoke", "apiKeyCreate"]


async def audited(gateway: Gateway, key_id: str) -> list[str]:
    text = "query($id: ID!) { auditLog(filter: {targetId: $id}) { nodes { action } } }"
    return [entry["action"] for entry in (await gateway.gql(text, id=key_id))["auditLog"]["nodes"]]


async def test_revoking_closes_what_runs_in_every_process(tmp_path: Path) -> None:
    """Also without a bell between them: the second process has one of its own, and finds out by looking."""
    settings = settings_for(tmp_path)
    async with running(settings) as here, process(settings, worker=False) as there:
        key_id, text = await make.api_key(here)
        _, kept = await make.api_key(here)
        async with here.socket(text) as near, there.socket(text) as far, there.socket(kept) as other:
            streams = [await socket.subscribe("subscription { events { id } }") for socket in (near, far, other)]
            revoked = time.monotonic()
            await make.mutate(here, "apiKeyRevoke", id=key_id)
            async with asyncio.timeout(10):
                await asyncio.gather(near.connection.wait_closed(), far.connection.wait_closed())
            assert time.monotonic() - revoked < 3
            assert {(s.connection.close_code, s.connection.close_reason) for s in (near, far)} == {
                (4403, "The API key was revoked.")
            }
            await make.connector(here)
            assert (await streams[2].next())["id"].startswith("evt_")


async def test_an_expired_key_opens_nothing_and_its_socket_is_closed(gateway: Gateway) -> None:
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.5)
    _, text = await make.api_key(gateway, expiresAt=ends.isoformat())
    async with gateway.socket(text) as socket:
        async with asyncio.timeout(10):
            await socket.connection.wait_closed()
        assert (socket.connection.close_code, socket.connection.close_reason) == (4403, "The credentials have expired.")
        assert dt.datetime.now(dt.UTC) >= ends
    assert await refusal(gateway, {"x-api-key": text}) == (401, "UNAUTHENTICATED", "The API key has expired.")


async def test_its_last_use_is_noted_once_a_minute(gateway: Gateway) -> None:
    _, text = await make.api_key(gateway)

    async def last_used() -> Json:
        (key,) = (await gateway.gql(LIST))["apiKeys"]["nodes"]
        return key["lastUsedAt"]

    before = dt.datetime.now(dt.UTC)
    assert await last_used() is None
    await asked(gateway, {"x-api-key": text})
    noted = await eventually(last_used)
    assert before <= dt.datetime.fromisoformat(noted) <= dt.datetime.now(dt.UTC)
    await asked(gateway, {"x-api-key": text})
    await gateway.application.keys.write_uses()
    assert await last_used() == noted


async def test_keys_are_listed_newest_first_in_pages(gateway: Gateway) -> None:
    made = [(await make.api_key(gateway))[0] for _ in range(3)]
    page = "query($after: String) { apiKeys(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"
    first = (await gateway.gql(page))["apiKeys"]
    assert [node["id"] for node in first["nodes"]] == [made[2], made[1]] and first["pageInfo"]["hasNextPage"]
    second = (await gateway.gql(page, after=first["pageInfo"]["endCursor"]))["apiKeys"]
    assert [node["id"] for node in second["nodes"]] == [made[0]] and not second["pageInfo"]["hasNextPage"]
