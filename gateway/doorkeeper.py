"""Slows down who tries credentials. An address with too many refused ones gets no more of them looked at for a while.

Credentials that were good lately are still let in: one program with a stale key must not lock out its neighbours behind the
same address.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache

import structlog

from resolvers.audit import ADDRESS
from resolvers.rates import limited
from resolvers.windows import Rate, Windows

REMEMBERED = 10_000
_SITE_BITS = 64  # what one IPv6 subscriber has at least

log = structlog.get_logger()


class Doorkeeper:
    """`rate` is how many credentials of one address may be refused. Who has no address (a local socket) is not counted.

    Credentials are told apart by what is no secret, such as their digests.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._refused = Windows(clock)
        self._good: OrderedDict[Hashable, None] = OrderedDict()

    def check(self, credential: Hashable) -> None:
        """Raise RATE_LIMITED if the credential is not to be looked at."""
        source = _source()
        if source is None:
            return
        use = self._refused.look(source, self._rate)
        if use.remaining == 0 and credential not in self._good:
            message = f"Too many credentials from your address were refused; try again in {use.retry_after} s."
            raise limited(message, use)

    def refused(self) -> None:
        """Count a credential that was none."""
        source = _source()
        if source is not None and self._refused.take(source, self._rate).remaining == 0:
            log.warning("credentials_throttled", address=source)

    def admitted(self, credential: Hashable) -> None:
        """Remember a credential that was good."""
        self._good[credential] = None
        self._good.move_to_end(credential)
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)


def _source() -> str | None:
    """The address of the request being answered; of an IPv6 one, its site."""
    return _site_of(ADDRESS.get())


@lru_cache(REMEMBERED)
def _site_of(given: str | None) -> str | None:
    try:
        address = ipaddress.ip_address(given or "")
    except ValueError:
        return given
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _SITE_BITS), strict=False))
