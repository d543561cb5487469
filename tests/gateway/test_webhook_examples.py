"""The examples about webhooks are executed as they are; the README's code verifies what comes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from delivery.webhook_events import EVENT_TYPES
from tests import hooks, make
from tests.gateway.test_examples import example, run
from tests.harness import Gateway
from tests.mail_server import MailServer
from tests.provider_server import ProviderServer, Reply

README = Path(__file__).resolve().parents[2] / "README.md"


def receive_of_the_readme(key: str, handled: list[Any]) -> Any:
    """The function that the README gives to those who receive webhooks."""
    (code,) = [found for found in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "def receive" in found]
    seen: set[str] = set()

    def remember(event_id: str) -> bool:
        known = event_id in seen
        seen.add(event_id)
        return not known

    scope = {"SIGNING_KEY": key, "remember": remember, "handle": lambda type, data: handled.append((type, data["status"]))}
    exec(code, scope)
    return scope["receive"]


async def test_a_mail_is_followed_by_webhook(gateway: Gateway) -> None:
    query, _variables = example("webhook-1-subscribe")
    async with ProviderServer(default=Reply(204)) as receiver, MailServer() as server:
        made = (await gateway.gql(query, url=receiver.url))["webhookSubscriptionCreate"]
        assert made["userErrors"] == []
        whs = made["webhookSubscription"]["id"].removeprefix("whs_")
        tested = await run(gateway, "webhook-2-test", whs=f"whs_{whs}")
        assert (tested["delivery"]["status"], tested["userErrors"]) == ("DELIVERED", [])
        config = make.smtp(server.port, smtpHost=server.host)
        mail = await make.working(gateway, "Mail", config=config)
        sent = await make.message(gateway, "nobody@example.com", connectorId=mail["id"], subject="Hello")
        await make.arrived(gateway, sent["id"], "SENT")
        found = await run(gateway, "webhook-3-deliveries", whs=f"whs_{whs}")
        assert [delivery["eventType"] for delivery in found["nodes"]] == ["webhook.test"], "SENT is not asked for"
        replayed = await run(gateway, "webhook-5-replay", whs=f"whs_{whs}")
        assert (replayed["replayed"], replayed["isComplete"], replayed["userErrors"]) == (0, True, [])
        rotated = await run(gateway, "webhook-4-rotate", whs=f"whs_{whs}")
        assert rotated["signingKey"].startswith("whsec_") and rotated["userErrors"] == []


async def test_deliveries_are_watched_and_verified(gateway: Gateway) -> None:
    await make.working(gateway)
    async with ProviderServer(default=Reply(204)) as receiver, gateway.socket() as socket:
        made = await hooks.subscribe(gateway, receiver.url)
        query, variables = example("webhook-6-watch", whs=made["id"])
        stream = await socket.subscribe(query, **variables)
        await make.message(gateway)
        frames = [await stream.next() for _ in range(4)]
        requests = await hooks.came(receiver, 4)
    assert [frame["delivery"]["status"] for frame in frames] == ["DELIVERED"] * 4
    handled: list[Any] = []
    receive = receive_of_the_readme(made["signingKey"], handled)
    assert [receive(request.body, request.headers) for request in [*requests, requests[0]]] == [204] * 5
    assert receive(requests[0].body + b" ", requests[0].headers) == 401
    assert [status for _type, status in handled] == ["QUEUED", "PROCESSING", "SENT", "DELIVERED"]


async def test_the_types_of_events_are_listed(gateway: Gateway) -> None:
    assert len(await run(gateway, "webhook-event-types")) == len(EVENT_TYPES)
