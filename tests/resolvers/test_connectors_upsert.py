"""Plugging in by name what may be there already."""

from __future__ import annotations

import asyncio
from typing import Any

from models import connectors as rows
from tests import make
from tests.harness import Gateway

Json = Any


async def upsert(gateway: Gateway, **input: Json) -> Json:
    payload = await make.mutate(gateway, "connectorUpsert", **input)
    assert payload["userErrors"] == []
    return payload


async def refused(gateway: Gateway, **input: Json) -> list[tuple[str, list[str], str]]:
    return await make.refused(gateway, "connectorUpsert", **input)


async def secret(gateway: Gateway, connector_id: str, name: str) -> str | None:
    async with gateway.read() as session:
        found = await rows.get(session, gateway.demo.id, connector_id)
    assert found is not None
    value = getattr(gateway.application.providers.of(found), name)
    return value.get_secret_value() if value is not None else None


async def test_a_new_name_is_plugged_in_and_a_known_one_changed(gateway: Gateway) -> None:
    first = await upsert(gateway, name="Sim", config={"simulator": {"latencyMs": 1}}, priority=2)
    assert first["created"] is True and first["connector"]["priority"] == 2
    again = await upsert(gateway, name=" Sim ", config={"simulator": {"latencyMs": 2}})
    assert again["created"] is False and again["connector"]["id"] == first["connector"]["id"]
    assert (again["connector"]["config"], again["connector"]["priority"]) == ({"latencyMs": 2}, 2)
    assert again["connector"]["revision"] == 2 and again["connector"]["isVerified"] is False
    counted = await make.counts(gateway)
    assert (counted["connector"], counted["lane"]) == (1, 1)


async def test_replace_drops_and_merge_keeps_what_is_not_sent(gateway: Gateway) -> None:
    full = make.smtp(9, username="me", password="canary", fromName="Shop")
    made = await make.working(gateway, "Mail", config=full)
    merged = await upsert(gateway, name="Mail", mode="MERGE", arguments={"reply_to": "a@example.com"})
    kept = {**full["smtp"], "password": "****"}
    assert merged["connector"]["config"] == {**kept, "replyTo": "a@example.com"}
    assert await secret(gateway, made["id"], "password") == "canary"
    replaced = await upsert(gateway, name="Mail", config=make.smtp(9, fromName="Store"))
    assert replaced["connector"]["config"] == {**make.smtp(9)["smtp"], "fromName": "Store"}
    assert await secret(gateway, made["id"], "password") is None
    explicit = await upsert(gateway, name="Mail", mode=None, config=make.smtp(9))
    assert explicit["connector"]["config"] == make.smtp(9)["smtp"]


async def test_four_stars_mean_the_stored_secret_in_both_modes(gateway: Gateway) -> None:
    made = await make.working(gateway, "Bot", config=make.telegram())
    token = make.telegram()["telegramBot"]["botToken"]
    for mode, stars in (("REPLACE", "****:****"), ("MERGE", "****"), ("REPLACE", " **** ")):
        payload = await upsert(gateway, name="Bot", mode=mode, config=make.telegram(botToken=stars))
        assert payload["connector"]["config"]["botToken"] == "****:****" and payload["connector"]["revision"] > 1
        assert await secret(gateway, made["id"], "bot_token") == token
    found = await refused(gateway, name="Other", config=make.telegram(botToken="****"))
    path = ["input", "config", "telegramBot", "botToken"]
    assert found == [("VALIDATION_ERROR", path, 'botToken has no stored value that "****" could stand for.')]


async def test_what_a_list_showed_can_be_written_back(gateway: Gateway) -> None:
    """Reading the redacted configuration and upserting it is how people edit: nothing may get lost."""
    made = await make.working(gateway, "Mail", config=make.smtp(9, username="me", password="ca:nary"))
    shown = (await make.read(gateway, made["id"]))["config"]
    assert shown["password"] == "****:****"
    payload = await upsert(gateway, name="Mail", channel="EMAIL", arguments=shown)
    assert payload["connector"]["config"] == shown and payload["connector"]["verifiedAt"] == made["verifiedAt"]
    assert await secret(gateway, made["id"], "password") == "ca:nary"


