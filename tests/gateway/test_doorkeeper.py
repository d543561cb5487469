"""Trying credentials does not pay, and does not keep the neighbours out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from gateway.doorkeeper import Doorkeeper
from resolvers.audit import ADDRESS
from resolvers.key_texts import KeyText
from resolvers.problems import Problem, RequestErrorCode
from resolvers.windows import Rate
from tests import make
from tests.harness import Gateway, running, settings_for

WHO = {"query": "{ viewer { subject } }"}


async def status(gateway: Gateway, key: str) -> tuple[int, str | None]:
    async with gateway.http.post(f"{gateway.url}/graphql", json=WHO, headers={"x-api-key": key}) as response:
        return response.status, response.headers.get("retry-after")


async def test_who_tries_keys_is_refused_unread_until_the_window_ends(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, auth_failures="3/60")) as gateway:
        _, used = await make.api_key(gateway)
        _, fresh = await make.api_key(gateway)
        assert await status(gateway, used) == (200, None)
        for _ in range(3):
            assert await status(gateway, KeyText.mint().text) == (401, None)
        for key in (KeyText.mint().text, fresh):
            refused, retry_after = await status(gateway, key)
            assert refused == 429 and retry_after is not None and 50 < int(retry_after) <= 60
        assert await status(gateway, used) == (200, None)
        protocol = websockets.Subprotocol("graphql-transport-ws")
        async with websockets.connect(gateway.url.replace("http", "ws") + "/graphql", subprotocols=[protocol]) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": {"x-api-key": fresh}}))
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
        assert (socket.close_code, (socket.close_reason or "")[:43]) == (4403, "Too many credentials from your address were")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    before = ADDRESS.set(None)
    yield Clock()
    ADDRESS.reset(before)


def is_shut(door: Doorkeeper, credential: str, address: str | None) -> bool:
    ADDRESS.set(address)
    try:
        door.check(credential)
    except Problem as problem:
        assert problem.code is RequestErrorCode.RATE_LIMITED
        return True
    return False


def test_each_address_is_counted_by_itself_and_for_a_while(clock: Clock) -> None:
    door = Doorkeeper(Rate(2, 60), clock)
    ADDRESS.set("192.0.2.1")
    door.refused()
    assert not is_shut(door, "a", "192.0.2.1")
    door.refused()
    assert is_shut(door, "a", "192.0.2.1") and not is_shut(door, "a", "192.0.2.2")
    clock.now = 60.0
    assert not is_shut(door, "a", "192.0.2.1")


def test_an_ipv6_site_is_one_address(clock: Clock) -> None:
    door = Doorkeeper(Rate(1, 60), clock)
    ADDRESS.set("2001:db8:1:2::1")
    door.refused()
    assert is_shut(door, "a", "2001:db8:1:2:ffff::9") and not is_shut(door, "a", "2001:db8:1:3::1")


def test_good_credentials_are_remembered_and_those_without_an_address_never_counted(clock: Clock) -> None:
    door = Doorkeeper(Rate(1, 60), clock)
    door.admitted("good")
    door.refused()
    assert not is_shut(door, "a", None)
    ADDRESS.set("192.0.2.1")
    door.refused()
    assert is_shut(door, "a", "192.0.2.1") and not is_shut(door, "good", "192.0.2.1")
