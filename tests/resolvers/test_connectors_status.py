"""Is a connector working? Provisioning, checks and test messages."""

from __future__ import annotations

from typing import Any

from models import connectors as rows
from tests import make
from tests.harness import Gateway
from tests.mail_server import DROP, MailServer
from tests.provider_server import ProviderServer, Reply, Reset

Json = Any
WATCH = """subscription($ids: [ID!]) { channelStatusChanged(connectorIds: $ids) {
  type cause previousStage channelId identifier connector { id isVerified }
  status { ready reasons channel { status stage errorMessage } checks { results { status } } } } }"""


async def attempt(gateway: Gateway, connector_id: str, to: str) -> Json:
    return await make.mutate(gateway, "connectorTest", id=connector_id, testDestination=to)


async def verify(gateway: Gateway, connector_id: str) -> Json:
    payload = await make.mutate(gateway, "connectorVerify", id=connector_id)
    assert payload["userErrors"] == []
    return payload["connector"]


def checks(connector: Json) -> Json:
    return {
        check["name"]: {assertion["name"]: assertion["status"] for assertion in check["assertions"]}
        for check in connector["status"]["checks"]["results"]
    }


async def test_a_channel_comes_up_after_its_checks_without_sending(gateway: Gateway) -> None:
    async with MailServer("none", credentials=("me", "canary")) as server, gateway.socket() as socket:
        config = make.smtp(server.port, username="me", password="canary")
        stream = await socket.subscribe(WATCH)
        made = await make.connector(gateway, "Mail", config=config)
        assert made["status"] == {
            "ready": False,
            "reasons": ["Its checks have not finished yet."],
            "checks": None,
            "channel": {"status": "PENDING", "stage": "PROVISIONING", "errorMessage": None},
        }
        created, active = await stream.next(), await stream.next()
        assert (created["type"], created["cause"], created["previousStage"]) == ("channel.created", "created", None)
        assert created["status"]["channel"]["stage"] == "PROVISIONING" and created["status"]["checks"] is None
        assert (active["type"], active["cause"], active["previousStage"]) == (
            "channel.updated",
            "provisioning",
            "PROVISIONING",
        )
        assert active["status"]["ready"] is True and active["status"]["reasons"] == []
        assert active["status"]["channel"] == {"status": "OK", "stage": "ACTIVE", "errorMessage": None}
        assert active["connector"] == {"id": made["id"], "isVerified": True}
        assert (active["channelId"], active["identifier"]) == (made["channel"]["id"], "shop@example.com")
        found = await make.read(gateway, made["id"])
        assert checks(found) == {
            "connection": {"dns": "OK", "tcp": "OK"},
            "tls": {"tls": "OK"},
            "authentication": {"credentials": "OK"},
            "sender": {"sender": "OK"},
        }
        assert found["isVerified"] is True and found["verifiedAt"] is not None and found["revision"] == 1
        assert (server.logins, server.received) == (1, [])


async def test_checks_that_fail_say_what_failed(gateway: Gateway) -> None:
    async with MailServer("none", credentials=("me", "right")) as server:
        config = make.smtp(server.port, username="me", password="wrong")
        found = await make.working(gateway, "Mail", config=config)
        assert found["isVerified"] is False and found["verifiedAt"] is None
        assert checks(found)["connection"] == {"dns": "OK", "tcp": "OK"}
        assert checks(found)["authentication"] == {"credentials": "ERROR"}
        assert checks(found)["sender"] == {"sender": "INDETERMINATE"}
        channel = found["status"]["channel"]
        assert (channel["status"], channel["stage"]) == ("ERROR", "INACTIVE") and channel["errorMessage"]
        assert server.received == []
    await make.change(gateway, found["id"], arguments={"smtpPort": 9})
    gone = await make.settled(gateway, found["id"])
    assert checks(gone)["connection"]["tcp"] == "INDETERMINATE"
    assert gone["status"]["channel"]["status"] == "UNKNOWN" and gone["isVerified"] is False


