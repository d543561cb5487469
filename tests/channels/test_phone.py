from __future__ import annotations

import subprocess
import sys

import pytest

from channels.phone import e164


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
