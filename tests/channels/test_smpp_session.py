from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.smpp_link import Pace
from channels.smpp_pdu import HEADER, DeliverSm, SubmitSm
from channels.smpp_session import Server, Session, SmppBind, SmppSecurity
from channels.wire import Wire
from tests.smsc import HANG, Smsc, until

QUICK = Pace(enquire=0.1, answer=0.2, leave=0.2, shortest_pause=0.05, longest_pause=0.2)
PDU = SubmitSm(destination_addr="447700900123", short_message=b"Hi")


def session(port: int, window: int = 10, pace: Pace = QUICK) -> Session:
    async def deliver(_wire: Wire, _pdu: DeliverSm) -> None:
        pass

    account = ("acme", SecretStr("pw"), "")
    return Session(Server("127.0.0.1", port, SmppSecurity.NONE, *account, SmppBind.TRANSCEIVER, window, pace), deliver)


async def test_many_at_once_share_a_session_and_no_more_wait_than_the_window_holds(smsc: Smsc, wire: Wire) -> None:
    kept = session(smsc.port, window=3, pace=Pace(leave=0.1))
    smsc.submits = [HANG] * 3
    tasks = [asyncio.create_task(kept.submit(wire, Exchange(), PDU)) for _ in range(8)]
    await until(lambda: len(smsc.submitted) == 3)
    await asyncio.sleep(0.1)
    assert len(smsc.submitted) == 3 and smsc.connections == 1
    for sequence in (4, 3, 2):  # out of order
        smsc.say(HEADER.pack(18, 0x80000004, 0, sequence) + b"%d\0" % sequence)
    names = [answer.message_id for answer in await asyncio.gather(*tasks)]
    assert names == ["2", "3", "4", "m4", "m5", "m6", "m7", "m8"]
    await kept.close()


async def test_a_silent_link_is_asked_and_stays_while_it_answers(smsc: Smsc, wire: Wire) -> None:
    kept = session(smsc.port)
    link = await kept.bound(wire, Exchange())
    await until(lambda: smsc.enquiries >= 3)
    assert await kept.bound(wire, Exchange()) is link
    await kept.close()


async def test_a_link_that_says_nothing_is_dropped_and_made_again(smsc: Smsc, wire: Wire) -> None:
    kept = session(smsc.port)
    link = await kept.bound(wire, Exchange())
    smsc.is_silent = True
    with pytest.raises(SendError) as caught:
        await kept.submit(wire, Exchange(), PDU)
    assert caught.value.kind is FailureKind.UNKNOWN_OUTCOME and not link.alive
    smsc.is_silent = False
    assert (await kept.submit(wire, Exchange(), PDU)).message_id == "m1"
    assert smsc.connections == 2
    await kept.close()


@pytest.mark.parametrize(
    "end",
    [
        Smsc.cut,
        Smsc.half_close,
        Smsc.unbind,
        lambda smsc: smsc.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda smsc: smsc.say(HEADER.pack(15, 0x15, 0, 1)),
        lambda smsc: smsc.say(HEADER.pack(0xFFFFFFFF, 0x15, 0, 1)),
    ],
    ids=["cut", "half-closed", "unbound", "another protocol", "too short", "too long"],
)
async def test_an_end_ends_all_that_wait_and_the_next_message_binds_again(
    smsc: Smsc, wire: Wire, end: Callable[[Smsc], None]
) -> None:
    kept = session(smsc.port)
    smsc.submits = [HANG, HANG]
    tasks = [asyncio.create_task(kept.submit(wire, Exchange(), PDU)) for _ in range(2)]
    await until(lambda: len(smsc.submitted) == 2)
    end(smsc)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, SendError) and outcome.kind is FailureKind.UNKNOWN_OUTCOME
    assert (await kept.submit(wire, Exchange(), PDU)).message_id == "m3"
    assert len(smsc.binds) == 2
    await kept.close()


@pytest.mark.parametrize(
    ("octets", "nacks", "acknowledged"),
    [
        (HEADER.pack(16, 0x777, 0, 5), [(16, 0x80000000, 3, 5)], []),
        (HEADER.pack(18, 0x05, 0, 5) + b"no", [], [2]),
        (HEADER.pack(16, 0x80000004, 0, 4711), [], []),
        (HEADER.pack(16, 0x80000777, 0, 4711), [], []),
        (HEADER.pack(16, 0x80000000, 3, 0), [], []),
    ],
    ids=["unknown command", "unreadable delivery", "unasked answer", "unknown answer", "nack of nothing"],
)
async def test_what_makes_no_sense_is_answered_and_survived(
    smsc: Smsc, wire: Wire, octets: bytes, nacks: list[Any], acknowledged: list[int]
) -> None:
    kept = session(smsc.port, pace=Pace(leave=0.1))
    await kept.bound(wire, Exchange())
    smsc.say(octets)
    assert (await kept.submit(wire, Exchange(), PDU)).message_id == "m1"
    assert (smsc.nacks, smsc.acknowledged, smsc.connections) == (nacks, acknowledged, 1)
    await kept.close()


async def test_the_pause_before_the_next_bind_grows(smsc: Smsc, wire: Wire) -> None:
    kept = session(smsc.port)
    smsc.bind_status = 0x0E
    pauses: list[float] = []
    while len(smsc.binds) < 4:
        with pytest.raises(SendError) as caught:
            await kept.submit(wire, Exchange(), PDU)
        if caught.value.retry_after is not None:
            pauses.append(caught.value.retry_after)
        await asyncio.sleep(caught.value.retry_after or 0)
    assert max(pauses) > 0.12 and smsc.submitted == []
    smsc.bind_status = 0
    await asyncio.sleep(0.3)
    assert (await kept.submit(wire, Exchange(), PDU)).message_id == "m1"
    await kept.close()


async def test_leaving_waits_for_what_is_under_way_and_then_nothing_is_sent(smsc: Smsc, wire: Wire) -> None:
    kept = session(smsc.port, pace=Pace(leave=5))
    smsc.submits = [HANG]
    sending = asyncio.create_task(kept.submit(wire, Exchange(), PDU))
    await until(lambda: len(smsc.submitted) == 1)
    closing = asyncio.create_task(kept.close())
    await asyncio.sleep(0.05)
    smsc.say(HEADER.pack(18, 0x80000004, 0, 2) + b"x\0")
    assert (await sending).message_id == "x"
    await closing
    assert smsc.unbinds == 1
    with pytest.raises(SendError) as caught:
        await kept.submit(wire, Exchange(), PDU)
    assert (caught.value.kind, len(smsc.submitted)) == (FailureKind.TRANSIENT, 1)


async def test_a_session_in_a_state_that_refuses_is_bound_again(smsc: Smsc, wire: Wire) -> None:
    kept = session(smsc.port)
    smsc.submits = [0x04]
    with pytest.raises(SendError) as caught:
        await kept.submit(wire, Exchange(), PDU)
    assert caught.value.kind is FailureKind.TRANSIENT
    assert (await kept.submit(wire, Exchange(), PDU)).message_id == "m2"
    assert len(smsc.binds) == 2
    await kept.close()
