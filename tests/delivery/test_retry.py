"""When a message is tried again: the policy itself, without a clock."""

from __future__ import annotations

import datetime as dt

import pytest

from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from delivery.retry import LONGEST_PAUSE, OTP, OTP_VALIDITY, POLICIES, STANDARD, THROTTLED_WAIT, Policy, next_try, pause
from delivery.verdict import Finished, Outcome, decide
from models.base import now
from models.connectors import Connector
from models.messages import Message
from models.queue import Claim


def test_the_policies() -> None:
    assert (OTP.base, OTP.cap, OTP.tries, OTP.age) == (0.5, 15, 12, dt.timedelta(minutes=10))
    assert (STANDARD.base, STANDARD.cap, STANDARD.tries, STANDARD.age) == (2, 900, 12, dt.timedelta(hours=24))
    assert POLICIES == {"OTP": OTP, "STANDARD": STANDARD}
    assert OTP_VALIDITY == dt.timedelta(minutes=5)


@pytest.mark.parametrize("policy", [OTP, STANDARD])
def test_waits_double_up_to_the_cap_and_are_spread(policy: Policy) -> None:
    for tries in (1, 2, 3, 8, 30, 10_000):
        middle = min(policy.cap, policy.base * 2.0 ** (tries - 1)) if tries < 100 else policy.cap
        waits = [policy.wait(tries) for _ in range(200)]
        assert min(waits) >= 0.5 * middle and max(waits) <= 1.5 * middle
        assert max(waits) - min(waits) > 0.5 * middle  # or a thousand messages that failed together would return together


@pytest.mark.parametrize("flow", ["OTP", "STANDARD"])
def test_it_gives_up_after_so_many_tries(flow: str) -> None:
    at = now()
    assert next_try(flow, POLICIES[flow].tries - 1, at, at) is not None
    assert next_try(flow, POLICIES[flow].tries, at, at) is None


@pytest.mark.parametrize("flow", ["OTP", "STANDARD"])
def test_it_gives_up_when_the_message_is_too_old(flow: str) -> None:
    at, age = now(), POLICIES[flow].age
    assert next_try(flow, 1, at - age + dt.timedelta(seconds=10), at) is not None
    assert next_try(flow, 1, at - age, at) is None


def test_a_pause_is_as_the_provider_asks_within_reason() -> None:
    assert pause(None) == dt.timedelta(seconds=THROTTLED_WAIT)
    assert pause(2.5) == dt.timedelta(seconds=2.5)
    assert pause(0) == dt.timedelta(seconds=0.05)
    assert pause(10**9) == dt.timedelta(seconds=LONGEST_PAUSE)


@pytest.mark.parametrize("flow", ["OTP", "STANDARD"])
@pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.THROTTLED])
def test_a_message_has_not_grown_old_by_waiting_for_its_time(flow: str, kind: FailureKind) -> None:
    at = now()
    accepted = at - dt.timedelta(days=30)
    claim = Claim("msg_x", "wsp_x", "con_x", attempt=1, tries=0, fence=1)
    outcome = Outcome(SendError(kind, "SERVICE_UNAVAILABLE", "Not now."), Exchange())
    message = Message(flow=flow, created_at=accepted, scheduled_at=at, expires_at=None)
    verdict = decide(Finished(claim, message, Connector(template_ref="simulator:1"), outcome), at)
    assert verdict.status == "QUEUED" and verdict.again_at is not None
    message = Message(flow=flow, created_at=accepted, scheduled_at=None, expires_at=None)
    assert decide(Finished(claim, message, Connector(template_ref="simulator:1"), outcome), at).status == "FAILED"
