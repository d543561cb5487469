"""The examples of README and GraphiQL are executed as they are, in their order, against a whole gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from schema.roots import sdl
from tests.harness import Gateway, Json, eventually
from tests.mail_server import MailServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROAD = ["QUEUED", "PROCESSING", "SENT", "DELIVERED", "READ"]


def example(name: str, **ids: str) -> tuple[str, Json]:
    """An example and its variables, the ids of earlier answers in their places."""
    query, variables = EXAMPLES / f"{name}.graphql", EXAMPLES / f"{name}.json"
    text = variables.read_text() if variables.exists() else "{}"
    for prefix, value in ids.items():
        assert f"{prefix}_…" in text
        text = text.replace(f"{prefix}_…", value)
    assert "_…" not in text
    return query.read_text(), json.loads(text)


async def run(gateway: Gateway, name: str, **ids: str) -> Json:
    """The only root field of an example's answer."""
    query, variables = example(name, **ids)
    (value,) = (await gateway.gql(query, **variables)).values()
    return value


async def test_the_quick_start_runs_as_it_is_written(gateway: Gateway) -> None:
    who = await run(gateway, "01-who-am-i")
    assert (who["subject"], who["scopes"], who["workspace"]["name"]) == ("tester", ["*"], "demo")
    plugged = await run(gateway, "02-plug-in")
    assert plugged["userErrors"] == []
    assert plugged["connector"]["isVerified"] is False
    assert plugged["connector"]["status"]["channel"] == {"stage": "PROVISIONING"}
    connector_id = plugged["connector"]["id"]
    await _watch_channel(gateway, connector_id)
    message_id = await _send(gateway)
    await _watch_deliveries(gateway, message_id)
    await _read_back(gateway, message_id)
    await _test_connector(gateway, connector_id)


async def _watch_channel(gateway: Gateway, connector_id: str) -> None:
    query, variables = example("03-watch-channel", con=connector_id)
    async with gateway.socket() as socket:
        stream = await socket.subscribe(query, **variables)
        status = (await stream.next())["status"]
        while not status["ready"]:
            status = (await stream.next())["status"]
    assert (status["channel"], status["reasons"]) == ({"stage": "ACTIVE"}, [])
    results = [(result["displayName"], result["status"]) for result in status["checks"]["results"]]
    assert results == [("Connection", "OK"), ("Authentication", "OK")]


async def _send(gateway: Gateway) -> str:
    sent = await run(gateway, "04-send")
    assert sent["userErrors"] == []
    assert (sent["message"]["status"], sent["message"]["to"]) == ("QUEUED", "ada@simulator")
    return str(sent["message"]["id"])


async def _watch_deliveries(gateway: Gateway, message_id: str) -> None:
    query, variables = example("05-watch-deliveries", msg=message_id)
    async with gateway.socket() as socket:
        stream = await socket.subscribe(query, **variables)
        frames = [await stream.next()]
        while frames[-1]["status"] != "READ":
            frames.append(await stream.next())
    seen = [frame["status"] for frame in frames]
    assert seen == ROAD[-len(seen) :]
    assert len(seen) >= 3
    assert [entry["status"] for entry in frames[-1]["message"]["timeline"]] == ROAD


async def _read_back(gateway: Gateway, message_id: str) -> None:
    message = await run(gateway, "06-read-back", msg=message_id)
    assert (message["status"], message["connector"]["name"]) == ("READ", "Quick start")
    assert [entry["status"] for entry in message["timeline"]] == ROAD
    assert [(attempt["number"], attempt["outcome"]) for attempt in message["attempts"]] == [(1, "SENT")]
    assert message["attempts"][0]["providerStatus"] == 202
    assert [decision["decision"] for decision in message["route"]] == ["CHOSEN"]


