from __future__ import annotations

import datetime as dt

import pytest

from channels.answers import Document
from channels.base import Provider
from channels.callbacks import Callback, CallbackRefusedError, Refusal, require, require_recent, signed

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECONDS = int(AT.timestamp())


def callback(body: bytes = b"", url: str = "https://gw.example/hook") -> Callback:
    return Callback("POST", url, {"content-type": "text/plain"}, body, AT)


def refusal_of(error: pytest.ExceptionInfo[CallbackRefusedError]) -> tuple[int, str]:
    return error.value.refusal.status, str(error.value)


def test_a_callback_reads_its_query_and_form_with_empty_and_repeated_fields() -> None:
    called = callback(b"a=1&b=&a=2&c=%E2%82%AC+%26", "https://gw.example/hook?x=1&x=2&y=")
    assert called.query == {"x": "2", "y": ""}
    assert called.form_pairs == [("a", "1"), ("b", ""), ("a", "2"), ("c", "€ &")]
    assert called.form == {"a": "2", "b": "", "c": "€ &"}
    assert called.header("Content-Type") == "text/plain"


@pytest.mark.parametrize("body", [b"a=%ff", b"\xff=1", b"&".join(b"a=1" for _ in range(1001))])
def test_a_form_that_is_no_text_or_endless_is_malformed(body: bytes) -> None:
    with pytest.raises(CallbackRefusedError) as error:
        _ = callback(body).form
    assert refusal_of(error) == (400, "The body cannot be read.")


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b'{"a": NaN}', b'"\xff"'])
def test_a_body_that_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(CallbackRefusedError) as error:
        callback(body).read(Document)
    assert error.value.refusal is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("expected", "given"), [("abc", "abd"), ("abc", None), ("abc", ""), ("abc", "é"), ("", ""), ("", None)]
)
def test_what_differs_or_is_missing_is_not_authentic(expected: str, given: str | None) -> None:
    with pytest.raises(CallbackRefusedError) as error:
        require(expected, given)
    assert error.value.refusal is Refusal.NOT_AUTHENTIC
    require("abc", "abc")


@pytest.mark.parametrize("timestamp", [None, "", "-1", "1e9", "²", "9" * 13, str(SECONDS - 301), str(SECONDS + 301)])
def test_a_timestamp_far_away_or_none_at_all_is_stale(timestamp: str | None) -> None:
    with pytest.raises(CallbackRefusedError) as error:
        require_recent(timestamp, callback())
    assert refusal_of(error) == (401, "The timestamp is missing or more than five minutes away.")


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_timestamp_nearby_is_taken(seconds: int) -> None:
    require_recent(str(SECONDS + seconds), callback())


def test_signatures_are_hmacs() -> None:
    """RFC 4231, test case 2."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signed("Jefe", b"what do ya want for nothing?").hex() == expected


def test_a_provider_that_says_nothing_of_callbacks_takes_none() -> None:
    for answer in (Provider().authenticate, Provider().receive):
        with pytest.raises(CallbackRefusedError) as error:
            answer(callback())
        assert error.value.refusal is Refusal.NOT_ENABLED
