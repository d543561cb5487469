"""Plugging a connector in."""

from __future__ import annotations

import asyncio
from typing import Any

from channels import BY_REF
from models import connectors as rows
from tests import make
from tests.harness import Gateway

Json = Any
SMTP = {"smtp_host": "mail.example.com", "smtp_port": 2525, "from_address": "shop@example.com", "security": "NONE"}
NO_HOST = "must be a host name or an IP address, without scheme, port, path or brackets"
NO_STORED = 'has no stored value that "****" could stand for.'


async def row(gateway: Gateway, connector_id: str) -> rows.Connector:
    async with gateway.read() as session:
        found = await rows.get(session, gateway.demo.id, connector_id)
    assert found is not None
    return found


async def create(gateway: Gateway, **input: Json) -> Json:
    return await make.mutate(gateway, "connectorCreate", **input)


async def refused(gateway: Gateway, **input: Json) -> list[tuple[str, list[str], str]]:
    return await make.refused(gateway, "connectorCreate", **input)


async def test_a_typed_connector_is_answered_at_once_and_not_yet_verified(gateway: Gateway) -> None:
    config = make.smtp(9, fromName="Shop")
    payload = await create(gateway, name=" Mail ", description="ours", priority=3, throttlePerSecond=2.5, config=config)
    made = payload["connector"]
    assert payload["isReplay"] is False and payload["userErrors"] == []
    assert made["name"] == "Mail" and made["description"] == "ours" and made["priority"] == 3 and made["enabled"] is True
    assert (made["channelType"], made["provider"], made["template"]) == ("EMAIL", "SMTP", {"ref": "email-smtp:1"})
    assert made["isVerified"] is False and made["verifiedAt"] is None and made["revision"] == 1
    assert made["workspaceId"] == gateway.demo.id and made["id"].startswith("con_")
    assert made["config"] == {**config["smtp"]}
    assert made["throttle"] == {"perSecond": 2.5}
    assert made["channel"]["id"].startswith("chn_") and made["channel"]["identifier"] == "shop@example.com"
    assert made["status"]["channel"] == {"status": "PENDING", "stage": "PROVISIONING", "errorMessage": None}
    assert made["createdAt"].endswith("Z") and made["updatedAt"] == made["createdAt"]
    assert (await make.events(gateway, made["id"]))[0] == ("channel.created", None, "PROVISIONING", "created")


async def test_a_template_takes_snake_case_and_camel_case_and_both_shapes_of_secrets(gateway: Gateway) -> None:
    kept = {"smtpHost": "mail.example.com", "smtpPort": 2525, "fromAddress": "shop@example.com", "security": "NONE"}
    camel = {"smtpHost": "mail.example.com", "smtpPort": "2525", "fromAddress": "shop@example.com", "security": "NONE"}
    secrets = {"username": "me", "password": "canary"}
    for number, parts in enumerate(
        (
            {"arguments": {**SMTP, **secrets}},
            {"arguments": {**camel, **secrets}},
            {"arguments": {**SMTP, "username": "me"}, "securityArguments": {"password": "canary"}},
            {"arguments": SMTP, "securityArguments": {"basic": secrets}},
        )
    ):
        payload = await create(gateway, name=f"Mail {number}", templateRef="email-smtp:1", **parts)
        assert payload["userErrors"] == []
        assert payload["connector"]["config"] == {**kept, "username": "me", "password": "****"}
        stored = await row(gateway, payload["connector"]["id"])
        assert list(stored.secrets) == ["password"] and "canary" not in str(stored.secrets)


EVERY: list[tuple[Json, str, str, Json]] = [
    (make.twilio(), "SMS", "TWILIO", {"apiKeySecret": "****"}),
    (make.whatsapp(), "WHATSAPP", "META_CLOUD", {"accessToken": "****"}),
    (make.telegram(), "TELEGRAM", "TELEGRAM_BOT", {"botToken": "****:****"}),
    (make.smtp(9, username="u", password="a:b"), "EMAIL", "SMTP", {"password": "****:****"}),
    ({"simulator": {}}, "SIMULATOR", "SIMULATOR", {}),
]


