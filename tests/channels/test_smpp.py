"""What is sent through an SMSC, and what it says no to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.base import Accepted, CheckStatus, DeliveryStatus, Inbound, Media, Report
from channels.egress import Egress
from channels.errors import FailureKind
from channels.exchange import Exchange
from channels.smpp import Smpp
from channels.smpp_codes import STATUSES
from channels.smpp_pdu import BindTransceiver, Tag
from channels.wire import Wire
from tests.channels import node_smpp
from tests.channels.smpp_account import PASSWORD, TEXT, failure, message, smpp
from tests.mail_server import MailServer
from tests.provider_server import open_wire
from tests.smsc import DROP, EMPTY, HANG, NONSENSE, Smsc, until


async def test_a_message_is_handed_in_over_a_session_that_is_kept(smsc: Smsc, channel: Smpp, wire: Wire) -> None:
    exchange = Exchange(channel.secrets(), (TEXT,))
    assert await channel.send(wire, message(validity_seconds=3661), exchange) == Accepted("m1", DeliveryStatus.SENT, 1)
    await channel.send(wire, message(), Exchange())
    [bind] = smsc.binds
    assert bind == BindTransceiver("acme", PASSWORD)
    sent = smsc.submitted[0]
    assert (sent.source_addr_ton, sent.source_addr_npi, sent.source_addr) == (5, 0, "AcmeInc")
    assert (sent.dest_addr_ton, sent.dest_addr_npi, sent.destination_addr) == (1, 1, "447700900123")
    assert (sent.validity_period, sent.registered_delivery, sent.data_coding) == ("000000010101000R", 1, 0)
    assert (sent.short_message, sent.esm_class) == (TEXT.encode(), 0)
    assert [stage.name for stage in exchange.stages] == ["RESOLVE", "CONNECT", "AUTH", "SUBMIT", "ACCEPTED"]
    assert exchange.provider_status == 0
    await channel.close()
    assert (smsc.unbinds, smsc.connections, len(smsc.submitted)) == (1, 1, 2)


@pytest.mark.parametrize(
    ("sender", "changes", "address"),
    [
        ("+15005550006", {}, (1, 1, "15005550006")),
        ("15005550006", {}, (1, 1, "15005550006")),
        ("12345", {}, (3, 0, "12345")),
        ("12345", {"shortCode": "UNKNOWN"}, (0, 0, "12345")),
        ("Acme Inc", {}, (5, 0, "Acme Inc")),
    ],
)
async def test_a_sender_has_the_type_of_number_it_is(
    smsc: Smsc, wire: Wire, sender: str, changes: dict[str, str], address: tuple[int, int, str]
) -> None:
    channel = smpp(smsc.port, **changes)
    await channel.send(wire, message(sender=sender), Exchange())
    await channel.close()
    [sent] = smsc.submitted
    assert (sent.source_addr_ton, sent.source_addr_npi, sent.source_addr) == address


async def test_a_text_is_written_as_gsm_latin_or_ucs2(smsc: Smsc, wire: Wire) -> None:
    channel, latin = smpp(smsc.port), smpp(smsc.port, defaultAlphabet="LATIN1")
    for body in ("@é{€", "Код"):
        await channel.send(wire, message(body=body), Exchange())
    for body in ("@é{", "€"):
        await latin.send(wire, message(body=body), Exchange())
    await channel.close()
    await latin.close()
    assert [(sent.data_coding, sent.short_message) for sent in smsc.submitted] == [
        (0, b"\x00\x05\x1b\x28\x1b\x65"),
        (8, "Код".encode("utf-16-be")),
        (0, "@é{".encode("latin-1")),
        (8, "€".encode("utf-16-be")),
    ]


async def test_a_long_text_travels_in_parts_by_header_by_tag_or_whole(smsc: Smsc, wire: Wire) -> None:
    text = "a" * 152 + "€" + "a" * 152
    for how in ("UDH", "SAR", "PAYLOAD"):
        channel = smpp(smsc.port, longText=how)
        parts = 1 if how == "PAYLOAD" else 3
        accepted = await channel.send(wire, message(body=text), Exchange())
        assert (accepted.provider_id, accepted.segments) == (f"m{len(smsc.submitted) - parts + 1}", parts)
        await channel.close()
    pieces = [b"a" * 152, b"\x1be" + b"a" * 151, b"a"]
    udh, sar, [whole] = smsc.submitted[:3], smsc.submitted[3:6], smsc.submitted[6:]
    reference = udh[0].short_message[3]
    headers = [bytes([5, 0, 3, reference, 3, number]) for number in (1, 2, 3)]
    assert [part.short_message for part in udh] == [header + piece for header, piece in zip(headers, pieces, strict=True)]
    assert {part.esm_class for part in udh} == {0x40}
    assert [part.short_message for part in sar] == pieces
    assert [part.tlvs[Tag.SAR_SEGMENT_SEQNUM] for part in sar] == [b"\1", b"\2", b"\3"]
    assert {part.tlvs[Tag.SAR_TOTAL_SEGMENTS] for part in sar} == {b"\3"}
    assert len({part.tlvs[Tag.SAR_MSG_REF_NUM] for part in sar}) == 1 and {part.esm_class for part in sar} == {0}
    assert (whole.short_message, whole.tlvs[Tag.MESSAGE_PAYLOAD]) == (b"", b"".join(pieces))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"body": None}, "EMPTY_MESSAGE"),
        ({"body": " "}, "EMPTY_MESSAGE"),
        ({"body": "x" * 1531}, "TEXT_TOO_LONG"),
        ({"body": "ж" * 671}, "TOO_MANY_SEGMENTS"),
        ({"body": "\ud800"}, "INVALID_TEXT"),
        ({"media": (Media("https://f.example/a"),)}, "UNSUPPORTED_CONTENT"),
        ({"template": {"name": "x"}}, "UNSUPPORTED_CONTENT"),
        ({"sender": "<script>"}, "INVALID_SENDER"),
    ],
)
async def test_what_cannot_be_carried_is_refused_unsent(
    smsc: Smsc, channel: Smpp, wire: Wire, changes: dict[str, Any], code: str
) -> None:
    error = await failure(channel, wire, **changes)
    assert (error.kind, error.code, smsc.connections) == (FailureKind.CONTENT, code, 0)


async def test_the_longest_texts_are_taken(smsc: Smsc, channel: Smpp, wire: Wire) -> None:
    for body in ("x" * 1530, "ж" * 670):
        assert (await channel.send(wire, message(body=body), Exchange())).segments == 10


@pytest.mark.parametrize("status", [*STATUSES, 0x450, 0x7777])
async def test_a_refusal_has_a_meaning(smsc: Smsc, channel: Smpp, wire: Wire, status: int) -> None:
    smsc.submits = [status]
    exchange = Exchange()
    error = await failure(channel, wire, exchange)
    kinds = {0x450: (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"), 0x7777: (FailureKind.CONTENT, "REJECTED")}
    assert (error.kind, error.code) == (kinds.get(status) or STATUSES[status][0])
    assert (error.provider_code, exchange.provider_status) == (f"0x{status:02X}", status)
    assert len(smsc.submitted) == 1


async def test_who_is_throttled_sends_nothing_for_a_while(smsc: Smsc, channel: Smpp, wire: Wire) -> None:
    smsc.submits = [0x58]
    first = await failure(channel, wire)
    second = await failure(channel, wire)
    assert first.retry_after is not None and second.retry_after is not None
    assert 0 < second.retry_after <= first.retry_after < 1.2
    assert {first.kind, second.kind} == {FailureKind.THROTTLED} and len(smsc.submitted) == 1
    await asyncio.sleep(second.retry_after + 0.05)
    assert (await channel.send(wire, message(), Exchange())).provider_id == "m2"


async def test_a_text_that_is_begun_waits_for_its_later_parts(smsc: Smsc, channel: Smpp, wire: Wire) -> None:
    smsc.submits = [0, 0x58]
    assert (await channel.send(wire, message(body="x" * 200), Exchange())).provider_id == "m1"
    assert [sent.short_message[5] for sent in smsc.submitted] == [1, 2, 2]


async def test_a_text_whose_later_part_is_refused_is_refused(smsc: Smsc, channel: Smpp, wire: Wire) -> None:
    smsc.submits = [0, 0x0B]
    error = await failure(channel, wire, body="x" * 400)
    assert (error.kind, len(smsc.submitted)) == (FailureKind.RECIPIENT, 2)


@pytest.mark.parametrize("fault", [DROP, HANG, NONSENSE])
async def test_a_lost_answer_is_an_unknown_outcome(smsc: Smsc, fault: int) -> None:
    smsc.submits = [fault]
    channel = smpp(smsc.port)
    async with open_wire(total_timeout=0.5 if fault == HANG else 30) as wire:
        error = await failure(channel, wire)
        assert (error.kind, error.code) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST")
        assert (await channel.send(wire, message(), Exchange())).provider_id == "m2"
    await channel.close()


async def test_an_answer_without_an_id_is_an_acceptance(smsc: Smsc, channel: Smpp, wire: Wire) -> None:
    smsc.submits = [EMPTY]
    assert await channel.send(wire, message(), Exchange()) == Accepted(None, DeliveryStatus.SENT, 1)


async def test_an_smsc_that_is_away_was_sent_nothing_and_is_not_hammered(smsc: Smsc, wire: Wire) -> None:
    channel = smpp(1)
    first, second = await failure(channel, wire), await failure(channel, wire)
    assert (first.kind, first.code, first.retry_after) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", None)
    assert second.code == first.code and second.retry_after is not None and 0 < second.retry_after < 1.2


async def test_an_address_the_policy_refuses_is_never_dialled(smsc: Smsc) -> None:
    async with open_wire(Egress()) as wire:
        error = await failure(smpp(smsc.port), wire)
    assert (error.kind, error.code, smsc.connections) == (FailureKind.CONFIGURATION, "ADDRESS_BLOCKED", 0)


@pytest.mark.parametrize("status", [0x0D, 0x0E, 0x0F])
async def test_a_refused_bind_is_a_matter_of_configuration(smsc: Smsc, channel: Smpp, wire: Wire, status: int) -> None:
    smsc.bind_status = status
    error = await failure(channel, wire)
    assert (error.kind, error.code, smsc.submitted) == (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", [])
    await until(lambda: smsc.sessions == 0)


async def test_an_smsc_that_does_not_answer_the_bind(smsc: Smsc) -> None:
    smsc.is_silent = True
    async with open_wire(total_timeout=0.3) as wire:
        error = await failure(smpp(smsc.port), wire)
    assert (error.kind, smsc.submitted) == (FailureKind.TRANSIENT, [])


async def test_tls_is_used_and_its_certificate_must_be_trusted(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with MailServer("tls") as certified, Smsc(certified.context) as smsc:
        error = await failure(smpp(smsc.port, security="TLS", host="localhost"), wire)
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "TLS_CERTIFICATE_INVALID")
        assert (smsc.binds, smsc.submitted) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", certified.certificate)
        channel = smpp(smsc.port, security="TLS", host="localhost")
        assert (await channel.send(wire, message(), Exchange())).provider_id == "m1"
        await channel.close()


# ─── against an SMSC that is not ours


@pytest.mark.verifier
async def test_node_smpp_takes_what_we_send(wire: Wire, heard: list[Report | Inbound]) -> None:
    async with node_smpp.smsc() as judge:
        account = {"systemId": "gateway", "password": "s3cret"}
        channel = smpp(judge.port, **account)
        texts = ["Hello @ Ünï {€}", "Привет 🎉", "a" * 152 + "€" + "a" * 152, "я" * 66 + "🎉" + "ж" * 60]
        for number, text in enumerate(texts):
            await channel.send(wire, message(id=f"msg_{number}", body=text, to="+447700900001"), Exchange())
        sar = smpp(judge.port, **account, longText="SAR")
        await sar.send(wire, message(id="msg_4", body=texts[2], to="+447700900001"), Exchange())
        submitted = [one for one in await judge.log() if one["ev"] == "submit_sm"]
        assert [one["text"] for one in submitted if one["text"] is not None] == [*texts, texts[2]]
        assert {(one["status"], one["to_ton"], one["from_ton"], one["registered_delivery"]) for one in submitted} == {
            (0, 1, 5, 1)
        }
        for ending, stat in (("0002", "UNDELIV"), ("0003", "EXPIRED"), ("0004", "REJECTD")):
            await channel.send(wire, message(id=f"msg_{stat}", to=f"+44770090{ending}"), Exchange())
        await channel.send(wire, message(id="msg_stop", to="+447700900077"), Exchange())
        await until(lambda: len(heard) == 10)
        reports = {(one.message_id, one.detail) for one in heard if isinstance(one, Report)}
        assert reports == {
            *((f"msg_{number}", "DELIVRD") for number in range(5)),
            *((f"msg_{stat}", stat) for stat in ("UNDELIV", "EXPIRED", "REJECTD")),
            ("msg_stop", "DELIVRD"),
        }
        assert [one.text for one in heard if isinstance(one, Inbound)] == ["STOP"]
        await channel.close()
        await sar.close()


@pytest.mark.verifier
async def test_node_smpp_refuses_and_so_do_we(wire: Wire) -> None:
    async with node_smpp.smsc() as judge:
        wrong = smpp(judge.port, systemId="gateway", password="wrong")
        assert (await failure(wrong, wire)).code == "AUTHENTICATION_FAILED"
        channel = smpp(judge.port, systemId="gateway", password="s3cret")
        assert CheckStatus.ERROR not in {check.status for check in await channel.verify(wire)}
        kinds = []
        for ending in ("0014", "0008", "0058", "0098"):
            kinds.append((await failure(channel, wire, to=f"+44770090{ending}")).kind)
            if ending == "0058":
                await asyncio.sleep(1.2)
        transient = FailureKind.TRANSIENT
        assert kinds == [transient, transient, FailureKind.THROTTLED, FailureKind.UNKNOWN_OUTCOME]
        await channel.close()
