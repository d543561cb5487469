"""The catalogue of templates, and a connector's settings as the API shows them."""

from __future__ import annotations

import re
from typing import Any

from pydantic.alias_generators import to_camel

from channels import BY_REF, PROVIDERS
from resolvers.configs import secret_names
from schema.configs import INPUTS
from tests import make
from tests.harness import Gateway

Json = Any
CATALOGUE = """query($c: ChannelType, $i: Boolean) { connectorTemplates(channel: $c, includeInternal: $i) {
  ref slug version channel provider title documentationUrl releaseStatus configSchema
  capabilities { text subject media templates maxTextLength verifiesWithoutSending }
  fields { name type title help isRequired isSecret default example allowedValues } } }"""
FIELDS = "query($id: ID!) { connector(id: $id) { configFields { name value isSecret isSet fingerprint updatedAt } } }"


async def templates(gateway: Gateway, **arguments: Json) -> dict[str, Json]:
    found = (await gateway.gql(CATALOGUE, gateway.token(admin=True), **arguments))["connectorTemplates"]
    return {template["ref"]: template for template in found}


async def fields(gateway: Gateway, connector_id: str) -> dict[str, Json]:
    found = (await gateway.gql(FIELDS, id=connector_id))["connector"]["configFields"]
    return {field["name"]: field for field in found}


SOURCES = {
    "email-smtp:1": "EMAIL",
    "email-messagebird:1": "EMAIL",
    "sms-twilio:1": "SMS",
    "sms-messagebird:1": "SMS",
    "whatsapp:1": "WHATSAPP",
    "telegram:1": "TELEGRAM",
    "instagram:1": "INSTAGRAM",
    "facebook:1": "FACEBOOK",
    "line:1": "LINE",
}


async def test_every_channel_of_the_source_systems_has_a_template(gateway: Gateway) -> None:
    found = await templates(gateway)
    channels = {ref: template["channel"] for ref, template in found.items()}
    assert channels | SOURCES == channels
    assert set(found) == set(BY_REF)
    for template in found.values():
        assert template["ref"] == f"{template['slug']}:{template['version']}" and template["title"]
        assert template["documentationUrl"] is None or template["documentationUrl"].startswith("https://")
    of_sms = await templates(gateway, c="SMS")
    assert of_sms == {ref: template for ref, template in found.items() if template["channel"] == "SMS"}
    assert await templates(gateway, c="SLACK") == {ref: found[ref] for ref in channels if channels[ref] == "SLACK"}
    assert await templates(gateway, i=True) == found


async def test_a_template_is_found_by_its_ref(gateway: Gateway) -> None:
    text = "query($r: String!) { connectorTemplate(ref: $r) { ref } }"
    for ref, expected in (
        ("email-smtp:1", {"ref": "email-smtp:1"}),
        ("email-messagebird:1", {"ref": "email-messagebird:1"}),
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
    assert table["telegram:1"] == {
        "botToken": ("string", True, True),
        "receiveMessages": ("boolean", False, False),
        "baseUrl": ("string", False, False),
    }
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
        schema = template["configSchema"]
        assert list(schema["properties"]) == [field["name"] for field in template["fields"]]
        assert schema.get("required", []) == [field["name"] for field in template["fields"] if field["isRequired"]]
        assert schema["additionalProperties"] is False
        sealed = [name for name, rule in schema["properties"].items() if "writeOnly" in str(rule)]
        assert sealed == [field["name"] for field in template["fields"] if field["isSecret"]]


def test_every_provider_has_a_typed_input_and_no_ref_is_taken_twice() -> None:
    assert set(INPUTS) == {provider.about.key for provider in PROVIDERS}
    assert len(BY_REF) == len(PROVIDERS)


def test_versions_of_a_template_share_what_it_is_known_by() -> None:
    kinds = {(about.slug, about.key, about.channel, about.provider) for about in (provider.about for provider in PROVIDERS)}
    assert len({slug for slug, *_ in kinds}) == len(kinds) == len({key for _, key, *_ in kinds})


SOUNDS_SECRET = re.compile(r"(?i)secret|password|token|privateKey|signingKey|apiKey$|webhookUrl")
IN_THE_OPEN = {("twilio", "apiKeySid"), ("vonage", "apiKey")}


def test_whatever_sounds_like_a_secret_is_one() -> None:
    for provider in PROVIDERS:
        names = {to_camel(name) for name in provider.model_fields}
        suspected = {(provider.about.key, name) for name in names if SOUNDS_SECRET.search(name)} - IN_THE_OPEN
        assert {name for _key, name in suspected} <= secret_names(provider), provider.about.key


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
