"""Rates: how often something may be done, and how often it was in this process."""

from __future__ import annotations

import datetime as dt
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from models.base import now

MOST, LONGEST = 1_000_000_000, 86_400
KEPT = 100_000
_RATE = re.compile(r"([0-9]{1,10})/([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` times in `seconds`, counted from the first."""

    limit: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> Rate:
        """`10/3600`. Raises ValueError naming the rule."""
        found = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
        rate = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not (1 <= rate.limit <= MOST and 1 <= rate.seconds <= LONGEST):
            raise ValueError(f"must be number/seconds, as in 10/3600: at least 1/1, and at most {LONGEST} seconds")
        return rate

    def __str__(self) -> str:
        return f"{self.limit}/{self.seconds}"

    @property
    def window(self) -> dt.timedelta:
        return dt.timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Use:
    """What has been used of a rate until its window ends, in `left` seconds; `granted` tells whether the last request was
    counted."""

    rate: Rate
    used: int
    left: float
    granted: bool = True

    @property
    def remaining(self) -> int:
        return max(0, self.rate.limit - self.used)

    @property
    def resets_at(self) -> dt.datetime:
        return now() + dt.timedelta(seconds=self.left)

    @property
    def retry_after(self) -> int:
        """Whole seconds until the window ends, at least one."""
        return max(1, math.ceil(self.left))


class Windows:
    """Counts that live as long as the process; those longest unused are forgotten first. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, kept: int = KEPT) -> None:
        self._clock = clock
        self._kept = kept
        self._counts: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def take(self, key: Hashable, rate: Rate, units: int = 1) -> Use:
        """Count `units`, or nothing at all where fewer are left."""
        at = self._clock()
        began, used = self._running(key, rate, at)
        granted = used + units <= rate.limit
        if granted:
            used += units
            self._counts[key] = began, used
            self._counts.move_to_end(key)
            if len(self._counts) > self._kept:
                self._counts.popitem(last=False)
        return Use(rate, used, began + rate.seconds - at, granted)

    def look(self, key: Hashable, rate: Rate) -> Use:
        at = self._clock()
        began, used = self._running(key, rate, at)
        return Use(rate, used, began + rate.seconds - at, used < rate.limit)

    def _running(self, key: Hashable, rate: Rate, at: float) -> tuple[float, int]:
        began, used = self._counts.get(key, (at, 0))
        return (began, used) if at - began < rate.seconds else (at, 0)
