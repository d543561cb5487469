"""The catalogue of templates, and a connector's settings as the API shows them."""

from __future__ import annotations

from typing import Any

from channels import PROVIDERS
from channels.planned import PLANNED
from resolvers.configs import secret_names
from schema.configs import INPUTS
from tests import make
from tests.harness import Gateway

Json = Any
CATALOGUE = """query($c: ChannelType, $i: Boolean) { connectorTemplates(channel: $c, includeInternal: $i) {
  ref slug version channel provider title documentationUrl releaseStatus available configSchema
  capabilities { text subject media templates maxTextLength verifiesWithoutSending }
  fields { name type title help isRequired isSecret default example allowedValues } } }"""
FIELDS = "query($id: ID!) { connector(id: $id) { configFields { name value isSecret isSet fingerprint updatedAt } } }"


async def templates(gateway: Gateway, **arguments: Json) -> dict[str, Json]:
    found = (await gateway.gql(CATALOGUE, **arguments))["connectorTemplates"]
    return {template["ref"]: template for template in found}


async def fields(gateway: Gateway, connector_id: str) -> dict[str, Json]:
    found = (await gateway.gql(FIELDS, id=connector_id))["connector"]["configFields"]
    return {field["name"]: field for field in found}


async def test_every_channel_of_the_source_systems_has_a_template(gateway: Gateway) -> None:
    found = await templates(gateway)
    assert {ref: (template["channel"], template["available"]) for ref, template in found.items()} == {
        "email-smtp:1": ("EMAIL", True),
        "sms-twilio:1": ("SMS", True),
        "whatsapp:1": ("WHATSAPP", True),
        "telegram:1": ("TELEGRAM", True),
        "simulator:1": ("SIMULATOR", True),
        "sms-messagebird:1": ("SMS", False),
        "email-messagebird:1": ("EMAIL", False),
        "instagram:1": ("INSTAGRAM", False),
        "facebook:1": ("FACEBOOK", False),
        "line:1": ("LINE", False),
    }
    for template in found.values():
        assert template["ref"] == f"{template['slug']}:{template['version']}" and template["title"]
        assert template["documentationUrl"] is None or template["documentationUrl"].startswith("https://")
        if not template["available"]:
            assert (template["fields"], template["configSchema"]) == ([], {"type": "object"})
            assert template["capabilities"]["text"] is False
    assert list(await templates(gateway, c="SMS")) == ["sms-twilio:1", "sms-messagebird:1"]
    assert list(await templates(gateway, c="DISCORD")) == []
    assert await templates(gateway, i=True) == found


async def test_a_template_is_found_by_its_ref(gateway: Gateway) -> None:
    text = "query($r: String!) { connectorTemplate(ref: $r) { ref available } }"
    for ref, expected in (
        ("email-smtp:1", {"ref": "email-smtp:1", "available": True}),
        ("line:1", {"ref": "line:1", "available": False}),
        ("email-smtp", None),
        ("email-smtp:2", None),
        ("", None),
        ("__proto__", None),
    ):
        assert (await gateway.gql(text, r=ref))["connectorTemplate"] == expected


async def test_a_template_answers_the_table_of_its_settings(gateway: Gateway) -> None:
    found = await templates(gateway)
    table = {
        ref: {field["name"]: (field["type"], field["isRequired"], field["isSecret"]) for field in found[ref]["fields"]}
        for ref in ("email-smtp:1", "telegram:1")
    }
    assert table["telegram:1"] == {"botToken": ("string", True, True), "baseUrl": ("string", False, False)}
    assert table["email-smtp:1"] == {
        "smtpHost": ("string", True, False),
        "smtpPort": ("integer", False, False),
        "username": ("string", False, False),
        "password": ("string", False, True),
        "fromAddress": ("string", True, False),
        "fromName": ("string", False, False),
        "replyTo": ("string", False, False),
        "security": ("enum", False, False),
    }
    port, security = (found["email-smtp:1"]["fields"][i] for i in (1, 7))
    assert (port["default"], port["example"], port["allowedValues"]) == (587, "587", None)
    assert (security["default"], security["allowedValues"]) == ("STARTTLS", ["STARTTLS", "TLS", "NONE"])
    twilio = {field["name"]: field for field in found["sms-twilio:1"]["fields"]}
    assert [name for name, field in twilio.items() if field["isRequired"]] == ["apiKeySid", "apiKeySecret"]
    assert [name for name, field in twilio.items() if field["isSecret"]] == ["apiKeySecret", "authToken"]
    assert twilio["trafficType"]["allowedValues"] == [
        "PROMOTIONAL",
        "TRANSACTIONAL",
        "CONVERSATIONAL",
        "EMERGENCY",
        "TWO_FACTOR",
    ]
    whatsapp = {field["name"]: field for field in found["whatsapp:1"]["fields"]}
    required = [name for name, field in whatsapp.items() if field["isRequired"]]
    assert required == ["accessToken", "phoneNumberId", "businessAccountId"]
    for template in found.values():
        for field in template["fields"]:
            assert field["title"] and field["help"], (template["ref"], field["name"])