async def _test_connector(gateway: Gateway, connector_id: str) -> None:
    tested = await run(gateway, "07-test-connector", con=connector_id)
    assert (tested["success"], tested["message"]) == (True, "Test message sent successfully")
    assert [stage["name"] for stage in tested["stages"]] == ["SUBMIT", "ACCEPTED"]
    assert tested["connector"] == {"isVerified": True}
    assert tested["userErrors"] == []


async def test_the_quick_start_again_names_the_connector_that_is_there(gateway: Gateway) -> None:
    first = await run(gateway, "02-plug-in")
    again = await run(gateway, "02-plug-in")
    assert again["connector"] is None
    assert [(error["code"], error["conflictingId"]) for error in again["userErrors"]] == [
        ("CONNECTOR_ALREADY_EXISTS", first["connector"]["id"])
    ]


@pytest.mark.parametrize(
    ("destination", "codes"),
    [("rejected", [("CONNECTOR_DELIVERY_FAILED", "404")]), ("invalid", [("INVALID_DESTINATION", None)])],
)
async def test_a_test_of_the_connector_shows_what_its_comment_promises(
    gateway: Gateway, destination: str, codes: list[tuple[str, str | None]]
) -> None:
    plugged = await run(gateway, "02-plug-in")
    query, variables = example("07-test-connector", con=plugged["connector"]["id"])
    tested = (await gateway.gql(query.replace('"delivered"', f'"{destination}"'), **variables))["connectorTest"]
    assert tested["success"] is False
    assert [(error["code"], error.get("providerCode")) for error in tested["userErrors"]] == codes


async def test_a_test_in_a_second_window_shows_in_the_first(gateway: Gateway) -> None:
    connector_id = (await run(gateway, "02-plug-in"))["connector"]["id"]
    query, variables = example("03-watch-channel", con=connector_id)
    async with gateway.socket() as socket:
        stream = await socket.subscribe(query, **variables)
        while not (await stream.next())["status"]["ready"]:
            pass
        await run(gateway, "07-test-connector", con=connector_id)
        assert (await stream.next())["cause"] == "test"


