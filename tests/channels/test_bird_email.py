from __future__ import annotations

from typing import Any

import pytest

from channels.base import Outbound
from channels.bird_email import BirdEmail
from channels.errors import SendError
from channels.exchange import Exchange
from tests.channels.sample import Sample
from tests.provider_server import ProviderServer, Reply, open_wire

KEY = "bird-access-key-1"
WORKSPACE, CHANNEL = "3fa85f64-5717-4562-b3fc-2c963f66afa6", "a1405560-c8d3-4b1a-877d-3f449ad95352"
TO = "ada@example.com"
SENT = {"id": "cc8d2a1e-0000-4000-8000-000000000001", "status": "accepted"}


def bird(url: str = "https://api.bird.com", **changes: Any) -> BirdEmail:
    given = {"accessKey": KEY, "workspaceId": WORKSPACE, "channelId": CHANNEL, "baseUrl": url}
    return BirdEmail.model_validate({**given, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": TO, "body": "a < b", "subject": "Hello", **changes})


SAMPLE = Sample(bird, (KEY,), TO, Reply(202, SENT), limit=100_000)


@pytest.mark.parametrize(("html", "shown"), [(None, "<pre>a &lt; b</pre>"), ("<p>Hi</p>", "<p>Hi</p>")])
async def test_a_mail_has_a_subject_a_text_and_html(html: str | None, shown: str) -> None:
    async with ProviderServer(default=Reply(202, SENT)) as provider, open_wire() as wire:
        await bird(provider.url).send(wire, message(html=html), Exchange())
    [request] = provider.requests
    contact = {"identifierKey": "emailaddress", "identifierValue": TO}
    assert request.json()["receiver"] == {"contacts": [contact]}
    assert request.json()["body"] == {
        "type": "html",
        "html": {"html": shown, "text": "a < b", "metadata": {"subject": "Hello"}},
    }


def test_recipients_are_addresses() -> None:
    assert bird().destination(" Ada@Example.COM ") == "Ada@example.com"
    for wrong in ("", "ada", "ada@", "ada@x.com\nBcc: eve@x.com"):
        with pytest.raises(ValueError, match=r"^must be"):
            bird().destination(wrong)


def test_html_alone_is_a_mail() -> None:
    bird().check(message(body=None, html="<p>Hi</p>"))
    with pytest.raises(SendError, match="neither a text"):
        bird().check(message(body=None))
