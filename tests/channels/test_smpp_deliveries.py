"""What an SMSC delivers on the kept session."""

from __future__ import annotations

import asyncio

import pytest

from channels.base import DeliveryStatus, Inbound, Report
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.smpp import Smpp
from channels.smpp_pdu import BindTransmitter, DeliverSm
from channels.wire import Wire
from tests.channels.smpp_account import TO, message, receipt, smpp
from tests.smsc import HANG, Smsc, until


async def test_a_receipt_is_reported_and_answered(smsc: Smsc, channel: Smpp, wire: Wire, heard: list[Report | Inbound]) -> None:
    await channel.send(wire, message(), Exchange())
    smsc.deliver(receipt("m1"), receipt("elsewhere", "UNDELIV"), receipt("m1", "UNKNOWN"))
    await until(lambda: smsc.acknowledged == [0, 0, 0])
    told = [(one.provider_id, one.message_id, one.status) for one in heard if isinstance(one, Report)]
    assert told == [("m1", "msg_1", DeliveryStatus.DELIVERED), ("elsewhere", None, DeliveryStatus.FAILED)]


async def test_a_message_of_parts_has_arrived_with_the_last(
    smsc: Smsc, channel: Smpp, wire: Wire, heard: list[Report | Inbound]
) -> None:
    await channel.send(wire, message(body="x" * 200), Exchange())
    smsc.deliver(receipt("m2"))
    await until(lambda: smsc.acknowledged == [0])
    assert heard == []
    smsc.deliver(receipt("m1"))
    await until(lambda: smsc.acknowledged == [0, 0])
    assert [one.provider_id for one in heard] == ["m1"]


async def test_a_receipt_that_overtakes_its_answer_waits_for_it(
    smsc: Smsc, channel: Smpp, wire: Wire, heard: list[Report | Inbound]
) -> None:
    await channel.send(wire, message(), Exchange())
    smsc.submits = [HANG]
    sending = asyncio.create_task(channel.send(wire, message(id="msg_2"), Exchange()))
    await until(lambda: len(smsc.submitted) == 2)
    smsc.deliver(receipt("late"))
    smsc.say(bytes.fromhex("00000015 80000004 00000000 00000003") + b"late\0")
    assert (await sending).provider_id == "late"
    await until(lambda: smsc.acknowledged == [0])
    assert [(one.provider_id, one.message_id) for one in heard if isinstance(one, Report)] == [("late", "msg_2")]


async def test_a_message_to_us_is_handed_in(smsc: Smsc, channel: Smpp, wire: Wire, heard: list[Report | Inbound]) -> None:
    listening = asyncio.create_task(channel.poll(wire, None))
    await until(lambda: len(smsc.binds) == 1)
    smsc.deliver(DeliverSm(source_addr_ton=1, source_addr="447700900123", destination_addr="12345", short_message=b"STOP"))
    await until(lambda: smsc.acknowledged == [0])
    [one] = heard
    assert isinstance(one, Inbound) and (one.sender, one.to, one.text) == (TO, "12345", "STOP")
    smsc.unbind()
    with pytest.raises(SendError) as caught:
        await listening
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "SESSION_LOST")


async def test_what_could_not_be_stored_comes_again(smsc: Smsc, channel: Smpp, wire: Wire) -> None:
    async def refuse(_: Report | Inbound) -> None:
        raise OSError("disk full")

    unlucky = Wire(wire.http, wire.egress, refuse)
    await channel.send(unlucky, message(), Exchange())
    smsc.deliver(receipt("m1"))
    await until(lambda: smsc.acknowledged == [0x08])


async def test_a_transmitter_asks_for_no_receipts_and_does_not_listen(smsc: Smsc, wire: Wire) -> None:
    channel = smpp(smsc.port, bind="TRANSMITTER")
    await channel.send(wire, message(), Exchange())
    await channel.close()
    assert isinstance(smsc.binds[0], BindTransmitter) and smsc.submitted[0].registered_delivery == 0
    assert not channel.listens and smpp(1).listens
