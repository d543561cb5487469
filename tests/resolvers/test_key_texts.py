"""The text of an API key: recognisable, checked before the database is asked, never readable from what is stored."""

from __future__ import annotations

import hashlib
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.key_texts import KeyText

KNOWN = "pb_0123456789AB_abcdefghijabcdefghijabcdefghij1cdxL1"


def test_a_minted_key_is_understood() -> None:
    key = KeyText.mint()
    assert re.fullmatch(r"pb_[0-9A-Za-z]{12}_[0-9A-Za-z]{36}", key.text)
    assert KeyText.parse(key.text) == key
    assert key.text.startswith(key.prefix + "_") and len(key.prefix) == 15


def test_the_format_is_what_it_was() -> None:
    """Keys in people's hands must stay good."""
    key = KeyText.parse(KNOWN)
    assert key is not None and key.prefix == "pb_0123456789AB"
    assert key.digest == hashlib.sha256(KNOWN.encode()).hexdigest()


def test_no_two_are_alike() -> None:
    assert len({KeyText.mint().text for _ in range(200)}) == 200


def test_a_key_matches_its_own_digest_alone() -> None:
    one, other = KeyText.mint(), KeyText.mint()
    assert one.matches(one.digest) and not one.matches(other.digest) and not one.matches("")


def test_its_text_is_not_in_its_repr() -> None:
    key = KeyText.mint()
    assert key.text[16:] not in repr(key) and key.prefix in repr(key)


@given(at=st.integers(3, len(KNOWN) - 1), to=st.sampled_from(string.ascii_letters + string.digits + "-_ é"))
def test_one_wrong_character_is_noticed(at: int, to: str) -> None:
    changed = KNOWN[:at] + to + KNOWN[at + 1 :]
    assert (KeyText.parse(changed) is None) is (changed != KNOWN)


@pytest.mark.parametrize(
    "text", ["", "pb_", KNOWN[:-1], KNOWN + "0", " " + KNOWN, KNOWN + "\n", KNOWN.upper(), "xx" + KNOWN[2:], "pb_" * 1000]
)
def test_what_is_no_key(text: str) -> None:
    assert KeyText.parse(text) is None
