"""Changing a connector by its id."""

from __future__ import annotations

import asyncio
from typing import Any

from models import connectors as rows
from tests import make
from tests.harness import Gateway, eventually
from tests.mail_server import MailServer
from tests.provider_server import ProviderServer, Reply

Json = Any
NO_STORED = 'has no stored value that "****" could stand for.'


async def update(gateway: Gateway, **input: Json) -> Json:
    return await make.mutate(gateway, "connectorUpdate", **input)


async def refused(gateway: Gateway, **input: Json) -> list[tuple[str, list[str], str]]:
    return await make.refused(gateway, "connectorUpdate", **input)


async def secrets(gateway: Gateway, connector_id: str) -> Json:
    async with gateway.read() as session:
        found = await rows.get(session, gateway.demo.id, connector_id)
    assert found is not None
    return found.secrets


async def clear(gateway: Gateway, connector_id: str) -> Json:
    """The stored configuration as the provider is given it."""
    async with gateway.read() as session:
        found = await rows.get(session, gateway.demo.id, connector_id)
    assert found is not None
    provider = gateway.application.providers.of(found)
    return {name: getattr(value, "get_secret_value", lambda v=value: v)() for name, value in provider}


async def test_absent_is_left_alone_and_null_clears(gateway: Gateway) -> None:
    full = {"description": "ours", "priority": 4, "enabled": False, "conversational": True, "throttlePerSecond": 5.0}
    made = await make.working(gateway, "Main", **full)
    shown = ("name", "description", "priority", "enabled", "conversational", "throttle", "config")

    def settings(found: Json) -> Json:
        return {name: found[name] for name in shown}

    changed = await make.change(gateway, made["id"])
    assert settings(changed) == settings(made) and changed["revision"] == 2
    for field, value, shows in (
        ("description", "theirs", "theirs"),
        ("description", None, None),
        ("priority", 0, 0),
        ("enabled", True, True),
        ("conversational", False, False),
        ("conversational", None, None),
        ("throttlePerSecond", 2.5, {"perSecond": 2.5}),
        ("throttlePerSecond", None, None),
        ("name", "Other", "Other"),
    ):
        before = await make.read(gateway, made["id"])
        changed = await make.change(gateway, made["id"], **{field: value})
        name = "throttle" if field == "throttlePerSecond" else field
        assert settings(changed) == {**settings(before), name: shows}
        assert changed["revision"] == before["revision"] + 1 and changed["isVerified"] is True
        assert settings(await make.read(gateway, made["id"])) == settings(changed)


async def test_what_cannot_be_null_is_refused_by_name(gateway: Gateway) -> None:
    made = await make.working(gateway)
    assert await refused(gateway, id=made["id"], name=None, priority=None, enabled=None) == [
        ("MISSING_CONNECTOR_NAME", ["input", "name"], "A connector needs a name."),
        ("VALIDATION_ERROR", ["input", "priority"], "priority cannot be null; leave it out to keep it."),
        ("VALIDATION_ERROR", ["input", "enabled"], "enabled cannot be null; leave it out to keep it."),
    ]
    for part in ("config", "arguments", "securityArguments"):
        ((code, path, _),) = await refused(gateway, id=made["id"], **{part: None})
        assert (code, path) == ("MISSING_CONNECTOR_CONFIG", ["input", part])
    assert await make.read(gateway, made["id"]) == made


async def test_every_mistake_is_said_at_once_and_nothing_changes(gateway: Gateway) -> None:
    made = await make.working(gateway)
    found = await refused(
        gateway,
        id=made["id"],
        name="Constructor",
        description="d" * 2001,
        priority=-1,
        throttlePerSecond=10_001,
        arguments={"latency_ms": "long", "colour": 1},
    )
    assert [(code, path[-1]) for code, path, _ in found] == [
        ("RESERVED_CONNECTOR_NAME", "name"),
        ("VALIDATION_ERROR", "description"),
        ("VALIDATION_ERROR", "priority"),
        ("VALIDATION_ERROR", "throttlePerSecond"),
        ("VALIDATION_ERROR", "latency_ms"),
        ("VALIDATION_ERROR", "colour"),
    ]
    assert await make.read(gateway, made["id"]) == made