async def test_verify_runs_the_checks_again(gateway: Gateway) -> None:
    async with MailServer("none") as server:
        made = await make.working(gateway, "Mail", config=make.smtp(server.port))
        server.faults["MAIL"] = ["550 5.7.1 sender refused"]
        broken = await verify(gateway, made["id"])
        assert (broken["isVerified"], broken["status"]["ready"]) == (False, False)
        assert broken["verifiedAt"] == made["verifiedAt"]
        mended = await verify(gateway, made["id"])
        assert (mended["isVerified"], mended["status"]["ready"]) == (True, True)
        assert mended["verifiedAt"] > made["verifiedAt"] and mended["revision"] == made["revision"]
        assert server.received == []
    assert (await make.events(gateway, made["id"]))[-2:] == [
        ("channel.updated", "ACTIVE", "INACTIVE", "verify"),
        ("channel.updated", "INACTIVE", "ACTIVE", "verify"),
    ]


async def test_a_disabled_connector_says_why_it_is_not_ready(gateway: Gateway) -> None:
    made = await make.working(gateway)
    changed = await make.change(gateway, made["id"], enabled=False)
    assert changed["status"]["reasons"] == ["The connector is disabled."] and changed["isVerified"] is True
    assert changed["status"]["ready"] is False


async def test_a_test_message_is_really_sent_and_timed(gateway: Gateway) -> None:
    async with MailServer("none") as server:
        made = await make.working(gateway, "Mail", config=make.smtp(server.port))
        server.pause = 0.12
        payload = await attempt(gateway, made["id"], " test@example.com ")
        assert (payload["success"], payload["message"]) == (True, "Test message sent successfully")
        assert payload["userErrors"] == [] and 120 <= payload["deliveryTimeMs"] < 5000
        assert [stage["name"] for stage in payload["stages"]] == ["RESOLVE", "CONNECT", "SUBMIT", "ACCEPTED"]
        assert all(stage["ok"] for stage in payload["stages"])
        assert payload["connector"]["isVerified"] is True and payload["testedAt"] <= payload["connector"]["verifiedAt"] + "~"
        (mail,) = server.received
        assert (mail.recipient, mail.message["subject"]) == ("test@example.com", "Patchbay test message")
    counted = await make.counts(gateway)
    assert (counted["message"], counted["attempt"], counted["job"]) == (0, 0, 0)


async def test_a_successful_test_verifies_what_the_checks_could_not(gateway: Gateway) -> None:
    async with ProviderServer(default=Reply(404, {"code": 20404, "message": "no"})) as provider:
        made = await make.working(gateway, "SMS", config=make.twilio(provider.url))
        assert made["isVerified"] is False
        provider.on("POST", "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json", Reply(201, {"sid": "SM1"}))
        payload = await attempt(gateway, made["id"], "+4915112345678")
    assert payload["success"] is True
    found = payload["connector"]
    assert found["isVerified"] is True and found["verifiedAt"] == payload["testedAt"]
    assert found["status"]["channel"] == {"status": "OK", "stage": "ACTIVE", "errorMessage": None}
    assert (await make.events(gateway, made["id"]))[-1] == ("channel.updated", "INACTIVE", "ACTIVE", "test")


async def test_an_address_of_another_channel_is_refused_before_anything_is_sent(gateway: Gateway) -> None:
    async with MailServer("none") as mail, ProviderServer(default=Reply(200, {"ok": True})) as http:
        table: list[tuple[str, Json, list[str]]] = [
            ("Mail", make.smtp(mail.port), ["+4915112345678", "x", "", "a@b@c.example", "a@example.com\r\nRCPT TO:<b@c.d>"]),
            ("SMS", make.twilio(http.url), ["a@example.com", "12345", "+1", "+4915112345678;DROP", "💥"]),
            ("WhatsApp", make.whatsapp(http.url), ["a@example.com", "+1", ""]),
            ("Telegram", make.telegram(http.url), ["a@example.com", "+4915112345678", "@x", ""]),
        ]
        for name, config, wrong in table:
            made = await make.working(gateway, name, config=config)
            reached = (mail.connections, len(http.requests))
            before = await make.counts(gateway)
            for to in wrong:
                payload = await attempt(gateway, made["id"], to)
                (error,) = payload["userErrors"]
                assert (error["code"], error["httpStatus"]) == ("INVALID_DESTINATION", 400), (name, to)
                assert error["field"] == ["input", "testDestination"] and len(error["message"]) > 20
                assert (payload["success"], payload["deliveryTimeMs"], payload["stages"]) == (False, None, [])
                assert payload["message"] == "The test message was not sent." and payload["connector"] is None
            assert (mail.connections, len(http.requests)) == reached and mail.received == []
            assert await make.counts(gateway) == before and await make.read(gateway, made["id"]) == made


