"""The examples about what comes in, and about who changed what, are executed as they are."""

from __future__ import annotations

from pathlib import Path

from tests import lab, make
from tests.gateway import calls
from tests.gateway.test_examples import example, run
from tests.harness import Gateway, running, settings_for

PHONE = "+447700900123"


async def test_what_a_provider_tells_is_watched_and_listed(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, public_url=calls.PUBLIC)) as gateway, lab.Twilio() as provider:
        connector_id = await lab.verified(gateway, "sms", calls.twilio_config(provider))
        quiet = await run(gateway, "inbound-1-address", con=connector_id)
        async with gateway.socket() as socket:
            stream = await socket.subscribe(example("inbound-2-watch")[0])
            await gateway.followed()
            url = await calls.hook(gateway, connector_id)
            hello = {"MessageSid": "SM9", "From": PHONE, "To": "+15005550006", "Body": "Hello", "NumMedia": "0"}
            assert (await calls.twilio(gateway, url, hello))[0] == 204
            seen = (await stream.next())["message"]
        assert (seen["from"], seen["body"], seen["keyword"], seen["connector"]) == (PHONE, "Hello", None, {"name": "sms"})
        listed = await run(gateway, "inbound-3-list")
        assert [(one["id"], one["externalId"]) for one in listed["nodes"]] == [(seen["id"], "SM9")]
        shown = await run(gateway, "inbound-1-address", con=connector_id)
        assert (shown["name"], shown["inboundWebhookUrl"]) == ("sms", url)
        assert quiet["status"]["inbound"] is None and shown["status"]["inbound"]["status"] == "OK"
        assert (await run(gateway, "orphan-receipts"))["totalCount"] == 0
        assert (await calls.twilio(gateway, url, {"MessageSid": "SM8", "MessageStatus": "delivered"}))[0] == 204
        (orphan,) = (await run(gateway, "orphan-receipts"))["nodes"]
        assert (orphan["externalId"], orphan["status"], orphan["connector"]) == ("SM8", "DELIVERED", {"name": "sms"})


async def test_who_changed_what_is_told(gateway: Gateway) -> None:
    made = await make.working(gateway)
    await make.change(gateway, made["id"], name="Renamed")
    await make.connector(gateway, "Other")
    log = await run(gateway, "audit-1-log")
    did = [(entry["actor"], entry["action"]) for entry in log["nodes"]]
    assert did == [("tester", "connectorCreate"), ("tester", "connectorUpdate"), ("tester", "connectorCreate")]
    assert (log["totalCount"], log["pageInfo"]["hasNextPage"]) == (3, False)
    of_one = await run(gateway, "audit-2-object", con=made["id"])
    assert [entry["action"] for entry in of_one["nodes"]] == ["connectorUpdate", "connectorCreate"]
    assert of_one["nodes"][0]["changes"] == {"name": {"from": "Sim", "to": "Renamed"}}