async def test_a_rename_keeps_the_verification_and_the_queue(gateway: Gateway) -> None:
    made = await make.working(gateway, "Old")
    changed = await make.change(gateway, made["id"], name=" New ", priority=7)
    assert (changed["name"], changed["priority"], changed["isVerified"]) == ("New", 7, True)
    assert changed["verifiedAt"] == made["verifiedAt"] and changed["routingKey"] == made["routingKey"]
    assert (await make.events(gateway, made["id"]))[-1] == ("channel.updated", "ACTIVE", "ACTIVE", "settings")


async def test_a_rename_into_a_name_that_is_taken_is_refused(gateway: Gateway) -> None:
    one, two = await make.working(gateway, "One"), await make.working(gateway, "Two")
    before = await make.counts(gateway)
    payload = await update(gateway, id=two["id"], name=" One")
    assert payload["connector"] is None
    assert payload["userErrors"] == [
        {
            "code": "CONNECTOR_ALREADY_EXISTS",
            "message": "The workspace has another SIMULATOR connector of this name.",
            "field": ["input", "name"],
            "httpStatus": 409,
            "conflictingId": one["id"],
        }
    ]
    assert await make.read(gateway, two["id"]) == two and await make.counts(gateway) == before
    assert (await make.change(gateway, two["id"], name="Two"))["name"] == "Two"


async def test_of_many_renames_into_one_name_one_wins(gateway: Gateway) -> None:
    made = [await make.working(gateway, f"S{i}") for i in range(6)]
    payloads = await asyncio.gather(*(update(gateway, id=one["id"], name="Main") for one in made))
    (winner,) = [payload["connector"]["id"] for payload in payloads if payload["connector"]]
    errors = [error for payload in payloads for error in payload["userErrors"]]
    assert [(error["code"], error["conflictingId"]) for error in errors] == [("CONNECTOR_ALREADY_EXISTS", winner)] * 5


async def test_a_stale_revision_is_a_conflict(gateway: Gateway) -> None:
    made = await make.working(gateway)
    changed = await make.change(gateway, made["id"], expectedRevision=1, priority=1)
    assert changed["revision"] == 2
    for stale in (1, 3, 0, -1):
        found = await refused(gateway, id=made["id"], expectedRevision=stale, priority=9)
        message = "The connector was changed meanwhile; read it again and repeat."
        assert found == [("REVISION_CONFLICT", ["input", "expectedRevision"], message)]
    assert (await make.read(gateway, made["id"]))["priority"] == 1


async def test_of_twenty_racing_changes_of_one_revision_one_wins(gateway: Gateway) -> None:
    made = await make.working(gateway)
    race = (update(gateway, id=made["id"], expectedRevision=1, priority=i + 1) for i in range(20))
    payloads = await asyncio.gather(*race)
    (winner,) = [payload["connector"] for payload in payloads if payload["connector"]]
    codes = [error["code"] for payload in payloads for error in payload["userErrors"]]
    assert codes == ["REVISION_CONFLICT"] * 19
    now = await make.read(gateway, made["id"])
    assert (now["revision"], now["priority"]) == (2, winner["priority"])


async def test_racing_changes_without_a_revision_all_succeed(gateway: Gateway) -> None:
    made = await make.working(gateway)
    fields: list[Json] = [{"priority": 5}, {"description": "x"}, {"conversational": True}, {"arguments": {"latencyMs": 1}}] * 5
    payloads = await asyncio.gather(*(update(gateway, id=made["id"], **given) for given in fields))
    assert [payload["userErrors"] for payload in payloads] == [[]] * 20
    now = await make.read(gateway, made["id"])
    assert (now["priority"], now["description"], now["conversational"], now["config"]["latencyMs"]) == (5, "x", True, 1)
    assert now["revision"] == 21