async def test_a_refused_test_names_the_providers_code_and_the_step(gateway: Gateway) -> None:
    async with MailServer("none") as server:
        made = await make.working(gateway, "Mail", config=make.smtp(server.port))
        assert made["isVerified"] is True
        server.faults["RCPT"] = ["550 5.1.1 no such user"]
        payload = await attempt(gateway, made["id"], "nobody@example.com")
        (error,) = payload["userErrors"]
        assert (error["code"], error["httpStatus"], error["field"]) == ("CONNECTOR_DELIVERY_FAILED", 502, ["input", "id"])
        told = (error["stage"], error["providerCode"], error["providerMessage"])
        assert told == ("SUBMIT", "5.1.1", "5.1.1 no such user")
        assert error["deliveryTimeMs"] == payload["deliveryTimeMs"] and payload["success"] is False
        assert payload["message"] == error["message"] and payload["stages"][-1]["ok"] is False
        assert server.received == []
        found = payload["connector"]
        assert found["isVerified"] is False
        assert found["status"]["channel"] == {"status": "ERROR", "stage": "INACTIVE", "errorMessage": error["message"]}
    assert (await make.events(gateway, made["id"]))[-1] == ("channel.updated", "ACTIVE", "INACTIVE", "test")


async def test_every_way_a_provider_fails_is_a_failed_test(gateway: Gateway) -> None:
    path = "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json"
    refused = Reply(400, {"code": 21211, "message": "The 'To' number is not valid."})
    async with ProviderServer(default=Reply(200, {"status": "active"})) as provider:
        made = await make.working(gateway, "SMS", config=make.twilio(provider.url, fromNumber="Shop"))
        for action, code, stage in (
            (refused, "21211", "ACCEPTED"),
            (Reply(401, {"code": 20003, "message": "Authenticate"}), "20003", "ACCEPTED"),
            (Reply(429, {"code": 20429}, headers={"Retry-After": "3"}), "20429", "ACCEPTED"),
            (Reply(500, body=b"<html>"), "PROVIDER_ERROR", "ACCEPTED"),
            (Reply(200, body=b"not json"), "ANSWER_UNREADABLE", "ACCEPTED"),
            (Reset(), "ANSWER_LOST", "SUBMIT"),
        ):
            provider.on("POST", path, action)
            await verify(gateway, made["id"])
            payload = await attempt(gateway, made["id"], "+4915112345678")
            (error,) = payload["userErrors"]
            assert error["code"] == "CONNECTOR_DELIVERY_FAILED" and payload["success"] is False
            assert (error["providerCode"], error["stage"]) == (code, stage)
            assert payload["connector"]["isVerified"] is False
    payload = await attempt(gateway, made["id"], "+4915112345678")
    assert payload["userErrors"][0]["providerCode"] == "PROVIDER_UNREACHABLE"
    assert payload["userErrors"][0]["stage"] == "CONNECT"


async def test_a_server_that_hangs_up_is_a_failed_test(gateway: Gateway) -> None:
    async with MailServer("none") as server:
        made = await make.working(gateway, "Mail", config=make.smtp(server.port))
        server.faults["DOT"] = [DROP]
        payload = await attempt(gateway, made["id"], "a@example.com")
        assert payload["userErrors"][0]["stage"] == "ACCEPTED" and payload["success"] is False
        assert [stage["ok"] for stage in payload["stages"]] == [True, True, True, False]


async def test_an_unknown_connector_is_neither_tested_nor_verified(gateway: Gateway) -> None:
    unknown = "con_" + "0" * 32
    missing = [("CONNECTOR_NOT_FOUND", ["input", "id"], "There is no such connector.")]
    assert await make.refused(gateway, "connectorTest", id=unknown, testDestination="delivered") == missing
    assert await make.refused(gateway, "connectorVerify", id=unknown) == missing


async def test_checks_of_a_configuration_that_changed_meanwhile_count_for_nothing(gateway: Gateway) -> None:
    async with MailServer("none") as server:
        made = await make.working(gateway, "Mail", config=make.smtp(server.port))
        async with gateway.read() as session:
            stale = await rows.get(session, gateway.demo.id, made["id"])
        assert stale is not None
        await make.change(gateway, made["id"], arguments={"smtpPort": 9})
        await make.settled(gateway, made["id"])
        async with gateway.application.database.write() as session:
            values = {"is_verified": True}
            late = await rows.set_status(session, gateway.demo.id, made["id"], stale.config_revision, values)
        assert late is None and (await make.read(gateway, made["id"]))["isVerified"] is False
