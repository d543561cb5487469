"""Canaries: secrets no one else has, plugged in everywhere and made to fail in every way, then looked for everywhere."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from channels import BY_REF
from gateway import logs
from models import connectors as rows
from models.base import Base
from models.connectors import Connector
from tests import make
from tests.harness import Gateway, running, settings_for
from tests.lab import approve
from tests.mail_server import DROP, MailServer
from tests.provider_server import Garbage, ProviderServer, Recorded, Reply, Reset

Json = Any
PASSWORD = "canary+mail/Pa55 wörd:1"
TWILIO, TWILIO_TOKEN = "canaryTwilioSecret0123456789abcd", "canaryTwilioToken0123456789abcde"
META, META_APP, META_VERIFY = "EAAcanaryMetaAccess0123456789", "canaryMetaAppSecret0123456789", "canaryMetaVerify0123456789"
TELEGRAM = "9876543210:canaryTelegramBotToken0123456789abc"
SIMULATOR = "canarySimulatorKey0123456789"
SECOND = {"twilio": "canaryTwilioSecond0123456789abcde", "simulator": "canarySimulatorSecond0123456789"}
SECRETS = (
    *(PASSWORD, TWILIO, TWILIO_TOKEN, META, META_APP, META_VERIFY, TELEGRAM, TELEGRAM.partition(":")[2], SIMULATOR),
    *SECOND.values(),
)
RECIPIENTS = {"EMAIL": "someone@example.com", "SMS": "+4915112345678", "WHATSAPP": "+4915112345678", "TELEGRAM": "12345678"}


def spellings() -> set[str]:
    """How a secret looks when it is copied plain, quoted, escaped or in base64."""
    found = {base64.b64encode(f"SK00000000000000000000000000000000:{one}".encode()).decode() for one in SECRETS}
    for secret in SECRETS:
        found |= {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()}
    return found | {base64.b64encode(f"\0me\0{PASSWORD}".encode()).decode()}


def assert_clean(where: str, text: str) -> None:
    hits = sorted(spelling[:12] for spelling in spellings() if spelling in text)
    assert not hits, f"{where} holds {hits}"


def echo(status: int) -> Any:
    """A provider that quotes back everything it was sent."""

    def reply(request: Recorded) -> Reply:
        said = {"path": request.path, "headers": request.headers, "body": request.body.decode("utf-8", "replace")}
        words = json.dumps(said)
        error = {"code": 190, "message": words, "error_data": {"details": words}}
        whole = {"ok": False, "error_code": status, "description": words, "code": 20003, "message": words, "error": error}
        return Reply(status, whole)

    return reply


@contextmanager
def captured() -> Iterator[io.StringIO]:
    """Every log line of the process, as it is written in production and at the most talkative level."""
    stream = io.StringIO()
    logs.configure("debug", "json", stream=stream)
    try:
        yield stream
    finally:
        logs.configure()


class Listener:
    """Keeps every answer the gateway gives."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.heard: list[str] = []

    async def ask(self, query: str, **variables: Json) -> Json:
        answer = await self.gateway.post(query, variables)
        self.heard.append(json.dumps(answer, ensure_ascii=False))
        return answer.get("data")

    async def mutate(self, field: str, **input: Json) -> Json:
        kind = f"{field[0].upper()}{field[1:]}Input"
        text = f"mutation($i: {kind}!) {{ {field}(input: $i) {{ {make.RESULTS[field]} {make.ERRORS} }} }}"
        return (await self.ask(text, i=input) or {}).get(field)


EVERYTHING = f"""{{ connectors(first: 100) {{ nodes {{ {make.CONNECTOR}
    configFields {{ name value fingerprint }} }} }}
  messages(first: 100) {{ nodes {{ id status from failure {{ code message providerCode providerMessage }}
    attempts {{ outcome exchange failure {{ code message providerMessage }} }}
    timeline {{ type detail }} route {{ reason }} }} }}
  events(first: 100) {{ nodes {{ id type ... on ChannelStatusChanged {{ identifier cause connector {{ config }}
    status {{ reasons channel {{ errorMessage }} checks {{ results {{ assertions {{ message }} }} }} }} }}
    ... on DeliveryUpdated {{ detail message {{ id }} }} }} }} }}"""


async def trouble(listener: Listener, connector: Json) -> None:
    """Verify, test and send through one connector, whatever comes of it."""
    to = RECIPIENTS.get(connector["channelType"], "delivered")
    await listener.mutate("connectorVerify", id=connector["id"])
    await listener.mutate("connectorTest", id=connector["id"], testDestination=to)
    under = {"senderId": await approve(listener.gateway)} if connector["channelType"] == "SMS" else {}
    sent = await listener.mutate("messageSend", to=to, body="Hello", connectorId=connector["id"], **under)
    assert sent["userErrors"] == []


async def plug_in(listener: Listener, mail: MailServer, http: ProviderServer) -> list[Json]:
    configs = (
        make.smtp(mail.port, username="me", password=PASSWORD),
        make.twilio(http.url, apiKeySecret=TWILIO, authToken=TWILIO_TOKEN),
        make.whatsapp(http.url, accessToken=META, appSecret=META_APP, verifyToken=META_VERIFY),
        make.telegram(http.url, botToken=TELEGRAM),
        {"simulator": {"apiKey": SIMULATOR}},
    )
    made = []
    for number, config in enumerate(configs):
        payload = await listener.mutate("connectorCreate", name=f"C{number}", config=config, idempotencyKey=f"k{number}")
        assert payload["userErrors"] == []
        await make.settled(listener.gateway, payload["connector"]["id"])
        made.append(payload["connector"])
    return made


