from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import DeliveryStatus, Report
from channels.errors import FailureKind
from channels.smpp_codes import RECEIPTS
from channels.smpp_pdu import DeliverSm, Tag
from channels.smpp_receipts import Memory, Receipt, Sent, SmppReceiptIds, read, readings, report, respelled
from tests.verifiers import golden

SAME = SmppReceiptIds.SAME
FAILED, DELIVERED, PROCESSING = DeliveryStatus.FAILED, DeliveryStatus.DELIVERED, DeliveryStatus.PROCESSING


def receipt(text: str, **changes: object) -> DeliverSm:
    return DeliverSm(**{"esm_class": 4, "short_message": text.encode(), **changes})  # type: ignore[arg-type]


def told(text: str, memory: Memory | None = None, **changes: object) -> Report | None:
    said = read(receipt(text, **changes))
    assert said is not None
    return report(said, memory or Memory(), SAME)


def remembered(*ids: str, parts: int = 0) -> Memory:
    memory, sent = Memory(), Sent("msg_1", parts or len(ids))
    for name in ids:
        memory.add(sent, name)
    return memory


def test_a_receipt_in_text() -> None:
    said = told(
        "id:m1 sub:001 dlvrd:000 submit date:2611210534 done date:2611210535 stat:UNDELIV err:0A1 text:id:9 stat:DELIVRD"
    )
    assert said is not None and said.failure is not None
    assert (said.provider_id, said.event_id, said.status, said.message_id) == ("m1", "m1:UNDELIV", FAILED, None)
    assert (said.failure.kind, said.failure.code, said.failure.provider_code) == (FailureKind.TRANSIENT, "UNDELIVERED", "0A1")
    assert said.raw == {
        "id": "m1",
        "stat": "UNDELIV",
        "sub": "001",
        "dlvrd": "000",
        "submit date": "2611210534",
        "done date": "2611210535",
        "err": "0A1",
    }


def test_tagged_parameters_win_over_the_text() -> None:
    tlvs = {Tag.RECEIPTED_MESSAGE_ID: b"m7\0", Tag.MESSAGE_STATE: b"\3"}
    said = told("id:m1 stat:DELIVRD", tlvs=tlvs)
    assert said is not None and said.failure is not None
    assert (said.provider_id, said.status, said.failure.kind) == ("m7", FAILED, FailureKind.EXPIRED)
    said = told("", tlvs={Tag.RECEIPTED_MESSAGE_ID: b"m7\0", Tag.MESSAGE_STATE: b"\2"}, esm_class=0)
    assert said is not None and (said.provider_id, said.status) == ("m7", DELIVERED)


@pytest.mark.parametrize(("stat", "status"), [*RECEIPTS.items(), ("delivered", DELIVERED), ("Failed", FAILED)])
def test_every_word_has_its_meaning(stat: str, status: DeliveryStatus) -> None:
    said = told(f"id:1 stat:{stat}")
    assert said is not None and said.status is status and (said.failure is not None) == (status is FAILED)


@pytest.mark.parametrize("stat", ["UNKNOWN", "ODD"])
def test_a_word_that_says_nothing_changes_nothing(stat: str) -> None:
    assert told(f"id:1 stat:{stat}") is None


@pytest.mark.parametrize("text", ["", "hello", "id:1", "stat:DELIVRD", "text:id:1 stat:DELIVRD"])
def test_what_is_no_receipt_is_none(text: str) -> None:
    assert read(receipt(text)) is None


@given(st.binary(max_size=254), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=20))
def test_no_bytes_break_it(octets: bytes, esm_class: int, data_coding: int, tag: bytes) -> None:
    tlvs = {Tag.RECEIPTED_MESSAGE_ID: tag, Tag.MESSAGE_STATE: tag}
    pdu = DeliverSm(esm_class=esm_class, data_coding=data_coding, short_message=octets, tlvs=tlvs)
    said = read(pdu)
    if said is not None:
        report(said, Memory(), SmppReceiptIds.HEX)


def test_an_id_is_found_however_it_is_spelled() -> None:
    assert readings("1a2b") == ["1a2b", "6699"]
    for sent, heard in (("6699", "1a2b"), ("6699", "1A2B"), ("1A2B", "6699"), ("0012", "12"), ("12", "0012"), ("m1", "M1")):
        said = told(f"id:{heard} stat:DELIVRD", remembered(sent))
        assert said is not None and (said.provider_id, said.message_id) == (sent, "msg_1")
    assert (respelled("1A2B", SmppReceiptIds.HEX), respelled("6699", SmppReceiptIds.DECIMAL)) == ("6699", "1a2b")
    assert (respelled("m1", SmppReceiptIds.HEX), respelled("1a", SmppReceiptIds.DECIMAL)) == ("m1", "1a")


def test_a_message_has_arrived_when_all_its_parts_have() -> None:
    memory = remembered("a", "b", "c")
    assert told("id:b stat:DELIVRD", memory) is None
    assert told("id:a stat:DELIVRD", memory) is None
    assert told("id:a stat:DELIVRD", memory) is None
    said = told("id:c stat:DELIVRD", memory)
    assert said is not None and (said.provider_id, said.message_id, said.status) == ("a", "msg_1", DELIVERED)
    said = told("id:b stat:UNDELIV", remembered("a", "b"))
    assert said is not None and (said.provider_id, said.status) == ("a", FAILED)
    assert told("id:a stat:DELIVRD", remembered("a", parts=2)) is None


def test_what_is_forgotten_is_not_found() -> None:
    memory, sent = Memory(), Sent("msg_1", 1)
    memory.add(sent, "a")
    memory.forget(sent)
    assert memory.find("a") is None


@pytest.mark.verifier
def test_recorded_receipts_mean_what_is_said_of_them() -> None:
    recorded = [one for one in golden("webhooks.json") if one["provider"] == "smpp"]
    assert len(recorded) == 6
    for one in recorded:
        expected, said = one["expect"], read(receipt(one["body"]))
        assert said is not None
        assert said == Receipt(expected["message_id"], expected["status"], said.fields), one["name"]
        assert said.err == expected.get("err", said.err)
        assert expected.get("also_matches", expected["message_id"]).lower().lstrip("0") in readings(said.message_id)
        if not expected.get("final", True):
            assert RECEIPTS[said.stat] is PROCESSING
