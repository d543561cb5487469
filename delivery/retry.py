"""When a message is tried again. Policy is data: how long to wait, how often, and for how long in all."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Waits `base` seconds doubled with every try up to `cap`, times a random 0.5 to 1.5; gives up after `tries` or `age`.
    After `patience` tries at one connector the message goes to another that can take it."""

    base: float
    cap: float
    tries: int
    age: dt.timedelta
    patience: int

    def wait(self, tries: int) -> float:
        """Seconds before the next try, when `tries` have been made."""
        return random.uniform(0.5, 1.5) * min(self.cap, self.base * 2.0 ** min(tries - 1, 30))


OTP = Policy(base=0.5, cap=15, tries=12, age=dt.timedelta(minutes=10), patience=2)
STANDARD = Policy(base=2, cap=900, tries=12, age=dt.timedelta(hours=24), patience=3)
POLICIES = {"OTP": OTP, "STANDARD": STANDARD}
THROTTLED_WAIT = 1.0  # when the provider says 429 without Retry-After
LONGEST_PAUSE = 3600.0
BULK_RESTS_LONGER = 1.0  # times the pause, after it
LONGEST_WAIT = dt.timedelta(seconds=2 * LONGEST_PAUSE + STANDARD.cap)  # BULK rests twice as long as a pause
OTP_VALIDITY = dt.timedelta(minutes=5)


def next_try(flow: str, tries: int, accepted_at: dt.datetime, at: dt.datetime) -> dt.datetime | None:
    """When to try again after `tries` failed tries; None when it is time to give up."""
    policy = POLICIES[flow]
    due = at + dt.timedelta(seconds=policy.wait(tries))
    return None if tries >= policy.tries or due > accepted_at + policy.age else due


def pause(retry_after: float | None) -> dt.timedelta:
    """How long a connector rests after the provider asked it to slow down."""
    return dt.timedelta(seconds=min(LONGEST_PAUSE, THROTTLED_WAIT if retry_after is None else max(0.05, retry_after)))
