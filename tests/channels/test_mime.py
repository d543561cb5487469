"""Mails as bytes, read back by the standard library."""

from __future__ import annotations

import email
from email.message import EmailMessage
from email.policy import SMTP
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import mime

HEADERS = [("From", "shop@example.com"), ("Subject", "Your order"), ("To", "ada@example.org")]
LINES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))).map(lambda line: line.rstrip(" "))
TEXTS = st.lists(LINES, max_size=8).map("\n".join)


def read(content: bytes) -> EmailMessage:
    return cast(EmailMessage, email.message_from_bytes(content, policy=SMTP))


@given(TEXTS)
def test_any_text_comes_back_in_seven_bits_and_short_lines(text: str) -> None:
    content = mime.rendered(HEADERS, text, None)
    message = read(content)
    assert (message.get_content_type(), message.defects) == ("text/plain", [])
    assert message.get_content().replace("\r\n", "\n") == (text if text.endswith("\n") else text + "\n")
    assert content.isascii() and b"\n" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= mime.LONGEST_LINE


@given(TEXTS, TEXTS)
def test_two_bodies_are_alternatives(plain: str, html: str) -> None:
    message = read(mime.rendered(HEADERS, plain, html))
    first, second = cast("list[EmailMessage]", list(message.iter_parts()))
    assert (message.get_content_type(), first.get_content_type(), second.get_content_type()) == (
        "multipart/alternative",
        "text/plain",
        "text/html",
    )
    for part, text in ((first, plain), (second, html)):
        assert part.get_content().replace("\r\n", "\n") == (text if text.endswith("\n") else text + "\n")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("short and plain", "7bit"),
        ("x" * 78, "7bit"),
        ("x" * 79, "quoted-printable"),
        ("Gruß an alle in der Straße", "quoted-printable"),
        ("Ваш заказ передан в службу доставки", "base64"),
    ],
)
def test_the_encoding_is_the_shortest_that_serves(text: str, encoding: str) -> None:
    assert read(mime.rendered(HEADERS, text, None))["Content-Transfer-Encoding"] == encoding


@pytest.mark.parametrize("text", ["a\r\nb\rc\n", "a\nb\nc", "a\r\nb\r\nc\r\n"])
def test_every_line_end_is_one(text: str) -> None:
    assert mime.rendered(HEADERS, text, None).endswith(b"\r\n\r\na\r\nb\r\nc\r\n")


def test_a_folded_header_stays_folded() -> None:
    content = mime.rendered([("Subject", "one\n two"), ("To", "ada@example.org")], "x", None)
    assert content.startswith(b"Subject: one\r\n two\r\nTo: ada@example.org\r\nMIME-Version: 1.0\r\n")
