"""How large a draft may be: the largest passes, one more does not."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from channels.base import Media
from models.base import now
from resolvers import limits
from resolvers.call import digest
from resolvers.messages import Draft
from resolvers.problems import Problems

PLAIN = Draft(to="x", channel="SIMULATOR", body="b")


def refused(draft: Draft) -> list[tuple[str, str]]:
    """(path, code) of everything that is wrong."""
    try:
        limits.check(draft)
    except Problems as error:
        return [(".".join((problem.field or [])[1:]), str(problem.code)) for problem in error.problems]
    return []


def test_a_plain_draft_passes() -> None:
    assert refused(PLAIN) == []


@pytest.mark.parametrize(
    ("name", "longest"),
    [("to", 320), ("subject", 998), ("body", 100_000), ("html", 500_000), ("clientReference", 255), ("idempotencyKey", 255)],
)
def test_texts(name: str, longest: int) -> None:
    column = {"clientReference": "client_reference", "idempotencyKey": "idempotency_key"}.get(name, name)

    def given(text: str) -> Draft:
        return replace(PLAIN, **{column: text})

    assert refused(given("é" * longest)) == []
    for text in ("é" * (longest + 1), "a\0b", "a\ud800b"):
        assert refused(given(text)) == [(name, "VALIDATION_ERROR")]


@pytest.mark.parametrize("name", ["metadata", "template"])
def test_json(name: str) -> None:
    def given(value: Any) -> Draft:
        return replace(PLAIN, **{name: value})

    largest = {"a": "x" * (16_384 - len('{"a":""}'))}
    for value in ({}, largest, {"a": "\\u0000"}, {"n": 2**63}, {"n": -(2**63)}):
        assert refused(given(value)) == [], value
    for value in (
        [],
        "text",
        1,
        {"a": largest["a"] + "x"},
        {"n": 2**64},
        {"a": "\0"},
        {"\0": 1},
        {"a": "\\\0"},
        {"a": "\ud800"},
    ):
        assert refused(given(value)) == [(name, "VALIDATION_ERROR")], value


def test_reserved_keys_are_refused_at_any_depth_and_in_any_case() -> None:
    for key in ("__proto__", "constructor", "Prototype", "__PROTO__ "):
        assert refused(replace(PLAIN, metadata={"a": [{key: 1}]})) == [(f"metadata.a.0.{key}", "VALIDATION_ERROR")]
    assert refused(replace(PLAIN, metadata={"a": "__proto__"})) == []


def test_media() -> None:
    fine = Media("https://x.example/a.png", "image/png", "a.png")
    assert refused(replace(PLAIN, media=(fine,) * 10)) == []
    assert refused(replace(PLAIN, media=(fine,) * 11)) == [("media", "VALIDATION_ERROR")]
    longest = "https://x.example/"
    assert refused(replace(PLAIN, media=(Media(longest + "a" * (2000 - len(longest))),))) == []
    for url in (
        "",
        "x",
        "ftp://x.example/",
        "//x.example",
        "https://",
        "javascript:alert(1)",
        longest + "a" * 2000,
        "http://[::1",
    ):
        assert refused(replace(PLAIN, media=(fine, Media(url)))) == [("media.1.url", "VALIDATION_ERROR")], url
    assert refused(replace(PLAIN, media=(replace(fine, filename="f" * 256),))) == [("media.0.filename", "VALIDATION_ERROR")]
    assert refused(replace(PLAIN, media=(replace(fine, content_type="\0"),))) == [("media.0.contentType", "VALIDATION_ERROR")]


def test_times() -> None:
    for seconds in (1, 7 * 86_400):
        assert refused(replace(PLAIN, validity_seconds=seconds)) == []
    for seconds in (-1, 0, 7 * 86_400 + 1):
        assert refused(replace(PLAIN, validity_seconds=seconds)) == [("validitySeconds", "VALIDATION_ERROR")]
    for ahead in (dt.timedelta(days=-10_000), dt.timedelta(days=365)):
        assert refused(replace(PLAIN, scheduled_at=now() + ahead)) == []
    assert refused(replace(PLAIN, scheduled_at=now() + dt.timedelta(days=367))) == [("scheduledAt", "VALIDATION_ERROR")]


def test_which_way_must_be_clear() -> None:
    assert refused(replace(PLAIN, connector_id="con_x", routing_key="rk_x")) == [("routingKey", "VALIDATION_ERROR")]


def test_a_request_is_known_again_whatever_its_key() -> None:
    first = replace(PLAIN, idempotency_key="a", metadata={"x": 1, "y": 2}, scheduled_at=dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    same = replace(first, idempotency_key="b", metadata={"y": 2, "x": 1})
    assert digest(first.content()) == digest(same.content())
    others = [first, replace(first, body="c"), replace(first, priority="HIGH"), PLAIN]
    assert len({digest(draft.content()) for draft in others}) == 4
