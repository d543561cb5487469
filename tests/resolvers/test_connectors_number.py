"""What the messages of a connector come from, and what the checks said of it."""

from __future__ import annotations

import pytest

from tests import make
from tests.harness import Gateway, Json
from tests.lab import ACCOUNT, Twilio
from tests.provider_server import ProviderServer, Reply

QUERY = """query($id: ID!) { connector(id: $id) {
  number { id phoneNumber numberType endpointType country capabilities }
  status { number { status stage errorMessage } } } }"""
US = {"phoneNumber": "+12125550100", "numberType": "LOCAL", "endpointType": "LONG_CODE_NUMBER", "country": "US"}
SHORT = {"phoneNumber": "12345", "numberType": "OTHER", "endpointType": "SHORT_CODE_NUMBER", "country": None}
NAME = {"phoneNumber": None, "numberType": None, "endpointType": "ALPHA_NUMBER", "country": None}
RECEIVES = ["TEXT", "MEDIA", "INBOUND", "DELIVERY_RECEIPTS", "READ_RECEIPTS"]
ANSWERS_NOBODY = ["TEXT", "MEDIA", "DELIVERY_RECEIPTS", "READ_RECEIPTS"]


async def look(gateway: Gateway, connector_id: str) -> tuple[Json, Json]:
    found = (await gateway.gql(QUERY, id=connector_id))["connector"]
    return found["number"], found["status"]["number"]


@pytest.mark.parametrize(
    ("sender", "number", "can"),
    [("+12125550100", US, RECEIVES), ("12345", SHORT, RECEIVES), ("Acme", NAME, ANSWERS_NOBODY)],
)
async def test_the_sender_configured_is_the_number(gateway: Gateway, sender: str, number: Json, can: list[str]) -> None:
    made = await make.connector(gateway, "SMS", config=make.twilio(fromNumber=sender))
    found, _report = await look(gateway, made["id"])
    assert found == {"id": made["id"].replace("con_", "num_"), **number, "capabilities": can}


async def test_where_nobody_knows_a_number_there_is_none(gateway: Gateway) -> None:
    service = {"fromNumber": None, "messagingServiceSid": "MG00000000000000000000000000000000"}
    for name, config in (("SMS", make.twilio(**service)), ("Mail", make.smtp()), ("Sim", {"simulator": {}})):
        made = await make.working(gateway, name, config=config)
        assert await look(gateway, made["id"]) == (None, None)


async def test_the_status_of_a_number_is_what_the_checks_said(gateway: Gateway) -> None:
    async with Twilio() as twilio:
        path = f"{ACCOUNT}/IncomingPhoneNumbers.json"
        twilio.on("GET", path, Reply(200, {"incoming_phone_numbers": []}))
        config = make.twilio(twilio.url, fromNumber="+12125550100")
        made = await make.working(gateway, "SMS", config=config)
        number, report = await look(gateway, made["id"])
        assert number["phoneNumber"] == "+12125550100"
        wrong = "The account does not own +12125550100."
        assert report == {"status": "ERROR", "stage": "INACTIVE", "errorMessage": wrong}
        owned = {"phone_number": "+12125550100", "capabilities": {"sms": True}}
        twilio.on("GET", path, Reply(200, {"incoming_phone_numbers": [owned]}))
        await make.mutate(gateway, "connectorVerify", id=made["id"])
        assert (await look(gateway, made["id"]))[1] == {"status": "OK", "stage": "ACTIVE", "errorMessage": None}


async def test_whatsapp_tells_the_number_when_it_is_checked(gateway: Gateway) -> None:
    async with ProviderServer() as meta:
        number = {"id": "106540352242922", "display_phone_number": "+1 212-555-0100", "quality_rating": "RED"}
        meta.on("GET", "/v23.0/106540352242922", Reply(200, number))
        made = await make.working(gateway, "WhatsApp", config=make.whatsapp(meta.url))
        found, report = await look(gateway, made["id"])
        can = ["TEXT", "MEDIA", "TEMPLATES", "INBOUND", "DELIVERY_RECEIPTS", "READ_RECEIPTS"]
        assert found == {"id": made["id"].replace("con_", "num_"), **US, "capabilities": can}
        assert (report["status"], report["errorMessage"]) == ("OK", None)
        await make.change(gateway, made["id"], arguments={"phoneNumberId": "106540352242923"})
        moved = await make.settled(gateway, made["id"])
        assert moved["status"]["channel"]["status"] != "OK"
        found, report = await look(gateway, made["id"])
        assert found is None and report["status"] in ("ERROR", "UNKNOWN") and report["errorMessage"]
