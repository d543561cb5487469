"""Rate limits of a viewer, each named after the field it limits.

Rare and costly ones are counted in the database and hold exactly, however many processes answer. `HOT` ones are counted in
each process by itself: with n of them a viewer may have n times as much.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models import spendings
from models.base import now
from models.spendings import Spending
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import Viewer
from resolvers.windows import Rate, Use, Windows

if TYPE_CHECKING:
    from resolvers.call import Call

REQUESTS = "requests"
HOT = frozenset({REQUESTS, "connectors"})


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How a viewer stands with one limit."""

    name: str
    limit: int
    window_seconds: int
    remaining: int
    reset_at: dt.datetime


class Rates:
    """`rates` are all limits there are, by name."""

    def __init__(self, rates: Mapping[str, Rate]) -> None:
        self._rates = dict(rates)
        self._windows = Windows()

    def take_requests(self, viewer: Viewer, fields: int) -> None:
        """Count the root fields of an operation. Raises RATE_LIMITED, and counts nothing, where fewer are left."""
        self._take(viewer, REQUESTS, fields)

    async def spend(self, call: Call, name: str) -> None:
        """Count one execution. Raises RATE_LIMITED, and counts nothing, when the viewer has none left."""
        if name in HOT:
            self._take(call.viewer, name)
            return
        rate = self._rates[name]
        async with call.write() as session:
            who, at = call.viewer.identity, now()
            if await spendings.take(session, call.workspace_id, who, name, rate.limit, rate.window, at) is not None:
                return
            row = await spendings.get(session, call.workspace_id, who, name)
        raise _refusal(name, self._use(call.viewer, name, row))

    async def of(self, call: Call) -> list[RateLimit]:
        """Every limit, as the viewer stands with it now."""
        async with call.read() as session:
            found = {row.name: row for row in await spendings.of_viewer(session, call.workspace_id, call.viewer.identity)}
        return [_shown(name, self._use(call.viewer, name, found.get(name))) for name in self._rates]

    def _take(self, viewer: Viewer, name: str, units: int = 1) -> None:
        use = self._windows.take((viewer.workspace_id, viewer.identity, name), self._rates[name], units)
        if not use.granted:
            raise _refusal(name, use)

    def _use(self, viewer: Viewer, name: str, row: Spending | None) -> Use:
        rate, at = self._rates[name], now()
        if name in HOT:
            return self._windows.look((viewer.workspace_id, viewer.identity, name), rate)
        if row is None or abs(at - row.began_at) >= rate.window:
            return Use(rate, 0, rate.seconds)
        return Use(rate, row.used, (row.began_at + rate.window - at).total_seconds())


def _shown(name: str, use: Use) -> RateLimit:
    return RateLimit(name, use.rate.limit, use.rate.seconds, use.remaining, use.resets_at)


def _refusal(name: str, use: Use) -> Problem:
    rate, wait = use.rate, use.retry_after
    return limited(f"{name} is limited to {rate.limit} in {rate.seconds} s; try again in {wait} s.", use, name=name)


def limited(message: str, use: Use, **extra: str) -> Problem:
    """The refusal of who has used a rate up."""
    return Problem(
        RequestErrorCode.RATE_LIMITED,
        message,
        None,
        limit=use.rate.limit,
        window=use.rate.seconds,
        remaining=use.remaining,
        resetAt=use.resets_at.isoformat().replace("+00:00", "Z"),
        retryAfter=use.retry_after,
        **extra,
    )