async def test_a_changed_configuration_is_checked_anew(gateway: Gateway) -> None:
    made = await make.working(gateway)
    changed = await make.change(gateway, made["id"], arguments={"api_key": "invalid"})
    assert (changed["isVerified"], changed["verifiedAt"]) == (False, None)
    assert changed["status"]["channel"] == {"status": "PENDING", "stage": "PROVISIONING", "errorMessage": None}
    broken = await make.settled(gateway, made["id"])
    assert broken["isVerified"] is False
    error = "The simulator refuses this API key."
    assert broken["status"]["channel"] == {"status": "ERROR", "stage": "INACTIVE", "errorMessage": error}
    assert broken["status"]["ready"] is False and broken["status"]["reasons"] == [error]
    assert (await make.events(gateway, made["id"]))[-2:] == [
        ("channel.updated", "ACTIVE", "PROVISIONING", "configuration"),
        ("channel.updated", "PROVISIONING", "INACTIVE", "provisioning"),
    ]


async def test_the_configuration_that_is_stored_changes_nothing(gateway: Gateway) -> None:
    async with MailServer("none", credentials=("me", "canary")) as server:
        config = make.smtp(server.port, username="me", password="canary")
        made = await make.working(gateway, "Mail", config=config)
        assert made["isVerified"] is True
        sealed = await secrets(gateway, made["id"])
        connections = server.connections
        for same in (
            {"config": config},
            {"config": make.smtp(server.port, username="me", password="****")},
            {"arguments": {"smtp_port": str(server.port)}},
            {"arguments": {}},
            {"securityArguments": {"basic": {"password": "canary"}}},
        ):
            changed = await make.change(gateway, made["id"], **same)
            assert changed["isVerified"] is True and changed["status"]["channel"]["stage"] == "ACTIVE"
            assert await secrets(gateway, made["id"]) == sealed
        assert server.connections == connections


async def test_single_arguments_go_over_what_is_stored(gateway: Gateway) -> None:
    config = make.smtp(9, username="me", password="canary", fromName="Shop", replyTo="a@example.com")
    made = await make.working(gateway, "Mail", config=config)
    changed = await make.change(gateway, made["id"], arguments={"from_name": "Store", "replyTo": None})
    shown = {name: value for name, value in config["smtp"].items() if name != "replyTo"}
    assert changed["config"] == {**shown, "password": "****", "fromName": "Store"}
    assert (await clear(gateway, made["id"]))["password"] == "canary"
    changed = await make.change(gateway, made["id"], arguments={"username": None}, securityArguments={"password": None})
    assert "password" not in changed["config"] and await secrets(gateway, made["id"]) == {}
    ((code, path, message),) = await refused(gateway, id=made["id"], arguments={"fromAddress": None})
    assert (code, path, message) == ("VALIDATION_ERROR", ["input", "arguments", "fromAddress"], "fromAddress: is required")


async def test_four_stars_keep_a_secret_and_are_never_stored(gateway: Gateway) -> None:
    made = await make.working(gateway, "Mail", config=make.smtp(9, username="me", password="canary"))
    sealed = await secrets(gateway, made["id"])
    for stars in ("****", "****:****", " **** "):
        changed = await make.change(gateway, made["id"], arguments={"smtpPort": 10, "password": stars})
        assert changed["config"]["password"] == "****"
        assert (await clear(gateway, made["id"]))["password"] == "canary"
        assert await secrets(gateway, made["id"]) == sealed
    plain = await make.working(gateway, "Plain", config=make.smtp(9))
    found = await refused(gateway, id=plain["id"], arguments={"username": "me", "password": "****"})
    assert found[0] == ("VALIDATION_ERROR", ["input", "arguments", "password"], f"password {NO_STORED}")
    await make.settled(gateway, made["id"])


async def test_a_new_secret_is_sealed_anew_and_the_others_stay(gateway: Gateway) -> None:
    made = await make.working(gateway, "SMS", config=make.twilio(authToken="first"))
    before = await secrets(gateway, made["id"])
    await make.change(gateway, made["id"], securityArguments={"authToken": "second:part"})
    after = await secrets(gateway, made["id"])
    assert after["apiKeySecret"] == before["apiKeySecret"]
    assert after["authToken"]["fingerprint"] != before["authToken"]["fingerprint"]
    assert after["authToken"]["updated_at"] > before["authToken"]["updated_at"]
    assert (await make.read(gateway, made["id"]))["config"]["authToken"] == "****:****"


