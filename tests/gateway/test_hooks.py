"""Providers call: what is proved is stored once and answered fast, what is not leaves no trace."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import lab, make
from tests.gateway import calls
from tests.harness import Gateway, Json, eventually, running, settings_for
from tests.provider_server import Reply

HELLO = {"MessageSid": "SM9", "From": "+447700900123", "To": "+15005550006", "Body": "Hello", "NumMedia": "0"}
ORPHANS = "{ orphanReceipts { totalCount nodes { externalId status raw connector { id } } } }"


@pytest.fixture
async def provider() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as started:
        yield started


@pytest.fixture
async def open_gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway the world reaches at an address of its own."""
    async with running(settings_for(tmp_path, public_url=calls.PUBLIC)) as started:
        yield started


@pytest.fixture
async def connector_id(open_gateway: Gateway, provider: lab.Twilio) -> str:
    return await lab.verified(open_gateway, "sms", calls.twilio_config(provider))


def status_of(sid: str, status: str, **more: str) -> dict[str, str]:
    return {"MessageSid": sid, "MessageStatus": status, "To": "+447700900123", "From": "+15005550006", **more}


async def test_a_status_callback_moves_its_message(open_gateway: Gateway, provider: lab.Twilio, connector_id: str) -> None:
    message = await calls.sent(open_gateway)
    (request,) = [one for one in provider.requests if one.method == "POST"]
    url = dict(request.form())["StatusCallback"]
    assert url == f"{await calls.hook(open_gateway, connector_id)}?message={message['id']}"
    assert await calls.twilio(open_gateway, url, status_of(message["externalId"], "delivered")) == (204, "")
    await make.arrived(open_gateway, message["id"], "DELIVERED")
    assert await calls.twilio(open_gateway, url, status_of(message["externalId"], "sent")) == (204, "")
    assert await calls.twilio(open_gateway, url, status_of(message["externalId"], "read")) == (204, "")
    await make.arrived(open_gateway, message["id"], "READ")
    assert (await calls.inbound_status(open_gateway, connector_id))["status"] == "OK"


async def test_the_key_of_the_address_is_in_no_recorded_exchange(open_gateway: Gateway, connector_id: str) -> None:
    message = await calls.sent(open_gateway)
    text = "query($id: ID!) { message(id: $id) { attempts { exchange } } }"
    exchange = (await open_gateway.gql(text, id=message["id"]))["message"]["attempts"][0]["exchange"]
    assert "StatusCallback" in str(exchange)
    assert (await calls.hook(open_gateway, connector_id)).rpartition("/")[2] not in str(exchange)


async def test_an_inbound_message_is_stored_once_listed_and_told(open_gateway: Gateway, connector_id: str) -> None:
    url = await calls.hook(open_gateway, connector_id)
    text = """subscription { inboundMessageReceived { type message {
      id from to body kind externalId channelType media { url } connector { id } } } }"""
    async with open_gateway.socket(open_gateway.token("read:sms", "connectors:read")) as socket:
        stream = await socket.subscribe(text)
        await asyncio.sleep(0.2)
        answers = await asyncio.gather(*(calls.twilio(open_gateway, url, HELLO) for _ in range(20)))
        assert set(answers) == {(204, "")}
        told = await stream.next()
        assert await stream.silent()
    assert (told["type"], told["message"]["connector"]["id"]) == ("sms.inbound", connector_id)
    listed = (await open_gateway.gql("{ inboundMessages { totalCount nodes { id body from to externalId } } }"))[
        "inboundMessages"
    ]
    assert listed["totalCount"] == 1
    (message,) = listed["nodes"]
    expected = {"body": "Hello", "from": "+447700900123", "to": "+15005550006", "externalId": "SM9"}
    assert message == {"id": told["message"]["id"], **expected}
    node = await open_gateway.gql("query($id: ID!) { node(id: $id) { ... on InboundMessage { body } } }", id=message["id"])
    assert node == {"node": {"body": "Hello"}}


