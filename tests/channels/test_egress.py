from __future__ import annotations

import socket

import pytest

from channels.egress import BlockedAddressError, Egress
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from tests.provider_server import ProviderServer, open_wire

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    with pytest.raises(BlockedAddressError):
        Egress().check(address)
    Egress(allow_private=True).check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    Egress().check(address)


def test_an_allowed_network_is_an_exception_to_the_rule() -> None:
    egress = Egress(allow_networks=["10.1.0.0/16", "fd00::/8"])
    egress.check("10.1.2.3")
    egress.check("::ffff:10.1.2.3")
    egress.check("fd00::1")
    for address in ("10.2.0.1", "fc00::1", "127.0.0.1"):
        with pytest.raises(BlockedAddressError):
            egress.check(address)


def test_the_socket_says_it_is_tcp_and_does_not_block() -> None:
    egress = Egress(allow_private=True)
    with egress.make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))) as made:
        assert (made.proto, made.getblocking()) == (socket.IPPROTO_TCP, False)


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", "ADDRESS_BLOCKED"),
        ("[::1]", "ADDRESS_BLOCKED"),
        ("[::ffff:127.0.0.1]", "ADDRESS_BLOCKED"),
        ("[::ffff:7f00:1]", "ADDRESS_BLOCKED"),
        ("localhost", "ADDRESS_BLOCKED"),
        ("0x7f.1", "ADDRESS_BLOCKED"),
        ("0x7f000001", "ADDRESS_BLOCKED"),
        ("0177.0.0.1", "INVALID_URL"),
        ("127.1", "INVALID_URL"),
        ("2130706433", "INVALID_URL"),
        ("１２７.0.0.1", "ADDRESS_BLOCKED"),
    ],
)
async def test_no_spelling_of_loopback_is_dialled(host: str, code: str) -> None:
    exchange = Exchange()
    async with ProviderServer() as provider, open_wire(Egress()) as wire:
        with pytest.raises(SendError) as caught:
            await wire.call(exchange, "POST", f"http://{host}:{provider.port}/", json={})
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, code)
    assert (provider.connections, exchange.sent) == (0, False)
