"""What nobody should send, sent over HTTP: the exact refusal, and nothing stored."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from gateway.auth import mint
from tests import make
from tests.harness import Gateway

Json = Any
CREATE = (
    "mutation($i: ConnectorCreateInput!) { connectorCreate(input: $i) { connector { id } userErrors { code field message } } }"
)


async def post(gateway: Gateway, body: Any, **headers: str) -> tuple[int, Json]:
    given = {"authorization": f"Bearer {gateway.token()}", "content-type": "application/json", **headers}
    async with gateway.http.post(f"{gateway.url}/graphql", data=body, headers=given) as response:
        return response.status, await response.json(content_type=None)


def code(answer: Json) -> tuple[str, str]:
    (error,) = answer["errors"]
    assert len(error["extensions"]["code"]) >= 5 and len(error["message"]) >= 5
    return error["extensions"]["code"], error["message"]


async def create(gateway: Gateway, config: Json, **rest: Json) -> Json:
    return await gateway.post(CREATE, {"i": {"name": "Mail", "config": config, **rest}})


async def test_a_body_of_ten_megabytes_is_refused_unread(gateway: Gateway) -> None:
    before = await make.counts(gateway)
    text = json.dumps({"query": CREATE, "variables": {"i": {"name": "x" * 10_000_000, "config": {"simulator": {}}}}})
    status, answer = await post(gateway, io.BytesIO(text.encode()))
    assert (status, code(answer)[0]) == (413, "PAYLOAD_TOO_LARGE") and "data" not in answer
    with contextlib.suppress(aiohttp.ClientConnectionError):  # the server may hang up on what is still coming
        status, answer = await post(gateway, _chunks(text))
        assert (status, code(answer)[0]) == (413, "PAYLOAD_TOO_LARGE")
    assert await make.counts(gateway) == before


async def _chunks(text: str) -> AsyncIterator[bytes]:
    """Sent without a length."""
    for i in range(0, len(text), 65_536):
        yield text[i : i + 65_536].encode()


async def test_a_credential_that_does_not_count_gets_no_data(gateway: Gateway) -> None:
    await make.working(gateway)
    before = await make.counts(gateway)
    earlier, settings = dt.datetime.now(dt.UTC) - dt.timedelta(hours=2), gateway.application.settings
    expired = mint(settings, gateway.demo.id, "tester", ["*"], dt.timedelta(hours=1), now=earlier)
    other = gateway.token()[:-4] + "AAAA"
    body = json.dumps({"query": CREATE, "variables": {"i": {"name": "x", "config": {"simulator": {}}}}}).encode()
    for token in (f"Bearer {expired}", f"Bearer {other}", "Bearer ", "Basic eDp5", "Bearer null"):
        status, answer = await post(gateway, body, authorization=token)
        assert (status, code(answer)[0]) == (401, "UNAUTHENTICATED") and "data" not in answer
    assert await make.counts(gateway) == before


async def test_malformed_values_of_typed_settings_are_refused_before_anything_runs(gateway: Gateway) -> None:
    before = await make.counts(gateway)
    for config in (
        make.smtp("587; DROP"),  # type: ignore[arg-type]
        make.smtp(5.5),  # type: ignore[arg-type]
        make.smtp(2**40),
        make.smtp(security="MAYBE"),
        make.smtp(colour="red"),
        make.smtp(smtpHost=None),
        make.smtp(smtpHost=["a"]),
        {"smtp": None},
        {"smtp": []},
        {},
        {"fax": {}},
        {**make.smtp(), **make.telegram()},
        "smtp",
        ["smtp"],
        7,
        True,
    ):
        answer = await create(gateway, config)
        assert code(answer)[0] == "BAD_USER_INPUT", (config, answer)
        assert answer.get("data") is None
    assert await make.counts(gateway) == before


async def test_malformed_settings_are_named(gateway: Gateway) -> None:
    before = await make.counts(gateway)
    for config, field, message in (
        (make.smtp(0), "smtpPort", "smtpPort: Input should be greater than or equal to 1"),
        (make.smtp(70_000), "smtpPort", "smtpPort: Input should be less than or equal to 65535"),
        (make.smtp(fromAddress="a@b@example.com"), "fromAddress", None),
        (make.smtp(fromAddress="shop@"), "fromAddress", None),
        (make.smtp(smtpHost="127.0.0.1:25"), "smtpHost", None),
        (make.twilio(fromNumber="+1; DROP TABLE connector"), "fromNumber", None),
        (make.twilio("http://user:pass@127.0.0.1"), "baseUrl", "baseUrl: must not hold credentials"),
        (make.twilio("ftp://example.com"), "baseUrl", "baseUrl: must be an http or https URL with a host"),
        (make.twilio("javascript:alert(1)"), "baseUrl", "baseUrl: must be an http or https URL with a host"),
        (make.whatsapp(phoneNumberId="../../me"), "phoneNumberId", None),
        (make.telegram(botToken="123"), "botToken", None),
        (make.telegram(botToken="123:../../etc/passwd/aaaaaaaaaaaaaa"), "botToken", None),
    ):
        answer = await create(gateway, config)
        (error,) = answer["data"]["connectorCreate"]["userErrors"]
        (key,) = config
        assert (error["code"], error["field"]) == ("VALIDATION_ERROR", ["input", "config", key, field])
        assert message in (None, error["message"])
    assert await make.counts(gateway) == before


async def test_reserved_keys_are_refused_however_they_come(gateway: Gateway) -> None:
    before = await make.counts(gateway)
    deep = {"latencyMs": 1, "deep": [{"__proto__": {"isAdmin": True}}]}
    input = {"name": "Sim", "templateRef": "simulator:1", "arguments": deep}
    body = json.dumps({"query": CREATE, "variables": {"i": input}})
    _, answer = await post(gateway, body.encode())
    (error,) = answer["data"]["connectorCreate"]["userErrors"]
    assert (error["code"], error["field"]) == (
        "RESERVED_CONNECTOR_NAME",
        ["input", "arguments", "deep", "0", "__proto__"],
    )
    literal = """mutation { connectorCreate(input: {name: "Sim", templateRef: "simulator:1",
      arguments: {constructor: {x: 1}, latencyMs: 1}}) { connector { id } userErrors { code field } } }"""
    found = (await gateway.gql(literal))["connectorCreate"]["userErrors"]
    assert found == [{"code": "RESERVED_CONNECTOR_NAME", "field": ["input", "arguments", "constructor"]}]
    assert await make.counts(gateway) == before


async def test_values_at_the_edge_of_json_are_refused_not_broken(gateway: Gateway) -> None:
    before = await make.counts(gateway)
    huge = "9" * 400
    for literal in (
        f"latencyMs: {huge}",
        f"latencyMs: -{huge}",
        "latencyMs: 1e999",
        'latencyMs: "\\u0000"',
        "latencyMs: [[[1]]]",
    ):
        text = f"""mutation {{ connectorCreate(input: {{name: "Sim", templateRef: "simulator:1", idempotencyKey: "k",
          arguments: {{{literal}}}}}) {{ connector {{ id }} userErrors {{ code field }} }} }}"""
        answer = await gateway.post(text)
        codes = [error["extensions"]["code"] for error in answer.get("errors", [])] or [
            error["code"] for error in answer["data"]["connectorCreate"]["userErrors"]
        ]
        assert codes in (["VALIDATION_ERROR"], ["BAD_USER_INPUT"], ["GRAPHQL_VALIDATION_FAILED"]), (literal, answer)
    nested = "{a: " * 60 + "1" + "}" * 60
    text = f"""mutation {{ connectorCreate(input: {{name: "Sim", templateRef: "simulator:1", arguments: {nested}}}) {{
      userErrors {{ code }} }} }}"""
    answer = await gateway.post(text)
    assert "INTERNAL" not in json.dumps(answer)
    for body in (b'{"query": "{ viewer { subject } }", "variables": {"a": "\\ud800"}}', b"{", b"[]", b"\xff\xfe", b"null", b""):
        status, answer = await post(gateway, body)
        assert status == 400 and "data" not in answer and code(answer)[0] != "INTERNAL"
    assert await make.counts(gateway) == before


async def test_a_time_without_an_offset_is_refused(gateway: Gateway) -> None:
    await make.working(gateway)
    before = await make.counts(gateway)
    text = "mutation($i: MessageSendInput!) { messageSend(input: $i) { message { id } userErrors { code } } }"
    for when in ("2030-01-01T00:00:00", "tomorrow", 5, "2030-13-01T00:00:00Z", "9999-12-31T23:59:59-23:59"):
        answer = await gateway.post(text, {"i": {"to": "delivered", "channel": "SIMULATOR", "body": "x", "scheduledAt": when}})
        assert code(answer)[0] == "BAD_USER_INPUT"
    assert await make.counts(gateway) == before


async def test_null_in_a_workspace_change_is_named(gateway: Gateway) -> None:
    for input, code_, field in (
        ({"willActive": None}, "VALIDATION_ERROR", ["input", "willActive"]),
        ({"name": None}, "VALIDATION_ERROR", ["input", "name"]),
        ({"name": " "}, "VALIDATION_ERROR", ["input", "name"]),
        ({"name": "a\0b"}, "VALIDATION_ERROR", ["input", "name"]),
        ({"name": "n" * 201}, "VALIDATION_ERROR", ["input", "name"]),
        ({}, "VALIDATION_ERROR", ["input"]),
    ):
        ((got, path, _),) = await make.refused(gateway, "workspaceUpdate", **input)
        assert (got, path) == (code_, field)
    assert (await gateway.gql("{ viewer { workspace { name willActive } } }"))["viewer"]["workspace"] == {
        "name": "demo",
        "willActive": False,
    }
