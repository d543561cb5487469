from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from channels.base import ChannelType
from channels.sms_text import Estimate, TextEncoding
from models.events import Event
from resolvers import estimates
from resolvers.problems import Problem, UserErrorCode
from tests import lab
from tests.harness import Gateway, eventually, running, settings_for
from tests.provider_server import ProviderServer, Reply

ESTIMATE = """query($input: MessageEstimateInput!) {
  messageEstimate(input: $input) { encoding characters segments offendingCharacters gsmSafeBody }
}"""
CREATE = """mutation($input: ConnectorCreateInput!) {
  connectorCreate(input: $input) { connector { id } userErrors { code message field } }
}"""
SEND = """mutation($input: MessageSendInput!) {
  messageSend(input: $input) { message { id encoding segments } userErrors { code message field } }
}"""
READ = "query($id: ID!) { message(id: $id) { encoding segments } }"
ELSEWHERE = [channel for channel in ChannelType if channel is not ChannelType.SMS]


def shown(encoding: str, characters: int, segments: int, offending: list[str], safe: str | None) -> dict[str, Any]:
    return {
        "encoding": encoding,
        "characters": characters,
        "segments": segments,
        "offendingCharacters": offending,
        "gsmSafeBody": safe,
    }


@pytest.mark.parametrize("channel", ELSEWHERE)
def test_outside_sms_a_text_is_one_message_of_utf8(channel: ChannelType) -> None:
    assert estimates.of("“я”" * 1_000, channel) == Estimate(TextEncoding.UTF8, 3_000, 1)


@pytest.mark.parametrize("channel", [ChannelType.SMS, ChannelType.EMAIL])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a" * 100_001, "body has at most 100000 characters."),
        ("a\x00b", "body must not hold NUL or unpaired surrogates."),
        ("a\ud83d", "body must not hold NUL or unpaired surrogates."),
        ("\ude00", "body must not hold NUL or unpaired surrogates."),
    ],
    ids=["long", "nul", "high", "low"],
)
def test_what_could_never_be_a_body_is_refused(channel: ChannelType, body: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        estimates.of(body, channel)
    problem = caught.value
    assert (problem.code, problem.message, problem.field) == (UserErrorCode.VALIDATION_ERROR, message, ["input", "body"])


@given(st.text(max_size=200), st.sampled_from(ChannelType))
def test_every_other_text_has_an_estimate(body: str, channel: ChannelType) -> None:
    if "\x00" not in body:
        found = estimates.of(body, channel)
        assert found.characters == len(body)
        assert (found.encoding is TextEncoding.UTF8) == (channel is not ChannelType.SMS)


async def test_the_api_estimates(gateway: Gateway) -> None:
    async def ask(**given: str) -> Any:
        return (await gateway.gql(ESTIMATE, input=given))["messageEstimate"]

    assert await ask(body="a" * 160) == shown("GSM7", 160, 1, [], None)
    assert await ask(body="It’s “me” €" + "!" * 60) == shown("UCS2", 71, 2, ["’", "“", "”"], 'It\'s "me" €' + "!" * 60)
    assert await ask(body="Привет 😀😀", channel="SMS") == shown("UCS2", 9, 1, [*"Привет", "😀"], None)
    assert await ask(body="“я”", channel="EMAIL") == shown("UTF8", 3, 1, [], None)
    assert await ask(body="a" * 100_000) == shown("GSM7", 100_000, 654, [], None)


async def test_an_estimate_needs_a_credential_but_no_scope(gateway: Gateway) -> None:
    variables = {"input": {"body": "a"}}
    answer = await gateway.post(ESTIMATE, variables, gateway.token("read:email"))
    assert answer == {"data": {"messageEstimate": shown("GSM7", 1, 1, [], None)}}
    refused = await gateway.post(ESTIMATE, variables, "not-a-token")
    assert [error["extensions"]["code"] for error in refused["errors"]] == ["UNAUTHENTICATED"]


async def test_a_refused_body_is_an_error_of_the_query(gateway: Gateway) -> None:
    answer = await gateway.post(ESTIMATE, {"input": {"body": "a" * 100_001}})
    [error] = answer["errors"]
    assert answer["data"] == {"messageEstimate": None}
    assert error["message"] == "body has at most 100000 characters."
    assert error["extensions"] == {"code": "VALIDATION_ERROR", "httpStatus": 400}


async def test_an_estimate_leaves_nothing_behind(gateway: Gateway) -> None:
    async def events() -> int:
        async with gateway.read() as session:
            return (await session.execute(select(func.count()).select_from(Event))).scalar_one()

    before = await events()
    await gateway.gql(ESTIMATE, input={"body": "“я”"})
    assert await events() == before


async def connect(gateway: Gateway, config: dict[str, Any]) -> str:
    created = (await gateway.gql(CREATE, input={"name": "One", "config": config}))["connectorCreate"]
    assert created["userErrors"] == []
    return str(created["connector"]["id"])


def twilio(url: str = "https://api.twilio.com") -> dict[str, Any]:
    account = {"accountSid": f"AC{'0' * 32}", "apiKeySid": f"SK{'1' * 32}", "apiKeySecret": "secret-9f8e7d"}
    return {"twilio": {**account, "fromNumber": "+15005550006", "baseUrl": url}}


async def send(gateway: Gateway, connector_id: str, to: str, **given: Any) -> Any:
    if to.startswith("+"):
        given["senderId"] = await lab.approve(gateway)
    sent = (await gateway.gql(SEND, input={"connectorId": connector_id, "to": to, **given}))["messageSend"]
    assert sent["userErrors"] == []
    return sent["message"]


async def test_an_accepted_sms_knows_its_parts(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path), worker=False) as gateway:
        connector_id = await connect(gateway, twilio())
        texts = ["a" * 161, "я" * 71, "Hi €"]
        sent = [await send(gateway, connector_id, "+447700900123", body=text) for text in texts]
        assert [(each["encoding"], each["segments"]) for each in sent] == [("GSM7", 2), ("UCS2", 2), ("GSM7", 1)]
        read = [(await gateway.gql(READ, id=each["id"]))["message"] for each in sent]
        assert read == [{"encoding": each["encoding"], "segments": each["segments"]} for each in sent]
        media = [{"url": "https://files.example/1.jpg"}]
        mms = await send(gateway, connector_id, "+447700900123", body="Look", media=media)
        assert (mms["encoding"], mms["segments"]) == (None, None)


async def test_an_accepted_message_of_another_channel_has_no_parts(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path), worker=False) as gateway:
        sent = await send(gateway, await connect(gateway, {"simulator": {}}), "delivered", body="a" * 161)
        assert (sent["encoding"], sent["segments"]) == (None, None)


async def test_the_providers_count_replaces_ours(gateway: Gateway) -> None:
    async with ProviderServer(default=Reply(201, {"sid": "SM1", "status": "queued", "num_segments": "3"})) as provider:
        connector_id = await connect(gateway, twilio(provider.url))
        sent = await send(gateway, connector_id, "+447700900123", body="a" * 161)
        assert (sent["encoding"], sent["segments"]) == ("GSM7", 2)

        async def counted() -> bool:
            return bool((await gateway.gql(READ, id=sent["id"]))["message"] == {"encoding": "GSM7", "segments": 3})

        await eventually(counted)