async def test_birds_own_example_plugs_an_sms_channel_in(gateway: Gateway) -> None:
    """Its words for the template, the kind of traffic and the inbox, and what it knows of a channel that is there."""
    use_case = {"useCaseId": "be123b02-0000-4000-8000-000000000000"}
    arguments = {"phoneNumberId": "2cffb55c-0000-4000-8000-000000000000", "channelMessageType": "promotional"}
    channel = {"workspaceId": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "channelId": "a1405560-c8d3-4b1a-877d-3f449ad95352"}
    known = {**arguments, **channel, "baseUrl": "http://127.0.0.1:9"}
    given = {"templateRef": "sms-messagebird:1", "securityArguments": {"bird": {"accessKey": "bird-access-key"}}}
    assert await refused(gateway, name="My SMS", **given, arguments={**known, "tenDlc": True}) == [
        ("INVALID_CONNECTOR_DATA", ["input", "arguments"], "useCaseId is required for 10DLC numbers")
    ]
    payload = await create(
        gateway, name="My SMS", **given, conversational=True, arguments={**known, "tenDlc": True, **use_case}
    )
    assert payload["userErrors"] == []
    made = payload["connector"]
    assert (made["channelType"], made["provider"], made["conversational"]) == ("SMS", "BIRD", True)
    expected = {**known, **use_case, "tenDlc": True, "channelMessageType": "PROMOTIONAL", "accessKey": "****"}
    assert made["config"] == expected


async def test_every_provider_can_be_plugged_in(gateway: Gateway) -> None:
    for config, channel, provider, shown in EVERY:
        made = await make.connector(gateway, "One", config=config)
        assert (made["channelType"], made["provider"], made["isVerified"]) == (channel, provider, False)
        assert {name: value for name, value in made["config"].items() if "****" in str(value)} == shown


async def test_everything_that_is_wrong_is_said_at_once_each_with_its_path(gateway: Gateway) -> None:
    arguments = {"smtp_host": "mail example", "smtp_port": "587; DROP", "from_address": "nobody", "colour": "red"}
    found = await refused(
        gateway,
        name=" ",
        description="d" * 2001,
        priority=-1,
        throttlePerSecond=0,
        idempotencyKey="",
        templateRef="email-smtp:1",
        arguments={**arguments, "username": "me", "password": "****"},
        securityArguments={"basic": {"Password": "x"}},
    )
    assert [(code, path) for code, path, _ in found] == [
        ("MISSING_CONNECTOR_NAME", ["input", "name"]),
        ("VALIDATION_ERROR", ["input", "description"]),
        ("VALIDATION_ERROR", ["input", "priority"]),
        ("VALIDATION_ERROR", ["input", "throttlePerSecond"]),
        ("VALIDATION_ERROR", ["input", "idempotencyKey"]),
        ("VALIDATION_ERROR", ["input", "arguments", "password"]),
        ("VALIDATION_ERROR", ["input", "arguments", "smtp_host"]),
        ("VALIDATION_ERROR", ["input", "arguments", "smtp_port"]),
        ("VALIDATION_ERROR", ["input", "arguments", "from_address"]),
        ("VALIDATION_ERROR", ["input", "arguments", "colour"]),
        ("VALIDATION_ERROR", ["input", "securityArguments", "basic", "Password"]),
    ]
    messages = [message for _, _, message in found]
    assert messages[5] == f"password {NO_STORED}"
    assert messages[6] == f"smtpHost: {NO_HOST}; a name has letters, digits, hyphens and underscores between its dots"
    assert messages[7] == "smtpPort: must be a whole number from 1 to 65535"
    assert messages[8].startswith("fromAddress: must be an e-mail address: ")
    assert messages[9] == "colour: is not a setting of email-smtp:1"
    assert messages[2] == "priority must be 0 or more; 0 is tried first."


