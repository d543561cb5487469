from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from channels import exchange
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


PIECES = ["123456", "S3cr", 'a"b', "\\", "é", "body", "true", ",", ":", "x" * 30, "[", " ", "\n", "12"]


def _document(chance: random.Random, depth: int = 0) -> Any:
    """Anything JSON-like, made of what is hidden and what JSON is made of."""

    def text() -> str:
        return "".join(chance.choices(PIECES, k=chance.randrange(4)))

    kind = chance.randrange(4 if depth > 2 else 6)
    if kind < 3:
        return (text(), chance.choice([123456, 12, 1.5, True, None]), text() + "123456")[kind]
    if kind == 3:
        return chance.choice([2**70, "\0", "a\ud800"]) if chance.random() < 0.1 else text()
    if kind == 4:
        return [_document(chance, depth + 1) for _ in range(chance.randrange(4))]
    names = [text(), "Body", "text", "plain", 'x"body', "SUBJECT"]
    return {chance.choice(names): _document(chance, depth + 1) for _ in range(chance.randrange(4))}


def test_the_quick_way_to_a_record_leads_where_the_long_one_does() -> None:
    chance, quick = random.Random(1), 0
    for _ in range(5_000):
        hidden = ["".join(chance.choices(PIECES[:10], k=chance.randint(1, 3))) for _ in range(3)]
        value = _document(chance)
        masks = Exchange(tuple(hidden[:2]), tuple(hidden[2:]))._masks
        try:
            found = exchange._cleaned(orjson.dumps(value), masks)
        except (TypeError, ValueError):
            continue
        assert found == exchange._clean(value, masks), (value, hidden)
        quick += 1
    assert quick > 3_500
