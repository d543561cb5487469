from __future__ import annotations

from typing import Any

import pytest

from channels.base import Accepted, CheckStatus, Outbound
from channels.errors import SendError
from channels.exchange import Exchange
from channels.instagram import Instagram
from tests.channels.sample import Sample
from tests.provider_server import ProviderServer, Reply, open_wire

TOKEN = "IGAA-account-token"
ACCOUNT, PERSON = "17841405822304914", "254459154682919"
SENT = {"recipient_id": PERSON, "message_id": "m_AG5Hz2U"}


def instagram(url: str = "https://graph.instagram.com", **changes: Any) -> Instagram:
    return Instagram.model_validate({"accessToken": TOKEN, "accountId": ACCOUNT, "baseUrl": url, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": PERSON, "body": "Hello", **changes})


SAMPLE = Sample(instagram, (TOKEN,), PERSON, Reply(200, SENT), limit=1000)


async def test_an_answer_needs_no_kind() -> None:
    async with ProviderServer(default=Reply(200, SENT)) as provider, open_wire() as wire:
        assert await instagram(provider.url).send(wire, message(), Exchange()) == Accepted("m_AG5Hz2U")
    [request] = provider.requests
    assert (request.path, request.json()) == ("/v23.0/me/messages", {"recipient": {"id": PERSON}, "message": {"text": "Hello"}})


def test_its_limit_is_in_bytes() -> None:
    instagram().check(message(body="é" * 500))
    with pytest.raises(SendError) as caught:
        instagram().check(message(body="é" * 501))
    assert caught.value.code == "TEXT_TOO_LONG"


@pytest.mark.parametrize(
    ("me", "status"),
    [({"user_id": ACCOUNT, "username": "shop"}, CheckStatus.OK), ({"id": "12345"}, CheckStatus.ERROR)],
)
async def test_verification_asks_whose_token_it_is(me: Any, status: CheckStatus) -> None:
    async with ProviderServer(default=Reply(200, me)) as provider, open_wire() as wire:
        [check] = await instagram(provider.url).verify(wire)
    assert check.status is status


def test_recipients_are_people_who_wrote_first() -> None:
    with pytest.raises(ValueError, match=r"^An Instagram recipient is"):
        instagram().destination("@ada")
