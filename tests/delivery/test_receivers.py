"""Where webhooks may go, however names are looked up and whatever receivers answer."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from channels.egress import Egress
from delivery.receivers import Outcome, Receivers
from tests.provider_server import ProviderServer, Reply

PUBLIC, LOOPBACK = "93.184.215.14", "127.0.0.1"


class Names(AbstractResolver):
    """A resolver whose answer changes with every question: the first is the first of `answers`, the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if not addresses:
            raise OSError("no such name")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def open_receivers(names: Names, private: bool = False) -> AsyncIterator[Receivers]:
    receivers = Receivers(Egress(allow_private=private), True, names, total_seconds=2)
    await receivers.start()
    try:
        yield receivers
    finally:
        await receivers.close()


async def post(receivers: Receivers, url: str) -> Outcome:
    return await receivers.post(url, b"{}", {}, (), ())


async def test_a_name_that_becomes_a_private_address_leads_nowhere() -> None:
    names = Names([PUBLIC], [LOOPBACK])
    async with ProviderServer(default=Reply(200)) as server, open_receivers(names) as receivers:
        url = f"http://rebinding.example:{server.port}/"
        await receivers.check(url)
        outcome = await post(receivers, url)
    assert names.asked == 2
    assert (outcome.status_code, outcome.error) == (None, "The receiver's host is not at a public address.")
    assert (server.connections, server.requests) == (0, [])


async def test_an_address_is_refused_also_beside_a_public_one() -> None:
    for answer in ([LOOPBACK], [PUBLIC, "10.0.0.1"], ["169.254.169.254"], ["::1"], ["fd00::1"], ["::ffff:127.0.0.1"]):
        async with open_receivers(Names(answer)) as receivers:
            with pytest.raises(ValueError, match="leads to an address that is not public"):
                await receivers.check("http://shop.example/")


async def test_a_name_that_cannot_be_looked_up_is_left_to_the_delivery() -> None:
    async with open_receivers(Names([])) as receivers:
        await receivers.check("http://later.example/")
        outcome = await post(receivers, "http://later.example/")
    assert outcome.error == "The receiver could not be reached (ClientConnectorDNSError)."


async def test_redirects_are_not_followed_and_answers_are_cut() -> None:
    async with ProviderServer() as server, open_receivers(Names([LOOPBACK]), private=True) as receivers:
        server.on("POST", "/away", Reply(307, headers={"Location": f"{server.url}/home"}))
        server.on("POST", "/long", Reply(200, body=b"y" * 5_000_000))
        server.on("POST", "/binary", Reply(500, body=b"\xff\x00\xfe"))
        away, long, binary = [await post(receivers, f"{server.url}/{path}") for path in ("away", "long", "binary")]
    assert [request.path for request in server.requests] == ["/away", "/long", "/binary"]
    assert (away.status_code, away.error) == (307, "The receiver answered 307: redirects are not followed.")
    assert (long.status_code, long.error, long.excerpt) == (200, None, "y" * 500)
    assert (binary.excerpt, binary.is_final) == ("���", False)
