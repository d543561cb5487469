from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.smpp_pdu import (
    HEADER,
    KNOWN,
    BindTransceiver,
    BindTransceiverResp,
    DeliverSm,
    EnquireLink,
    Header,
    MalformedError,
    Pdu,
    ShortMessage,
    SubmitSm,
    SubmitSmResp,
    Tag,
    decoded,
    encoded,
)

LATIN = st.characters(min_codepoint=1, max_codepoint=255)


def taken(octets: bytes) -> Pdu | None:
    return decoded(Header.read(octets[:16]), octets[16:])


@st.composite
def pdus(draw: st.DrawFn) -> Pdu:
    kind = draw(st.sampled_from(list(KNOWN.values())))
    octet = st.integers(0, 255)
    values: dict[str, Any] = {
        name: draw(octet if size < 0 else st.text(LATIN, max_size=size - 1)) for name, size in kind.LAYOUT
    }
    if issubclass(kind, ShortMessage):
        values["short_message"] = draw(st.binary(max_size=254))
    tlvs = draw(st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=300), max_size=3))
    return kind(**values, tlvs=tlvs)


@given(pdus(), st.integers(1, 0x7FFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_what_is_written_is_read(pdu: Pdu, sequence: int, status: int) -> None:
    octets = encoded(pdu, sequence, status)
    assert Header.read(octets[:16]) == (len(octets), pdu.COMMAND, status, sequence)
    assert taken(octets) == pdu


@given(st.sampled_from(sorted(KNOWN)), st.binary(max_size=400))
def test_garbage_is_read_or_refused(command: int, body: bytes) -> None:
    try:
        decoded(Header(16 + len(body), command, 0, 1), body)
    except MalformedError:
        pass


@given(pdus(), st.integers(0, 600))
def test_what_is_cut_short_is_refused_or_shorter(pdu: Pdu, length: int) -> None:
    octets = encoded(pdu, 1)
    body = octets[16 : 16 + length]
    try:
        decoded(Header(16 + len(body), pdu.COMMAND, 0, 1), body)
    except MalformedError:
        pass


@pytest.mark.parametrize("length", [0, 15, 70_001, 0xFFFFFFFF])
def test_a_length_no_pdu_has_is_refused(length: int) -> None:
    with pytest.raises(MalformedError):
        Header.read(HEADER.pack(length, 0x15, 0, 1))


def test_bytes_written_by_hand() -> None:
    assert encoded(EnquireLink(), 7) == bytes.fromhex("00000010 00000015 00000000 00000007")
    told = encoded(BindTransceiver("acme", "secret"), 1)
    assert told == HEADER.pack(len(told), 9, 0, 1) + b"acme\0secret\0\0\x34\0\0\0"
    submit = SubmitSm(
        source_addr_ton=5,
        source_addr="Acme",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr="447700900123",
        registered_delivery=1,
        short_message=b"Hi",
        tlvs={Tag.SAR_TOTAL_SEGMENTS: b"\2"},
    )
    body = b"\0\5\0Acme\0\1\x01447700900123\0\0\0\0\0\0\1\0\0\0\2Hi\x02\x0e\0\1\2"
    assert encoded(submit, 2) == HEADER.pack(16 + len(body), 4, 0, 2) + body


def test_an_answer_may_lack_its_body_and_a_request_may_not() -> None:
    assert decoded(Header(16, SubmitSmResp.COMMAND, 0x58, 1), b"") == SubmitSmResp()
    assert decoded(Header(16, BindTransceiverResp.COMMAND, 0x0E, 1), b"") == BindTransceiverResp()
    with pytest.raises(MalformedError):
        decoded(Header(16, DeliverSm.COMMAND, 0, 1), b"")
    assert decoded(Header(16, 0x103, 0, 1), b"") is None


@pytest.mark.parametrize(
    "pdu",
    [
        BindTransceiver("a" * 16, "p"),
        BindTransceiver("a\0b", "p"),
        BindTransceiver("Код", "p"),
        SubmitSm(short_message=b"x" * 255),
        SubmitSm(data_coding=256),
        SubmitSm(esm_class=-1),
    ],
)
def test_what_does_not_fit_is_not_written(pdu: Pdu) -> None:
    with pytest.raises(ValueError):
        encoded(pdu, 1)


def test_neither_password_nor_text_shows() -> None:
    assert "s3cret" not in repr(BindTransceiver("acme", "s3cret"))
    assert "123456" not in repr(SubmitSm(short_message=b"123456"))