async def test_a_mail_server_is_plugged_in_and_tested(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    query, variables = example("email-plug-in")
    config = variables["config"]
    async with MailServer(credentials=(config["username"], config["password"])) as server:
        monkeypatch.setenv("SSL_CERT_FILE", server.certificate)
        there = {"smtpHost": server.host, "smtpPort": server.port}
        plugged = (await gateway.gql(query, config={**config, **there}))["connectorCreate"]
        connector = plugged["connector"]
        assert plugged["userErrors"] == []
        assert (connector["channelType"], connector["priority"], connector["isVerified"]) == ("EMAIL", 0, False)
        assert connector["config"]["password"] == "****"
        await eventually(lambda: _is_verified(gateway, connector["id"]))
        assert server.received == []
        tested = await run(gateway, "email-test", con=connector["id"])
        assert (tested["success"], tested["message"], tested["userErrors"]) == (True, "Test message sent successfully", [])
        assert tested["deliveryTimeMs"] >= 0
        mails = [(mail.sender, mail.recipient) for mail in server.received]
        assert mails == [("notifications@example.com", "test@example.com")]


async def test_a_key_is_made_used_and_revoked(gateway: Gateway) -> None:
    made = await run(gateway, "key-create")
    assert made["userErrors"] == []
    query, variables = example("04-send")
    connector_id = (await run(gateway, "02-plug-in"))["connector"]["id"]
    await eventually(lambda: _is_verified(gateway, connector_id))
    sent = await gateway.post(query, variables, made["key"])
    assert sent["data"]["messageSend"]["userErrors"] == []
    ended = await run(gateway, "key-revoke", key=made["apiKey"]["id"])
    assert ended["apiKey"]["revokedAt"] is not None and ended["userErrors"] == []
    refused = await gateway.post(query, variables, made["key"])
    assert [error["extensions"]["code"] for error in refused["errors"]] == ["UNAUTHENTICATED"]


async def test_a_sender_id_is_asked_for_reviewed_tried_and_used(gateway: Gateway) -> None:
    await run(gateway, "02-plug-in")
    async with gateway.socket() as socket:
        stream = await socket.subscribe(example("sender-5-watch")[0])
        await gateway.followed()
        asked = await run(gateway, "sender-1-ask")
        assert (asked["senderId"]["status"], asked["userErrors"]) == ("PENDING", [])
        sender_id = asked["senderId"]["id"]
        query, variables = example("sender-2-review", snd=sender_id)
        reviewer = gateway.token("members:read", admin=True, subject="reviewer")
        reviewed = (await gateway.gql(query, reviewer, **variables))["senderIdReview"]
        assert (reviewed["senderId"]["status"], reviewed["senderId"]["hints"]) == ("APPROVED", [])
        told = [(await stream.next())["type"] for _ in range(2)]
        assert told == ["sender.created", "sender.approved"]
    tried = await eventually(lambda: _tried(gateway, sender_id))
    assert (tried["message"], tried["userErrors"]) == ("Test message sent successfully under Acme", [])
    sent = await run(gateway, "sender-4-send", snd=sender_id)
    assert (sent["message"]["from"], sent["userErrors"]) == ("Acme", [])


async def test_somebody_opts_out_and_in_again(gateway: Gateway) -> None:
    async with gateway.socket() as socket:
        stream = await socket.subscribe(example("opt-out-4-watch")[0])
        await gateway.followed()
        added = await run(gateway, "opt-out-1-add")
        assert (added["canceledMessages"], added["userErrors"]) == (0, [])
        listed = await run(gateway, "opt-out-2-list")
        assert [(row["id"], row["recipient"]) for row in listed["nodes"]] == [(added["optOut"]["id"], "ada@simulator")]
        assert (await run(gateway, "opt-out-3-remove"))["removedOptOutId"] == added["optOut"]["id"]
        assert [(await stream.next())["action"] for _ in range(2)] == ["ADDED", "REMOVED"]


async def test_an_organization_sets_its_whatsapp_line(gateway: Gateway) -> None:
    answer = await run(gateway, "whatsapp-line")
    shown = {"whatsappPhoneNumberId": "106540352242922", "usesPlatformDefault": False}
    assert answer["line"] == {**shown, "platformLineConfigured": False, "hasAccessToken": True}


async def _tried(gateway: Gateway, sender_id: str) -> Json:
    """The answer, once the connector's checks have run."""
    tried = await run(gateway, "sender-3-test", snd=sender_id)
    return tried if tried["success"] else None


async def test_a_workspace_is_changed_and_another_one_added(gateway: Gateway) -> None:
    changed = await run(gateway, "workspace-update")
    assert changed == {"workspace": {"name": "demo", "willActive": True, "retentionDays": 90}, "userErrors": []}
    query, _ = example("workspace-create")
    made = (await gateway.gql(query, gateway.token(admin=True)))["workspaceCreate"]
    assert (made["workspace"]["name"], made["userErrors"]) == ("Acme", [])
    refused = await gateway.post(query)
    assert [error["extensions"]["code"] for error in refused["errors"]] == ["FORBIDDEN"]


async def test_the_rate_limits_are_told(gateway: Gateway) -> None:
    limits = await run(gateway, "rate-limits")
    assert [limit["name"] for limit in limits][:3] == ["requests", "connectors", "connectorCreate"]


async def _is_verified(gateway: Gateway, connector_id: str) -> bool:
    found = await gateway.gql("query($id: ID!) { connector(id: $id) { isVerified } }", id=connector_id)
    return bool(found["connector"]["isVerified"])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.graphql")), ids=lambda path: path.stem)
def test_an_example_fits_the_schema_and_the_editor(path: Path) -> None:
    text = path.read_text()
    assert validate(build_schema(sdl()), parse(text)) == []
    assert max(len(line) for line in text.splitlines()) <= 70


def test_variables_belong_to_an_example() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} <= {path.stem for path in EXAMPLES.glob("*.graphql")}
