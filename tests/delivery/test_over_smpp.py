"""What an SMSC delivers on the kept session reaches messages and those who read them."""

from __future__ import annotations

from channels.smpp_pdu import DeliverSm
from tests import lab, make
from tests.harness import Gateway, eventually
from tests.smsc import Smsc, until

INBOUND = "{ inboundMessages(first: 10) { nodes { body from to } } }"


async def test_receipts_and_messages_come_on_the_session_even_when_nothing_was_sent(gateway: Gateway) -> None:
    async with Smsc() as smsc:
        settings = {"host": "127.0.0.1", "port": smsc.port, "security": "NONE", "systemId": "acme", "password": "s3cret-9f"}
        connector = await make.working(gateway, "SMSC", config={"smpp": {**settings, "fromNumber": "12345"}})
        await until(lambda: len(smsc.binds) == 2)  # one to check, one to listen
        told = DeliverSm(source_addr_ton=1, source_addr="447700900123", destination_addr="12345", short_message=b"Hello")
        smsc.deliver(told)
        await until(lambda: smsc.acknowledged == [0])
        found = (await gateway.gql(INBOUND))["inboundMessages"]["nodes"]
        assert found == [{"body": "Hello", "from": "+447700900123", "to": "12345"}]
        sender = await lab.approve(gateway)
        given = {"connectorId": connector["id"], "senderId": sender, "body": "x" * 200}
        sent = await make.message(gateway, "+447700900123", **given)
        await make.arrived(gateway, sent["id"], "SENT")
        for name in ("m1", "m2"):
            smsc.deliver(DeliverSm(esm_class=4, short_message=f"id:{name} stat:DELIVRD err:000".encode()))
        await make.arrived(gateway, sent["id"], "DELIVERED")
        assert len(smsc.submitted) == 2

        smsc.cut()

        async def bound_again() -> bool:
            return len(smsc.binds) == 3

        await eventually(bound_again, 20)
