"""Messages to us that come in parts, and are stored when they are whole."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from channels.base import Inbound, Part, Received
from channels.smpp_pdu import UDHI, DeliverSm
from channels.sms_text import SmsCoding, pack
from delivery import inbound, parts
from delivery.retention import Keeper
from models import connectors
from models.base import now
from models.connectors import Connector
from models.events import Event
from models.inbound import InboundMessage
from models.parts import PartedMessage
from tests import lab, make
from tests.harness import Gateway, database_of, process, running, settings_for
from tests.smsc import Smsc, until

ADA, EVE = "+447700900123", "+447700900999"
GSM7, UCS2 = SmsCoding.GSM7, SmsCoding.UCS2


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that sends nothing."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


def part(
    number: int,
    content: bytes,
    *,
    total: int = 2,
    group: str = "a",
    sender: str = ADA,
    coding: SmsCoding = GSM7,
    provider_id: str | None = None,
) -> Inbound:
    alone = content.decode("latin-1")
    return Inbound(
        event_id=f"{group}-{number}-{alone}",
        sender=sender,
        to="12345",
        text=alone,
        occurred_at=now(),
        provider_id=provider_id,
        part=Part(group, number, total, content, coding),
    )


async def sms(gateway: Gateway, name: str = "Sms") -> Connector:
    """A connector that hears messages."""
    connector_id = await lab.verified(gateway, name)
    async with gateway.read() as session:
        found = await connectors.get(session, gateway.demo.id, connector_id)
    assert found is not None
    return found


async def take(gateway: Gateway, connector: Connector, *told: Inbound) -> list[str | None]:
    """The texts of the messages that these made, each stored by itself."""
    texts, vault = [], gateway.application.means.vault
    for one in told:
        async with gateway.application.database.write() as session:
            texts += [message.body for message in await inbound.take(session, connector, [one], vault)]
    return texts


async def stored(gateway: Gateway) -> list[InboundMessage]:
    async with gateway.read() as session:
        return list(await session.scalars(select(InboundMessage).order_by(InboundMessage.id)))


async def kept(gateway: Gateway) -> int:
    """How many messages are remembered by their parts."""
    async with gateway.read() as session:
        return await session.scalar(select(func.count()).select_from(PartedMessage)) or 0


async def told_of(gateway: Gateway) -> int:
    async with gateway.read() as session:
        return await session.scalar(select(func.count()).where(Event.type == "simulator.inbound")) or 0


async def age(gateway: Gateway, **ago: dt.timedelta) -> None:
    """Let what is remembered have happened so long ago."""
    async with gateway.application.database.write() as session:
        await session.execute(update(PartedMessage).values({name: now() - span for name, span in ago.items()}))


async def test_a_message_is_told_once_when_its_last_part_has_come(idle: Gateway) -> None:
    connector = await sms(idle)
    text = "Dear shop, " + "x" * 400 + " {end} €"
    pieces = [part(number, octets, total=3) for number, octets in enumerate(pack(text).parts, 1)]
    assert len(pieces) == 3
    assert await take(idle, connector, pieces[2], pieces[0]) == []
    assert (await stored(idle), await told_of(idle)) == ([], 0)
    assert await take(idle, connector, pieces[1]) == [text]
    [message] = await stored(idle)
    assert (message.sender, message.to, message.kind, await told_of(idle)) == (ADA, "12345", "text", 1)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([(GSM7, b"a\x1b"), (GSM7, b"eb")], "a€b"),
        ([(UCS2, b"\0a\xd8\x3d"), (UCS2, b"\xde\x00\0b")], "a😀b"),
        ([(GSM7, b"a\x1b"), (UCS2, b"\0b")], "a\N{REPLACEMENT CHARACTER}b"),
        ([(GSM7, b""), (UCS2, b"\0b")], "b"),
        ([(GSM7, b"ST"), (GSM7, b"OP")], "STOP"),
    ],
)
async def test_what_a_sender_tore_is_mended(idle: Gateway, pieces: list[tuple[SmsCoding, bytes]], text: str) -> None:
    connector = await sms(idle)
    told = [part(number, octets, coding=coding) for number, (coding, octets) in enumerate(pieces, 1)]
    assert await take(idle, connector, *told) == [text]
    [message] = await stored(idle)
    assert message.keyword == ("STOP" if text == "STOP" else None)


async def test_parts_of_different_messages_are_never_mixed(idle: Gateway) -> None:
    connector, other = await sms(idle), await sms(idle, "Other")
    assert await take(idle, connector, part(1, b"Ada 1, "), part(2, b"Eve 2", group="b", sender=EVE)) == []
    assert await take(idle, other, part(2, b"elsewhere 2")) == []
    assert await take(idle, connector, part(1, b"Eve 1, ", group="b", sender=EVE)) == ["Eve 1, Eve 2"]
    assert await take(idle, connector, part(2, b"Ada 2")) == ["Ada 1, Ada 2"]
    assert await take(idle, other, part(1, b"elsewhere 1, ")) == ["elsewhere 1, elsewhere 2"]
    assert [(message.sender, message.body) for message in await stored(idle)][:2] == [
        (EVE, "Eve 1, Eve 2"),
        (ADA, "Ada 1, Ada 2"),
    ]


async def test_a_part_that_comes_again_changes_nothing(idle: Gateway) -> None:
    connector = await sms(idle)
    one, two = part(1, b"one, "), part(2, b"two")
    assert await take(idle, connector, one, one, two, two, one) == ["one, two"]
    assert len(await stored(idle)) == await told_of(idle) == 1
    await age(idle, joined_at=parts.REPEATED)
    assert await take(idle, connector, one, two) == ["one, two"]
    assert len(await stored(idle)) == await told_of(idle) == 2


async def test_a_part_with_an_id_is_known_by_it_for_a_day(idle: Gateway) -> None:
    connector, keeper = await sms(idle), Keeper(idle.application.database, idle.application.means.vault, 30)
    one, two = part(1, b"one, ", provider_id="v1"), part(2, b"two", provider_id="v2")
    assert await take(idle, connector, two, one, two) == ["one, two"]
    await age(idle, joined_at=parts.KEPT - dt.timedelta(minutes=1))
    await keeper.tidy()
    assert await take(idle, connector, one, two) == []
    again = [part(1, b"one, ", provider_id="v3"), part(2, b"two", provider_id="v4")]
    assert await take(idle, connector, *again) == ["one, two"]
    assert [message.external_id for message in await stored(idle)] == ["v1", "v3"]
    await age(idle, joined_at=parts.KEPT)
    await keeper.tidy()
    assert await kept(idle) == 0


async def test_a_reference_that_is_used_anew_begins_another_message(idle: Gateway) -> None:
    connector = await sms(idle)
    assert await take(idle, connector, part(1, b"first, "), part(2, b"whole")) == ["first, whole"]
    assert await take(idle, connector, part(1, b"second, ")) == []
    assert await take(idle, connector, part(1, b"third, ")) == ["second, […]"]
    assert await take(idle, connector, part(2, b"whole")) == ["third, whole"]
    await take(idle, connector, part(2, b" is late"))
    await age(idle, began_at=parts.KEPT)
    assert await take(idle, connector, part(1, b"of another")) == ["[…] is late"]
    assert [message.body for message in await stored(idle)] == [
        "first, whole",
        "second, […]",
        "third, whole",
        "[…] is late",
    ]


async def test_after_a_day_a_message_is_told_with_gaps(idle: Gateway) -> None:
    connector = await sms(idle)
    given = [part(2, b"two", total=5), part(5, b"five", total=5), part(1, b"whole", group="b"), part(2, b"!", group="b")]
    assert await take(idle, connector, *given) == ["whole!"]
    keeper = Keeper(idle.application.database, idle.application.means.vault, 30)
    await keeper.tidy(now() + parts.KEPT - dt.timedelta(minutes=1))
    assert (len(await stored(idle)), await kept(idle)) == (1, 2)
    await keeper.tidy(now() + parts.KEPT + dt.timedelta(minutes=1))
    assert [message.body for message in await stored(idle)] == ["whole!", "[…]two[…]five"]
    assert (await kept(idle), await told_of(idle)) == (0, 2)


async def test_what_was_joined_keeps_no_texts(idle: Gateway) -> None:
    connector = await sms(idle)
    await take(idle, connector, part(1, b"secret, "), part(2, b"really"))
    async with idle.read() as session:
        [row] = (await session.scalars(select(PartedMessage))).all()
    assert [sorted(one) for one in row.parts] == [["digest", "number"], ["digest", "number"]]


async def test_a_connector_remembers_so_many_unfinished_messages_and_tells_further_parts_at_once(idle: Gateway) -> None:
    connector = await sms(idle)
    rows = [
        {
            "connector_id": connector.id,
            "part_group": f"g{number}",
            "workspace_id": connector.workspace_id,
            "sender": EVE,
            "total": 2,
            "parts": [{"number": 1, "digest": "d", "id": None, "coding": "GSM7", "content": "31"}],
            "began_at": now(),
        }
        for number in range(parts.MOST)
    ]
    async with idle.application.database.write() as session:
        await session.execute(insert(PartedMessage), rows)
    assert await take(idle, connector, part(1, b"beyond")) == ["beyond"]
    assert await take(idle, connector, part(2, b"2", group="g7")) == ["12"]
    assert await take(idle, connector, part(1, b"again, "), part(2, b"room")) == ["again, room"]


async def test_parts_that_come_at_once_are_joined_once(idle: Gateway) -> None:
    connector = await sms(idle)
    told = [part(number, b"%d" % number, total=9, group=group) for group in "abcde" for number in range(1, 10)]
    random.shuffle(told)
    intake = idle.application.intake
    await asyncio.gather(*(intake.take(connector, Received(inbounds=(one,))) for one in told + told[:20]))
    assert [message.body for message in await stored(idle)] == ["123456789"] * 5


async def test_transactions_that_overlap_join_their_parts(idle: Gateway) -> None:
    connector = await sms(idle)
    for group in range(10):
        await asyncio.gather(*(take(idle, connector, part(number, b"%d" % number, group=f"g{group}")) for number in (1, 2)))
    assert [message.body for message in await stored(idle)] == ["12"] * 10


# ─── over SMPP


def over_the_air(number: int, content: bytes) -> DeliverSm:
    header = bytes([5, 0, 3, 7, 2, number])
    return DeliverSm(
        source_addr_ton=1, source_addr=ADA[1:], destination_addr="12345", esm_class=UDHI, short_message=header + content
    )


async def test_parts_heard_before_and_after_a_restart_are_one_message(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    account = {"security": "NONE", "systemId": "acme", "password": "s3cret-9f", "fromNumber": "12345"}
    async with Smsc() as smsc, database_of(settings):
        async with process(settings) as gateway:
            await make.working(gateway, "SMSC", config={"smpp": {"host": "127.0.0.1", "port": smsc.port, **account}})
            await until(lambda: len(smsc.binds) == 2)
            smsc.deliver(over_the_air(2, b"two"))
            await until(lambda: smsc.acknowledged == [0])
            assert await stored(gateway) == []
        async with process(settings) as gateway:
            await until(lambda: smsc.sessions == 1 and len(smsc.binds) == 3)
            smsc.deliver(over_the_air(2, b"two"), over_the_air(1, b"one, "))
            await until(lambda: smsc.acknowledged == [0, 0, 0])
            assert [(message.sender, message.body) for message in await stored(gateway)] == [(ADA, "one, two")]
