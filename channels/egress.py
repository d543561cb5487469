"""Which addresses we may connect to. Checked where the socket is made, so neither DNS rebinding, nor an odd spelling of
an address, nor a redirect gets around it: what is checked is the very address that is about to be dialled."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")

# Not public, or a road to what is not (Teredo, 6to4), though `ipaddress` does not refuse all of them.
_REFUSED = tuple(
    ipaddress.ip_network(net)
    for net in (
        "100.64.0.0/10",
        "168.63.129.16/32",  # Azure's metadata host: a public address that answers only inside
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
    )
)


class BlockedAddressError(OSError):
    """The address is not a public one."""

    # One text for all addresses: it tells nothing of the network behind, and a host with several addresses, all
    # refused, raises this instead of a summary of different texts.
    def __init__(self) -> None:
        super().__init__("not a public address")


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
        if not (_within(ip, self._allowed) or _public(ip)):
            raise BlockedAddressError

    def make_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A non-blocking socket for one `getaddrinfo` answer; aiohttp's `socket_factory` has this shape."""
        family, kind, proto, _, address = info
        self.check(address[0])
        if kind == socket.SOCK_STREAM:
            proto = proto or socket.IPPROTO_TCP  # asyncio sets TCP_NODELAY only on sockets that say they are TCP
        made = socket.socket(family, kind, proto)
        made.setblocking(False)
        return made


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def _within(ip: _Address, networks: _Networks) -> bool:
    return any(ip.version == net.version and ip in net for net in networks)


def _public(ip: _Address) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_IPV6:
        return False
    return ip.is_global and not ip.is_multicast and not _within(ip, _REFUSED)