async def test_a_name_in_two_channels_needs_the_channel(gateway: Gateway) -> None:
    sim = await make.working(gateway, "Main")
    bot = await make.working(gateway, "Main", config=make.telegram())
    found = await refused(gateway, name="Main", arguments={"latencyMs": 1}, mode="MERGE")
    message = "Several connectors have this name; say which channel: SIMULATOR, TELEGRAM."
    assert found == [("AMBIGUOUS_NAME", ["input", "name"], message)]
    named = await upsert(gateway, name="Main", channel="SIMULATOR", arguments={"latencyMs": 1})
    typed = await upsert(gateway, name="Main", config=make.telegram())
    assert (named["connector"]["id"], typed["connector"]["id"]) == (sim["id"], bot["id"])
    found = await refused(gateway, name="Main", channel="EMAIL", config=make.telegram())
    message = "The configuration is of a TELEGRAM connector, not EMAIL."
    assert found == [("VALIDATION_ERROR", ["input", "channel"], message)]


async def test_every_mistake_is_said_at_once(gateway: Gateway) -> None:
    found = await refused(gateway, name=" ", priority=-1, config=make.smtp(0, fromAddress="x"))
    assert [(code, path[-1]) for code, path, _ in found] == [
        ("MISSING_CONNECTOR_NAME", "name"),
        ("VALIDATION_ERROR", "priority"),
        ("VALIDATION_ERROR", "smtpPort"),
        ("VALIDATION_ERROR", "fromAddress"),
    ]
    await make.working(gateway, "Sim")
    found = await refused(gateway, name="Sim", priority=-1, arguments={"latency_ms": "x", "__proto__": {}})
    assert [(code, path[-1]) for code, path, _ in found] == [
        ("VALIDATION_ERROR", "priority"),
        ("RESERVED_CONNECTOR_NAME", "__proto__"),
    ]
    missing = [("MISSING_CONNECTOR_CONFIG", ["input", "config"], "Give config, or arguments.")]
    assert await refused(gateway, name="Sim", priority=4) == missing
    assert await refused(gateway, name="Sim", config=None) == missing
    assert [code for code, _, _ in await refused(gateway, name="Sim", arguments=None)] == ["MISSING_CONNECTOR_CONFIG"]
    assert [code for code, _, _ in await refused(gateway, name="New", channel="SIMULATOR")] == ["MISSING_CONNECTOR_CONFIG"]
    for name in ("__proto__", "PROTOTYPE", " constructor"):
        found = await refused(gateway, name=name, config={"simulator": {}})
        assert [code for code, _, _ in found] == ["RESERVED_CONNECTOR_NAME"]


async def test_twenty_upserts_at_once_make_one_connector_and_never_conflict(gateway: Gateway) -> None:
    payloads = await asyncio.gather(*(upsert(gateway, name="Main", config={"simulator": {"latencyMs": i}}) for i in range(20)))
    assert [payload["created"] for payload in payloads].count(True) == 1
    assert len({payload["connector"]["id"] for payload in payloads}) == 1
    assert (await make.counts(gateway))["connector"] == 1


async def test_the_payload_lists_all_connectors(gateway: Gateway) -> None:
    other = await make.working(gateway, "Other", priority=1)
    payload = await make.mutate(
        gateway, "connectorUpsert", select="created connectors { id config }", name="Bot", config=make.telegram()
    )
    assert payload["created"] is True
    assert [found["config"].get("botToken") for found in payload["connectors"]] == ["****:****", None]
    assert payload["connectors"][1]["id"] == other["id"]


async def test_who_may_write_but_not_read_is_told_so_without_undoing_the_work(gateway: Gateway) -> None:
    token = gateway.token("connectors:write")
    text = """mutation($input: ConnectorUpsertInput!) {
      connectorUpsert(input: $input) { created connector { name } connectors { id } userErrors { code } } }"""
    answer = await gateway.post(text, {"input": {"name": "Sim", "config": {"simulator": {}}}}, token)
    assert answer["data"]["connectorUpsert"] == {
        "created": True,
        "connector": {"name": "Sim"},
        "connectors": None,
        "userErrors": [],
    }
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["connectorUpsert", "connectors"], "FORBIDDEN")
    assert error["extensions"]["requiredScope"] == "connectors:read"
