"""What a process has done since it started, counted as it does it. The gateway shows the numbers to whoever collects them."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from channels.base import Accepted
from channels.errors import SendError
from delivery.verdict import Finished, Verdict, is_poison
from models.base import now
from models.messages import Message
from models.queue import BULK, HIGH, NORMAL, OTP, SUSPECT, urgency
from models.underway import Sendable

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
LANES = {SUSPECT: "suspect", OTP: "otp", HIGH: "high", NORMAL: "normal", BULK: "bulk"}


class Histogram:
    """Durations in seconds, each counted under the first of BOUNDS that it does not exceed."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[int]:
        """How many did not exceed each bound; the last number is of all."""
        return list(accumulate(self._counts))


class InLane(NamedTuple):
    """Messages of a channel by their urgency."""

    channel: str
    lane: str

    @classmethod
    def of(cls, message: Sendable) -> InLane:
        return cls(message.channel_type, LANES[urgency(message.flow, message.priority)])


class Through(NamedTuple):
    """Messages of a channel by the provider they go through."""

    channel: str
    provider: str


class Ended(NamedTuple):
    """Attempts by how they ended; `kind` is that of the failure, empty without one."""

    channel: str
    provider: str
    outcome: str
    kind: str


class Meters:
    """Every count and duration. Labels are words of ours, so that there is an end to them; nothing here waits or fails."""

    def __init__(self) -> None:
        self.accepted: Counter[InLane] = Counter()
        self.attempts: Counter[Ended] = Counter()
        self.retries: Counter[Ended] = Counter()
        self.poisoned: Counter[Through] = Counter()
        self.accept_to_sent: defaultdict[InLane, Histogram] = defaultdict(Histogram)
        self.attempt_duration: defaultdict[Through, Histogram] = defaultdict(Histogram)
        self.webhook_attempts: Counter[tuple[str]] = Counter()
        self.webhook_duration: defaultdict[tuple[()], Histogram] = defaultdict(Histogram)
        self.webhook_latency: defaultdict[tuple[()], Histogram] = defaultdict(Histogram)
        self.sent_to_delivered: defaultdict[tuple[str], Histogram] = defaultdict(Histogram)

    def accept(self, messages: Sequence[Sendable]) -> None:
        """These were stored and will be sent."""
        self.accepted.update(InLane.of(message) for message in messages)

    def attempt(self, finished: Finished, verdict: Verdict) -> None:
        """The outcome of an attempt was stored."""
        message, connector, outcome = finished.message, finished.connector, finished.outcome
        kind = outcome.result.kind.value.lower() if isinstance(outcome.result, SendError) else ""
        ended = Ended(connector.channel_type, connector.provider, verdict.word.lower(), kind)
        self.attempts[ended] += 1
        if verdict.again_at is not None:
            self.retries[ended] += 1
        if is_poison(verdict):
            self.poisoned[Through(*ended[:2])] += 1
        if outcome.duration_ms is not None:
            self.attempt_duration[Through(*ended[:2])].observe(outcome.duration_ms / 1000)
        if isinstance(outcome.result, Accepted):
            self.accept_to_sent[InLane.of(message)].observe(seconds(due_at(message), verdict.values["sent_at"]))

    def deliver(self, messages: Sequence[Message]) -> None:
        """Providers said for the first time that these reached their recipients."""
        for message in messages:
            if message.sent_at is not None and message.delivered_at is not None:
                self.sent_to_delivered[(message.channel_type,)].observe(seconds(message.sent_at, message.delivered_at))

    def webhook(self, status: str, duration_ms: float, occurred_at: dt.datetime | None) -> None:
        """A customer's webhook was called and stands at `status`; `occurred_at` is when its event happened, if it arrived."""
        self.webhook_attempts[(status.lower(),)] += 1
        self.webhook_duration[()].observe(duration_ms / 1000)
        if occurred_at is not None:
            self.webhook_latency[()].observe(seconds(occurred_at, now()))


def due_at(message: Sendable) -> dt.datetime:
    """When a message was to be sent: as soon as it was accepted, unless it was scheduled."""
    return max(message.created_at, message.scheduled_at or message.created_at)


def seconds(begin: dt.datetime, end: dt.datetime) -> float:
    """From one to the other; none when the clocks of two machines have the end come first."""
    return max(0.0, (end - begin).total_seconds())
