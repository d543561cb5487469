"""The main road: plug in, check, send, watch it arrive."""

from __future__ import annotations

from tests.harness import Gateway, eventually

CREATE = """mutation($input: ConnectorCreateInput!) {
  connectorCreate(input: $input) { connector { id isVerified status { channel { stage } } } userErrors { code } }
}"""
SEND = """mutation($input: MessageSendInput!) {
  messageSend(input: $input) { message { id status } userErrors { code message field } }
}"""
WATCH = "subscription($ids: [ID!]) { deliveryUpdated(messageIds: $ids) { status previousStatus source message { id status } } }"


async def test_a_message_is_sent_and_watched_until_it_arrives(gateway: Gateway) -> None:
    created = (await gateway.gql(CREATE, input={"name": "Sim", "config": {"simulator": {}}}))["connectorCreate"]
    assert created["connector"]["status"]["channel"]["stage"] == "PROVISIONING"
    assert created["connector"]["isVerified"] is False
    connector_id = created["connector"]["id"]

    async def verified() -> bool:
        return bool(
            (await gateway.gql("query($id: ID!) { connector(id: $id) { isVerified } }", id=connector_id))["connector"][
                "isVerified"
            ]
        )

    await eventually(verified)
    sent = (await gateway.gql(SEND, input={"to": "delivered", "channel": "SIMULATOR", "body": "Your code is 123456"}))[
        "messageSend"
    ]
    assert sent["userErrors"] == []
    async with gateway.socket() as socket:
        stream = await socket.subscribe(WATCH, ids=[sent["message"]["id"]])
        seen = [(await stream.next())["status"]]
        while seen[-1] != "DELIVERED":
            seen.append((await stream.next())["status"])
    assert seen == ["QUEUED", "PROCESSING", "SENT", "DELIVERED"][-len(seen) :]
