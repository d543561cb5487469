"""What an SMSC delivers for us to read: whole messages, and parts of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Part
from channels.smpp_inbound import heard
from channels.smpp_pdu import UDHI, DeliverSm, Tag
from channels.smpp_submission import SmppAlphabet
from channels.sms_text import SmsCoding

GSM7 = SmppAlphabet.GSM7
FROM_ADA = {"source_addr": "447700900123", "source_addr_ton": 1, "destination_addr": "12345", "dest_addr_ton": 3}


def pdu(octets: bytes = b"", **changes: Any) -> DeliverSm:
    return DeliverSm(**{**FROM_ADA, "short_message": octets, **changes})


def header(*octets: int) -> bytes:
    return bytes([len(octets), *octets])


def part(octets: bytes, **changes: Any) -> Part | None:
    return heard(pdu(octets, **{"esm_class": UDHI, **changes}), GSM7).part


def sar(reference: bytes, total: int, number: int) -> dict[int, bytes]:
    return {
        Tag.SAR_MSG_REF_NUM: reference,
        Tag.SAR_TOTAL_SEGMENTS: bytes([total]),
        Tag.SAR_SEGMENT_SEQNUM: bytes([number]),
    }


@pytest.mark.parametrize(
    ("octets", "changes", "text"),
    [
        (b"Hi \x00 \x1be", {}, "Hi @ €"),
        ("Привет".encode("utf-16-be"), {"data_coding": 8}, "Привет"),
        ("é".encode("latin-1"), {"data_coding": 3}, "é"),
        (header(0, 3, 1, 2, 1) + b"STOP", {"esm_class": UDHI}, "STOP"),
        (b"", {"tlvs": {Tag.MESSAGE_PAYLOAD: b"STOP"}}, "STOP"),
    ],
)
def test_a_message_to_us(octets: bytes, changes: dict[str, Any], text: str) -> None:
    found = heard(pdu(octets, **changes), GSM7)
    assert (found.sender, found.to, found.text) == ("+447700900123", "12345", text)
    assert text not in found.event_id


@pytest.mark.parametrize(
    ("octets", "changes", "number", "total", "content"),
    [
        (header(0, 3, 7, 3, 2) + b"two", {}, 2, 3, b"two"),
        (header(8, 4, 1, 7, 3, 3) + b"three", {}, 3, 3, b"three"),
        (header(5, 4, 0, 1, 0, 2, 0, 3, 7, 2, 1) + b"ported", {}, 1, 2, b"ported"),
        (b"one", {"esm_class": 0, "tlvs": sar(b"\1\7", 2, 1)}, 1, 2, b"one"),
        (header(5, 4, 0, 1, 0, 2) + b"one", {"tlvs": sar(b"\1\7", 2, 1)}, 1, 2, b"one"),
    ],
)
def test_a_part_says_which_it_is(octets: bytes, changes: dict[str, Any], number: int, total: int, content: bytes) -> None:
    found = part(octets, **changes)
    assert found is not None
    assert (found.number, found.total, found.content, found.coding) == (number, total, content, SmsCoding.GSM7)


def test_a_part_has_the_coding_of_its_octets() -> None:
    octets = header(0, 3, 7, 2, 1) + b"\0a"
    codings = {coding: found.coding for coding in (0, 1, 3, 8) if (found := part(octets, data_coding=coding))}
    assert codings == {0: SmsCoding.GSM7, 1: SmsCoding.LATIN1, 3: SmsCoding.LATIN1, 8: SmsCoding.UCS2}


@pytest.mark.parametrize(
    ("octets", "changes"),
    [
        (header(0, 3, 7, 1, 1) + b"only", {}),
        (header(0, 3, 7, 2, 0) + b"none", {}),
        (header(0, 3, 7, 2, 3) + b"beyond", {}),
        (header(0, 3, 7, 2), {}),
        (header(0, 9, 7, 2, 1) + b"x", {}),
        (header(8, 3, 7, 2, 1) + b"x", {}),
        (header(0) + b"x", {}),
        (b"\xff\0\3\7\2", {}),
        (header(0, 3, 7, 2, 1) + b"no header", {"esm_class": 0}),
        (header(0, 3, 7, 2, 1) + b"x" * 1001, {}),
        (b"x", {"esm_class": 0, "tlvs": {Tag.SAR_MSG_REF_NUM: b"\0\1", Tag.SAR_TOTAL_SEGMENTS: b"\2"}}),
        (b"x", {"esm_class": 0, "tlvs": sar(b"\0\1", 2, 3)}),
        (b"x", {"esm_class": 0, "tlvs": {**sar(b"\0\1", 2, 1), Tag.SAR_TOTAL_SEGMENTS: b"\1\0"}}),
    ],
)
def test_what_is_no_part_is_a_message(octets: bytes, changes: dict[str, Any]) -> None:
    if len(octets) > 254:
        changes = {**changes, "short_message": b"", "tlvs": {Tag.MESSAGE_PAYLOAD: octets}}
    assert part(octets, **changes) is None


def test_parts_are_of_one_message_only_where_all_that_names_it_is_equal() -> None:
    first = header(0, 3, 7, 2, 1) + b"one"
    groups = [
        part(first),
        part(first, source_addr="447700900124"),
        part(first, source_addr_ton=5),
        part(first, destination_addr="12346"),
        part(header(0, 3, 8, 2, 1) + b"one"),
        part(header(0, 3, 7, 3, 1) + b"one"),
        part(header(8, 4, 0, 7, 2, 1) + b"one"),
        part(b"one", esm_class=0, tlvs=sar(b"\0\7", 2, 1)),
    ]
    assert len({one.group for one in groups if one is not None}) == len(groups)
    second = part(header(0, 3, 7, 2, 2) + b"two", data_coding=8)
    assert second is not None and groups[0] is not None and second.group == groups[0].group


@given(
    st.binary(max_size=254),
    st.integers(0, 255),
    st.integers(0, 255),
    st.dictionaries(st.sampled_from(Tag), st.binary(max_size=9)),
)
def test_no_bytes_break_it(octets: bytes, esm_class: int, data_coding: int, tlvs: dict[int, bytes]) -> None:
    found = heard(pdu(octets, esm_class=esm_class, data_coding=data_coding, tlvs=tlvs), GSM7)
    if found.part is not None:
        assert 1 <= found.part.number <= found.part.total and len(found.part.content) <= 254