WRONG: list[tuple[Json, str, str | None]] = [
    ({"smtp_port": "587; DROP"}, "smtp_port", "smtpPort: must be a whole number from 1 to 65535"),
    ({"smtp_port": 0}, "smtp_port", "smtpPort: Input should be greater than or equal to 1"),
    ({"smtp_port": 65536}, "smtp_port", "smtpPort: Input should be less than or equal to 65535"),
    ({"smtp_port": 5.5}, "smtp_port", "smtpPort: must be a whole number from 1 to 65535"),
    ({"smtp_port": True}, "smtp_port", "smtpPort: must be a whole number from 1 to 65535"),
    ({"smtp_port": {"a": 1}}, "smtp_port", "smtpPort: must be a whole number from 1 to 65535"),
    ({"smtp_host": "http://mail.example.com"}, "smtp_host", None),
    ({"smtp_host": "mail.example.com:25"}, "smtp_host", None),
    ({"smtp_host": "a\r\nb"}, "smtp_host", None),
    ({"smtp_host": ["mail"]}, "smtp_host", "smtpHost: Input should be a valid string"),
    ({"from_address": "a@b@c.example"}, "from_address", None),
    ({"from_address": "a@example.com\r\nBcc: x@example.com"}, "from_address", None),
    ({"from_address": "Shop <a@example.com>"}, "from_address", None),
    ({"from_name": "x\0y"}, "from_name", "fromName: must not hold NUL or unpaired surrogates"),
    ({"from_name": "x" * 10_001}, "from_name", "fromName: must have at most 10000 characters"),
    ({"security": "MAYBE"}, "security", None),
    ({"smtp_host": None}, "smtp_host", "smtpHost: is required"),
    ({"smtpHost": "mail.example.com"}, "smtpHost", "smtpHost is given twice."),
    ({"name__": "x"}, "name__", None),
]


async def test_one_wrong_setting_is_one_error(gateway: Gateway) -> None:
    for arguments, path, message in WRONG:
        found = await refused(gateway, name="Mail", templateRef="email-smtp:1", arguments={**SMTP, **arguments})
        ((code, field, said),) = found
        assert (code, field) == ("VALIDATION_ERROR", ["input", "arguments", path])
        assert message in (None, said)


async def test_an_address_with_its_port_is_no_host(gateway: Gateway) -> None:
    smsc = {"host": "10.0.0.1:2775", "systemId": "acme", "password": "s3cret", "fromNumber": "AcmeInc"}
    expected = ("VALIDATION_ERROR", ["input", "config", "smpp", "host"], f"host: {NO_HOST}")
    assert await refused(gateway, name="SMSC", config={"smpp": smsc}) == [expected]


async def test_settings_that_do_not_go_together_are_told_apart_from_malformed_ones(gateway: Gateway) -> None:
    payload = await create(gateway, name="Mail", config=make.smtp(username="me"))
    (error,) = payload["userErrors"]
    assert error == {
        "code": "INVALID_CONNECTOR_DATA",
        "message": "username and password are given together or not at all",
        "field": ["input", "config", "smtp"],
        "httpStatus": 422,
    }
    payload = await create(gateway, name="SMS", config=make.twilio(fromNumber=None))
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_CONNECTOR_DATA", ["input", "config", "twilio"])
    assert await make.counts(gateway) == {**await make.counts(gateway), "connector": 0, "event": 0, "lane": 0}


async def test_a_connector_needs_one_configuration_object(gateway: Gateway) -> None:
    missing, config = "MISSING_CONNECTOR_CONFIG", ["input", "config"]
    arguments, secrets = ["input", "arguments"], ["input", "securityArguments"]
    both = "Give config, or arguments and securityArguments; not both."
    ref: Json = {"templateRef": "email-smtp:1"}
    neither = "Give config, or templateRef with arguments."
    table: list[tuple[Json, list[tuple[str, list[str], str]]]] = [
        ({}, [(missing, config, neither)]),
        ({"config": None}, [(missing, config, neither)]),
        ({"arguments": SMTP}, [(missing, ["input", "templateRef"], neither)]),
        (ref, [(missing, arguments, "Give config, or arguments.")]),
        ({**ref, "arguments": None}, [(missing, arguments, "arguments must be an object.")]),
        ({**ref, "arguments": []}, [(missing, arguments, "arguments must be an object.")]),
        ({**ref, "arguments": "x"}, [(missing, arguments, "arguments must be an object.")]),
        ({**ref, "arguments": 1}, [(missing, arguments, "arguments must be an object.")]),
        ({**ref, "arguments": SMTP, "securityArguments": "x"}, [(missing, secrets, "securityArguments must be an object.")]),
        ({"config": make.smtp(), "arguments": {}}, [("VALIDATION_ERROR", config, both)]),
        ({"config": make.smtp(), "securityArguments": {}}, [("VALIDATION_ERROR", config, both)]),
        ({"config": make.smtp(), "arguments": None}, [("VALIDATION_ERROR", config, both)]),
        (
            {"config": make.smtp(), "templateRef": "telegram:1"},
            [("VALIDATION_ERROR", ["input", "templateRef"], "templateRef does not fit config.smtp; leave it out.")],
        ),
    ]
    for input, expected in table:
        assert await refused(gateway, name="Mail", **input) == expected, input