async def test_the_json_schema_agrees_with_the_fields(gateway: Gateway) -> None:
    for template in (await templates(gateway)).values():
        if template["available"]:
            schema = template["configSchema"]
            assert list(schema["properties"]) == [field["name"] for field in template["fields"]]
            assert schema.get("required", []) == [field["name"] for field in template["fields"] if field["isRequired"]]
            assert schema["additionalProperties"] is False
            sealed = [name for name, rule in schema["properties"].items() if "writeOnly" in str(rule)]
            assert sealed == [field["name"] for field in template["fields"] if field["isSecret"]]


def test_every_provider_has_a_typed_input_and_no_ref_is_taken_twice() -> None:
    assert list(INPUTS) == [provider.about.key for provider in PROVIDERS]
    refs = [about.ref for about in (*(provider.about for provider in PROVIDERS), *PLANNED)]
    assert len(refs) == len(set(refs))
    keys = [about.key for about in (*(provider.about for provider in PROVIDERS), *PLANNED)]
    assert len(keys) == len(set(keys))
    assert {provider.about.key: sorted(secret_names(provider)) for provider in PROVIDERS} == {
        "smtp": ["password"],
        "twilio": ["apiKeySecret", "authToken"],
        "whatsappCloud": ["accessToken", "appSecret", "verifyToken"],
        "telegramBot": ["botToken"],
        "simulator": ["apiKey"],
    }


async def test_a_secret_shows_as_stars_in_the_shape_it_has(gateway: Gateway) -> None:
    config = make.whatsapp(appSecret="a:b", verifyToken="plain")
    made = await make.working(gateway, "WhatsApp", config=config)
    assert made["config"] == {
        **config["whatsappCloud"],
        "accessToken": "****",
        "appSecret": "****:****",
        "verifyToken": "****",
    }
    found = await fields(gateway, made["id"])
    assert [name for name, field in found.items() if field["isSecret"]] == ["accessToken", "appSecret", "verifyToken"]
    assert {field["value"] for field in found.values() if field["isSecret"]} == {None}
    assert found["phoneNumberId"]["value"] == "106540352242922"
    assert {len(field["fingerprint"]) for field in found.values() if field["isSecret"]} == {8}
    assert {field["fingerprint"] for field in found.values() if not field["isSecret"]} == {None}


async def test_a_fingerprint_changes_with_its_secret_and_is_of_one_connector(gateway: Gateway) -> None:
    config = make.smtp(9, username="me", password="same")
    one, two = await make.working(gateway, "One", config=config), await make.working(gateway, "Two", config=config)
    first, other = await fields(gateway, one["id"]), await fields(gateway, two["id"])
    assert first["password"]["fingerprint"] != other["password"]["fingerprint"]
    assert first["password"]["isSet"] is True and first["replyTo"] == {
        "name": "replyTo",
        "value": None,
        "isSecret": False,
        "isSet": False,
        "fingerprint": None,
        "updatedAt": None,
    }
    await make.change(gateway, one["id"], arguments={"fromName": "Shop"})
    second = await fields(gateway, one["id"])
    assert second["password"] == first["password"]
    assert second["fromName"]["value"] == "Shop" and second["fromName"]["updatedAt"] > first["password"]["updatedAt"]
    await make.change(gateway, one["id"], arguments={"password": "other"})
    third = await fields(gateway, one["id"])
    assert third["password"]["fingerprint"] != first["password"]["fingerprint"]
    assert third["password"]["updatedAt"] > first["password"]["updatedAt"]
