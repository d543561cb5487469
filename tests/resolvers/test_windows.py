"""Rates as settings write them, and counting in one process."""

from __future__ import annotations

import datetime as dt

import pytest

from resolvers.windows import Rate, Windows


@pytest.mark.parametrize(
    ("text", "rate"), [("10/3600", Rate(10, 3600)), (" 1/1 ", Rate(1, 1)), ("1000000000/86400", Rate(10**9, 86400))]
)
def test_a_rate_is_read_and_written(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate and str(rate) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "10", "0/60", "10/0", "10/86401", "10000000001/1", "-1/60", "1.5/60", "10/hour", "10 / 60", 10, None]
)
def test_what_is_no_rate(text: object) -> None:
    with pytest.raises(ValueError, match=r"^must be number/seconds, as in 10/3600: at least 1/1, and at most 86400 seconds$"):
        Rate.parse(text)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_begins_with_the_first_use_and_ends_in_time() -> None:
    clock, rate = Clock(), Rate(2, 60)
    windows = Windows(clock)
    assert [windows.take("ada", rate).granted for _ in range(3)] == [True, True, False]
    clock.now += 59.9
    assert not windows.take("ada", rate).granted
    clock.now += 0.1
    assert windows.take("ada", rate).remaining == 1


def test_more_than_is_left_takes_nothing() -> None:
    windows, rate = Windows(Clock()), Rate(10, 60)
    assert windows.take("ada", rate, 8).remaining == 2
    refused = windows.take("ada", rate, 3)
    assert (refused.granted, refused.remaining) == (False, 2)
    assert windows.take("ada", rate, 2).granted


def test_looking_takes_nothing_and_tells_when_it_ends() -> None:
    clock, rate = Clock(), Rate(2, 60)
    windows = Windows(clock)
    windows.take("ada", rate)
    clock.now += 20
    for _ in range(3):
        use = windows.look("ada", rate)
        assert (use.remaining, use.retry_after) == (1, 40)
    left = use.resets_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(seconds=39) < left <= dt.timedelta(seconds=40)
    assert windows.look("eve", rate).remaining == 2


def test_memory_is_bounded() -> None:
    windows, rate = Windows(Clock(), kept=2), Rate(1, 60)
    for name in ("ada", "bob", "eve"):
        windows.take(name, rate)
    assert [windows.look(name, rate).remaining for name in ("ada", "bob", "eve")] == [1, 0, 0]