async def test_an_unknown_template_is_answered_with_those_there_are(gateway: Gateway) -> None:
    known = f"the templates are {', '.join(sorted(BY_REF))}."
    path = ["input", "templateRef"]
    for ref in ("fax:1", "", "email-smtp:2", "EMAIL-SMTP:1", "__proto__", "email-smtp:1 "):
        found = await refused(gateway, name="Fax", templateRef=ref, arguments={})
        assert found == [("VALIDATION_ERROR", path, f"There is no such template; {known}")]


async def test_reserved_words_are_no_names_and_no_keys(gateway: Gateway) -> None:
    for name in ("__proto__", "Constructor", " PROTOTYPE ", "\uff3f\uff3fproto\uff3f\uff3f", "__pro\u200bto__"):
        found = await refused(gateway, name=name, config={"simulator": {}})
        assert found == [("RESERVED_CONNECTOR_NAME", ["input", "name"], "This name is reserved.")]
    hidden: Json = {"__proto__": 1}
    for arguments, path in (
        ({**SMTP, **hidden}, ["__proto__"]),
        ({**SMTP, "Constructor": 1}, ["Constructor"]),
        ({**SMTP, "from_name": {"a": [{"PROTOTYPE": 1}]}}, ["from_name", "a", "0", "PROTOTYPE"]),
    ):
        found = await refused(gateway, name="Mail", templateRef="email-smtp:1", arguments=arguments)
        assert found == [("RESERVED_CONNECTOR_NAME", ["input", "arguments", *path], f"The key {path[-1]} is reserved.")]
    found = await refused(
        gateway, name="Mail", templateRef="email-smtp:1", arguments=SMTP, securityArguments={"basic": {" __proto__": 1}}
    )
    path = ["input", "securityArguments", "basic", " __proto__"]
    assert found == [("RESERVED_CONNECTOR_NAME", path, "The key  __proto__ is reserved.")]


async def test_any_name_comes_back_as_it_was_given(gateway: Gateway) -> None:
    for name in ("🚀 rocket", "a/b", "100%", "per%2Fcent", "a'b\"c\\d", "é" * 200, "<b>"):
        made = await make.working(gateway, name)
        assert made["name"] == name
        found = (await gateway.gql("query($n: String!) { connectorByName(name: $n) { id name } }", n=name))["connectorByName"]
        assert found == {"id": made["id"], "name": name}
    await make.working(gateway, "Cafe\u0301")
    ((code, _, _),) = await refused(gateway, name="Caf\u00e9", config={"simulator": {}})
    assert code == "CONNECTOR_ALREADY_EXISTS"
    ((code, path, message),) = await refused(gateway, name="é" * 201, config={"simulator": {}})
    assert (code, path, message) == ("VALIDATION_ERROR", ["input", "name"], "A name has at most 200 characters.")


async def test_a_name_is_unique_within_its_channel_only(gateway: Gateway) -> None:
    first = await make.connector(gateway, "Main")
    payload = await create(gateway, name=" Main", config={"simulator": {}})
    assert payload["connector"] is None
    assert payload["userErrors"] == [
        {
            "code": "CONNECTOR_ALREADY_EXISTS",
            "message": "The workspace has another SIMULATOR connector of this name.",
            "field": ["input", "name"],
            "httpStatus": 409,
            "conflictingId": first["id"],
        }
    ]
    await make.connector(gateway, "Main", config=make.telegram())
    await make.connector(gateway, "main")
    elsewhere = gateway.token(workspace=await gateway.workspace("elsewhere"))
    await make.connector(gateway, "Main", token=elsewhere)


async def test_of_twenty_at_once_one_gets_the_name(gateway: Gateway) -> None:
    payloads = await asyncio.gather(*(create(gateway, name="Main", config={"simulator": {}}) for _ in range(20)))
    (made,) = [payload["connector"] for payload in payloads if payload["connector"]]
    errors = [error for payload in payloads for error in payload["userErrors"]]
    assert [(error["code"], error["conflictingId"]) for error in errors] == [("CONNECTOR_ALREADY_EXISTS", made["id"])] * 19
    assert (await make.counts(gateway))["connector"] == 1