async def mistakes(listener: Listener) -> None:
    """Requests that are refused while they hold a secret."""
    for config in (
        make.telegram(botToken=TELEGRAM + "!"),
        make.smtp(0, username="me", password=PASSWORD + "\n"),
        make.twilio(apiKeySecret=TWILIO, baseUrl=f"http://me:{TWILIO}@127.0.0.1"),
        make.whatsapp(accessToken=META + "\n", phoneNumberId="x"),
        {"simulator": {"apiKey": SIMULATOR * 10}},
    ):
        payload = await listener.mutate("connectorCreate", name="Wrong", config=config)
        assert payload["userErrors"] != []
    for arguments in (
        {"smtp_host": "x", "password": {"deep": PASSWORD}, "fromAddress": [PASSWORD]},
        {"password": [PASSWORD], "smtpPort": PASSWORD},
        PASSWORD,
        [PASSWORD],
    ):
        payload = await listener.mutate(
            "connectorCreate", name="Wrong", templateRef="email-smtp:1", arguments={}, securityArguments=arguments
        )
        assert payload["userErrors"] != []


async def stored(gateway: Gateway) -> str:
    """Every value of every table."""
    found = []
    async with gateway.read() as session:
        for table in Base.metadata.sorted_tables:
            found += [repr(row) for row in await session.execute(select(table))]
    return "\n".join(found)


async def shown(gateway: Gateway, connector: Json) -> str:
    """A connector and its provider as a debugger or a traceback would print them."""
    async with gateway.read() as session:
        row = await rows.get(session, gateway.demo.id, connector["id"])
    assert isinstance(row, Connector)
    provider = gateway.application.providers.of(row)
    return "\n".join(
        [
            *(repr(row.__dict__), repr(provider), str(provider), repr(provider.__pydantic_private__)),
            *(repr(provider.model_dump()), provider.model_dump_json(), repr(BY_REF[row.template_ref])),
            *(repr(gateway.application.means), repr(gateway.application.settings), repr(gateway.application.providers)),
        ]
    )


async def test_no_secret_is_ever_seen_again(tmp_path: Path) -> None:
    ways = (echo(401), echo(400), echo(500), echo(429), Reset(), Garbage(), Reply(200, body=b"\xff"), Reply(302))
    with captured() as lines:
        async with (
            running(settings_for(tmp_path)) as gateway,
            MailServer("none", credentials=("me", "other")) as mail,
            ProviderServer(default=echo(401)) as http,
            gateway.socket() as socket,
        ):
            listener = Listener(gateway)
            stream = await socket.subscribe("subscription { events { id type ... on DeliveryUpdated { detail } } }")
            made = await plug_in(listener, mail, http)
            await mistakes(listener)
            for way in ways:
                http.default = way
                mail.faults["AUTH"] = [f"535 5.7.8 {PASSWORD} is wrong"]
                mail.faults["EHLO"] = [DROP] if way is ways[0] else []
                await asyncio.gather(*(trouble(listener, connector) for connector in made))
            await listener.mutate("connectorUpdate", id=made[1]["id"], arguments={"apiKeySecret": SECOND["twilio"]})
            await listener.mutate("connectorUpdate", id=made[4]["id"], securityArguments={"api_key": SECOND["simulator"]})
            await listener.mutate("connectorUpsert", name="C3", config=make.telegram(http.url, botToken="****"))
            await asyncio.gather(*(trouble(listener, connector) for connector in made))
            await listener.ask(EVERYTHING)
            for connector in made:
                assert_clean(connector["provider"], await shown(gateway, connector))
            assert_clean("the database before the deletes", await stored(gateway))
            for connector in made:
                await listener.mutate("connectorDelete", id=connector["id"])
            await listener.ask(EVERYTHING)
            with suppress(TimeoutError):
                while True:
                    listener.heard.append(json.dumps(await stream.frame(0.2)))
            assert_clean("the database", await stored(gateway))
            assert len(http.requests) > 20 and any(TELEGRAM in request.path for request in http.requests)
    assert_clean("an answer", "\n".join(listener.heard))
    assert len(listener.heard) > 100 and "INTERNAL" not in "".join(listener.heard)
    written = lines.getvalue()
    assert_clean("a log line", written)
    assert written.count('"connector_tested"') >= 40
    await asyncio.to_thread(assert_files_clean, tmp_path)


def assert_files_clean(folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert any(file.suffix == ".db" or b"SQLite" in file.read_bytes()[:16] for file in files)
    for file in files:
        assert_clean(file.name, file.read_bytes().decode("utf-8", "replace"))


def test_the_search_finds_what_it_looks_for() -> None:
    for text in (f"x{PASSWORD}y", json.dumps({"a": META}), f"/bot{TELEGRAM}/getMe", quote(PASSWORD, safe="")):
        with pytest.raises(AssertionError, match="somewhere holds"):
            assert_clean("somewhere", text)
    assert_clean("somewhere", "**** canary")