@pytest.mark.parametrize("spoil", ["body", "signature", "none", "url", "key", "connector", "token"])
async def test_a_call_that_is_not_proved_stores_nothing(open_gateway: Gateway, connector_id: str, spoil: str) -> None:
    url = await calls.hook(open_gateway, connector_id)
    right, fields, expected = calls.twilio_signature(url, HELLO), dict(HELLO), 401
    match spoil:
        case "body":
            fields["Body"] = "Hellp"
        case "signature":
            right = ("A" if right[0] != "A" else "B") + right[1:]
        case "none":
            right = "-"
        case "token":
            right = calls.twilio_signature(url, HELLO, "another")
        case "url":
            url += "?x=1"
        case "key":
            url, expected = url[:-1] + ("a" if url[-1] != "a" else "b"), 404
        case "connector":
            url, expected = url.replace(connector_id, "con_" + "0" * 32), 404
    status, text = await calls.twilio(open_gateway, url, fields, right)
    assert status == expected
    assert text == {401: "The signature or token is missing or wrong.\n", 404: "This callback is not enabled.\n"}[expected]
    assert await calls.stored(open_gateway) == ([], [])


async def test_the_owner_is_told_of_calls_with_a_wrong_signature(open_gateway: Gateway, connector_id: str) -> None:
    url = await calls.hook(open_gateway, connector_id)
    assert await calls.inbound_status(open_gateway, connector_id) is None
    assert (await calls.twilio(open_gateway, url, HELLO, "wrong"))[0] == 401
    found = await calls.inbound_status(open_gateway, connector_id)
    assert found["status"] == "ERROR"
    assert found["errorMessage"] == "Calls come, but they are not signed with the secret this connector has."
    assert (await calls.twilio(open_gateway, url, HELLO))[0] == 204
    assert (await calls.inbound_status(open_gateway, connector_id))["status"] == "OK"


async def test_a_huge_body_is_refused_while_it_comes(open_gateway: Gateway, connector_id: str) -> None:
    url = await calls.hook(open_gateway, connector_id)
    status, text = await calls.call(open_gateway, url, io.BytesIO(b"x" * 5_000_000), {"content-type": calls.FORM})
    assert (status, text) == (413, "The request is larger than 262144 bytes.\n")
    assert await calls.stored(open_gateway) == ([], [])


async def test_another_method_is_not_allowed(open_gateway: Gateway, connector_id: str) -> None:
    url = await calls.hook(open_gateway, connector_id)
    assert (await calls.call(open_gateway, url, method="PUT"))[0] == 405


async def test_a_receipt_of_an_unknown_message_is_listed_and_applied_when_it_is_known(
    open_gateway: Gateway, provider: lab.Twilio, connector_id: str
) -> None:
    url = await calls.hook(open_gateway, connector_id)
    early = f"SM{1:032x}"  # what the provider is going to call the first message
    assert (await calls.twilio(open_gateway, url, status_of(early, "delivered")))[0] == 204
    found = (await open_gateway.gql(ORPHANS))["orphanReceipts"]
    raw = {"MessageSid": early, "MessageStatus": "delivered"}
    parked = {"externalId": early, "status": "DELIVERED", "raw": raw, "connector": {"id": connector_id}}
    assert found == {"totalCount": 1, "nodes": [parked]}
    made = await calls.accepted(open_gateway)
    await make.arrived(open_gateway, made["id"], "DELIVERED")
    assert (await open_gateway.gql(ORPHANS))["orphanReceipts"]["totalCount"] == 0