async def test_a_name_is_free_again_after_its_connector_was_deleted(gateway: Gateway) -> None:
    first = await make.connector(gateway, "Main", idempotencyKey="k")
    await make.mutate(gateway, "connectorDelete", id=first["id"])
    second = await make.connector(gateway, "Main", idempotencyKey="k")
    assert second["id"] != first["id"]


async def test_an_idempotency_key_replays_the_same_request(gateway: Gateway) -> None:
    input = {"name": "Mail", "idempotencyKey": "key-1", "templateRef": "email-smtp:1", "arguments": SMTP}
    first = await create(gateway, **input)
    shuffled = {**input, "arguments": dict(reversed(SMTP.items()))}
    again = await create(gateway, **shuffled)
    assert (first["isReplay"], again["isReplay"]) == (False, True)
    assert again["connector"]["id"] == first["connector"]["id"] and again["userErrors"] == []
    counted = await make.counts(gateway)
    assert (counted["connector"], counted["lane"]) == (1, 1)


async def test_an_idempotency_key_covers_everything_that_was_sent(gateway: Gateway) -> None:
    base: Json = {
        "name": "Mail",
        "idempotencyKey": "k",
        "templateRef": "email-smtp:1",
        "arguments": {**SMTP, "username": "me"},
        "securityArguments": {"password": "one"},
    }
    first = await create(gateway, **base)
    await make.settled(gateway, first["connector"]["id"])
    for other in (
        {"securityArguments": {"password": "two"}},
        {"securityArguments": {"basic": {"password": "one"}}},
        {"arguments": {**SMTP, "username": "you"}},
        {"name": "Post"},
        {"description": "x"},
        {"priority": 1},
        {"enabled": False},
        {"conversational": True},
        {"throttlePerSecond": 1.0},
        {"templateRef": None, "arguments": None, "securityArguments": None, "config": make.telegram()},
    ):
        input = {name: value for name, value in {**base, **other}.items() if value is not None}
        ((code, path, message),) = await refused(gateway, **input)
        assert (code, path) == ("IDEMPOTENCY_KEY_REUSED", ["input", "idempotencyKey"]), other
        assert message == "This idempotency key was used for another request."
    assert (await create(gateway, **base))["isReplay"] is True


async def test_an_idempotency_key_is_of_one_workspace_and_keeps_no_readable_secret(gateway: Gateway) -> None:
    elsewhere = await gateway.workspace("elsewhere")
    one = await make.connector(gateway, "Mail", idempotencyKey="k")
    two = await make.connector(gateway, "Mail", token=gateway.token(workspace=elsewhere), idempotencyKey="k")
    assert one["id"] != two["id"]
    async with gateway.read() as session:
        hashes = [
            found.request_hash for workspace in (gateway.demo, elsewhere) for found in await rows.all_of(session, workspace.id)
        ]
    assert len(set(hashes)) == 2 and all(len(bytes.fromhex(text or "")) == 32 for text in hashes)
    without = await make.connector(gateway, "Post")
    assert (await row(gateway, without["id"])).request_hash is None


async def test_of_twenty_equal_requests_with_a_key_one_makes_the_connector(gateway: Gateway) -> None:
    input = {"name": "Main", "idempotencyKey": "k", "config": {"simulator": {}}}
    payloads = await asyncio.gather(*(create(gateway, **input) for _ in range(20)))
    assert [payload["userErrors"] for payload in payloads] == [[]] * 20
    assert sorted(payload["isReplay"] for payload in payloads) == [False] + [True] * 19
    assert len({payload["connector"]["id"] for payload in payloads}) == 1
    counted = await make.counts(gateway)
    assert (counted["connector"], counted["lane"]) == (1, 1)


async def test_an_idempotency_key_is_one_printable_line(gateway: Gateway) -> None:
    message = "An idempotency key has 1 to 255 printable characters."
    for key in ("", "k" * 256, "a\0b", "a\nb"):
        found = await refused(gateway, name="Main", config={"simulator": {}}, idempotencyKey=key)
        assert found == [("VALIDATION_ERROR", ["input", "idempotencyKey"], message)]