async def test_another_providers_settings_do_not_fit(gateway: Gateway) -> None:
    made = await make.working(gateway)
    found = await refused(gateway, id=made["id"], config=make.telegram())
    message = "This connector is a simulator:1; its configuration goes under simulator."
    assert found == [("INVALID_CONNECTOR_DATA", ["input", "config", "telegramBot"], message)]


async def test_an_unknown_connector_is_not_found(gateway: Gateway) -> None:
    made = await make.working(gateway)
    await make.mutate(gateway, "connectorDelete", id=made["id"])
    for unknown in (made["id"], "con_" + "0" * 32, "", "x", "💥", made["id"].upper(), gateway.demo.id):
        found = await refused(gateway, id=unknown, priority=1)
        assert found == [("CONNECTOR_NOT_FOUND", ["input", "id"], "There is no such connector.")]


async def _received(server: MailServer) -> int:
    return len(server.received)


async def test_a_new_mail_server_takes_effect_at_once(gateway: Gateway) -> None:
    async with MailServer("none") as old, MailServer("none") as new:
        made = await make.working(gateway, "Mail", config=make.smtp(old.port))
        await make.message(gateway, "a@example.com", connectorId=made["id"], subject="first")
        await eventually(lambda: _received(old), 1)
        await make.change(gateway, made["id"], arguments={"smtpPort": new.port, "fromAddress": "new@example.com"})
        await make.message(gateway, "b@example.com", connectorId=made["id"], subject="second")
        await eventually(lambda: _received(new), 1)
        assert [mail.recipient for mail in old.received] == ["a@example.com"]
        assert [(mail.sender, mail.recipient) for mail in new.received] == [("new@example.com", "b@example.com")]


async def test_a_new_secret_is_what_the_next_message_is_sent_with(gateway: Gateway) -> None:
    async with ProviderServer(default=Reply(201, {"sid": "SM1", "status": "queued"})) as provider:
        made = await make.working(gateway, "SMS", config=make.twilio(provider.url))
        await make.change(gateway, made["id"], arguments={"apiKeySecret": "second", "fromNumber": "+15005550007"})
        provider.requests.clear()
        trial = await make.mutate(gateway, "connectorTest", id=made["id"], testDestination="+15005550009")
        assert trial["success"] is True
        sent = next(request for request in provider.requests if request.method == "POST")
        assert ("From", "+15005550007") in sent.form()
        assert sent.headers["authorization"].startswith("Basic U0swMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDpzZWNvbmQ")


async def test_a_configuration_that_no_longer_opens_can_be_given_anew(gateway: Gateway) -> None:
    made = await make.working(gateway, "Mail", config=make.smtp(9, username="me", password="canary"))
    async with gateway.application.database.write() as session:
        found = await rows.get(session, gateway.demo.id, made["id"])
        assert found is not None
        found.secrets = {"password": {**found.secrets["password"], "sealed": "v1.gone.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}
        found.config_revision += 1
    unusable = "The connector's configuration cannot be used any more; save it again."
    trial = await make.mutate(gateway, "connectorTest", id=made["id"], testDestination="a@example.com")
    assert [(e["code"], e["message"]) for e in trial["userErrors"]] == [("INVALID_STATE", unusable)]
    checked = (await make.mutate(gateway, "connectorVerify", id=made["id"]))["connector"]
    assert (checked["isVerified"], checked["status"]["reasons"]) == (False, [unusable])
    found_errors = await refused(gateway, id=made["id"], securityArguments={"password": "****"})
    assert found_errors[0] == ("VALIDATION_ERROR", ["input", "securityArguments", "password"], f"password {NO_STORED}")
    await make.change(gateway, made["id"], securityArguments={"password": "canary"})
    assert (await clear(gateway, made["id"]))["password"] == "canary"
