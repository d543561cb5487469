"""What a sender ID may be, and what it looks like."""

from __future__ import annotations

import pytest

from models.senders import SenderId, SenderIdKind
from resolvers import sender_hints
from resolvers.problems import Problem
from resolvers.sender_values import SenderValue, disguises, skeleton

ALPHANUMERIC, PHONE_NUMBER, SHORT_CODE = SenderIdKind

TAKEN = [
    ("Acme", "Acme", ALPHANUMERIC, "acme"),
    ("  My   Shop ", "My Shop", ALPHANUMERIC, "my shop"),
    ("A&B.co-op_1", "A&B.co-op_1", ALPHANUMERIC, "a&b.co-op_1"),
    ("4you", "4you", ALPHANUMERIC, "4you"),
    ("+44 7700 900123", "+447700900123", PHONE_NUMBER, "+447700900123"),
    ("12345", "12345", SHORT_CODE, "12345"),
    ("112", "112", SHORT_CODE, "112"),
]


@pytest.mark.parametrize(("given", "value", "kind", "key"), TAKEN)
def test_what_is_taken(given: str, value: str, kind: SenderIdKind, key: str) -> None:
    parsed = SenderValue.parse(given)
    assert (parsed.value, parsed.kind, parsed.key) == (value, kind, key)


REFUSED = [
    ("", "A sender name has 1 to 11 characters; this one has 0."),
    ("TwelveLetter", "A sender name has 1 to 11 characters; this one has 12."),
    ("12", "Digits alone are a short code and have 3 to 8 of them; a telephone number begins with a plus sign."),
    ("447700900123", "Digits alone are a short code and have 3 to 8 of them; a telephone number begins with a plus sign."),
    ("+12", "A telephone number is written internationally: a plus sign, the country code, the number."),
    ("Аcme", "A sender name holds letters A to Z, digits, blanks and _ & + . - only; not U+0410."),
    ("Acme\u200b", "A sender name holds letters A to Z, digits, blanks and _ & + . - only; not U+200B."),
    ("A<b>", "A sender name holds letters A to Z, digits, blanks and _ & + . - only; not U+003C, U+003E."),
    ("1-2", "A sender name holds at least one letter."),
    ("-Acme", "A sender name begins and ends with a letter or a digit."),
    ("Acme.", "A sender name begins and ends with a letter or a digit."),
    ("Constructor", "This name is reserved."),
]


@pytest.mark.parametrize(("given", "rule"), REFUSED)
def test_what_is_refused_names_the_rule(given: str, rule: str) -> None:
    with pytest.raises(Problem) as refusal:
        SenderValue.parse(given)
    assert (refusal.value.message, refusal.value.field) == (rule, ["input", "value"])


@pytest.mark.parametrize(
    ("one", "other"), [("PayPal", "PayPa1"), ("PayPal", "Pay Pal"), ("Amazon", "Arnaz0n"), ("Wise", "W1SE"), ("HSBC", "h5bc")]
)
def test_names_that_look_the_same_share_a_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


def test_digits_between_letters_are_pointed_out_and_those_behind_are_not() -> None:
    assert [disguises(name) for name in ("Amaz0n", "Shop24", "My 5hop", "Acme")] == [["Amaz0n"], [], ["5hop"], []]


@pytest.mark.parametrize(
    ("name", "names"),
    [("Amazom", ["Amazon"]), ("AppleID", ["Apple"]), ("My Bank", ["Bank"]), ("Acme", []), ("Mart", []), ("Zenith", ["Zenlth"])],
)
def test_protected_names_are_found_in_disguise(name: str, names: list[str]) -> None:
    parsed = SenderValue.parse(name)
    sender = SenderId(kind=parsed.kind, skeleton=parsed.skeleton, value=parsed.value)
    found = [hint for hint in sender_hints.looks(sender, (*sender_hints.PROTECTED, "Zenlth")) if hint.startswith("Protected")]
    assert found == [f"Protected: it looks like {one}." for one in names]