async def test_a_receipt_through_another_workspaces_connector_moves_nothing(
    open_gateway: Gateway, provider: lab.Twilio, connector_id: str
) -> None:
    message = await calls.sent(open_gateway)
    other = await open_gateway.workspace("other")
    token = open_gateway.token(workspace=other)
    made = await make.working(open_gateway, "theirs", token, config=calls.twilio_config(provider))
    found = await open_gateway.gql(calls.CONNECTOR, token, id=made["id"])
    url = f"{found['connector']['inboundWebhookUrl']}?message={message['id']}"
    assert (await calls.twilio(open_gateway, url, status_of(message["externalId"], "delivered")))[0] == 204
    assert (await open_gateway.gql(ORPHANS, token))["orphanReceipts"]["totalCount"] == 1
    assert (await open_gateway.gql(ORPHANS))["orphanReceipts"]["totalCount"] == 0
    await make.arrived(open_gateway, message["id"], "SENT")


async def test_a_receipt_that_names_our_message_finds_it_when_its_acceptance_was_lost(
    open_gateway: Gateway, provider: lab.Twilio, connector_id: str
) -> None:
    provider.answers = lambda _body: Reply(200, body=b"lost")
    made = await calls.accepted(open_gateway)
    await make.arrived(open_gateway, made["id"], "UNKNOWN")
    url = f"{await calls.hook(open_gateway, connector_id)}?message={made['id']}"
    assert (await calls.twilio(open_gateway, url, status_of("SMlost", "sending")))[0] == 204
    await make.arrived(open_gateway, made["id"], "SENT")
    assert (await calls.twilio(open_gateway, await calls.hook(open_gateway, connector_id), status_of("SMlost", "delivered")))[
        0
    ] == 204
    await make.arrived(open_gateway, made["id"], "DELIVERED")


async def test_the_address_is_shown_to_who_may_change_the_connector(open_gateway: Gateway, connector_id: str) -> None:
    reader = open_gateway.token("connectors:read")
    assert (await open_gateway.gql(calls.CONNECTOR, reader, id=connector_id))["connector"]["inboundWebhookUrl"] is None
    simulated = await make.connector(open_gateway)
    assert (await open_gateway.gql(calls.CONNECTOR, id=simulated["id"]))["connector"]["inboundWebhookUrl"] is None


async def test_there_is_no_address_without_a_public_url(gateway: Gateway, provider: lab.Twilio) -> None:
    private = await lab.verified(gateway, "sms", calls.twilio_config(provider))
    assert (await gateway.gql(calls.CONNECTOR, id=private))["connector"]["inboundWebhookUrl"] is None
    await calls.sent(gateway)
    assert "StatusCallback" not in dict(provider.requests[-1].form())


async def test_inbound_messages_need_the_channels_scope(open_gateway: Gateway, connector_id: str) -> None:
    await calls.twilio(open_gateway, await calls.hook(open_gateway, connector_id), HELLO)
    text = "{ inboundMessages { totalCount } }"
    assert await open_gateway.gql(text, open_gateway.token("read:email")) == {"inboundMessages": {"totalCount": 0}}
    assert await open_gateway.gql(text, open_gateway.token("read:sms")) == {"inboundMessages": {"totalCount": 1}}
    refused: Json = await open_gateway.post(text, token=open_gateway.token("send:*"))
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    asked = "{ inboundMessages(filter: {channels: [SMS]}) { totalCount } }"
    refused = await open_gateway.post(asked, token=open_gateway.token("read:email"))
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    foreign = open_gateway.token(workspace=await open_gateway.workspace("other"))
    assert await open_gateway.gql(text, foreign) == {"inboundMessages": {"totalCount": 0}}


async def test_a_deleted_connector_is_not_called_any_more(open_gateway: Gateway, connector_id: str) -> None:
    url = await calls.hook(open_gateway, connector_id)
    assert (await calls.twilio(open_gateway, url, HELLO))[0] == 204
    await make.connector(open_gateway)
    await make.mutate(open_gateway, "connectorDelete", select="deletedConnectorId", id=connector_id)

    async def gone() -> bool:
        return (await calls.twilio(open_gateway, url, HELLO))[0] == 404

    await eventually(gone)
