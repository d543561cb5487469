from __future__ import annotations

import orjson
import pytest

from channels.exchange import DEEPEST, EXCERPT, WIDEST, Exchange, StageName
from tests.provider_server import ProviderServer, Reply, open_wire

SECRET = 'S3cr/et+ "key"'
TEXT = ' Your code is 123456\n"é" '


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"wrong key {SECRET}!",
        "S3cr%2Fet%2B%20%22key%22",
        "S3cr%2Fet%2B+%22key%22",
        'S3cr/et+ \\"key\\"',
        TEXT,
        TEXT.strip(),
        f"Sent from your trial account - {TEXT}",
        'Your code is 123456\\n\\"\\u00e9\\"',
        'Your code is 123456\\n\\"é\\"',
    ],
)
def test_secrets_and_texts_are_absent_however_they_are_spelled(said: str) -> None:
    exchange = Exchange((SECRET,), (TEXT,))
    exchange.note("response", {"message": said, said: [said, {"x": said}]})
    exchange.add_stage(StageName.SUBMIT, False, 0.0, said)
    for shown in (orjson.dumps(exchange.record).decode(), str(exchange.stages), exchange.redact(said)):
        assert "S3cr" not in shown and "123456" not in shown


def test_a_text_rewritten_by_the_provider_is_hidden_by_its_name() -> None:
    exchange = Exchange((), ("Your code: 123456",))
    exchange.note("response", {"body": "Your code\u2013 123456", "result": {"Text": "code 123456"}, "status": "queued"})
    assert exchange.record["response"] == {"body": "[17 characters]", "result": {"Text": "[11 characters]"}, "status": "queued"}


def test_empty_secrets_and_short_texts_leave_the_record_readable() -> None:
    exchange = Exchange(("",), ("", "1", " "))
    exchange.note("response", "1 of 1")
    assert exchange.record == {"response": "1 of 1"}


DEEP = b"[" * 900 + b"]" * 900
WIDE = orjson.dumps({"list": list(range(5000)), "nul\0": "a\0b", "long": "x" * 9000, "n": 1e308})


@pytest.mark.parametrize(
    "body", [DEEP, WIDE, b"[" * 5000, b'{"n": 1e999}', b"\xff\xfe\0"], ids=["deep", "wide", "open", "inf", "raw"]
)
async def test_a_hostile_answer_makes_a_small_and_plain_record(body: bytes) -> None:
    exchange = Exchange()
    async with ProviderServer(Reply(200, body=body)) as provider, open_wire() as wire:
        await wire.call(exchange, "GET", provider.url)
    record = orjson.dumps(exchange.record)
    assert len(record) < 10_000
    assert b"\\u0000" not in record


def test_depth_width_and_length_of_a_record_are_bounded() -> None:
    exchange = Exchange()
    exchange.note("wide", orjson.loads(WIDE))
    assert len(exchange.record["wide"]["list"]) == WIDEST
    assert len(exchange.record["wide"]["long"]) == EXCERPT
    exchange.note("deep", orjson.loads(DEEP))
    assert str(exchange.record["deep"]).count("[") == DEEPEST
