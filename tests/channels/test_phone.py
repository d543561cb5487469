from __future__ import annotations

import subprocess
import sys

import pytest

from channels.phone import Endpoint, EndpointType, NumberType, e164, endpoint


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("+447700900123", "+447700900123"),
        (" +44 (7700) 900-123 ", "+447700900123"),
        ("+44 07700 900123", "+447700900123"),
        ("+15005550006", "+15005550006"),
        ("+12125550100", "+12125550100"),
    ],
)
def test_a_possible_number_becomes_e164(written: str, canonical: str) -> None:
    assert e164(written) == canonical


@pytest.mark.parametrize(
    "written", ["", "447700900123", "07700900123", "+44", "+1 555 0100", "+999123456789", "+1234567890123456", "+1800FLOWERS",
                "+44770090012\n3", "٠١٢٣٤٥٦٧٨٩", "a@b.example", "+447700900123;ext=1", "+" * 40]
)  # fmt: skip
def test_an_impossible_number_is_refused_with_a_sentence(written: str) -> None:
    with pytest.raises(ValueError, match=r"^The telephone number|^A telephone number"):
        e164(written)


def test_the_numbering_plans_are_loaded_when_first_needed() -> None:
    script = "import sys, channels.twilio, channels.whatsapp; sys.exit('phonenumbers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("sender", "kind", "number", "country"),
    [
        ("+33 6 12 34 56 78", NumberType.MOBILE, "+33612345678", "FR"),
        ("33612345678", NumberType.MOBILE, "+33612345678", "FR"),
        ("+33123456789", NumberType.LOCAL, "+33123456789", "FR"),
        ("+12125550100", NumberType.LOCAL, "+12125550100", "US"),
        ("+18005550100", NumberType.TOLLFREE, "+18005550100", "US"),
        ("+447700900123", NumberType.OTHER, "+447700900123", None),
        ("+88213000000", NumberType.OTHER, "+88213000000", None),
    ],
)
def test_a_long_number_tells_its_kind_and_country(sender: str, kind: NumberType, number: str, country: str | None) -> None:
    expected = Endpoint(endpoint_type=EndpointType.LONG_CODE_NUMBER, number_type=kind, phone_number=number, country=country)
    assert endpoint(sender) == expected


def test_a_sender_may_be_a_short_code_a_name_or_nothing_known() -> None:
    short = Endpoint(endpoint_type=EndpointType.SHORT_CODE_NUMBER, number_type=NumberType.OTHER, phone_number="12345")
    assert endpoint("12345") == short
    assert endpoint("Acme 24") == Endpoint(endpoint_type=EndpointType.ALPHA_NUMBER)
    assert [endpoint(text) for text in ("", "+1 555", "12", "1-800")] == [None] * 4
