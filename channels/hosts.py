"""Where a server is: a host name or an IP address, by one rule for every provider that is not asked by URL.

Names are those of RFC 1123 with what resolvers and name servers take beyond it: underscores, which container networks give, and
hyphens at the end of a part. An international name is kept in ASCII (RFC 3490), as the resolver would have it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Annotated

from pydantic import AfterValidator

LONGEST, LONGEST_PART = 253, 63

_RULE = "must be a host name or an IP address, without scheme, port, path or brackets"
_LENGTHS = f"a name has 1 to {LONGEST_PART} characters between its dots, and {LONGEST} in all"
_CHARACTERS = re.compile(r"[A-Za-z0-9_.-]+")
_FOUR_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+){3}\.?")
_ZONE = re.compile(r"[!-$&-.0-~]{1,15}")  # what Linux calls a network interface, or its number


def host(text: str) -> str:
    """A host name in ASCII, or an IP address in its shortest form. Raises ValueError with the part of the rule that is broken.

    A dot at the end stays: the resolver then adds no domain of its own. `127.1` and its like are the addresses that they are
    to every resolver.
    """
    if len(text) > LONGEST + 1:  # to put a very long one into ASCII would take seconds
        raise ValueError(f"{_RULE}; {_LENGTHS}")
    if ":" in text:
        return _ipv6(text)
    name = _ascii(text)
    if not _CHARACTERS.fullmatch(name):
        raise ValueError(f"{_RULE}; a name has letters, digits, hyphens and underscores between its dots")
    if name.startswith("-"):
        raise ValueError(f"{_RULE}; a name does not begin with a hyphen")
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        pass
    if _FOUR_NUMBERS.fullmatch(name):
        raise ValueError(f"{_RULE}; four numbers are an IPv4 address, each from 0 to 255 and without a dot at the end")
    whole = name.removesuffix(".")
    if len(whole) > LONGEST or not all(1 <= len(part) <= LONGEST_PART for part in whole.split(".")):
        raise ValueError(f"{_RULE}; {_LENGTHS}")
    return name


def certified(name: str) -> str:
    """The host as its certificate has it: without the dot at its end, and without the zone of an IPv6 address."""
    return name.removesuffix(".").partition("%")[0]


def _ipv6(text: str) -> str:
    _, has_zone, zone = text.partition("%")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError(_RULE) from None
    if has_zone and not _ZONE.fullmatch(zone):
        raise ValueError(f"{_RULE}; the zone of an IPv6 address is the name or the number of a network interface")
    return str(address)


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{_RULE}; an international name has an ASCII form (RFC 3490), and this has none") from None


Host = Annotated[str, AfterValidator(host)]
