"""Which addresses we may connect to. Checked where the socket is made, so neither DNS rebinding, nor an odd spelling of
an address, nor a redirect gets around it: what is checked is the very address that is about to be dialled."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

# Not global, or a road to what is not (NAT64, 6to4, Teredo), though `ipaddress` does not refuse all of them.
_REFUSED = tuple(
    ipaddress.ip_network(net)
    for net in (
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
    )
)


class BlockedAddressError(OSError):
    """The address is private, loopback, link-local or otherwise not public."""


class Egress:
    """The policy. `allow_private` lifts it for local development and tests."""

    def __init__(self, allow_private: bool = False, allow_networks: Iterable[str] = ()) -> None:
        self.allow_private = allow_private
        self._allowed = tuple(ipaddress.ip_network(net) for net in allow_networks)

    def check(self, address: str) -> None:
        """Raise BlockedAddressError unless this numeric IP address may be dialled."""
        if self.allow_private:
            return
        ip = ipaddress.ip_address(address.split("%", 1)[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if any(ip.version == net.version and ip in net for net in self._allowed):
            return
        refused = any(ip.version == net.version and ip in net for net in _REFUSED)
        if refused or ip.is_multicast or not ip.is_global:
            raise BlockedAddressError(f"{ip} is not a public address")

    def make_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A non-blocking socket for one `getaddrinfo` answer; aiohttp's `socket_factory` has this shape."""
        family, kind, proto, _, address = info
        self.check(address[0])
        made = socket.socket(family, kind, proto)
        made.setblocking(False)
        return made
